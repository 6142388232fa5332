//! Messages in bulk, from a file: all of it or nothing.
//!
//! The whole file is read and checked before the database is touched. Then one transaction stores it in the order of
//! `sent_at`: every message takes a position in both users' logs, as if it had been sent, but no signal is written;
//! each log begins anew at its end, so that cursors from before expire and clients reload.

mod file;
mod history;
mod write;

use std::{fmt, io, path::Path};

use sea_orm::DbErr;

use super::{Clock, Limits, Store, error::Trouble};

/// What stands as the content of every message of a file that has no column `content`.
pub const NO_TEXT: &str = "(no text)";

/// How many faults of a file are told at once.
const FAULTS_TOLD: usize = 10;

/// What an import stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The messages of the file: all of them.
    pub messages: u64,
    /// The conversations that they belong to.
    pub conversations: u64,
    /// The users who sent or received them.
    pub users: u64,
    /// Those users whom the database did not know before.
    pub new_users: u64,
}

/// Stores every message of a CSV file, or none. `progress` is told how many messages are written, and of how many.
///
/// The file is UTF-8 with a header line; fields are separated by commas and quoted as RFC 4180 has it. Its columns, in
/// any order:
///
/// | column | |
/// | --- | --- |
/// | `sender`, `recipient` | the users' ids in the host application; a new user's id stands in for a name |
/// | `sent_at` | whole seconds since 1970 in UTC, or RFC 3339 |
/// | `content` | where there is no such column, every message says [`NO_TEXT`] |
/// | `read_at` | like `sent_at`, and never before it; empty, or no such column: the message is unread |
///
/// Messages of one second keep the file's order. A conversation that has messages already takes only newer ones, so a
/// file that was imported is refused the second time. The database's schema has to be up to date. While the import
/// writes, servers on the same database answer UNAVAILABLE to whoever writes to its users (SQLite: to everyone).
///
/// # Errors
/// [`ImportError`]; nothing is stored then.
pub async fn csv(
    store: &Store,
    file: &Path,
    limits: &Limits,
    clock: &Clock,
    progress: impl FnMut(u64, u64) + Send,
) -> Result<Summary, ImportError> {
    let data = tokio::fs::read(file)
        .await
        .map_err(ImportError::Unreadable)?;
    let history = file::parse(&data, limits, clock.now()).map_err(ImportError::Faults)?;
    drop(data);
    write::store(store, history, clock.now(), progress).await
}

/// How many messages such a file holds, without storing any.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(data: &[u8], limits: &Limits, now: i64) -> Result<usize, Faults> {
    let history = file::parse(data, limits, now)?;
    Ok(history.lines.len())
}

/// Why nothing was imported. Its `Display` is for the person who runs the import, and knows which file it was.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(io::Error),
    /// The file was read, and cannot be right.
    #[error("{0}")]
    Faults(Faults),
    /// The database did not take it.
    #[error("{}", advise(.0))]
    Database(DbErr),
    /// The transaction was complete, and the connection broke before the database answered.
    #[error(
        "the database did not answer at the very end, so that everything may be stored, or nothing ({0}): import the \
         file again; where it is stored, that is refused"
    )]
    Unanswered(DbErr),
}

impl From<DbErr> for ImportError {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

fn advise(error: &DbErr) -> String {
    match Trouble::of(error) {
        Trouble::Away => format!("the database cannot be reached ({error})"),
        Trouble::Busy | Trouble::Slow | Trouble::Conflict => format!(
            "others are writing to the database ({error}): try again when it is quiet, or stop the server meanwhile"
        ),
        Trouble::Full => format!("the database cannot store anything now ({error})"),
        Trouble::Defect => format!("the database refused it ({error})"),
    }
}

/// What is wrong in a file, by line as an editor counts: the first few faults, and the number of the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    told: Vec<(u64, String)>,
    untold: u64,
}

impl Faults {
    fn push(&mut self, line: u64, what: impl FnOnce() -> String) {
        if self.told.len() < FAULTS_TOLD {
            self.told.push((line, what()));
        } else {
            self.untold += 1;
        }
    }

    fn is_empty(&self) -> bool {
        self.told.is_empty()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (line, what)) in self.told.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}line {line}: {what}")?;
        }
        match self.untold {
            0 => Ok(()),
            1 => f.write_str("\nand 1 more line"),
            more => write!(f, "\nand {more} more lines"),
        }
    }
}
