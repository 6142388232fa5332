//! The connections that read, and what pools of connections have in common.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, future::BoxFuture};

use sea_orm::{
    ConnAcquireErr, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult,
    RuntimeErr, Statement, TransactionTrait as _,
};

use tokio::runtime::Handle;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    error::{Trouble, busy},
    fair::FairQueue,
    primary::Primary,
};
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

/// The connections that read, for one user's statements. Cheap to clone.
///
/// A statement that has begun runs to its end or its timeout, also where its client hangs up: its connection is free again then. It
/// is polled by whoever waits for its answer, which must not stop: what waits for a client runs statements in tasks of their own.
/// A statement that gets no answer in time fails as if the database were unavailable.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(super) shared: Arc<Shared>,
    /// Whose statements: where there are more than connections, users take turns. Nil for the server's own.
    user: Uuid,
}

/// What the readers of all users share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) pool: Pool,
    pub(super) backend: DbBackend,
    /// The most connections that run statements.
    pub(super) connections: u32,
    pub(super) queue: FairQueue,
    /// How long a statement waits for a connection.
    pub(super) acquire_timeout: Duration,
    /// How long it may take then.
    pub(super) patience: Duration,
    pub(super) primary: Option<Primary>,
    pub(super) pooled: bool,
    /// When the database last answered.
    pub(super) answered: Arc<Mutex<Option<Instant>>>,
    pub(super) metrics: Metrics,
}

impl Reader {
    pub(super) fn new(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
            user: Uuid::nil(),
        }
    }

    /// The same connections, in this user's turn.
    pub(super) fn for_user(&self, user: Uuid) -> Self {
        Self {
            shared: self.shared.clone(),
            user,
        }
    }

    async fn run<T, F>(
        &self,
        ask: impl Fn(DatabaseConnection) -> F + Send + Sync + 'static,
    ) -> Result<T, DbErr>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, DbErr>> + Send + 'static,
    {
        let shared = self.shared.clone();
        present(shared.primary.as_ref())?;
        let began = Instant::now();
        let permit = tokio::time::timeout(shared.acquire_timeout, shared.queue.acquire(self.user));
        let Ok(permit) = permit.await else {
            // The connections are there, and in use: no reason to look for another primary.
            shared.metrics.read(began.elapsed());
            return Err(busy());
        };
        let run = async move {
            let _permit = permit;
            shared.run(began, ask).await
        };
        ToItsEnd(Some(run.boxed())).await
    }
}

/// Runs to its end: where nobody waits for its answer any more, in a task of its own.
struct ToItsEnd<T: Send + 'static>(Option<BoxFuture<'static, T>>);

impl<T: Send + 'static> Future for ToItsEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let running = self.0.as_mut().expect("it is polled until it is ready");
        let answer = ready!(running.poll_unpin(cx));
        self.0 = None;
        Poll::Ready(answer)
    }
}

impl<T: Send + 'static> Drop for ToItsEnd<T> {
    fn drop(&mut self) {
        // Without a runtime nothing runs on.
        if let (Some(rest), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(rest.in_current_span());
        }
    }
}

impl Shared {
    async fn run<T, F>(
        &self,
        began: Instant,
        ask: impl Fn(DatabaseConnection) -> F + Sync,
    ) -> Result<T, DbErr>
    where
        F: Future<Output = Result<T, DbErr>> + Send,
    {
        let answer = self.retry(ask);
        let answer = in_time(self.primary.as_ref(), self.patience, answer).await;
        self.metrics.read(began.elapsed());
        if answer.is_ok() {
            *self.answered() = Some(Instant::now());
        }
        answer
    }

    /// Asks again over another connection where one turns out to be dead: after a restart of the database every one in the
    /// pool is, and none of that is the caller's to know. Without a connection to be had it fails at once.
    async fn retry<T, F>(&self, ask: impl Fn(DatabaseConnection) -> F) -> Result<T, DbErr>
    where
        F: Future<Output = Result<T, DbErr>>,
    {
        for _ in 0..self.connections {
            match ask(self.pool.get()).await {
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
        ask(self.pool.get()).await
    }

    /// Whether the database answered within the time that a statement may take.
    pub(super) fn answered_lately(&self) -> bool {
        self.answered()
            .is_some_and(|at| at.elapsed() < self.patience)
    }

    fn answered(&self) -> MutexGuard<'_, Option<Instant>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The driver prepares a statement by one message and runs it by another. A pooler may send these to two connections,
/// and keeps them together within a transaction only.
async fn query_all_pooled(
    db: DatabaseConnection,
    statement: Statement,
) -> Result<Vec<QueryResult>, DbErr> {
    let tx = db.begin().await?;
    let sql = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ ONLY";
    let sql = format!("{sql}{}", forget_prepared(true));
    tx.execute_unprepared(&sql).await?;
    let rows = tx.query_all_raw(statement).await?;
    tx.commit().await?;
    Ok(rows)
}

#[async_trait::async_trait]
impl ConnectionTrait for Reader {
    fn get_database_backend(&self) -> DbBackend {
        self.shared.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.run(move |db| {
            let statement = statement.clone();
            async move { db.execute_raw(statement).await }
        })
        .await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let sql: Arc<str> = sql.into();
        self.run(move |db| {
            let sql = sql.clone();
            async move { db.execute_unprepared(&sql).await }
        })
        .await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        Ok(self.query_all_raw(statement).await?.into_iter().next())
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let pooled = self.shared.pooled;
        self.run(move |db| {
            let statement = statement.clone();
            async move {
                if pooled {
                    query_all_pooled(db, statement).await
                } else {
                    db.query_all_raw(statement).await
                }
            }
        })
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
