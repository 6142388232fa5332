//! A user's log of signals, read in pages.

use std::sync::{Arc, atomic::Ordering};

use entity::{message, signal::Kind};
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, QueryResult, Statement, Value};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Chat, Error, Message, SignalCursor, Stream, error::is_not_offered, query, rows::Rows};

/// How many entries of the log are read at one time.
const PAGE: i64 = 256;
/// The most bytes of contents that are read at one time, of messages that are as long as they may be.
const CONTENT_BYTES: usize = 262_144;
/// The most bytes of a character in UTF-8.
const CHARACTER_BYTES: usize = 4;

/// PostgreSQL's timeline, as the name of the segment that is written to now tells it. A standby fails here, which is right:
/// nobody is to read a log from there.
const TIMELINE: &str = "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int";

/// What follows a position in a log, up to where the page or the log ends, or to an entry whose message cannot be seen yet.
#[derive(Debug)]
pub(super) struct LogPage {
    /// When it was asked for, and when it was there: it shows the log as it was somewhere between.
    pub(super) asked_at: Instant,
    pub(super) answered_at: Instant,
    /// The position that it follows.
    pub(super) after: i64,
    /// Of the log and of PostgreSQL's timeline, where it tells: that changes when a standby is promoted and when a log of
    /// writes is recovered up to a point in time.
    pub(super) epoch: i64,
    /// The last position that was pruned.
    pub(super) floor: i64,
    /// The last position of the log.
    pub(super) end: i64,
    /// Whether the messages come with their contents.
    pub(super) contents: bool,
    /// In the order of their positions, without a gap.
    pub(super) entries: Vec<Entry>,
}

/// One entry of the log.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) position: i64,
    pub(super) kind: Kind,
    pub(super) message: Arc<Message>,
}

impl LogPage {
    /// Where to read on.
    pub(super) fn last(&self) -> i64 {
        self.entries.last().map_or(self.after, |last| last.position)
    }
}

/// Where a log begins and ends.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    epoch: i64,
    end: i64,
    floor: i64,
}

impl Bounds {
    const COLUMNS: &str = "i.last_position, i.log_floor";

    fn of(row: &QueryResult) -> Result<Self, DbErr> {
        Ok(Self {
            epoch: epoch(row.try_get_by_index(0)?, row.try_get_by_index(1)?),
            end: row.try_get_by_index(2)?,
            floor: row.try_get_by_index(3)?,
        })
    }
}

impl Chat {
    /// Where the viewer's stream stands: what comes after this cursor has not happened yet.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn signal_cursor(&self, viewer: Uuid) -> Result<SignalCursor, Error> {
        let Bounds { epoch, end, .. } = self.log_bounds(viewer).await?;
        Ok(SignalCursor {
            epoch,
            user: viewer,
            position: end,
            stream: Stream::ANY,
        })
    }

    /// Where the log ends, for a cursor that it holds.
    ///
    /// # Errors
    /// [`Error::CursorExpired`], [`Error::Unavailable`].
    pub(super) async fn log_end(&self, cursor: &SignalCursor) -> Result<i64, Error> {
        let Bounds { epoch, end, floor } = self.log_bounds(cursor.user).await?;
        if epoch != cursor.epoch || !(floor..=end).contains(&cursor.position) {
            return Err(Error::CursorExpired);
        }
        Ok(end)
    }

    async fn log_bounds(&self, user: Uuid) -> Result<Bounds, Error> {
        let page = format!("{} FROM inbox i WHERE i.user_id = $1", Bounds::COLUMNS);
        let backend = self.store.backend;
        let rows = self.with_epoch(user, &page, |sql| {
            Statement::from_sql_and_values(backend, sql, [user.into()])
        });
        let rows = rows.await?;
        let bounds = Bounds::of(rows.first().ok_or_else(no_inbox)?)?;
        self.note_epoch(bounds.epoch);
        Ok(bounds)
    }

    /// How many entries are read at one time.
    fn page_rows(&self, contents: bool) -> i64 {
        if !contents {
            return PAGE;
        }
        let content = self.limits.content.saturating_mul(CHARACTER_BYTES).max(1);
        i64::try_from(CONTENT_BYTES / content).map_or(PAGE, |rows| rows.clamp(1, PAGE))
    }

    /// The entries that follow a position, with their messages, and where the log begins and ends: one statement.
    ///
    /// # Errors
    /// [`Error::Internal`] for a log with a gap: nothing is ever skipped. [`Error::Unavailable`].
    pub(super) async fn log_page(
        &self,
        user: Uuid,
        after: i64,
        contents: bool,
    ) -> Result<LogPage, Error> {
        let asked_at = Instant::now();
        let limit = self.page_rows(contents);
        let mut message = query::columns::<message::Entity>("m", "");
        if !contents {
            message = message.replace("m.content AS", "'' AS");
        }
        let page = format!(
            "{}, s.position, s.kind, {message} \
             FROM inbox i LEFT JOIN signal s ON s.user_id = i.user_id AND s.position > $2 AND s.position <= $3 \
             LEFT JOIN message m ON m.conversation_id = s.conversation_id AND m.seq = s.seq \
             AND (m.sender_id = s.user_id OR m.recipient_id = s.user_id) \
             WHERE i.user_id = $1 ORDER BY s.position",
            Bounds::COLUMNS
        );
        let values: [Value; 3] = [
            user.into(),
            after.into(),
            after.saturating_add(limit).into(),
        ];
        let backend = self.store.backend;
        let rows = self.with_epoch(user, &page, |sql| {
            Statement::from_sql_and_values(backend, sql, values.clone())
        });
        let rows = rows.await?;
        let answered_at = Instant::now();
        let Bounds { epoch, end, floor } = Bounds::of(rows.first().ok_or_else(no_inbox)?)?;
        self.note_epoch(epoch);
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            if let Some(position) = row.try_get_by_index::<Option<i64>>(4)? {
                let kind: Kind = row.try_get_by_index(5)?;
                found.push((position, kind, query::joined_message_at(row, 6)?));
            }
        }
        let dense = (after + 1..)
            .zip(&found)
            .all(|(next, (at, ..))| *at == next);
        // What was pruned, or is of another log, is for each reader to see by its cursor.
        let wanted = (end - after).clamp(0, limit);
        if after >= floor && !(dense && usize::try_from(wanted) == Ok(found.len())) {
            let gap = format!("the signal log of {user} has a gap after {after}");
            return Err(Error::internal(gap));
        }
        // What comes before a message that cannot be seen yet can be sent.
        let seen = found.into_iter().map_while(|(position, kind, message)| {
            message.map(|message| (position, kind, message))
        });
        let seen: Vec<_> = seen.collect();
        let users = seen
            .iter()
            .flat_map(|(_, _, m)| [m.sender_id, m.recipient_id]);
        let users = self.people(user, users).await?;
        let entries = seen.into_iter().map(|(position, kind, message)| {
            let mut message = Message::join(message, &users)?;
            if !contents {
                message.content = None;
            }
            let message = Arc::new(message);
            Ok(Entry {
                position,
                kind,
                message,
            })
        });
        Ok(LogPage {
            asked_at,
            answered_at,
            after,
            epoch,
            floor,
            end,
            contents,
            entries: entries.collect::<Result<_, Error>>()?,
        })
    }

    /// Wakes this server's listeners with where their logs end, where that is not what they were notified of last.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(crate) async fn hint_ends(&self, hinted: &[(Uuid, i64)]) -> Result<(), Error> {
        // One row at least, for the epoch.
        let page = "e.user_id, e.last_position FROM (SELECT 1) AS one LEFT JOIN \
             (SELECT i.user_id, i.last_position FROM {rows} \
             JOIN inbox i ON i.user_id = r.user_id AND i.last_position <> r.position) AS e ON true";
        let backend = self.store.backend;
        let rows = Rows::default()
            .uuids("user_id", hinted.iter().map(|(user, _)| *user))
            .integers("position", hinted.iter().map(|(_, position)| *position));
        let ends = self.with_epoch(Uuid::max(), page, |sql| {
            rows.clone().statement(backend, &sql)
        });
        let ends = ends.await?;
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
        user: Uuid,
        page: &str,
        statement: impl Fn(String) -> Statement,
    ) -> Result<Vec<QueryResult>, DbErr> {
        let db = &self.reader(user);
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

    /// The epoch that was seen last.
    pub(super) fn last_epoch(&self) -> i64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Where the log was replaced, everything that this server remembers of it is of no use, and every listener is to see
    /// that now rather than with the next signal.
    fn note_epoch(&self, epoch: i64) {
        let before = self.epoch.swap(epoch, Ordering::Relaxed);
        if before != epoch && before != 0 {
            self.known.clear();
            self.logs.forget_pages();
            self.hints.wake_all();
        }
    }
}

/// What cursors hold of both: it differs where either does.
fn epoch(value: i64, timeline: Option<i32>) -> i64 {
    value ^ i64::from(timeline.unwrap_or(0))
}

pub(super) fn no_inbox() -> Error {
    Error::internal("a signed-in user has no inbox")
}
