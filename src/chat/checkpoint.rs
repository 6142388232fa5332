//! SQLite: what was written is copied from its log into the file beside the writer, which would otherwise do so itself, with
//! everybody waiting for two or three waits for the disk.
//!
//! Two connections that copy need SQLite 3.51.3 or newer: before, a log that began anew beside a checkpoint could spoil the
//! file (<https://sqlite.org/wal.html#walresetbug>). The driver brings its own; a test holds the version.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, Statement};
use tokio::sync::Notify;

use super::Store;

/// How many messages, sent or turned read, are worth a checkpoint: some 1,400 pages, a sixth of those after which the writer makes one. Its own is
/// short then, and the log can begin anew, which it never does beside a writer that does not pause.
const WORTH_COPYING: usize = 128;

/// How much was written since the last checkpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written(Arc<State>);

#[derive(Debug, Default)]
struct State {
    changes: AtomicUsize,
    enough: Notify,
}

impl Written {
    pub(crate) fn add(&self, changes: usize) {
        let before = self.0.changes.fetch_add(changes, Ordering::Relaxed);
        if before + changes >= WORTH_COPYING {
            self.0.enough.notify_one();
        }
    }

    async fn enough(&self) {
        self.0.enough.notified().await;
        self.0.changes.store(0, Ordering::Relaxed);
    }
}

impl Store {
    /// Copies the log into the file whenever it is worth it, for as long as it is polled.
    pub(crate) async fn copy_log(self) {
        if self.backend != DbBackend::Sqlite {
            return;
        }
        let mut fails = false;
        loop {
            self.written.enough().await;
            let began = Instant::now();
            match self.checkpoint().await {
                Ok(()) => fails = false,
                // The writer makes one itself, sooner or later.
                Err(error) if fails => tracing::debug!(%error, "the log was not copied again"),
                Err(error) => {
                    fails = true;
                    tracing::warn!(%error, "the log of writes was not copied into the file, and grows until it is");
                }
            }
            // Only the writer's own checkpoint, between two transactions, reaches the log's end, and it is left out while
            // this one is made: most commits have to find it free.
            tokio::time::sleep(began.elapsed() * 2).await;
        }
    }

    /// Copies what no reader still needs from the log, and waits for nobody.
    async fn checkpoint(&self) -> Result<(), DbErr> {
        let checkpoint = Statement::from_string(self.backend, "PRAGMA wal_checkpoint(PASSIVE)");
        let db = self.read.shared.pool.get();
        db.query_one_raw(checkpoint).await?;
        Ok(())
    }
}
