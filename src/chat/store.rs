use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use migration::{Migrator, MigratorTrait as _, SqliteState, inspect_sqlite};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend,
    DbErr, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait as _,
    sqlx::{
        ConnectOptions as _, Connection as _,
        sqlite::{SqliteJournalMode, SqliteSynchronous},
    },
};

use super::{
    checkpoint::Written,
    error::{Trouble, is_locked},
    fair::FairQueue,
    people::People,
    primary::Primary,
    reader::{self, Pool, Reader, close, forget_prepared, in_time, note, present},
    url::DatabaseUrl,
};
use crate::observe::{self, Metrics};

/// How often connections are replaced at most, where the database was there all the time.
const RENEWAL: Duration = Duration::from_secs(10);
/// SQLite's default is twice that.
const PAGE_BYTES: u32 = 2_048;
/// How long SQLite waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// An address without a path, which says which driver is meant.
const SQLITE: &str = "sqlite:";
/// How long to wait before a file that is locked is opened again.
const LOCKED_PAUSE: Duration = Duration::from_millis(20);
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
    /// How long a user's name may be shown as it was, once another server changed it.
    pub name_life: Duration,
    /// How long a statement that reads may take before the database counts as away.
    pub read_timeout: Duration,
    /// PostgreSQL: whether a pooler may hand every transaction another connection.
    pub pooled: bool,
    /// SQLite: whether a commit waits for the disk (`FULL`), or may be lost when the power fails (`NORMAL`).
    pub sqlite_full_sync: bool,
}

/// How long a transaction on PostgreSQL may hold things up, in milliseconds; 0 is without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// Waiting for one lock.
    pub(crate) lock: u32,
    /// Running one statement.
    pub(crate) statement: u32,
    /// Waiting, with locks held, for a server of ours that hangs.
    pub(crate) idle: u32,
}

impl Patience {
    /// For what runs before anybody is served.
    const ENDLESS: Self = Self {
        lock: 0,
        statement: 0,
        idle: 0,
    };

    /// For a caller who waits for an answer: a stuck transaction, ours or another's, must not hold anybody up for long.
    pub(crate) const CALLER: Self = Self {
        lock: 500,
        statement: 5_000,
        idle: 2_000,
    };

    /// Whoever runs something by hand wants it done: it waits longer for a lock than a sender does, takes as long as it
    /// needs for a statement, and lets go where it is stopped between two.
    pub(crate) const OPERATOR: Self = Self {
        lock: 10_000,
        statement: 0,
        idle: 60_000,
    };
}

/// The database's clock, in milliseconds since 1970, as an expression.
pub(crate) fn now(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
        _ => "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS bigint)",
    }
}

/// What a caller asks finds few rows, by their keys, whatever the tables' statistics say: PostgreSQL would scan a table of a
/// few thousand inboxes for thirty of them.
const BY_KEY: &str = "; SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";

/// The two ways into the database: many connections that read, few that write.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) read: Reader,
    write: Pool,
    pub(crate) backend: DbBackend,
    /// SQLite: what is in the log of writes and may not be in the file yet.
    pub(super) written: Written,
    /// Who was read or written about lately.
    pub(super) people: People,
    /// PostgreSQL: which host takes writes, and whether one does.
    primary: Option<Primary>,
    pub(super) metrics: Metrics,
    options: StoreOptions,
}

impl Store {
    /// Opens the database; a SQLite file is created where it is missing, with its folder.
    ///
    /// # Errors
    /// Where the database cannot be opened. A PostgreSQL that is away is no error: it is waited for by every use.
    pub async fn open(options: &StoreOptions) -> Result<Self, DbErr> {
        let backend = options.url.backend();
        let mut options = options.clone();
        let connections = options.readers;
        let primary = if backend == DbBackend::Sqlite {
            prepare_file(&options.url)?;
            // Before anything is written: a file of another application is left as it is.
            let wait = options.acquire_timeout;
            let state = retry_while_locked(wait, || inspect_file(&options.url)).await?;
            if let SqliteState::Foreign(_) = state
                && let Some(error) = state.error()
            {
                return Err(DbErr::Custom(error));
            }
            options.writers = 1;
            // So that callers have as many as they were promised while the log is copied by one of them.
            options.readers += 1;
            // No pooler stands before a file.
            options.pooled = false;
            None
        } else {
            // One more than the writer's tasks have: pruning must not keep one of them waiting.
            options.writers += 1;
            Some(Primary::among(&options)?)
        };
        let host = match &primary {
            Some(primary) => primary.locate().await.unwrap_or(0),
            None => 0,
        };
        // The writer opens first: it creates the file and turns on the write-ahead log.
        let connect = |read_only| {
            let (options, primary) = (&options, primary.as_ref());
            retry_while_locked(options.acquire_timeout, move || {
                Self::connect(options, primary, host, read_only)
            })
        };
        let write = connect(false).await?;
        let read = connect(true).await?;
        Ok(Self {
            read: Reader::new(reader::Shared {
                pool: Pool::new(read),
                backend,
                connections,
                queue: FairQueue::new(connections),
                acquire_timeout: options.acquire_timeout,
                patience: options.read_timeout,
                primary: primary.clone(),
                pooled: options.pooled,
                answered: Arc::default(),
                metrics: Metrics::default(),
            }),
            write: Pool::new(write),
            backend,
            written: Written::default(),
            people: People::new(options.name_life),
            primary,
            metrics: Metrics::default(),
            options,
        })
    }

    /// The same, counted there.
    #[must_use]
    pub fn counted_by(mut self, metrics: &Metrics) -> Self {
        self.metrics = metrics.clone();
        self.read = Reader::new(reader::Shared {
            metrics: metrics.clone(),
            ..(*self.read.shared).clone()
        });
        self
    }

    /// How many connections there are, and what they do.
    #[must_use]
    pub fn pools(&self) -> Vec<observe::Pool> {
        let pools = [
            ("read", &self.read.shared.pool, self.options.readers),
            ("write", &self.write, self.options.writers),
        ];
        let count = |(role, pool, most): (_, &Pool, _)| {
            let db = pool.get();
            let (size, idle) = if self.backend == DbBackend::Sqlite {
                let pool = db.get_sqlite_connection_pool();
                (pool.size(), pool.num_idle())
            } else {
                let pool = db.get_postgres_connection_pool();
                (pool.size(), pool.num_idle())
            };
            observe::Pool {
                role,
                in_use: (size as usize).saturating_sub(idle),
                idle,
                most,
            }
        };
        pools.into_iter().map(count).collect()
    }

    /// Keeps to the host that takes writes, for as long as it is polled.
    pub(crate) async fn watch(self) {
        let Some(primary) = &self.primary else { return };
        let (mut at, mut renewed) = (usize::MAX, Instant::now());
        loop {
            let (host, was_away) = primary.doubted().await;
            // One broken connection is no reason for many new ones, over and over.
            if host == at && !was_away && renewed.elapsed() < RENEWAL {
                continue;
            }
            (at, renewed) = (host, Instant::now());
            for (pool, read_only) in [(&self.write, false), (&self.read.shared.pool, true)] {
                match Self::connect(&self.options, Some(primary), host, read_only).await {
                    Ok(db) => pool.replace(db),
                    Err(error) => tracing::error!(%error, "the connections are not replaced"),
                }
            }
        }
    }

    /// How long to wait for a connection before the database counts as away.
    pub(crate) fn acquire_timeout(&self) -> Duration {
        self.options.acquire_timeout
    }

    /// Whether it is known that no host takes writes now: every use fails at once.
    pub(crate) fn is_away(&self) -> bool {
        self.primary.as_ref().is_some_and(Primary::is_away)
    }

    /// Whether every connection that reads is in use, of a database that answered just now.
    pub(super) fn is_busy(&self) -> bool {
        let read = &self.read.shared;
        !self.is_away() && read.answered_lately() && read.queue.is_full()
    }

    /// Has the primary looked for: something went wrong that may be its absence.
    pub(crate) fn doubt(&self) {
        if let Some(primary) = &self.primary {
            primary.doubt();
        }
    }

    /// What a transaction comes to, unless it takes too long.
    pub(crate) async fn in_time<T>(
        &self,
        patience: Duration,
        answer: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        in_time(self.primary.as_ref(), patience, answer).await
    }

    async fn connect(
        options: &StoreOptions,
        primary: Option<&Primary>,
        host: usize,
        read_only: bool,
    ) -> Result<DatabaseConnection, DbErr> {
        let full_sync = options.sqlite_full_sync;
        let url = options.url.clone();
        // The rest of it the driver gets below.
        let mut connect = ConnectOptions::new(url.hosts().first().map_or(SQLITE, String::as_str));
        if let Some(primary) = primary {
            primary.guard(&mut connect, host);
        }
        connect
            .max_connections(if read_only {
                options.readers
            } else {
                options.writers
            })
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire_if_idle_for(Duration::from_secs(5))
            .sqlx_logging(false)
            .connect_lazy(options.url.backend() == DbBackend::Postgres)
            // Where a COMMIT failed, SQLite has rolled back and the driver does not know it: the next transaction would be a
            // savepoint within none, and its commit an answer without anything stored. Such a connection is not used again.
            .map_sqlx_sqlite_before_acquire(|connection, _| {
                Box::pin(async move { Ok(!connection.is_in_transaction()) })
            })
            .map_sqlx_sqlite_opts(move |_| {
                url.sqlite_options()
                    .disable_statement_logging()
                    .create_if_missing(!read_only && url.creates_file())
                    // Of a new file. A send changes some eleven pages, each of which is written whole, twice: it is what the
                    // disk has to do that bounds sends, and pages half as large halve it.
                    .page_size(PAGE_BYTES)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(if full_sync {
                        SqliteSynchronous::Full
                    } else {
                        SqliteSynchronous::Normal
                    })
                    .busy_timeout(BUSY_TIMEOUT)
                    .pragma("wal_autocheckpoint", "8000")
                    // What a statement of several rows keeps to undo itself: otherwise a file is made and removed for each.
                    .pragma("temp_store", if read_only { "default" } else { "memory" })
                    .pragma("cache_size", if read_only { "-4000" } else { "-16000" })
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
            match self.migrate_once().await {
                Ok(()) => return Ok(()),
                Err(error) if Trouble::of(&error) == Trouble::Away => return Err(error),
                // The database is not one that can be migrated.
                Err(error @ DbErr::Custom(_)) => return Err(error),
                // Another server may have started at the same moment, and be at the same tables.
                Err(error) => tracing::info!(%error, "the migration is tried again"),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        self.migrate_once().await
    }

    async fn migrate_once(&self) -> Result<(), DbErr> {
        // A role that may not create tables can serve what another one has migrated.
        if self.is_migrated().await? {
            return Ok(());
        }
        // sea-orm-migration opens a transaction on PostgreSQL only. This one makes all pending migrations one step on SQLite
        // too, and keeps another process that starts at the same time waiting.
        let tx = self.begin(Patience::ENDLESS).await?;
        Migrator::up(&tx, None).await?;
        tx.commit().await
    }

    /// Takes every migration back: all messages are lost.
    ///
    /// # Errors
    /// Where the database is away or a migration fails.
    pub async fn migrate_down(&self) -> Result<(), DbErr> {
        let tx = self.begin(Patience::ENDLESS).await?;
        Migrator::down(&tx, None).await?;
        tx.commit().await
    }

    /// Every migration by its name, oldest first, and whether it is applied. It only reads.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn migrations(&self) -> Result<Vec<(String, bool)>, DbErr> {
        let applied = self.applied().await?;
        let migrations = Migrator::migrations();
        let migrations = migrations.iter().map(|migration| {
            let name = migration.name().to_owned();
            let applied = applied.contains(&name);
            (name, applied)
        });
        Ok(migrations.collect())
    }

    /// Whether the schema is up to date. It only reads.
    ///
    /// # Errors
    /// Where the database is away, or a newer version of this program has migrated it.
    pub async fn is_migrated(&self) -> Result<bool, DbErr> {
        let migrations = self.migrations().await?;
        Ok(migrations.iter().all(|(_, applied)| *applied))
    }

    /// The names of the migrations that are applied. The library's own look-up creates its table where it is missing, and its
    /// read-only one does not find a table past the first schema of the search path.
    async fn applied(&self) -> Result<HashSet<String>, DbErr> {
        let tx = self.snapshot().await?;
        let exists = if self.backend == DbBackend::Sqlite {
            if let Some(error) = inspect_sqlite(&tx).await?.error() {
                return Err(DbErr::Custom(error));
            }
            "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'seaql_migrations')"
        } else {
            check_encoding(&tx).await?;
            "SELECT to_regclass('seaql_migrations') IS NOT NULL"
        };
        let exists = Statement::from_string(self.backend, exists);
        let exists = tx.query_one_raw(exists).await?;
        let exists = exists.is_some_and(|row| row.try_get_by_index(0).unwrap_or(false));
        let applied = if exists {
            let sql = "SELECT version FROM seaql_migrations";
            let rows = Statement::from_string(self.backend, sql);
            let rows = tx.query_all_raw(rows).await?;
            let names = rows.iter().map(|row| row.try_get_by_index(0));
            names.collect::<Result<HashSet<String>, _>>()?
        } else {
            HashSet::new()
        };
        tx.commit().await?;
        let migrations = Migrator::migrations();
        let known = |name: &String| migrations.iter().any(|of| of.name() == name);
        let mut newer: Vec<_> = applied.iter().filter(|name| !known(name)).collect();
        newer.sort();
        if newer.is_empty() {
            return Ok(applied);
        }
        let newer: Vec<_> = newer.into_iter().map(String::as_str).collect();
        Err(DbErr::Custom(format!(
            "a newer version of this program has migrated the database ({}): run that version, or restore a backup from before",
            newer.join(", ")
        )))
    }

    /// Whether every migration is applied, asked of a connection that reads.
    pub(super) async fn stands_migrated(&self) -> Result<bool, DbErr> {
        let sql = "SELECT version FROM seaql_migrations";
        let statement = Statement::from_string(self.backend, sql);
        let rows = self.read.query_all_raw(statement).await?;
        let applied = rows.iter().map(|row| row.try_get::<String>("", "version"));
        let applied = applied.collect::<Result<HashSet<_>, _>>()?;
        let migrations = Migrator::migrations();
        Ok(migrations.iter().all(|of| applied.contains(of.name())))
    }

    /// Begins a transaction that writes: READ COMMITTED whatever the server's default, IMMEDIATE on SQLite. Its patience is
    /// set by the transaction itself, so that a pooler between may hand each one another connection.
    pub(crate) async fn begin(&self, patience: Patience) -> Result<DatabaseTransaction, DbErr> {
        present(self.primary.as_ref())?;
        let start = Instant::now();
        let begun = self.begin_with(patience).await;
        self.metrics.begin(start.elapsed());
        note(self.primary.as_ref(), &begun);
        begun
    }

    async fn begin_with(&self, patience: Patience) -> Result<DatabaseTransaction, DbErr> {
        if self.backend == DbBackend::Sqlite {
            let options = TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                ..TransactionOptions::default()
            };
            return self.write.get().begin_with_options(options).await;
        }
        let tx = self.write.get().begin().await?;
        let Patience {
            lock,
            statement,
            idle,
        } = patience;
        let sql = format!(
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {lock}; \
             SET LOCAL statement_timeout = {statement}; \
             SET LOCAL idle_in_transaction_session_timeout = {idle}{}{}",
            match patience {
                Patience::CALLER => BY_KEY,
                _ => "",
            },
            forget_prepared(self.options.pooled)
        );
        tx.execute_unprepared(&sql).await?;
        Ok(tx)
    }

    /// Begins a transaction that reads one state of the database, whatever others write meanwhile.
    pub(crate) async fn snapshot(&self) -> Result<DatabaseTransaction, DbErr> {
        if self.backend == DbBackend::Sqlite {
            let options = TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Deferred),
                ..TransactionOptions::default()
            };
            return self
                .read
                .shared
                .pool
                .get()
                .begin_with_options(options)
                .await;
        }
        let tx = self.write.get().begin().await?;
        let sql = format!(
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY{}",
            forget_prepared(self.options.pooled)
        );
        tx.execute_unprepared(&sql).await?;
        Ok(tx)
    }

    /// Closes every connection.
    pub async fn close(self) {
        for pool in [&self.read.shared.pool, &self.write] {
            close(pool.get()).await;
        }
    }
}

/// PostgreSQL converts every text to the encoding of its database, and fails where that has no such character.
async fn check_encoding(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    let sql = "SELECT current_setting('server_encoding')";
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let row = db.query_one_raw(statement).await?;
    let encoding: Option<String> = row.map(|row| row.try_get_by_index(0)).transpose()?;
    match encoding.as_deref().and_then(wrong_encoding) {
        Some(error) => Err(DbErr::Custom(error)),
        None => Ok(()),
    }
}

/// What is wrong with the encoding of a PostgreSQL database, and what to do.
#[must_use]
pub fn wrong_encoding(encoding: &str) -> Option<String> {
    (encoding != "UTF8").then(|| {
        format!(
            "the encoding of the database is {encoding}, which cannot hold every text: create a database by `createdb --encoding \
             UTF8 --template template0`, and name it in DATABASE_URL"
        )
    })
}

/// Creates the folder of a SQLite file where it is missing, and the file itself, readable by its owner only: it holds
/// everybody's messages. SQLite gives the files beside it the same mode.
fn prepare_file(url: &DatabaseUrl) -> Result<(), DbErr> {
    let Some(file) = url.file().filter(|_| url.creates_file()) else {
        return Ok(());
    };
    if let Some(folder) = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::create_dir_all(folder)
            .map_err(|error| DbErr::Custom(format!("{}: {error}", folder.display())))?;
    }
    // Where it cannot be created, SQLite reports the reason.
    let _ = private_file(file);
    Ok(())
}

fn private_file(path: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let file = options.open(path)?;
    // A umask may have taken more away.
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

/// Opens a SQLite file again where it is locked: what turns on the write-ahead log does not wait by itself for other servers that are
/// doing the same.
async fn retry_while_locked<T, F>(wait: Duration, mut open: impl FnMut() -> F) -> Result<T, DbErr>
where
    F: Future<Output = Result<T, DbErr>>,
{
    let start = Instant::now();
    loop {
        match open().await {
            Err(error) if is_locked(&error) && start.elapsed() < wait => {
                tokio::time::sleep(LOCKED_PAUSE).await;
            }
            opened => return opened,
        }
    }
}

/// Looks at the tables of a SQLite file, which exists. It only reads.
///
/// # Errors
/// Where the file cannot be read.
pub async fn inspect_file(url: &DatabaseUrl) -> Result<SqliteState, DbErr> {
    let url = url.clone();
    let mut connect = ConnectOptions::new(SQLITE);
    connect
        .max_connections(1)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |_| {
            url.sqlite_options()
                .disable_statement_logging()
                .busy_timeout(BUSY_TIMEOUT)
                .pragma("query_only", "on")
        });
    let db = Database::connect(connect).await?;
    let state = inspect_sqlite(&db).await;
    db.close().await?;
    state
}
