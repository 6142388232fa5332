//! Fair access to a bounded number of connections: statements that have to wait are run user by user, a few of each in turn.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use uuid::Uuid;

/// How many statements a user's turn has. With one, a user who asks for much at one time would wait much longer than needed.
const TURN: usize = 4;

/// Permits to run a statement, so many at one time. One user alone may take all of them; a user who waits is served after at
/// most [`TURN`] statements of every other user who waits. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct FairQueue(Arc<Mutex<Queue>>);

#[derive(Debug)]
struct Queue {
    /// Permits that nobody holds. Above 0 only while nobody waits.
    free: usize,
    /// The users who wait, the next one first. Each is in it once.
    turns: VecDeque<Uuid>,
    /// How many statements the first of them had in this turn.
    served: usize,
    waiting: HashMap<Uuid, VecDeque<oneshot::Sender<Permit>>>,
}

/// Held while a statement runs.
#[derive(Debug)]
pub(super) struct Permit {
    /// Nothing once the permit was passed on.
    queue: Option<FairQueue>,
}

impl FairQueue {
    pub(super) fn new(permits: u32) -> Self {
        Self(Arc::new(Mutex::new(Queue {
            free: permits as usize,
            turns: VecDeque::new(),
            served: 0,
            waiting: HashMap::new(),
        })))
    }

    /// Waits for the user's turn. Dropped before, it takes no permit.
    pub(super) async fn acquire(&self, user: Uuid) -> Permit {
        let turn = {
            let mut queue = self.lock();
            if queue.free > 0 {
                queue.free -= 1;
                return self.permit();
            }
            queue.wait(user)
        };
        // The sender is dropped with the queue only, which `self` keeps.
        turn.await.unwrap_or_else(|_| self.permit())
    }

    /// Whether every permit is held.
    pub(super) fn is_full(&self) -> bool {
        self.lock().free == 0
    }

    fn permit(&self) -> Permit {
        Permit {
            queue: Some(self.clone()),
        }
    }

    /// Gives a permit to whoever's turn it is, or keeps it until somebody comes.
    fn pass_on(&self) {
        loop {
            let mut queue = self.lock();
            let Some(next) = queue.next() else {
                queue.free += 1;
                return;
            };
            drop(queue);
            match next.send(self.permit()) {
                Ok(()) => return,
                // Whoever waited has left.
                Err(mut permit) => permit.queue = None,
            }
        }
    }

    /// No change to the queue is left half done, so that a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn wait(&mut self, user: Uuid) -> oneshot::Receiver<Permit> {
        let (sender, receiver) = oneshot::channel();
        let waiting = self.waiting.entry(user).or_default();
        if waiting.is_empty() {
            self.turns.push_back(user);
        }
        waiting.push_back(sender);
        receiver
    }

    fn next(&mut self) -> Option<oneshot::Sender<Permit>> {
        let user = *self.turns.front()?;
        let waiting = self.waiting.get_mut(&user)?;
        let next = waiting.pop_front();
        self.served += 1;
        if waiting.is_empty() {
            self.waiting.remove(&user);
            self.turns.pop_front();
            self.served = 0;
        } else if self.served == TURN {
            self.turns.rotate_left(1);
            self.served = 0;
        }
        next
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, future::BoxFuture};

    use super::*;

    const GREEDY: Uuid = Uuid::from_u128(1);
    const MODEST: Uuid = Uuid::from_u128(2);

    /// Queues a statement of a user's.
    fn waits(queue: &FairQueue, user: Uuid) -> BoxFuture<'static, Permit> {
        let queue = queue.clone();
        let mut turn = async move { queue.acquire(user).await }.boxed();
        assert!((&mut turn).now_or_never().is_none(), "every permit is held");
        turn
    }

    #[tokio::test]
    async fn a_user_waits_for_one_turn_of_another_who_queued_many() {
        let queue = FairQueue::new(1);
        let running = queue.acquire(GREEDY).await;
        let greedy: Vec<_> = (0..2 * TURN).map(|_| waits(&queue, GREEDY)).collect();
        let mut modest = waits(&queue, MODEST);

        drop(running);
        let mut greedy = greedy.into_iter();
        for _ in 0..TURN {
            assert!((&mut modest).now_or_never().is_none());
            let next = greedy
                .next()
                .and_then(futures_util::FutureExt::now_or_never);
            assert!(next.is_some(), "who came first is first");
        }
        let modest = modest.now_or_never();
        assert!(modest.is_some(), "then comes the other user");
        drop(modest);
        for next in greedy {
            assert!(next.now_or_never().is_some(), "and the rest");
        }
    }

    #[tokio::test]
    async fn a_permit_of_somebody_who_left_is_not_lost() {
        let queue = FairQueue::new(1);
        let running = queue.acquire(GREEDY).await;
        let (left, also_left) = (waits(&queue, GREEDY), waits(&queue, MODEST));
        drop(left);
        drop(running);
        // It was sent its permit, and leaves without having taken it.
        drop(also_left);
        assert!(!queue.is_full());
        assert!(queue.acquire(MODEST).now_or_never().is_some());
    }
}
