//! Users as they were a moment ago: what shows people need not ask who they are each time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
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
    changes: Arc<AtomicU64>,
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
            match self.seen.get(&id) {
                _ if users.find(id).is_some() => {}
                Some(seen) if now.duration_since(seen.at) < self.life => users.insert(seen.user),
                _ => missing.push(id),
            }
        }
        let changes = self.changes.load(Ordering::SeqCst);
        for user in Users::load(db, missing).await? {
            users.insert(user.clone());
            let id = user.id;
            self.seen.insert(id, Seen { user, at: now });
            // Kept first and looked at then: whoever changes the user meanwhile forgets it after that, or is seen here.
            if self.changes.load(Ordering::SeqCst) != changes {
                self.seen.remove(&id);
            }
        }
        Ok(users)
    }

    /// Asks for these users anew from now on: they were just changed.
    pub(super) fn forget(&self, ids: impl IntoIterator<Item = Uuid>) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        for id in ids {
            self.seen.remove(&id);
        }
    }
}
