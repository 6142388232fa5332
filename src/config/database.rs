use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Bounds, Mistake, parse_pause, parse_seconds, parse_switch, whole};
use crate::chat::{DatabaseUrl, StoreOptions, WriterOptions};

/// Which database, and how it is used.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Database")]
pub struct Database {
    /// Where messages are kept: sqlite:PATH (made where it is missing), or `postgres://USER:PASSWORD@HOST[:PORT][,HOST…]/DATABASE`:
    /// of several hosts the one that takes writes is used.
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        default_value = "sqlite:directmessages.db"
    )]
    pub database_url: DatabaseUrl,
    /// `DATABASE_URL` leads to a pooler, as pgbouncer in transaction mode: nothing is kept on a connection beyond a transaction.
    #[arg(long, env = "DATABASE_POOLED", value_parser = parse_switch)]
    pub database_pooled: bool,
    /// The same PostgreSQL past the pooler, for LISTEN and NOTIFY.
    #[arg(long, env = "DIRECT_DATABASE_URL", hide_env_values = true, value_parser = parse_postgres)]
    pub direct_database_url: Option<DatabaseUrl>,
    /// The most connections that read at one time.
    #[arg(long, env = "READ_CONNECTIONS", default_value_t = 8, value_parser = whole(1..=1_000_u32))]
    pub read_connections: u32,
    /// The most transactions that write at one time (SQLite: always 1).
    #[arg(long, env = "WRITERS", default_value_t = 2, value_parser = whole(1..=64_u32))]
    pub writers: u32,
    /// Seconds to wait for a connection before the database counts as away.
    #[arg(long, env = "CONNECT_TIMEOUT", default_value = "2", value_parser = parse_seconds)]
    pub connect_timeout: Duration,
    /// Seconds that one reading statement may take before the database counts as away.
    #[arg(long, env = "READ_TIMEOUT", default_value = "5", value_parser = parse_seconds)]
    pub read_timeout: Duration,
    /// Seconds for which lists and signals may still show a user's name as it was, once another server changed it; 0 asks each time.
    #[arg(long, env = "NAME_LIFE", default_value = "2", value_parser = parse_pause)]
    pub name_life: Duration,
    /// SQLite: `full` waits for the disk at every commit; `normal` may lose the last commits when the power fails.
    #[arg(long, env = "SQLITE_SYNCHRONOUS", default_value = "full", value_enum)]
    pub sqlite_synchronous: Synchronous,
}

/// How SQLite commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Synchronous {
    /// Every commit waits for the disk.
    Full,
    /// The last commits may be lost when the power fails; nothing is when only the program dies.
    Normal,
}

impl Database {
    pub(super) fn contradictions(&self) -> Vec<Mistake> {
        if self.database_url.file().is_none() {
            return Vec::new();
        }
        let pointless = [
            (self.database_pooled, "database-pooled", "DATABASE_POOLED"),
            (
                self.direct_database_url.is_some(),
                "direct-database-url",
                "DIRECT_DATABASE_URL",
            ),
        ];
        let pointless = pointless.into_iter().filter(|(given, ..)| *given);
        let told = pointless.map(|(_, flag, variable)| {
            Mistake::new(
                &[flag, "database-url"],
                format!(
                    "--{flag} ({variable}) is for PostgreSQL behind a pooler, and --database-url (DATABASE_URL) names a SQLite \
                     file: leave it out, or give postgres://USER:PASSWORD@HOST[:PORT]/DATABASE"
                ),
            )
        });
        told.collect()
    }

    /// How to open the store.
    #[must_use]
    pub fn store_options(&self) -> StoreOptions {
        StoreOptions {
            url: self.database_url.clone(),
            readers: self.read_connections,
            writers: self.writers,
            acquire_timeout: self.connect_timeout,
            read_timeout: self.read_timeout,
            name_life: self.name_life,
            pooled: self.database_pooled,
            sqlite_full_sync: self.sqlite_synchronous == Synchronous::Full,
        }
    }

    /// How to start the writer.
    #[must_use]
    pub fn writer_options(&self, bounds: &Bounds) -> WriterOptions {
        WriterOptions {
            batch: bounds.write_batch,
            queue: bounds.write_queue,
            timeout: bounds.write_timeout,
            writers: self.writers,
        }
    }
}

/// A database that can LISTEN.
fn parse_postgres(text: &str) -> Result<DatabaseUrl, String> {
    let url: DatabaseUrl = text.parse()?;
    if url.file().is_some() {
        return Err("it is for LISTEN and NOTIFY, which only PostgreSQL has: give postgres://USER:PASSWORD@HOST[:PORT]/DATABASE".to_owned());
    }
    Ok(url)
}
