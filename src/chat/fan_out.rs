//! A user's log is read once for all of the user's subscriptions on this server, and fanned out; so is what is shown beside its
//! signals.
//!
//! A page is read in a task of its own, so that a subscriber whose client has stopped reading keeps it from nobody. It is kept
//! until the next one is read, or for a while, for those who come to it a little later.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use tokio::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Chat, Error, Side, log::LogPage};

/// How long the sides of conversations are kept for the subscriptions that come to them later.
const SIDE_LIFE: Duration = Duration::from_secs(2);

type Read = Result<Arc<LogPage>, Error>;

/// The logs of all users who subscribe here. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Logs(Arc<Mutex<HashMap<Uuid, Weak<Log>>>>);

/// The log of one user.
#[derive(Debug)]
struct Log {
    user: Uuid,
    logs: Logs,
    state: Mutex<State>,
    /// How many of its subscribers need the messages' contents.
    with_contents: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    /// The page that reaches furthest of those that were read.
    page: Option<Arc<LogPage>>,
    /// The last one that found nothing.
    end: Option<Arc<LogPage>>,
    /// The pages that are being read.
    readings: Vec<Reading>,
    /// By partner, the side of the conversation as it was read last, or is being read.
    sides: HashMap<Uuid, SideRead>,
}

impl State {
    /// A page that was read after `not_before` and shows that the log ended there.
    fn shows_end(&self, at: i64, not_before: Instant) -> Option<Arc<LogPage>> {
        let mut read = [&self.page, &self.end].into_iter().flatten();
        let shows_end = |page: &&Arc<LogPage>| {
            page.end == at && page.last() == at && page.asked_at >= not_before
        };
        read.find(shows_end).cloned()
    }
}

#[derive(Debug)]
struct SideRead {
    asked_at: Instant,
    side: Shared<BoxFuture<'static, Result<Option<Side>, Error>>>,
}

/// A page that is being read.
#[derive(Debug)]
struct Reading {
    after: i64,
    contents: bool,
    page: Shared<BoxFuture<'static, Read>>,
}

/// One subscriber's access to its user's log.
#[derive(Debug)]
pub(super) struct LogReader {
    log: Arc<Log>,
    /// Whether it needs the messages' contents.
    contents: bool,
    /// A page that was asked for earlier may show a message as it was before.
    since: Instant,
}

impl Logs {
    pub(super) fn subscribe(&self, user: Uuid, contents: bool) -> LogReader {
        let log = {
            let mut logs = self.lock();
            logs.get(&user).and_then(Weak::upgrade).unwrap_or_else(|| {
                let log = Arc::new(Log {
                    user,
                    logs: self.clone(),
                    state: Mutex::default(),
                    with_contents: AtomicUsize::new(0),
                });
                logs.insert(user, Arc::downgrade(&log));
                log
            })
        };
        log.with_contents
            .fetch_add(contents.into(), Ordering::Relaxed);
        LogReader {
            log,
            contents,
            since: Instant::now(),
        }
    }

    /// Drops every page and side: whoever still needs one reads it again.
    pub(super) fn forget_pages(&self) {
        let logs: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        for log in logs {
            let mut state = log.state();
            (state.page, state.end) = (None, None);
            state.sides.clear();
        }
    }

    /// The viewer's side of a conversation as it was at some moment after `not_before`, of a viewer who subscribes here.
    pub(super) async fn side(
        &self,
        chat: &Chat,
        pair: (Uuid, Uuid),
        not_before: Instant,
    ) -> Result<Option<Side>, Error> {
        let log = self.lock().get(&pair.0).and_then(Weak::upgrade);
        match log {
            Some(log) => log.side(chat, pair, not_before).await,
            None => Ok(chat.sides(&[pair]).await?.remove(&pair)),
        }
    }

    /// No change to the map is left half done, so that a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Weak<Log>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogReader {
    /// What follows a position of the log: something, or whatever stood there at some moment after `not_before`.
    ///
    /// # Errors
    /// As [`Chat::log_page`].
    pub(super) async fn page_after(&self, chat: &Chat, after: i64, not_before: Instant) -> Read {
        loop {
            let reading = {
                let mut state = self.log.state();
                if let Some(page) = &state.page
                    && page.asked_at >= self.since
                    && (page.contents || !self.contents)
                    && (page.after..page.last()).contains(&after)
                {
                    return Ok(page.clone());
                }
                if let Some(page) = state.shows_end(after, not_before) {
                    return Ok(page);
                }
                // One whose task panicked is not taken away by itself.
                state.readings.retain(|it| it.page.peek().is_none());
                let mut readings = state.readings.iter();
                let reading = readings
                    .find(|it| it.after == after && (it.contents || !self.contents))
                    .map(|reading| reading.page.clone());
                reading.unwrap_or_else(|| self.log.read(chat, after, self.contents, &mut state))
            };
            let page = reading.await?;
            // It may have been read before what this subscriber was notified of.
            if page.last() > after || page.asked_at >= not_before {
                return Ok(page);
            }
        }
    }
}

impl Log {
    /// Reads a page for everybody.
    fn read(
        self: &Arc<Self>,
        chat: &Chat,
        after: i64,
        contents: bool,
        state: &mut State,
    ) -> Shared<BoxFuture<'static, Read>> {
        let contents = contents || self.with_contents.load(Ordering::Relaxed) > 0;
        let (log, chat) = (self.clone(), chat.clone());
        let read = async move {
            let read = chat.log_page(log.user, after, contents).await;
            let read = read.map(Arc::new);
            let mut state = log.state();
            let is_this = |it: &Reading| it.after == after && it.contents == contents;
            state.readings.retain(|it| !is_this(it));
            // Not one of a log that was replaced, or that was pruned past it.
            if let Ok(page) = &read
                && page.epoch == chat.last_epoch()
                && page.after >= page.floor
            {
                let furthest = state.page.as_ref().map_or(page.after, |page| page.last());
                if page.entries.is_empty() {
                    state.end = Some(page.clone());
                } else if page.last() > furthest {
                    state.page = Some(page.clone());
                }
            }
            read
        };
        let page = in_a_task(read);
        state.readings.push(Reading {
            after,
            contents,
            page: page.clone(),
        });
        page
    }

    async fn side(
        &self,
        chat: &Chat,
        pair: (Uuid, Uuid),
        not_before: Instant,
    ) -> Result<Option<Side>, Error> {
        let (_, partner) = pair;
        let (asked_at, side) = {
            let mut state = self.state();
            let read = state.sides.get(&partner);
            let read = read.filter(|read| read.asked_at >= not_before);
            if let Some(read) = read {
                (read.asked_at, read.side.clone())
            } else {
                let (asked_at, chat) = (Instant::now(), chat.clone());
                let read = async move { Ok(chat.sides(&[pair]).await?.remove(&pair)) };
                let side = in_a_task(read);
                let read = SideRead {
                    asked_at,
                    side: side.clone(),
                };
                state
                    .sides
                    .retain(|_, read| read.asked_at.elapsed() < SIDE_LIFE);
                state.sides.insert(partner, read);
                (asked_at, side)
            }
        };
        let side = side.await;
        if side.is_err() {
            // The next one tries again.
            let mut state = self.state();
            let failed = |read: &SideRead| read.asked_at == asked_at;
            if state.sides.get(&partner).is_some_and(failed) {
                state.sides.remove(&partner);
            }
        }
        side
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads something for several, whoever of them still waits for it.
fn in_a_task<T: Clone + Send + Sync + 'static>(
    read: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Shared<BoxFuture<'static, Result<T, Error>>> {
    let read = tokio::spawn(read.in_current_span());
    let read = read.map(|read| read.unwrap_or_else(|e| Err(Error::Internal(Arc::new(e)))));
    read.boxed().shared()
}

impl Drop for LogReader {
    fn drop(&mut self) {
        let contents = usize::from(self.contents);
        self.log
            .with_contents
            .fetch_sub(contents, Ordering::Relaxed);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let mut logs = self.logs.lock();
        // Another one may stand in its place by now.
        if logs
            .get(&self.user)
            .is_some_and(|log| log.strong_count() == 0)
        {
            logs.remove(&self.user);
        }
    }
}
