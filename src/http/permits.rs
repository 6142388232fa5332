//! How many sockets and event streams each user has open on this server.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use uuid::Uuid;

use super::gate::Refusal;
use crate::{
    graphql::{Caller, ErrorCode},
    observe::{Limit, Metrics},
};

/// When a user who has too many may try again.
const AFTER_TOO_MANY: Duration = Duration::from_secs(5);

/// Permits to keep a connection open, so many for each user. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Permits {
    most: usize,
    taken: Arc<Mutex<HashMap<Uuid, usize>>>,
    metrics: Metrics,
}

/// Held for as long as the connection is open.
#[derive(Debug)]
pub(super) struct Permit {
    permits: Permits,
    user: Uuid,
}

impl Permits {
    pub(super) fn new(most: usize, metrics: &Metrics) -> Self {
        Self {
            most,
            taken: Arc::default(),
            metrics: metrics.clone(),
        }
    }

    /// A permit for one more connection of the caller's. Whoever is no user cannot listen to anything, and needs none.
    ///
    /// # Errors
    /// `RATE_LIMITED` where the user has as many as may be.
    pub(super) fn acquire(&self, caller: &Caller) -> Result<Option<Permit>, Refusal> {
        let user = match caller {
            Caller::User(viewer) => viewer.id,
            Caller::Nobody | Caller::Service => return Ok(None),
        };
        let mut taken = self.taken();
        let count = taken.entry(user).or_insert(0);
        if *count >= self.most {
            self.metrics.limited(Limit::Open);
            let most = self.most;
            let message = format!(
                "at most {most} sockets and event streams of one user: close another first"
            );
            return Err(Refusal::new(ErrorCode::RateLimited, message).after(AFTER_TOO_MANY));
        }
        *count += 1;
        let permits = self.clone();
        Ok(Some(Permit { permits, user }))
    }

    /// A map of numbers cannot be left half changed: a panic elsewhere is no reason to stop.
    fn taken(&self) -> MutexGuard<'_, HashMap<Uuid, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.permits.taken().entry(self.user) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
