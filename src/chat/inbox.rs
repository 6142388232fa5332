//! Locks on inboxes, by which everybody who writes keeps out of the others' way.

use std::collections::{HashMap, HashSet};

use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbBackend, DbErr, QueryResult};
use uuid::Uuid;

use super::rows::Rows;

/// What to do about an inbox that another transaction holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locking {
    /// Wait for it, as long as `lock_timeout` says.
    Wait,
    /// Go on without it.
    SkipBusy,
}

/// Locks these users' inboxes in the one order in which everybody does, and answers with those that are locked now, and the
/// end of each one's log: of a row that it locks, PostgreSQL answers with what stands there after the wait. The statement
/// reads nothing else, which would be from before its wait.
pub(crate) async fn lock(
    tx: &DatabaseTransaction,
    users: impl IntoIterator<Item = Uuid>,
    locking: Locking,
) -> Result<HashMap<Uuid, i64>, DbErr> {
    let clause = match (tx.get_database_backend(), locking) {
        // The transaction holds the whole database.
        (DbBackend::Sqlite, _) => "",
        (_, Locking::Wait) => "FOR UPDATE",
        (_, Locking::SkipBusy) => "FOR UPDATE SKIP LOCKED",
    };
    select(tx, users, clause).await
}

/// Which of these users have an inbox, whoever holds it.
pub(crate) async fn find(
    tx: &DatabaseTransaction,
    users: impl IntoIterator<Item = Uuid>,
) -> Result<HashSet<Uuid>, DbErr> {
    Ok(select(tx, users, "").await?.into_keys().collect())
}

async fn select(
    tx: &DatabaseTransaction,
    users: impl IntoIterator<Item = Uuid>,
    clause: &str,
) -> Result<HashMap<Uuid, i64>, DbErr> {
    let sql = format!(
        "SELECT user_id, last_position FROM inbox WHERE user_id IN (SELECT r.user_id FROM {{rows}}) ORDER BY user_id {clause}"
    );
    let statement = Rows::default()
        .uuids("user_id", users)
        .statement(tx.get_database_backend(), &sql);
    let rows = tx.query_all_raw(statement).await?;
    let inbox = |row: &QueryResult| Ok((row.try_get_by(0)?, row.try_get_by(1)?));
    rows.iter().map(inbox).collect()
}
