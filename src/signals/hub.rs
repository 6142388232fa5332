use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::watch;
use uuid::Uuid;

/// Enough that two hints rarely meet at one lock; and the number of NATS subjects, which all servers of an application
/// have to agree on.
pub(super) const SHARDS: usize = 64;

type Shard = Mutex<HashMap<Uuid, watch::Sender<i64>>>;

/// From user to listeners, on this server.
#[derive(Clone, Debug)]
pub(super) struct Hub(Arc<Shards>);

#[expect(
    clippy::struct_field_names,
    reason = "the shards are what it is made of"
)]
#[derive(Debug)]
struct Shards {
    shards: [Shard; SHARDS],
    /// A bit for each shard that has a listener. It changes under the shard's lock only.
    in_use: watch::Sender<u64>,
    /// How many hints came from other servers.
    heard: AtomicU64,
}

impl Default for Hub {
    fn default() -> Self {
        Self(Arc::new(Shards {
            shards: std::array::from_fn(|_| Shard::default()),
            in_use: watch::Sender::new(0),
            heard: AtomicU64::new(0),
        }))
    }
}

/// The last bytes of a UUIDv5 are as good as random.
pub(super) fn shard_of(user: Uuid) -> usize {
    usize::from(user.as_bytes()[15]) % SHARDS
}

impl Hub {
    pub(super) fn listen(&self, user: Uuid) -> Listener {
        let mut shard = self.shard(user);
        if shard.is_empty() {
            let bit = 1 << shard_of(user);
            self.0.in_use.send_modify(|in_use| *in_use |= bit);
        }
        let latest = shard
            .entry(user)
            .or_insert_with(|| watch::Sender::new(0))
            .subscribe();
        drop(shard);
        Listener {
            user,
            latest: Some(latest),
            hub: self.clone(),
        }
    }

    pub(super) fn wake(&self, user: Uuid, position: i64) {
        if let Some(latest) = self.shard(user).get(&user) {
            // Whatever it says: a hint that lied before must not silence the true one.
            latest.send_replace(position);
        }
    }

    /// A hint of another server's.
    pub(super) fn hear(&self, user: Uuid, position: i64) {
        self.0.heard.fetch_add(1, Ordering::Relaxed);
        self.wake(user, position);
    }

    /// How many hints came from other servers.
    pub(super) fn heard(&self) -> u64 {
        self.0.heard.load(Ordering::Relaxed)
    }

    /// How many listeners there are.
    pub(super) fn listeners(&self) -> usize {
        let shards = self.0.shards.iter();
        let count = shards.map(|shard| {
            let shard = lock(shard);
            shard
                .values()
                .map(watch::Sender::receiver_count)
                .sum::<usize>()
        });
        count.sum()
    }

    /// Wakes everybody, whatever was hinted before.
    pub(super) fn wake_all(&self) {
        for shard in &self.0.shards {
            for latest in lock(shard).values() {
                latest.send_modify(|latest| *latest = 0);
            }
        }
    }

    pub(super) fn listening(&self) -> Vec<(Uuid, i64)> {
        let shards = self.0.shards.iter();
        let listening = shards.flat_map(|shard| {
            let shard = lock(shard);
            let latest = shard.iter().map(|(user, latest)| (*user, *latest.borrow()));
            latest.collect::<Vec<_>>()
        });
        listening.collect()
    }

    fn shard(&self, user: Uuid) -> MutexGuard<'_, HashMap<Uuid, watch::Sender<i64>>> {
        lock(&self.0.shards[shard_of(user)])
    }

    /// The shards that have listeners, one bit each.
    pub(super) fn shards_in_use(&self) -> watch::Receiver<u64> {
        self.0.in_use.subscribe()
    }
}

/// A map of numbers cannot be left half changed: a panic elsewhere is no reason to stop.
fn lock(shard: &Shard) -> MutexGuard<'_, HashMap<Uuid, watch::Sender<i64>>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One listener for one user's hints.
#[derive(Debug)]
pub struct Listener {
    user: Uuid,
    /// The position hinted last; taken only by `drop`.
    latest: Option<watch::Receiver<i64>>,
    hub: Hub,
}

impl Listener {
    /// Takes note of every notification so far: call it before the log is read. Returns whether there was a new one.
    pub fn catch_up(&mut self) -> bool {
        let Some(latest) = &mut self.latest else {
            return false;
        };
        // The sender stands in the hub for as long as a listener does, so this cannot fail.
        let is_new = latest.has_changed().unwrap_or(true);
        if is_new {
            latest.mark_unchanged();
        }
        is_new
    }

    /// Waits for a hint that came after [`Listener::catch_up`].
    pub async fn wait(&mut self) {
        if let Some(latest) = &mut self.latest {
            // The sender stands in the hub for as long as a listener does, so this cannot fail.
            let _ = latest.changed().await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut shard = self.hub.shard(self.user);
        self.latest = None;
        if shard
            .get(&self.user)
            .is_some_and(|latest| latest.receiver_count() == 0)
        {
            shard.remove(&self.user);
            if shard.is_empty() {
                let bit = 1 << shard_of(self.user);
                self.hub.0.in_use.send_modify(|in_use| *in_use &= !bit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_hint_that_lied_does_not_silence_the_true_one() {
        let (hub, user) = (Hub::default(), Uuid::new_v4());
        let mut listener = hub.listen(user);
        for _ in 0..2 {
            assert_eq!(listener.wait().now_or_never(), None, "nothing was hinted");
            hub.wake(user, 7);
            assert_eq!(listener.wait().now_or_never(), Some(()));
        }
    }
}
