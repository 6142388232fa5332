//! The system under test: several processes of the real program on one database, with something between that breaks.

use std::{net::SocketAddr, path::PathBuf, process::Command, time::Duration};

use sea_orm::ConnectionTrait as _;
use tokio::sync::Mutex;

use crate::{
    harness::{
        SECRET,
        database::{Kind, TestDatabase, connect, folder},
        nats::Nats,
        postgres::Postgres,
        process::{Process, program},
        proxy::Proxy,
        server::{client, unlimited},
        tool::faketime,
    },
    support::free_port,
};

/// How many NATS servers a cluster has.
pub(super) const NATS_NODES: usize = 3;

/// What the servers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// A file of SQLite's.
    Sqlite,
    /// A PostgreSQL, which carries the hints too.
    Postgres,
    /// A PostgreSQL, and a cluster of three NATS servers between them.
    Nats,
}

impl Setup {
    fn servers(self) -> usize {
        match self {
            Self::Sqlite => 2,
            Self::Postgres | Self::Nats => 3,
        }
    }
}

pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) servers: Vec<Server>,
    pub(super) database: TestDatabase,
    /// The PostgreSQL, where it is one.
    pub(super) postgres: Option<Mutex<Postgres>>,
    /// The cluster between the servers, where there is one.
    pub(super) nats: Option<Mutex<Nats>>,
    /// What the PostgreSQL logged before it was started again.
    pub(super) postgres_logs: std::sync::Mutex<String>,
}

/// One process, which may be gone.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// Between it and its PostgreSQL.
    pub(super) proxy: Option<Proxy>,
    pub(super) process: Mutex<Option<Process>>,
    /// What every process that served here has printed into.
    logs: std::sync::Mutex<Vec<PathBuf>>,
    /// How far its clock is off: a file that libfaketime reads.
    clock: PathBuf,
    url: String,
    nats_url: Option<String>,
    http: reqwest::Client,
}

impl World {
    pub(super) async fn start(setup: Setup) -> Self {
        let nats = match setup {
            Setup::Sqlite | Setup::Postgres => None,
            Setup::Nats => Some(Nats::start(NATS_NODES, &[]).await),
        };
        let nats_url = nats.as_ref().map(Nats::url);
        let (database, postgres) = match setup {
            // The program makes the tables itself: another build may make others.
            Setup::Sqlite => (TestDatabase::empty(Kind::Sqlite).await, None),
            Setup::Postgres | Setup::Nats => {
                let kind = Kind::Postgres;
                // So that a deadlock is told as one, before a lock_timeout ends it.
                let postgres = Postgres::new(&["deadlock_timeout=100ms", "max_connections=200"]);
                let postgres = postgres.await;
                let name = "history".to_owned();
                let admin = connect(&postgres.url("postgres")).await;
                let create = format!("CREATE DATABASE {name}");
                admin.execute_unprepared(&create).await.unwrap();
                admin.close().await.unwrap();
                let url = postgres.url(&name);
                (TestDatabase { kind, url, name }, Some(postgres))
            }
        };
        let mut servers = Vec::new();
        for _ in 0..setup.servers() {
            let proxy = match &postgres {
                Some(postgres) => Some(Proxy::to(postgres.port()).await),
                None => None,
            };
            let url = match &proxy {
                Some(proxy) => proxy.url(&database),
                None => database.url.clone(),
            };
            let server = Server::new(proxy, url, nats_url.clone());
            // One after the other: the first makes the tables.
            server.start().await;
            servers.push(server);
        }
        Self {
            setup,
            servers,
            database,
            postgres: postgres.map(Mutex::new),
            nats: nats.map(Mutex::new),
            postgres_logs: std::sync::Mutex::default(),
        }
    }

    /// Everything that the servers printed.
    pub(super) fn printed(&self) -> Vec<String> {
        let logs = self.servers.iter().flat_map(|server| {
            let logs = server.logs.lock().unwrap().clone();
            logs.into_iter()
        });
        logs.map(|log| std::fs::read_to_string(log).unwrap())
            .collect()
    }

    /// Removes signals of more than a second ago. Whether that was done.
    pub(super) async fn prune(&self) -> bool {
        let mut prune = program(&["prune", "--signal-retention", "1", "--prune-batch", "50"]);
        prune.args(["--database-url", &self.database.url]);
        let pruned = tokio::task::spawn_blocking(move || prune.output().unwrap());
        pruned.await.unwrap().status.success()
    }

    /// Keeps what the PostgreSQL logged, which a start begins anew.
    pub(super) fn keep_log(&self, postgres: &Postgres) {
        self.postgres_logs.lock().unwrap().push_str(&postgres.log());
    }
}

impl Server {
    fn new(proxy: Option<Proxy>, url: String, nats_url: Option<String>) -> Self {
        let clock = folder().join(format!("clock-{}", uuid::Uuid::new_v4().simple()));
        let server = Self {
            address: ([127, 0, 0, 1], free_port()).into(),
            proxy,
            process: Mutex::new(None),
            logs: std::sync::Mutex::default(),
            clock,
            url,
            nats_url,
            http: client(),
        };
        server.set_clock(0);
        server
    }

    /// Sets its clock so many seconds off.
    pub(super) fn set_clock(&self, seconds: i64) {
        // Moved into place, so that nobody reads half of it.
        let new = self.clock.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}s\n")).unwrap();
        std::fs::rename(&new, &self.clock).unwrap();
    }

    /// Starts a process where none runs, and waits until it answers.
    pub(super) async fn start(&self) {
        let mut place = self.process.lock().await;
        while place.is_none() {
            let mut process = Process::start(self.command(), self.address);
            self.logs.lock().unwrap().push(process.log.clone());
            let url = format!("http://{}/health/live", self.address);
            // It ends by itself where the database is away now, and is started again.
            while !process.has_ended() {
                let live = self.http.get(&url).timeout(Duration::from_secs(1));
                if live.send().await.is_ok() {
                    *place = Some(process);
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn command(&self) -> Command {
        let listen = self.address.to_string();
        let mut arguments = vec!["serve", "--listen", &listen, "--jwt-secret", SECRET];
        arguments.extend(["--database-url", &self.url]);
        arguments.extend(["--slow-tick", "0.3", "--shutdown-spread", "0.3"]);
        arguments.extend(["--connect-timeout", "1", "--read-timeout", "2"]);
        arguments.extend(["--write-timeout", "3", "--shutdown-timeout", "4"]);
        arguments.extend(unlimited(&[]));
        if let Some(nats_url) = &self.nats_url {
            arguments.extend(["--nats-url", nats_url]);
        }
        let mut command = program(&arguments);
        command.env("LD_PRELOAD", faketime());
        command.env("FAKETIME_TIMESTAMP_FILE", &self.clock);
        command.env("FAKETIME_CACHE_DURATION", "1");
        // What waits for a time span is not to notice.
        command.env("DONT_FAKE_MONOTONIC", "1");
        command
    }
}
