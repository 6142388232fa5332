//! One user's signals, in order: first what came after a cursor, then what comes.
//!
//! The log is the truth; a notification only wakes. So a lost, doubled or late one harms nothing, and lag, a reconnect, a
//! restart and a lost bus are one code path: read on from the cursor.

use std::{sync::Arc, time::Duration};

use entity::signal::Kind;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Chat, Error, Message, Side, SignalCursor, Stream,
    fan_out::LogReader,
    log::{Entry, LogPage, no_inbox},
    other_than,
};
use crate::signals::Listener;

/// How long to wait before an absent database, or a message that cannot be seen yet, is asked for again.
const RETRY: Duration = Duration::from_millis(200);

/// One thing that happened to a message of the listener's.
#[derive(Clone, Debug)]
pub struct Signal {
    /// Where to go on after this one.
    pub cursor: SignalCursor,
    /// The message, as it stands at delivery.
    pub message: Arc<Message>,
    /// When the log had been read.
    pub(super) read_at: Instant,
}

/// What a subscription asks for.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// Which signals.
    pub kind: Kind,
    /// Only of the conversation with this partner.
    pub partner: Option<String>,
    /// Only what comes after this cursor; from now on without one.
    pub after: Option<String>,
    /// Whether the messages come with their contents.
    pub contents: bool,
}

/// A listener's way through its user's log.
#[derive(Debug)]
pub struct SignalStream {
    chat: Chat,
    listener: Listener,
    log: LogReader,
    cursor: SignalCursor,
    /// Where the log ended when the listener came: what follows happened before its eyes.
    joined_at: i64,
    /// When it last took note of a notification: a log that was read afterwards has what it was notified of.
    notified_at: Instant,
}

impl Chat {
    /// The viewer's signals of one kind, of one partner's where one is named, from after the cursor on, or from now.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::CannotMessageSelf`], [`Error::BadInput`] for a cursor that does not fit,
    /// [`Error::CursorExpired`], [`Error::Unavailable`].
    pub async fn subscribe(&self, viewer: Uuid, wanted: &Subscribe) -> Result<SignalStream, Error> {
        let partner = match wanted.partner.as_deref() {
            Some(partner) => {
                let id = other_than(viewer, partner)?;
                self.must_exist(viewer, partner).await?;
                Some(id)
            }
            None => None,
        };
        let stream = Stream {
            kind: Some(wanted.kind),
            partner,
        };
        // Registered before the log is read: what is written in between is either read or notified of.
        let listener = self.hints.listen(viewer);
        let notified_at = Instant::now();
        let log = self.logs.subscribe(viewer, wanted.contents);
        let (cursor, joined_at) = if let Some(text) = wanted.after.as_deref() {
            let cursor = SignalCursor::parse(text, viewer, stream)?;
            (cursor, self.log_end(&cursor).await?)
        } else {
            let cursor = self.signal_cursor(viewer).await?;
            (cursor, cursor.position)
        };
        Ok(SignalStream {
            chat: self.clone(),
            listener,
            log,
            cursor: SignalCursor { stream, ..cursor },
            joined_at,
            notified_at,
        })
    }
}

impl Signal {
    /// The viewer's side of the message's conversation, with this signal and perhaps later ones: read once for all who ask.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn side(&self, chat: &Chat) -> Result<Side, Error> {
        let viewer = self.cursor.user;
        let message = &self.message;
        let partner = if message.sender.id == viewer {
            message.recipient.id
        } else {
            message.sender.id
        };
        let side = chat.logs.side(chat, (viewer, partner), self.read_at);
        side.await?.ok_or_else(no_inbox)
    }
}

impl SignalStream {
    /// Where the listener stands, also past what did not match.
    #[must_use]
    pub fn cursor(&self) -> SignalCursor {
        self.cursor
    }

    /// The next signals that match: at least one, unless nothing new in the log matched, so that progress can be told.
    ///
    /// An absent database is waited for, and so is a message that cannot be seen yet.
    ///
    /// # Errors
    /// [`Error::CursorExpired`] where the log was pruned past the cursor or replaced, [`Error::Internal`] for a log with
    /// a gap: nothing is ever skipped.
    pub async fn next(&mut self) -> Result<Vec<Signal>, Error> {
        loop {
            if self.listener.catch_up() {
                self.notified_at = Instant::now();
            }
            // Boxed, so that a listener that waits holds nothing of the reading.
            match Box::pin(self.read_on()).await {
                Ok(Step::Signals(signals)) => {
                    self.count(&signals);
                    return Ok(signals);
                }
                Ok(Step::AtEnd) => {
                    self.listener.wait().await;
                    self.notified_at = Instant::now();
                }
                Ok(Step::NotYet) | Err(Error::Unavailable(_)) => tokio::time::sleep(RETRY).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Measures how late signals are, but for those that were there before the listener.
    fn count(&self, signals: &[Signal]) {
        let now = self.chat.clock.now();
        let joined_at = self.joined_at;
        let seen = signals
            .iter()
            .filter(|signal| signal.cursor.position > joined_at);
        for Signal { message, .. } in seen {
            let happened = match self.cursor.stream.kind {
                Some(Kind::Read) => message.read_at,
                _ => Some(message.sent_at),
            };
            if let Some(happened) = happened {
                self.chat.store.metrics.signal(now - happened);
            }
        }
    }

    async fn read_on(&mut self) -> Result<Step, Error> {
        let position = self.cursor.position;
        let page = self
            .log
            .page_after(&self.chat, position, self.notified_at)
            .await?;
        self.check(&page)?;
        let last = page.last();
        if last <= position {
            return Ok(if page.end > position {
                Step::NotYet
            } else {
                Step::AtEnd
            });
        }
        let new = page.entries.iter().filter(|it| it.position > position);
        let matching = new.filter(|entry| self.matches(entry));
        let signals = matching.map(|entry| Signal {
            cursor: SignalCursor {
                position: entry.position,
                ..self.cursor
            },
            message: entry.message.clone(),
            read_at: page.answered_at,
        });
        let signals = signals.collect();
        self.cursor.position = last;
        Ok(Step::Signals(signals))
    }

    /// Whether the log is the cursor's, and still holds what follows it.
    fn check(&self, page: &LogPage) -> Result<(), Error> {
        let held = (page.floor..=page.end).contains(&self.cursor.position);
        if page.epoch == self.cursor.epoch && held {
            return Ok(());
        }
        Err(Error::CursorExpired)
    }

    fn matches(&self, entry: &Entry) -> bool {
        let Stream { kind, partner } = self.cursor.stream;
        let message = &entry.message;
        kind == Some(entry.kind)
            && partner.is_none_or(|id| [message.sender.id, message.recipient.id].contains(&id))
    }
}

/// What one look at the log came to.
enum Step {
    /// The cursor moved on, over these and what did not match.
    Signals(Vec<Signal>),
    /// There is nothing beyond the cursor.
    AtEnd,
    /// The next one's message cannot be seen yet.
    NotYet,
}
