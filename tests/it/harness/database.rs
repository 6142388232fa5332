//! A database for each test: a SQLite file, or a clone of a migrated template on one PostgreSQL for the whole run.

use std::{path::PathBuf, sync::OnceLock, time::Duration};

use directmessages::chat::{Store, StoreOptions};
use sea_orm::{
    ConnectionTrait as _, Database, DatabaseConnection, DatabaseTransaction, DbBackend, Statement,
    TransactionTrait as _,
};

use super::{Fixture, recount::recount};
use crate::support::Guard;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// The template's name on the run's PostgreSQL.
const TEMPLATE: &str = "migrated";

#[derive(Debug)]
pub(crate) struct TestDatabase {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) name: String,
}

impl TestDatabase {
    /// A migrated database without a row.
    pub(crate) async fn new(kind: Kind) -> Self {
        let database = Self::named(kind);
        match kind {
            Kind::Sqlite => {
                std::fs::copy(template_file(), folder().join(&database.name)).unwrap();
            }
            Kind::Postgres => {
                administer(&format!(
                    "CREATE DATABASE {} TEMPLATE {TEMPLATE}",
                    database.name
                ))
                .await;
            }
        }
        database
    }

    /// A database without a table: for SQLite no file yet.
    pub(crate) async fn empty(kind: Kind) -> Self {
        let database = Self::named(kind);
        if kind == Kind::Postgres {
            administer(&format!("CREATE DATABASE {}", database.name)).await;
        }
        database
    }

    /// A PostgreSQL database without a table, in another encoding than UTF8.
    pub(crate) async fn in_encoding(encoding: &str) -> Self {
        let database = Self::named(Kind::Postgres);
        let locale = "LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
        administer(&format!(
            "CREATE DATABASE {} ENCODING '{encoding}' {locale}",
            database.name
        ))
        .await;
        database
    }

    /// A migrated database whose tables are spread over hash partitions, by the keys of a distributed PostgreSQL.
    pub(crate) async fn partitioned() -> Self {
        let database = Self::new(Kind::Postgres).await;
        let script = super::tool::path("deploy/partition.sql");
        let script = std::fs::read_to_string(script).unwrap();
        database.execute(&script).await;
        database
    }

    fn named(kind: Kind) -> Self {
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        let url = match kind {
            Kind::Sqlite => format!("sqlite:{}", folder().join(&name).display()),
            Kind::Postgres => postgres().url(&name),
        };
        Self { kind, url, name }
    }

    /// A connection of the test's own, past every server.
    pub(crate) async fn connect(&self) -> DatabaseConnection {
        connect(&self.url).await
    }

    /// Runs statements of the test's own.
    pub(crate) async fn execute(&self, sql: &str) {
        let db = self.connect().await;
        db.execute_unprepared(sql).await.unwrap();
        db.close().await.unwrap();
    }

    /// Holds a user's inbox (SQLite: the whole database) like a transaction that is stuck.
    pub(crate) async fn hold(&self, subject: &str) -> Hold {
        let db = self.connect().await;
        let tx = match self.kind {
            Kind::Postgres => {
                let tx = db.begin().await.unwrap();
                let user = directmessages::chat::user_id(subject);
                let lock = format!("SELECT 1 FROM inbox WHERE user_id = '{user}' FOR UPDATE");
                tx.execute_unprepared(&lock).await.unwrap();
                tx
            }
            Kind::Sqlite => {
                let options = sea_orm::TransactionOptions {
                    sqlite_transaction_mode: Some(sea_orm::SqliteTransactionMode::Immediate),
                    ..Default::default()
                };
                db.begin_with_options(options).await.unwrap()
            }
        };
        Hold { db, tx }
    }

    /// Waits until so many statements wait for a lock (PostgreSQL).
    pub(crate) async fn waits_for_locks(&self, count: i64) {
        let db = self.connect().await;
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        super::until("statements wait for a lock", async || {
            let statement = Statement::from_string(DbBackend::Postgres, sql);
            let row = db.query_one_raw(statement).await.unwrap().unwrap();
            row.try_get_by_index::<i64>(0).unwrap() == count
        })
        .await;
        db.close().await.unwrap();
    }

    /// Every counter and position against what the rows themselves tell.
    pub(crate) async fn recount(&self) {
        let db = self.connect().await;
        recount(&db).await;
        db.close().await.unwrap();
    }
}

impl Fixture for TestDatabase {
    async fn start(kind: Kind) -> Self {
        Self::new(kind).await
    }

    async fn finish(self) {
        self.recount().await;
        match self.kind {
            Kind::Sqlite => {
                for suffix in ["", "-wal", "-shm"] {
                    let file = folder().join(format!("{}{suffix}", self.name));
                    let _ = std::fs::remove_file(file);
                }
            }
            Kind::Postgres => {
                administer(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
            }
        }
    }
}

/// A transaction that holds what a writer needs.
pub(crate) struct Hold {
    db: DatabaseConnection,
    tx: DatabaseTransaction,
}

impl Hold {
    pub(crate) async fn release(self) {
        self.tx.rollback().await.unwrap();
        self.db.close().await.unwrap();
    }
}

/// A folder that goes when the run ends.
pub(crate) fn folder() -> PathBuf {
    static FOLDER: OnceLock<Guard> = OnceLock::new();
    FOLDER.get_or_init(Guard::folder).path().to_owned()
}

/// The run's PostgreSQL, with a migrated template.
pub(crate) fn postgres() -> &'static Guard {
    static POSTGRES: OnceLock<Guard> = OnceLock::new();
    POSTGRES.get_or_init(|| {
        let guard = Guard::postgres(false);
        let (admin, url) = (guard.url("postgres"), guard.url(TEMPLATE));
        apart(async move {
            let db = connect(&admin).await;
            let create = format!("CREATE DATABASE {TEMPLATE}");
            db.execute_unprepared(&create).await.unwrap();
            db.close().await.unwrap();
            migrate(&url).await;
        });
        guard
    })
}

fn template_file() -> PathBuf {
    static TEMPLATE_FILE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE_FILE
        .get_or_init(|| {
            let file = folder().join(TEMPLATE);
            let url = format!("sqlite:{}", file.display());
            apart(async move { migrate(&url).await });
            file
        })
        .clone()
}

/// Runs on a runtime of its own, since each test has another.
fn apart(work: impl Future<Output = ()> + Send + 'static) {
    let work = || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(work);
    };
    std::thread::spawn(work).join().unwrap();
}

pub(crate) async fn migrate(url: &str) {
    let store = Store::open(&StoreOptions {
        url: url.parse().unwrap(),
        readers: 1,
        writers: 1,
        acquire_timeout: Duration::from_secs(30),
        read_timeout: Duration::from_secs(30),
        name_life: Duration::from_secs(2),
        pooled: false,
        sqlite_full_sync: false,
    })
    .await
    .unwrap();
    store.migrate().await.unwrap();
    store.close().await;
}

pub(crate) async fn connect(url: &str) -> DatabaseConnection {
    let mut options = sea_orm::ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}

async fn administer(sql: &str) {
    let db = connect(&postgres().url("postgres")).await;
    db.execute_unprepared(sql).await.unwrap();
    db.close().await.unwrap();
}
