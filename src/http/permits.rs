//! How many of a thing each user has at one time on this server: sockets and event streams, and subscriptions.

use std::{
    collections::HashMap,
    hash::Hash,
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

/// So many permits for each user, or each address. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Permits<K: Eq + Hash = Uuid> {
    most: usize,
    /// What they are for.
    what: &'static str,
    counted: Limit,
    taken: Arc<Mutex<HashMap<K, usize>>>,
    metrics: Metrics,
}

/// Held for as long as the connection is open, or the subscription runs.
#[derive(Debug)]
pub(super) struct Permit<K: Eq + Hash = Uuid> {
    permits: Permits<K>,
    key: K,
}

impl<K: Clone + Eq + Hash> Permits<K> {
    pub(super) fn new(most: usize, what: &'static str, counted: Limit, metrics: &Metrics) -> Self {
        Self {
            most,
            what,
            counted,
            taken: Arc::default(),
            metrics: metrics.clone(),
        }
    }

    /// One more permit; nothing where as many as may be are held.
    pub(super) fn take(&self, key: K) -> Option<Permit<K>> {
        let mut taken = self.taken();
        let count = taken.entry(key.clone()).or_insert(0);
        if *count >= self.most {
            self.metrics.limited(self.counted);
            return None;
        }
        *count += 1;
        let permits = self.clone();
        Some(Permit { permits, key })
    }
}

impl Permits {
    /// One more permit for the caller. Whoever is no user cannot subscribe to anything, and needs none.
    ///
    /// # Errors
    /// `RATE_LIMITED` where the user has as many as may be.
    pub(super) fn acquire(&self, caller: &Caller) -> Result<Option<Permit>, Refusal> {
        let user = match caller {
            Caller::User(viewer) => viewer.id,
            Caller::Nobody | Caller::Service => return Ok(None),
        };
        let permit = self.take(user).ok_or_else(|| {
            let (most, what) = (self.most, self.what);
            let message = format!("at most {most} {what} of one user: close another first");
            Refusal::new(ErrorCode::RateLimited, message).after(AFTER_TOO_MANY)
        })?;
        Ok(Some(permit))
    }
}

impl<K: Eq + Hash> Permits<K> {
    /// A map of numbers cannot be left half changed: a panic elsewhere is no reason to stop.
    fn taken(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut taken = self.permits.taken();
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}
