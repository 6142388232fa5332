//! The connections that read, and what pools of connections have in common.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use sea_orm::{
    ConnAcquireErr, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult,
    RuntimeErr, Statement, TransactionTrait as _,
};

use super::{error::Trouble, primary::Primary};
use crate::observe::Metrics;

/// How long connections may take to close.
const CLOSING: Duration = Duration::from_secs(2);

/// Connections, all of which can be replaced by new ones.
#[derive(Clone, Debug)]
pub(super) struct Pool(Arc<RwLock<DatabaseConnection>>);

impl Pool {
    pub(super) fn new(db: DatabaseConnection) -> Self {
        Self(Arc::new(RwLock::new(db)))
    }

    pub(super) fn get(&self) -> DatabaseConnection {
        let db = self.0.read().unwrap_or_else(PoisonError::into_inner);
        db.clone()
    }

    /// Takes other connections from now on. What is in use ends where it is, and is closed then.
    pub(super) fn replace(&self, by: DatabaseConnection) {
        let mut db = self.0.write().unwrap_or_else(PoisonError::into_inner);
        tokio::spawn(close(std::mem::replace(&mut db, by)));
    }
}

/// Closes connections, without waiting for those that hang.
pub(super) async fn close(db: DatabaseConnection) {
    match tokio::time::timeout(CLOSING, db.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "a database connection did not close"),
        Err(_) => tracing::warn!("some database connections hang, and are left"),
    }
}

/// The connections that read. A statement that gets no answer in time fails as if the database were away: a server that
/// hangs must not take ours with it.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(super) pool: Pool,
    pub(super) backend: DbBackend,
    /// The most connections in its pool.
    pub(super) connections: u32,
    pub(super) patience: Duration,
    pub(super) primary: Option<Primary>,
    pub(super) pooled: bool,
    /// When the database last answered.
    pub(super) answered: Arc<Mutex<Option<Instant>>>,
    pub(super) metrics: Metrics,
}

impl Reader {
    /// Asks again over another connection where one turns out to be dead: after a restart of the database every one in the
    /// pool is, and none of that is the caller's to know. Without a connection to be had it fails at once.
    async fn persist<T, F>(&self, ask: impl Fn() -> F) -> Result<T, DbErr>
    where
        F: Future<Output = Result<T, DbErr>>,
    {
        let answer = async {
            for _ in 0..self.connections {
                match ask().await {
                    Err(error @ (DbErr::Query(_) | DbErr::Exec(_)))
                        if matches!(Trouble::of(&error), Trouble::Away | Trouble::Conflict) =>
                    {
                        note::<()>(self.primary.as_ref(), &Err(error));
                    }
                    // They were replaced while this one waited.
                    Err(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed)) => {}
                    answer => return answer,
                }
            }
            ask().await
        };
        self.in_time(answer).await
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        present(self.primary.as_ref())?;
        let began = Instant::now();
        let answer = in_time(self.primary.as_ref(), self.patience, answer).await;
        self.metrics.read(began.elapsed());
        if answer.is_ok() {
            *self.answered() = Some(Instant::now());
        }
        answer
    }

    /// Whether the database answered within the time that a statement may take.
    pub(super) fn answered_lately(&self) -> bool {
        self.answered()
            .is_some_and(|at| at.elapsed() < self.patience)
    }

    fn answered(&self) -> MutexGuard<'_, Option<Instant>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The driver prepares a statement by one message and runs it by another. A pooler may send these to two connections,
    /// and keeps them together within a transaction only.
    async fn query_all_pooled(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let tx = self.pool.get().begin().await?;
        let sql = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ ONLY";
        let sql = format!("{sql}{}", forget_prepared(self.pooled));
        tx.execute_unprepared(&sql).await?;
        let rows = tx.query_all_raw(statement).await?;
        tx.commit().await?;
        Ok(rows)
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Reader {
    fn get_database_backend(&self) -> DbBackend {
        self.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.in_time(self.pool.get().execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.in_time(self.pool.get().execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        if self.pooled {
            return Ok(self.query_all_raw(statement).await?.into_iter().next());
        }
        self.persist(async || self.pool.get().query_one_raw(statement.clone()).await)
            .await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        if self.pooled {
            return self
                .persist(|| self.query_all_pooled(statement.clone()))
                .await;
        }
        self.persist(async || self.pool.get().query_all_raw(statement.clone()).await)
            .await
    }
}

/// Behind a pooler a connection may hold what another server prepared, under the names that this one is about to use.
pub(super) fn forget_prepared(pooled: bool) -> &'static str {
    if pooled { "; DEALLOCATE ALL" } else { "" }
}

/// Fails at once where it is known that the database is away: nobody waits in vain, and nothing piles up.
pub(super) fn present(primary: Option<&Primary>) -> Result<(), DbErr> {
    match primary {
        Some(primary) if primary.is_away() => {
            Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout))
        }
        _ => Ok(()),
    }
}

/// Has the primary looked for where something went wrong that may be its absence.
pub(super) fn note<T>(primary: Option<&Primary>, result: &Result<T, DbErr>) {
    if let (Some(primary), Err(error)) = (primary, result)
        && Trouble::of(error) == Trouble::Away
    {
        primary.doubt();
    }
}

/// What the database answers, unless it takes too long.
pub(super) async fn in_time<T>(
    primary: Option<&Primary>,
    patience: Duration,
    answer: impl Future<Output = Result<T, DbErr>>,
) -> Result<T, DbErr> {
    let answer = tokio::time::timeout(patience, answer)
        .await
        .unwrap_or_else(|_| {
            let late = "the database did not answer in time".to_owned();
            Err(DbErr::Conn(RuntimeErr::Internal(late)))
        });
    note(primary, &answer);
    answer
}
