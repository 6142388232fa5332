use std::{borrow::Cow, sync::Arc, time::Duration};

use sea_orm::{DbBackend, DbErr, RuntimeErr, sqlx};

/// What can go wrong when messages are sent, read and listed. Its `Display` is written for the person who called: it
/// never holds SQL, a path or another user's data.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No user has this id.
    #[error("there is no user with the id {0:?}")]
    UserNotFound(String),
    /// The message is unknown, or the caller may not do this with it: one answer for both.
    #[error("there is no such message, or it is not yours to read")]
    MessageNotFound,
    /// Sender and recipient are one person.
    #[error("a message cannot be sent to oneself: give another user's id")]
    CannotMessageSelf,
    /// Nothing but white space.
    #[error("the content is empty: write at least one character that is not white space")]
    ContentEmpty,
    /// More characters than the server's limit.
    #[error("the content has {length} characters: at most {limit} are allowed")]
    ContentTooLong {
        /// Unicode scalar values in the content.
        length: usize,
        /// The most that this server takes.
        limit: usize,
    },
    /// The same client id came before with another content.
    #[error(
        "this clientMessageId was used for another message to this recipient: choose a new one"
    )]
    ClientMessageIdReused,
    /// An argument that cannot be right, and why.
    #[error("{0}")]
    BadInput(String),
    /// The log does not hold the position that follows the cursor.
    #[error("this cursor is too old: reload the lists, and go on from signalCursor")]
    CursorExpired,
    /// Too many messages to nobody: for so long none to a stranger is sent.
    #[error(
        "too many messages to users that do not exist: wait, or write to somebody you have written with"
    )]
    TooManyMisses(Duration),
    /// Worth another try.
    #[error("{0}: try again in a moment")]
    Unavailable(&'static str),
    /// A defect of the server's: for its log, not for its callers.
    #[error("something went wrong on the server")]
    Internal(Arc<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// A defect, told in words.
    pub(crate) fn internal(what: impl Into<String>) -> Self {
        let error: Box<dyn std::error::Error + Send + Sync> = what.into().into();
        Self::Internal(error.into())
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match Trouble::of(&error) {
            Trouble::Away => Self::Unavailable("the database cannot be reached"),
            Trouble::Busy | Trouble::Slow | Trouble::Conflict => {
                Self::Unavailable("the database is busy")
            }
            Trouble::Full => Self::Unavailable("the database cannot store anything now"),
            Trouble::Defect => Self::Internal(Arc::new(error)),
        }
    }
}

/// [`busy`]'s text.
const BUSY: &str = "every connection that reads is in use";

/// No connection was free in time, of a database that is there.
pub(super) fn busy() -> DbErr {
    DbErr::Custom(BUSY.to_owned())
}

/// What a database error means for whoever wants to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No connection, or it broke: nothing is known about the statement under way.
    Away,
    /// Somebody holds a lock, or all connections, for longer than we wait.
    Busy,
    /// A statement took longer than it may.
    Slow,
    /// The transaction lost against another, and can be run again.
    Conflict,
    /// The disk is full, read-only or broken.
    Full,
    /// The statement itself is at fault.
    Defect,
}

impl Trouble {
    pub(crate) fn of(error: &DbErr) -> Self {
        match error {
            DbErr::Custom(text) if text == BUSY => Self::Busy,
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => Self::Away,
            DbErr::Exec(RuntimeErr::SqlxError(error))
            | DbErr::Query(RuntimeErr::SqlxError(error)) => Self::of_driver(error),
            _ => Self::Defect,
        }
    }

    fn of_driver(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Away,
            sqlx::Error::Database(error) => match error.code().as_deref() {
                // PostgreSQL: lock_timeout.
                Some("55P03") => Self::Busy,
                // PostgreSQL: statement_timeout.
                Some("57014") => Self::Slow,
                // PostgreSQL: serialization failure, deadlock.
                Some("40001" | "40P01") => Self::Conflict,
                // PostgreSQL: shut down, crashed, starting, ended while idle, or idle in a transaction, out of connections.
                // And a standby, or a primary that was told to take no writes.
                Some(
                    "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "53300" | "25006" | "55000",
                ) => Self::Away,
                Some(code) if code.starts_with("08") => Self::Away,
                Some("53100") => Self::Full,
                // SQLite's extended codes hold the primary one in their low byte: busy and locked; read-only, I/O
                // error, full and cannot open.
                Some(code) => match code.parse::<u32>().map(|code| code & 0xff) {
                    Ok(5 | 6) if code.len() < 5 => Self::Busy,
                    Ok(8 | 10 | 13 | 14) if code.len() < 5 => Self::Full,
                    _ => Self::Defect,
                },
                None => Self::Defect,
            },
            _ => Self::Defect,
        }
    }
}

/// Whether PostgreSQL has no such function, or not for us.
pub(super) fn is_not_offered(error: &DbErr) -> bool {
    // Undefined function, insufficient privilege, feature not supported.
    matches!(code(error).as_deref(), Some("42883" | "42501" | "0A000"))
}

/// Whether there is no such table, or not for us.
pub(super) fn is_no_table(error: &DbErr) -> bool {
    // PostgreSQL: undefined table, insufficient privilege. SQLite: a statement that cannot be.
    matches!(code(error).as_deref(), Some("42P01" | "42501" | "1"))
}

/// What the database calls an error of a statement's.
fn code(error: &DbErr) -> Option<Cow<'_, str>> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => error.as_database_error()?.code(),
        _ => None,
    }
}

/// Whether SQLite's file is locked by somebody else, of whichever kind the lock is.
pub(super) fn is_locked(error: &DbErr) -> bool {
    let code = code(error).and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

/// Whether SQLite's file is damaged, or none of its own.
pub(super) fn is_spoilt(error: &DbErr) -> bool {
    matches!(code(error).as_deref(), Some("11" | "26"))
}

/// What whoever runs the server can do about a SQLite file that cannot be used; nothing where that is not known.
#[must_use]
pub fn advice(error: &DbErr, backend: DbBackend) -> &'static str {
    const HELD: &str = "; another program holds the database: stop it, or wait until it is done";
    if backend != DbBackend::Sqlite {
        return "";
    }
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return "";
    };
    let code = match error.as_ref() {
        sqlx::Error::Database(error) => error.code(),
        // A file is there at once, unless it is locked.
        sqlx::Error::PoolTimedOut => return HELD,
        _ => None,
    };
    match code
        .and_then(|code| code.parse::<u32>().ok())
        .map(|code| code & 0xff)
    {
        Some(5 | 6) => HELD,
        Some(8 | 14) => {
            "; see to it that the server's user may read and write both the file and its folder"
        }
        Some(10 | 13) => "; make room on the disk, or look whether it is broken",
        Some(11) => "; the file is damaged: restore a backup",
        Some(26) => "; this file is no SQLite database: name another one",
        _ => "",
    }
}
