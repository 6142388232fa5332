//! What one writer task does with the queue, and with a transaction that failed.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    WriterOptions,
    batch::{self, Failure, Verdict},
    command::Command,
    queue::Queue,
};
use crate::{
    chat::{Clock, Error, Store, error::Trouble, inbox::Locking},
    signals::Hints,
};

/// How often commands that wait aside for a busy inbox are tried again.
const ASIDE_INTERVAL: Duration = Duration::from_millis(50);

/// How often a batch whose connection broke is run again: a pool may hold several that died together.
const ATTEMPTS: u32 = 3;

pub(super) struct Worker {
    store: Store,
    hints: Hints,
    clock: Clock,
    options: WriterOptions,
    queue: Arc<Queue>,
    /// Which of the queue's takers this is.
    taker: usize,
    /// Commands on an inbox that another server's transaction holds: they wait here, and the rest go on.
    aside: Vec<Command>,
    /// When those were last tried.
    tried: Instant,
}

impl Worker {
    pub(super) fn new(
        store: Store,
        hints: Hints,
        clock: Clock,
        options: WriterOptions,
        queue: Arc<Queue>,
        taker: usize,
    ) -> Self {
        Self {
            store,
            hints,
            clock,
            options,
            queue,
            taker,
            aside: Vec::new(),
            tried: Instant::now(),
        }
    }

    /// Stores batch after batch, until the queue is closed and everything is answered.
    pub(super) async fn run(mut self) {
        while let Some(batch) = self.gather().await {
            let mut users = users_of(&batch);
            users.extend(users_of(&self.aside));
            self.count(&batch);
            self.store_batch(batch, Locking::Wait).await;
            let aside = std::mem::take(&mut self.aside);
            let (late, aside): (Vec<_>, Vec<_>) = aside
                .into_iter()
                .partition(|command| command.deadline < Instant::now());
            refuse(
                late,
                &Error::Unavailable("another transaction holds this conversation"),
            );
            if self.tried.elapsed() < ASIDE_INTERVAL {
                self.aside = aside;
            } else {
                self.store_batch(aside, Locking::SkipBusy).await;
                self.tried = Instant::now();
            }
            let held = users_of(&self.aside);
            self.queue.release(users.difference(&held).copied());
        }
    }

    /// Counts a batch that was just taken, and how long its commands waited.
    fn count(&self, batch: &[Command]) {
        if batch.is_empty() {
            return;
        }
        let now = Instant::now();
        let waits = batch.iter().map(|command| {
            let left = command.deadline.saturating_duration_since(now);
            self.options.timeout.saturating_sub(left)
        });
        self.store.metrics.batch(waits);
    }

    /// What to store next: nothing yet where only commands set aside are left to try, none at the end.
    async fn gather(&self) -> Option<Vec<Command>> {
        if self.aside.len() >= self.options.queue {
            // What waits aside is bounded as the queue is: the rest stays there.
            sleep(ASIDE_INTERVAL).await;
            return Some(Vec::new());
        }
        let take = self.queue.take(self.taker, self.options.batch);
        if self.aside.is_empty() {
            return take.await;
        }
        match timeout(ASIDE_INTERVAL, take).await {
            Ok(Some(batch)) => Some(batch),
            Ok(None) => {
                sleep(ASIDE_INTERVAL).await;
                Some(Vec::new())
            }
            Err(_) => Some(Vec::new()),
        }
    }

    /// Stores all, whatever it takes: every command is answered or set aside afterwards.
    async fn store_batch(&mut self, mut commands: Vec<Command>, mut locking: Locking) {
        for attempt in 1_u32.. {
            commands = refuse_late(commands);
            if commands.is_empty() {
                return;
            }
            match self.transact(&mut commands, locking).await {
                Ok(verdicts) => return self.answer(commands, verdicts),
                Err(Failure::Database(Trouble::Away, error)) if attempt > ATTEMPTS => {
                    return self.give_up(commands, error);
                }
                // A lock was not to be had in time: take those that are free, and set the others aside.
                Err(Failure::Database(Trouble::Busy, _)) if locking == Locking::Wait => {
                    locking = Locking::SkipBusy;
                }
                // Run again: commands are found by their client id where the first attempt was stored after all.
                Err(Failure::Database(Trouble::Away, error)) => {
                    tracing::warn!(%error, commands = commands.len(), "a batch broke off and is run again");
                }
                Err(Failure::Database(Trouble::Conflict, _)) if attempt == 1 => {}
                // Half of it takes half as long.
                Err(Failure::Database(Trouble::Slow, _)) if commands.len() > 1 => {
                    let rest = commands.split_off(commands.len() / 2);
                    Box::pin(self.store_batch(commands, locking)).await;
                    let rest = self.keep_behind(rest);
                    return Box::pin(self.store_batch(rest, locking)).await;
                }
                Err(Failure::Unconnected(error) | Failure::Database(Trouble::Full, error)) => {
                    return self.give_up(commands, error);
                }
                Err(Failure::Database(..)) => return self.store_one_by_one(commands).await,
            }
        }
    }

    /// The last resort: what fails alone harms nobody else.
    async fn store_one_by_one(&mut self, commands: Vec<Command>) {
        let mut commands = commands.into_iter();
        while let Some(command) = commands.next() {
            let mut alone = self.keep_behind(refuse_late(vec![command]));
            if alone.is_empty() {
                continue;
            }
            match self.transact(&mut alone, Locking::SkipBusy).await {
                Ok(verdicts) => self.answer(alone, verdicts),
                Err(Failure::Database(Trouble::Defect, error)) => {
                    refuse(alone, &Error::Internal(Arc::new(error)));
                }
                Err(Failure::Database(Trouble::Busy | Trouble::Slow | Trouble::Conflict, _)) => {
                    self.aside.append(&mut alone);
                }
                Err(
                    Failure::Database(Trouble::Away | Trouble::Full, error)
                    | Failure::Unconnected(error),
                ) => {
                    alone.extend(commands);
                    return self.give_up(alone, error);
                }
            }
        }
    }

    /// Sets aside what has to wait behind an earlier command of one of its users, and returns the rest.
    fn keep_behind(&mut self, commands: Vec<Command>) -> Vec<Command> {
        let mut held = users_of(&self.aside);
        let (behind, free): (Vec<_>, Vec<_>) = commands.into_iter().partition(|command| {
            let users = command.action.users();
            let waits = users.iter().any(|user| held.contains(user));
            if waits {
                held.extend(users);
            }
            waits
        });
        self.aside.extend(behind);
        free
    }

    async fn transact(
        &self,
        commands: &mut [Command],
        locking: Locking,
    ) -> Result<Vec<Verdict>, Failure> {
        let now = self.clock.now();
        let deadline = commands.iter().map(|command| command.deadline).max();
        let left = deadline.map_or(Duration::ZERO, |at| at - Instant::now());
        let patience = left.max(self.store.acquire_timeout());
        let span =
            tracing::info_span!(target: "traces", parent: None, "batch", commands = commands.len());
        for command in commands.iter() {
            span.follows_from(&command.span);
        }
        let began = Instant::now();
        let transaction = batch::store(&self.store, &self.hints, commands, locking, now);
        let stored = timeout(patience, transaction.instrument(span))
            .await
            .unwrap_or_else(|_| {
                let late = "the database did not answer in time".to_owned();
                Err(Failure::Unconnected(sea_orm::DbErr::Custom(late)))
            });
        self.store
            .metrics
            .transaction(began.elapsed(), stored.is_ok());
        if let Err(Failure::Unconnected(_) | Failure::Database(Trouble::Away, _)) = &stored {
            self.store.doubt();
        }
        stored
    }

    fn give_up(&self, commands: Vec<Command>, error: sea_orm::DbErr) {
        if self.store.is_away() {
            // That was logged when it went.
            tracing::debug!(%error, commands = commands.len(), "a batch was not stored");
        } else {
            tracing::error!(%error, commands = commands.len(), "a batch could not be stored");
        }
        let answer = match Error::from(error) {
            unavailable @ Error::Unavailable(_) => unavailable,
            _ => Error::Unavailable("the database does not answer"),
        };
        refuse(commands, &answer);
    }

    fn answer(&mut self, commands: Vec<Command>, verdicts: Vec<Verdict>) {
        for (command, verdict) in commands.into_iter().zip(verdicts) {
            // A caller that went away does not undo what it asked for.
            let _gone = match verdict {
                Verdict::Done(outcome) => command.reply.send(Ok(outcome)),
                Verdict::Refused(error) => command.reply.send(Err(error)),
                Verdict::Busy => {
                    self.aside.push(command);
                    continue;
                }
            };
        }
    }
}

fn users_of(commands: &[Command]) -> HashSet<Uuid> {
    commands
        .iter()
        .flat_map(|command| command.action.users())
        .collect()
}

fn refuse(commands: impl IntoIterator<Item = Command>, error: &Error) {
    for command in commands {
        let _gone = command.reply.send(Err(error.clone()));
    }
}

/// Answers those whose time is over, and returns the others.
fn refuse_late(commands: Vec<Command>) -> Vec<Command> {
    let now = Instant::now();
    let (late, others): (Vec<_>, Vec<_>) = commands
        .into_iter()
        .partition(|command| command.deadline < now);
    refuse(late, &Error::Unavailable("the database is too slow now"));
    others
}
