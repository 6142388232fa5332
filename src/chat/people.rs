//! Users as they were a moment ago: what shows people need not ask who they are each time.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use entity::user;
use quick_cache::sync::Cache;
use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use super::query::Users;

/// How many users are kept, a few hundred bytes each.
const KEPT: usize = 10_000;

/// Users are never removed, and what changes of them are their names: by this server, which forgets them then, or by
/// another one, which shows within the life of what is kept.
#[derive(Clone, Debug)]
pub(super) struct People {
    seen: Arc<Cache<Uuid, Seen>>,
    life: Duration,
    /// How often this server changed somebody: what was read before may be old by now.
    changes: Arc<Mutex<u64>>,
}

#[derive(Clone, Debug)]
struct Seen {
    user: Arc<user::Model>,
    at: Instant,
}

impl People {
    pub(super) fn new(life: Duration) -> Self {
        Self {
            seen: Arc::new(Cache::new(KEPT)),
            life,
            changes: Arc::default(),
        }
    }

    /// Those of these users that there are.
    pub(super) async fn load(
        &self,
        db: &impl ConnectionTrait,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> Result<Users, DbErr> {
        let mut users = Users::default();
        let mut missing = Vec::new();
        let now = Instant::now();
        for id in ids {
            // A page names the same few people in every row.
            if users.find(id).is_some() {
                continue;
            }
            match self.seen.get(&id) {
                Some(seen) if now.duration_since(seen.at) < self.life => users.insert(seen.user),
                _ => missing.push(id),
            }
        }
        if missing.is_empty() {
            return Ok(users);
        }
        let before = *self.changes();
        let loaded = Users::load(db, missing).await?;
        // Nobody is changed while these are kept.
        let changes = self.changes();
        for user in loaded {
            users.insert(user.clone());
            if *changes == before {
                self.seen.insert(user.id, Seen { user, at: now });
            }
        }
        Ok(users)
    }

    /// Asks for these users anew once this is dropped: they are about to be changed, and may be where that broke off.
    pub(super) fn change(&self, ids: Vec<Uuid>) -> Change {
        Change {
            people: self.clone(),
            ids,
        }
    }

    fn changes(&self) -> MutexGuard<'_, u64> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Users who are being changed.
pub(super) struct Change {
    people: People,
    ids: Vec<Uuid>,
}

impl Drop for Change {
    fn drop(&mut self) {
        let mut changes = self.people.changes();
        *changes += 1;
        for id in &self.ids {
            self.people.seen.remove(id);
        }
    }
}
