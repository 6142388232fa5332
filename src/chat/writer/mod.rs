//! Group commit: callers queue their commands, and a few tasks store all that waits in one transaction each.
//!
//! No delay is added while the server is idle; under load the batches grow by themselves. What makes it right stands
//! in [`batch`] (one transaction) and [`worker`] (what follows a failure).

mod batch;
mod command;
mod queue;
mod worker;

use std::{sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::{
    batch::insert_messages,
    command::{Read, Send, TurnedRead},
};
use self::{
    command::{Action, Command, Outcome},
    queue::Queue,
    worker::Worker,
};
use super::{Clock, Error, Message, Store};
use crate::signals::Hints;

/// How the writer gathers and how long it tries.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// The most commands in one transaction.
    pub batch: usize,
    /// The most commands that wait; beyond it a send is refused.
    pub queue: usize,
    /// How long a command may wait and be tried before it is refused.
    pub timeout: Duration,
    /// How many tasks write at one time; SQLite always has one.
    pub writers: u32,
}

/// The way to every change of messages, counters and signals.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    queue: Arc<Queue>,
    timeout: Duration,
}

impl Writer {
    /// Starts the tasks. They end, with everything in the queue stored, after `shutdown`.
    pub(crate) fn start(
        store: &Store,
        hints: &Hints,
        clock: &Clock,
        options: &WriterOptions,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Self {
        let writers = match store.backend {
            sea_orm::DbBackend::Sqlite => 1,
            _ => options.writers.max(1),
        };
        let queue = Arc::new(Queue::new(options.queue, writers as usize));
        for taker in 0..writers as usize {
            let (store, hints) = (store.clone(), hints.clone());
            let (clock, options, queue) = (clock.clone(), options.clone(), queue.clone());
            let released = queue.clone();
            let worker = move || {
                let (store, hints) = (store.clone(), hints.clone());
                Worker::new(
                    store,
                    hints,
                    clock.clone(),
                    options.clone(),
                    queue.clone(),
                    taker,
                )
            };
            tasks.spawn(keep_running(worker, released, taker));
        }
        let (closing, shutdown) = (queue.clone(), shutdown.clone());
        tasks.spawn(async move {
            shutdown.cancelled().await;
            closing.close();
        });
        Self {
            queue,
            timeout: options.timeout,
        }
    }

    /// Stores a message, once for its client id, and answers with it.
    pub(crate) async fn send(&self, send: Send) -> Result<Message, Error> {
        match self.submit(Action::Send(send)).await? {
            Outcome::Sent(message) => Ok(*message),
            Outcome::Read(_) => Err(Error::internal("a send was answered like a read")),
        }
    }

    /// Marks a stretch of a conversation as read, and answers with the messages that it turned read.
    pub(crate) async fn read(&self, read: Read) -> Result<TurnedRead, Error> {
        match self.submit(Action::Read(read)).await? {
            Outcome::Read(turned) => Ok(turned),
            Outcome::Sent(_) => Err(Error::internal("a read was answered like a send")),
        }
    }

    /// How many commands wait, and the most that may.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        self.queue.waiting()
    }

    async fn submit(&self, action: Action) -> Result<Outcome, Error> {
        let (reply, answer) = oneshot::channel();
        let command = Command {
            action,
            reply,
            deadline: Instant::now() + self.timeout,
            span: tracing::Span::current(),
        };
        self.queue.push(command)?;
        answer
            .await
            .unwrap_or(Err(Error::Unavailable("the writer stopped")))
    }
}

/// A defect that ends a task costs the batch in its hands, whose callers are told to try again; not all that follow.
async fn keep_running(worker: impl Fn() -> Worker, queue: Arc<Queue>, taker: usize) {
    while let Err(error) = tokio::spawn(worker().run()).await {
        tracing::error!(%error, "a writer failed, and is started again");
        queue.release_all(taker);
    }
}
