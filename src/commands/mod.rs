//! What an operator runs beside the server.

mod prune;
mod restored;
mod verify;

use directmessages::config::Database;

pub(crate) use self::{prune::prune, restored::restored, verify::verify};

/// A mistyped path must not become an empty database.
fn existing(database: &Database) -> anyhow::Result<()> {
    match database.database_url.file() {
        Some(file) if !file.exists() => {
            anyhow::bail!("there is no database file {}", file.display())
        }
        _ => Ok(()),
    }
}
