use std::{fmt, path::Path, str::FromStr, time::Duration};

use migration::{MigrationStatus, Migrator, MigratorTrait as _};
use sea_orm::{
    AccessMode, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction,
    DbBackend, DbErr, ExecResult, IsolationLevel, QueryResult, RuntimeErr, SqliteTransactionMode,
    Statement, TransactionOptions, TransactionTrait as _,
    sqlx::{
        Connection as _,
        sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
    },
};

use super::error::Trouble;

/// How often a migration is tried again that another server may be at.
const MIGRATION_ATTEMPTS: u32 = 3;

/// Which database, and how to reach it.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// `sqlite:PATH`, or `postgres://…`.
    pub url: DatabaseUrl,
    /// The most connections that read at one time.
    pub readers: u32,
    /// The most connections that write at one time; SQLite always has one.
    pub writers: u32,
    /// How long to wait for a connection before the database counts as away.
    pub acquire_timeout: Duration,
    /// How long a statement that reads may take before the database counts as away.
    pub read_timeout: Duration,
    /// SQLite: whether a commit waits for the disk (`FULL`), or may be lost when the power fails (`NORMAL`).
    pub sqlite_full_sync: bool,
}

/// A database's address, of a kind that this server speaks.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: String,
    backend: DbBackend,
}

impl DatabaseUrl {
    /// The address as it was given, password and all.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// SQLite's file.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        let path = self.text.strip_prefix("sqlite:")?;
        let path = path.trim_start_matches("//");
        Some(Path::new(path.split('?').next().unwrap_or(path)))
    }

    /// PostgreSQL or SQLite.
    #[must_use]
    pub fn backend(&self) -> DbBackend {
        self.backend
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let backend = if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            DbBackend::Postgres
        } else if text.starts_with("sqlite:") {
            SqliteConnectOptions::from_str(text).map_err(|error| error.to_string())?;
            if text.contains(":memory:") || text.contains("mode=memory") {
                return Err("a database in memory cannot be shared by several connections: name a file, as in sqlite:directmessages.db".to_owned());
            }
            DbBackend::Sqlite
        } else {
            return Err("give sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE".to_owned());
        };
        Ok(Self {
            text: text.to_owned(),
            backend,
        })
    }
}

impl fmt::Debug for DatabaseUrl {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = match (self.text.find("://"), self.text.rfind('@')) {
            (Some(scheme), Some(at)) => {
                format!("{}://…{}", &self.text[..scheme], &self.text[at..])
            }
            _ => self.text.clone(),
        };
        f.write_str(&shown)
    }
}

/// How long a transaction on PostgreSQL may hold things up, in milliseconds; 0 is without end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Waiting for one lock.
    pub(crate) lock: u32,
    /// Running one statement.
    pub(crate) statement: u32,
    /// Waiting, with locks held, for a server of ours that hangs.
    pub(crate) idle: u32,
}

/// The two ways into the database: many connections that read, few that write.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) read: Reader,
    pub(crate) write: DatabaseConnection,
    pub(crate) backend: DbBackend,
}

impl Store {
    /// Opens the database; a SQLite file is created where it is missing, with its folder.
    ///
    /// # Errors
    /// Where the database cannot be opened. A PostgreSQL that is away is no error: it is waited for by every use.
    pub async fn open(options: &StoreOptions) -> Result<Self, DbErr> {
        let backend = options.url.backend();
        let (readers, writers) = match backend {
            DbBackend::Sqlite => {
                create_folder(&options.url)?;
                (options.readers, 1)
            }
            // One more than the writer's tasks have: pruning must not keep one of them waiting.
            _ => (options.readers, options.writers + 1),
        };
        // The writer opens first: it creates the file and turns on the write-ahead log.
        let write = Self::connect(options, writers, false).await?;
        let read = Self::connect(options, readers, true).await?;
        Ok(Self {
            read: Reader {
                db: read,
                connections: readers,
                patience: options.read_timeout,
            },
            write,
            backend,
        })
    }

    async fn connect(
        options: &StoreOptions,
        connections: u32,
        read_only: bool,
    ) -> Result<DatabaseConnection, DbErr> {
        let full_sync = options.sqlite_full_sync;
        let mut connect = ConnectOptions::new(options.url.as_str());
        connect
            .max_connections(connections)
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire_if_idle_for(Duration::from_secs(5))
            .sqlx_logging(false)
            .connect_lazy(options.url.backend() == DbBackend::Postgres)
            .map_sqlx_postgres_opts(|connect| connect.application_name("directmessages"))
            // Where a COMMIT failed, SQLite has rolled back and the driver does not know it: the next transaction would be a
            // savepoint within none, and its commit an answer without anything stored. Such a connection is not used again.
            .map_sqlx_sqlite_before_acquire(|connection, _| {
                Box::pin(async move { Ok(!connection.is_in_transaction()) })
            })
            .map_sqlx_sqlite_opts(move |connect| {
                connect
                    .create_if_missing(!read_only)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(if full_sync {
                        SqliteSynchronous::Full
                    } else {
                        SqliteSynchronous::Normal
                    })
                    .busy_timeout(Duration::from_secs(5))
                    .pragma("wal_autocheckpoint", "4000")
                    .pragma("query_only", if read_only { "on" } else { "off" })
            });
        Database::connect(connect).await
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// Where the database is away or a migration fails.
    pub async fn migrate(&self) -> Result<(), DbErr> {
        for _ in 0..MIGRATION_ATTEMPTS {
            match Migrator::up(&self.write, None).await {
                Ok(()) => return Ok(()),
                Err(error) if Trouble::of(&error) == Trouble::Away => return Err(error),
                // Another server may have started at the same moment, and be at the same tables.
                Err(error) => tracing::info!(%error, "the migration is tried again"),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Migrator::up(&self.write, None).await
    }

    /// Takes every migration back: all messages are lost.
    ///
    /// # Errors
    /// Where the database is away or a migration fails.
    pub async fn migrate_down(&self) -> Result<(), DbErr> {
        Migrator::down(&self.write, None).await
    }

    /// Every migration by its name, oldest first, and whether it is applied.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn migrations(&self) -> Result<Vec<(String, bool)>, DbErr> {
        let migrations = Migrator::get_migration_with_status(&self.write).await?;
        let migrations = migrations.iter().map(|migration| {
            let applied = migration.status() == MigrationStatus::Applied;
            (migration.name().to_owned(), applied)
        });
        Ok(migrations.collect())
    }

    /// Whether the schema is up to date.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn is_migrated(&self) -> Result<bool, DbErr> {
        Ok(Migrator::get_pending_migrations(&self.write)
            .await?
            .is_empty())
    }

    /// Begins a transaction that writes: READ COMMITTED whatever the server's default, IMMEDIATE on SQLite. Its patience is
    /// set by the transaction itself, so that a pooler between may hand each one another connection.
    pub(crate) async fn begin(&self, patience: Patience) -> Result<DatabaseTransaction, DbErr> {
        let options = match self.backend {
            DbBackend::Sqlite => TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                ..TransactionOptions::default()
            },
            _ => TransactionOptions {
                isolation_level: Some(IsolationLevel::ReadCommitted),
                ..TransactionOptions::default()
            },
        };
        let tx = self.write.begin_with_options(options).await?;
        if self.backend != DbBackend::Sqlite {
            let Patience {
                lock,
                statement,
                idle,
            } = patience;
            let sql = format!(
                "SET LOCAL lock_timeout = {lock}; SET LOCAL statement_timeout = {statement}; \
                 SET LOCAL idle_in_transaction_session_timeout = {idle}"
            );
            tx.execute_unprepared(&sql).await?;
        }
        Ok(tx)
    }

    /// Begins a transaction that reads one state of the database, whatever others write meanwhile.
    pub(crate) async fn snapshot(&self) -> Result<DatabaseTransaction, DbErr> {
        let options = match self.backend {
            DbBackend::Sqlite => TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Deferred),
                ..TransactionOptions::default()
            },
            _ => TransactionOptions {
                isolation_level: Some(IsolationLevel::RepeatableRead),
                access_mode: Some(AccessMode::ReadOnly),
                ..TransactionOptions::default()
            },
        };
        self.write.begin_with_options(options).await
    }

    /// Closes every connection.
    pub async fn close(self) {
        for connection in [self.read.db, self.write] {
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, "a database connection did not close");
            }
        }
    }
}

/// The connections that read. A statement that gets no answer in time fails as if the database were away: a server that
/// hangs must not take ours with it.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    db: DatabaseConnection,
    /// The most connections in its pool.
    connections: u32,
    patience: Duration,
}

impl Reader {
    pub(crate) async fn ping(&self) -> Result<(), DbErr> {
        in_time(self.patience, self.db.ping()).await
    }

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
                        if Trouble::of(&error) == Trouble::Away => {}
                    answer => return answer,
                }
            }
            ask().await
        };
        in_time(self.patience, answer).await
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Reader {
    fn get_database_backend(&self) -> DbBackend {
        self.db.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        in_time(self.patience, self.db.execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        in_time(self.patience, self.db.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.persist(|| self.db.query_one_raw(statement.clone()))
            .await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.persist(|| self.db.query_all_raw(statement.clone()))
            .await
    }
}

/// What the database answers, unless it takes too long.
pub(crate) async fn in_time<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, DbErr>>,
) -> Result<T, DbErr> {
    tokio::time::timeout(patience, answer)
        .await
        .unwrap_or_else(|_| {
            let late = "the database did not answer in time".to_owned();
            Err(DbErr::Conn(RuntimeErr::Internal(late)))
        })
}

fn create_folder(url: &DatabaseUrl) -> Result<(), DbErr> {
    match url.file().and_then(Path::parent) {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::create_dir_all(folder)
            .map_err(|error| DbErr::Custom(format!("{}: {error}", folder.display()))),
        _ => Ok(()),
    }
}
