//! One user's signals, in order: first what came after a cursor, then what comes.
//!
//! The log is the truth; a hint only wakes. So a lost, doubled or late hint harms nothing, and lag, a reconnect, a restart
//! and a lost bus are one code path: read on from the cursor.

use std::{sync::atomic::Ordering, time::Duration};

use entity::{message, signal::Kind};
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, QueryResult, Statement, Value};
use uuid::Uuid;

use super::{
    Chat, Error, Message, SignalCursor, Stream, conversation_id, error::is_not_offered, other_than,
    query, rows::Rows,
};
use crate::signals::Listener;

/// How many entries of the log are read at one time.
const PAGE: i64 = 256;
/// How long to wait before an absent database, or a message that cannot be seen yet, is asked for again.
const RETRY: Duration = Duration::from_millis(200);

/// One thing that happened to a message of the listener's.
#[derive(Clone, Debug)]
pub struct Signal {
    /// Where to go on after this one.
    pub cursor: SignalCursor,
    /// The message, as it stands at delivery.
    pub message: Message,
}

/// A listener's way through its user's log.
#[derive(Debug)]
pub struct SignalStream {
    chat: Chat,
    listener: Listener,
    cursor: SignalCursor,
    /// The only conversation that is told of.
    conversation: Option<Uuid>,
    /// Where the log ended when the listener came: what follows happened before its eyes.
    joined_at: i64,
}

/// PostgreSQL's timeline, as the name of the segment that is written to now tells it. A standby fails here, which is right:
/// nobody is to read a log from there.
const TIMELINE: &str = "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int";

/// One row of a page: where the log stands, and one entry of it, or none.
#[derive(Debug)]
struct LogRow {
    /// Of the log and of PostgreSQL's timeline, where it tells: that changes when a standby is promoted and when a log of
    /// writes is recovered up to a point in time.
    epoch: i64,
    last_position: i64,
    log_floor: i64,
    entry: Option<Entry>,
}

/// One entry of the log.
#[derive(Debug)]
struct Entry {
    position: i64,
    kind: Kind,
    conversation_id: Uuid,
    /// The message, where it was asked for and can be seen.
    message: Option<message::Model>,
}

impl Chat {
    /// Where the viewer's stream stands: what comes after this cursor has not happened yet.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn signal_cursor(&self, viewer: Uuid) -> Result<SignalCursor, Error> {
        let end = self.log_page(viewer, i64::MAX, None).await?;
        let end = end.first().ok_or_else(no_inbox)?;
        Ok(SignalCursor {
            epoch: end.epoch,
            user: viewer,
            position: end.last_position,
            stream: Stream::ANY,
        })
    }

    /// The viewer's signals of one kind, of one partner's where one is named, from after the cursor on, or from now.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::CannotMessageSelf`], [`Error::BadInput`] for a cursor that does not fit,
    /// [`Error::CursorExpired`], [`Error::Unavailable`].
    pub async fn subscribe(
        &self,
        viewer: Uuid,
        kind: Kind,
        partner: Option<&str>,
        after: Option<&str>,
    ) -> Result<SignalStream, Error> {
        let partner_id = partner
            .map(|partner| other_than(viewer, partner))
            .transpose()?;
        if let Some(partner) = partner {
            self.user(partner)
                .await?
                .ok_or_else(|| Error::UserNotFound(partner.to_owned()))?;
        }
        let stream = Stream {
            kind: Some(kind),
            partner: partner_id,
        };
        // Registered before the log is read: what is written in between is either read or hinted.
        let listener = self.hints.listen(viewer);
        let cursor = match after {
            Some(text) => SignalCursor::parse(text, viewer, stream)?,
            None => self.signal_cursor(viewer).await?,
        };
        let mut stream = SignalStream {
            chat: self.clone(),
            listener,
            cursor: SignalCursor { stream, ..cursor },
            conversation: partner_id.map(|partner| conversation_id(viewer, partner)),
            joined_at: cursor.position,
        };
        let page = self.log_page(viewer, cursor.position, None).await?;
        stream.check(&page)?;
        stream.joined_at = page
            .first()
            .map_or(cursor.position, |end| end.last_position);
        Ok(stream)
    }

    /// The entries that follow a position, and in the same statement where the log begins and ends, and the messages of those
    /// that a stream tells of.
    async fn log_page(
        &self,
        user: Uuid,
        after: i64,
        told: Option<(Kind, Option<Uuid>)>,
    ) -> Result<Vec<LogRow>, Error> {
        let mut values: Vec<Value> =
            vec![user.into(), after.into(), after.saturating_add(PAGE).into()];
        let (mut columns, mut joined) = (String::new(), String::new());
        if let Some((kind, conversation)) = told {
            values.push(kind.into());
            columns = format!(", {}", query::columns::<message::Entity>("m", ""));
            joined += "LEFT JOIN message m ON m.conversation_id = s.conversation_id AND m.seq = s.seq AND s.kind = $4 \
                       AND (m.sender_id = s.user_id OR m.recipient_id = s.user_id) ";
            if let Some(conversation) = conversation {
                values.push(conversation.into());
                joined += "AND s.conversation_id = $5 ";
            }
        }
        let page = format!(
            "i.last_position, i.log_floor, s.position, s.kind, s.conversation_id{columns} \
             FROM inbox i LEFT JOIN signal s ON s.user_id = i.user_id AND s.position > $2 AND s.position <= $3 \
             {joined}WHERE i.user_id = $1 ORDER BY s.position"
        );
        let backend = self.store.read.get_database_backend();
        let rows = self
            .with_epoch(&page, |sql| {
                Statement::from_sql_and_values(backend, sql, values.clone())
            })
            .await?;
        let rows = rows.iter().map(|row| LogRow::of(row, told.is_some()));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        if let Some(end) = rows.first() {
            self.note_epoch(end.epoch);
        }
        Ok(rows)
    }

    /// Tells this server's listeners where their logs stand, where that is not what was hinted last.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(crate) async fn hint_ends(&self, hinted: &[(Uuid, i64)]) -> Result<(), Error> {
        // One row at least, for the epoch.
        let page = "e.user_id, e.last_position FROM (SELECT 1) AS one LEFT JOIN \
             (SELECT i.user_id, i.last_position FROM {rows} \
             JOIN inbox i ON i.user_id = r.user_id AND i.last_position <> r.position) AS e ON true";
        let backend = self.store.read.get_database_backend();
        let rows = Rows::default()
            .uuids("user_id", hinted.iter().map(|(user, _)| *user))
            .integers("position", hinted.iter().map(|(_, position)| *position));
        let ends = self
            .with_epoch(page, |sql| rows.clone().statement(backend, &sql))
            .await?;
        if let Some(row) = ends.first() {
            let timeline = row.try_get("", "timeline")?;
            self.note_epoch(epoch(row.try_get("", "epoch")?, timeline));
        }
        for row in ends {
            let Some(user) = row.try_get("", "user_id")? else {
                continue;
            };
            self.hints.wake(user, row.try_get("", "last_position")?);
        }
        Ok(())
    }

    /// Asks for something of the log together with `epoch` and `timeline`, in one statement. Whether this database tells its
    /// timeline is tried once.
    async fn with_epoch(
        &self,
        page: &str,
        statement: impl Fn(String) -> Statement,
    ) -> Result<Vec<QueryResult>, DbErr> {
        let db = &self.store.read;
        let ask = |timeline: &str| {
            statement(format!(
                "SELECT (SELECT value FROM epoch WHERE id = 1) AS epoch, {timeline} AS timeline, {page}"
            ))
        };
        let told = match db.get_database_backend() {
            DbBackend::Postgres => self.timeline.get().copied(),
            _ => Some(false),
        };
        if told == Some(false) {
            return db.query_all_raw(ask("NULL")).await;
        }
        match db.query_all_raw(ask(TIMELINE)).await {
            Err(error) if told.is_none() && is_not_offered(&error) => {
                let rows = db.query_all_raw(ask("NULL::int")).await?;
                tracing::warn!(
                    %error,
                    "this database does not tell its timeline: after a failover or a restore run `directmessages restored`"
                );
                self.timeline.get_or_init(|| false);
                Ok(rows)
            }
            answer => {
                if answer.is_ok() {
                    self.timeline.get_or_init(|| true);
                }
                answer
            }
        }
    }

    /// Where the log was replaced, everything that this server remembers of it is of no use, and every listener is to see
    /// that now rather than with the next signal.
    fn note_epoch(&self, epoch: i64) {
        let before = self.epoch.swap(epoch, Ordering::Relaxed);
        if before != epoch && before != 0 {
            self.known.clear();
            self.hints.wake_all();
        }
    }
}

/// What cursors hold of both: it differs where either does.
fn epoch(value: i64, timeline: Option<i32>) -> i64 {
    value ^ i64::from(timeline.unwrap_or(0))
}

impl LogRow {
    /// Its columns by their places.
    fn of(row: &QueryResult, with_message: bool) -> Result<Self, DbErr> {
        let entry = match row.try_get_by_index(4)? {
            None => None,
            Some(position) => Some(Entry {
                position,
                kind: row.try_get_by_index(5)?,
                conversation_id: row.try_get_by_index(6)?,
                message: if with_message {
                    query::joined_message_at(row, 7)?
                } else {
                    None
                },
            }),
        };
        Ok(Self {
            epoch: epoch(row.try_get_by_index(0)?, row.try_get_by_index(1)?),
            last_position: row.try_get_by_index(2)?,
            log_floor: row.try_get_by_index(3)?,
            entry,
        })
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
            self.listener.catch_up();
            // Boxed, so that a listener that waits holds nothing of the reading.
            match Box::pin(self.read_on()).await {
                Ok(Step::Told(signals)) => {
                    self.count(&signals);
                    return Ok(signals);
                }
                Ok(Step::AtEnd) => self.listener.wait().await,
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
        let SignalCursor {
            user,
            position,
            stream,
            ..
        } = self.cursor;
        let told = stream.kind.map(|kind| (kind, self.conversation));
        let rows = self.chat.log_page(user, position, told).await?;
        self.check(&rows)?;
        let entries = rows.into_iter().filter_map(|row| row.entry);
        let mut last = None;
        let mut messages = Vec::new();
        for entry in entries {
            if self.tells(&entry) {
                match entry.message {
                    Some(message) => messages.push((entry.position, message)),
                    // What comes before it can be told.
                    None if last.is_none() => return Ok(Step::NotYet),
                    None => break,
                }
            }
            last = Some(entry.position);
        }
        let Some(last) = last else {
            return Ok(Step::AtEnd);
        };
        let people = messages
            .iter()
            .flat_map(|(_, m)| [m.sender_id, m.recipient_id]);
        let users = self.chat.people(people).await?;
        let signals = messages.into_iter().map(|(position, message)| {
            let cursor = SignalCursor {
                position,
                ..self.cursor
            };
            let message = Message::join(message, &users)?;
            Ok(Signal { cursor, message })
        });
        let signals = signals.collect::<Result<_, Error>>()?;
        self.cursor.position = last;
        Ok(Step::Told(signals))
    }

    /// Whether the page follows the cursor without a gap.
    fn check(&self, rows: &[LogRow]) -> Result<(), Error> {
        let end = rows.first().ok_or_else(no_inbox)?;
        let position = self.cursor.position;
        if end.epoch != self.cursor.epoch
            || position < end.log_floor
            || position > end.last_position
        {
            return Err(Error::CursorExpired);
        }
        let entries = || rows.iter().filter_map(|row| row.entry.as_ref());
        let dense = (position + 1..)
            .zip(entries())
            .all(|(next, entry)| entry.position == next);
        let wanted = (end.last_position - position).min(PAGE);
        if dense && usize::try_from(wanted) == Ok(entries().count()) {
            return Ok(());
        }
        Err(Error::internal(format!(
            "the signal log of {} has a gap after {position}",
            self.cursor.user
        )))
    }

    fn tells(&self, entry: &Entry) -> bool {
        self.cursor.stream.kind == Some(entry.kind)
            && self
                .conversation
                .is_none_or(|conversation| conversation == entry.conversation_id)
    }
}

/// What one look at the log came to.
enum Step {
    /// The cursor moved on, over these and what did not match.
    Told(Vec<Signal>),
    /// There is nothing beyond the cursor.
    AtEnd,
    /// The next one's message cannot be seen yet.
    NotYet,
}

fn no_inbox() -> Error {
    Error::internal("a signed-in user has no inbox")
}
