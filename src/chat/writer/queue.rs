use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use super::command::Command;
use crate::chat::Error;

/// How long fewer than [`WORTH_SHARING`] commands wait for another task that is at work: two small transactions side by side
/// take longer than one after the other.
const WORTH_WAITING: Duration = Duration::from_millis(5);
/// A task takes at least this many commands where they wait, before it leaves some to the other tasks.
const WORTH_SHARING: usize = 32;
/// A batch that writes this many messages takes no more commands: a long conversation turned read is one of them.
const MOST_MESSAGES: usize = 4_096;

/// The commands that wait, for several tasks to take from.
///
/// A user's commands are in one task's hands at a time: two transactions of one server never wait for each other's inbox
/// locks (8 users in 10 would meet at 256 callers, and two writers be no faster than one), and each user's commands stay
/// in their order.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Wakes the tasks that wait: something arrived, or was released, or the queue was closed.
    changed: Notify,
    capacity: usize,
    /// How many tasks take.
    takers: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Command>,
    /// The users whose commands are in some task's hands, and in whose.
    taken: HashMap<Uuid, usize>,
    /// The tasks that are storing something.
    at_work: HashSet<usize>,
    /// Since when commands wait that no task has taken.
    since: Option<Instant>,
    closed: bool,
}

impl Queue {
    pub(super) fn new(capacity: usize, takers: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            capacity,
            takers,
        }
    }

    pub(super) fn push(&self, command: Command) -> Result<(), Error> {
        let mut state = self.state();
        if state.closed {
            return Err(Error::Unavailable("the server is shutting down"));
        }
        if state.waiting.len() >= self.capacity {
            return Err(Error::Unavailable("too many messages wait to be stored"));
        }
        let users = command.action.users();
        let free = users.iter().all(|user| !state.taken.contains_key(user));
        state.waiting.push_back(command);
        state.since.get_or_insert_with(Instant::now);
        drop(state);
        // One that is not free can be taken when its users are released, which wakes the tasks too.
        if free {
            self.changed.notify_waiters();
        }
        Ok(())
    }

    /// How many commands wait, and the most that may.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.state().waiting.len(), self.capacity)
    }

    /// All that waits and touches nobody in another task's hands, up to `limit`: at once where no task is at work, a few
    /// commands otherwise after [`WORTH_WAITING`] at most. Nothing once the queue is closed and empty.
    pub(super) async fn take(&self, taker: usize, limit: usize) -> Option<Vec<Command>> {
        if self.state().at_work.remove(&taker) {
            self.changed.notify_waiters();
        }
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let until = {
                let mut state = self.state();
                let waiting = state.waiting.len();
                let until = state.since.filter(|_| {
                    !state.at_work.is_empty() && waiting < WORTH_SHARING && !state.closed
                });
                let until = until.map(|since| since + WORTH_WAITING);
                let until = until.filter(|until| *until > Instant::now());
                if until.is_none() {
                    let share = waiting.div_ceil(self.takers).max(WORTH_SHARING);
                    let batch = state.pick(taker, limit.min(share));
                    if !batch.is_empty() {
                        state.at_work.insert(taker);
                        return Some(batch);
                    }
                }
                if state.closed && state.waiting.is_empty() {
                    return None;
                }
                until
            };
            match until {
                Some(until) => drop(timeout_at(until, changed).await),
                None => changed.await,
            }
        }
    }

    /// Gives back users whose commands were answered.
    pub(super) fn release(&self, users: impl IntoIterator<Item = Uuid>) {
        let mut state = self.state();
        for user in users {
            state.taken.remove(&user);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Gives back everything that a task held which failed.
    pub(super) fn release_all(&self, taker: usize) {
        let mut state = self.state();
        state.taken.retain(|_, by| *by != taker);
        state.at_work.remove(&taker);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Takes no more; what waits is still stored.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pick(&mut self, taker: usize, limit: usize) -> Vec<Command> {
        let (mut batch, mut messages) = (Vec::new(), 0);
        let mut mine = HashSet::new();
        let mut passed_over = HashSet::new();
        let mut waiting = VecDeque::with_capacity(self.waiting.len());
        let now = Instant::now();
        while let Some(command) = self.waiting.pop_front() {
            if batch.len() == limit || messages >= MOST_MESSAGES {
                waiting.push_back(command);
                break;
            }
            if command.deadline < now {
                let _gone = command
                    .reply
                    .send(Err(Error::Unavailable("the database is too slow now")));
                continue;
            }
            let users = command.action.users();
            let free = |user| !self.taken.contains_key(user) && !passed_over.contains(user);
            if users.iter().all(free) {
                mine.extend(users);
                messages += command.action.messages();
                batch.push(command);
            } else {
                passed_over.extend(users);
                waiting.push_back(command);
            }
        }
        waiting.append(&mut self.waiting);
        self.since = (!waiting.is_empty()).then_some(now);
        self.waiting = waiting;
        self.taken
            .extend(mine.into_iter().map(|user| (user, taker)));
        batch
    }
}
