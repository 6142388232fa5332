//! A PostgreSQL of one test's own, for what the run's shared one must not suffer: it is stopped, killed, paused, started
//! again, followed by a standby, and replaced by it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection};

use super::{
    database::{self, Kind, TestDatabase, connect, folder},
    process::Process,
    until,
};
use crate::support::free_port;

/// How a PostgreSQL ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// In order: connections are ended, everything is written.
    Fast,
    /// At once; it recovers when it is started again.
    Immediate,
    /// kill -9, the whole of it: like a machine that dies.
    Kill,
}

pub(crate) struct Postgres {
    data: PathBuf,
    port: u16,
    settings: Vec<String>,
    /// None while it is stopped.
    process: Option<Process>,
}

impl Postgres {
    /// A new one, running. It does not wait for the disk unless a setting (`fsync=on`) says so.
    pub(crate) async fn new(settings: &[&str]) -> Self {
        let data = data_folder();
        let mut initdb = program("initdb");
        initdb.arg("-D").arg(&data);
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8"]);
        run(initdb.args(["--locale=C", "--no-sync"]));
        Self::running(data, settings.iter().map(ToString::to_string).collect()).await
    }

    async fn running(data: PathBuf, settings: Vec<String>) -> Self {
        let mut postgres = Self {
            data,
            port: free_port(),
            settings,
            process: None,
        };
        postgres.start().await;
        postgres
    }

    /// Starts it, on the port and data that it had, and waits until it answers.
    pub(crate) async fn start(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let mut command = program("postgres");
        command.arg("-D").arg(&self.data);
        command.args(["-p", &self.port.to_string()]);
        let fixed = [
            "listen_addresses=127.0.0.1",
            // A socket's path here would be longer than the system allows.
            "unix_socket_directories=",
            "fsync=off",
            "log_line_prefix=%d|",
        ];
        let given = self.settings.iter().map(String::as_str);
        for setting in fixed.into_iter().chain(given) {
            command.args(["-c", setting]);
        }
        let address = ([127, 0, 0, 1], self.port).into();
        // SIGQUIT, so that also a test run that is killed leaves no shared memory behind.
        self.process = Some(Process::start_until(command, address, "QUIT"));
        until(
            "this PostgreSQL answers",
            async || match Database::connect(self.url("postgres")).await {
                Ok(db) => db.close().await.is_ok(),
                Err(_) => false,
            },
        )
        .await;
    }

    /// Ends it, and waits until nothing of it runs.
    pub(crate) async fn stop(&mut self, how: Stop) {
        let mut process = self.process.take().expect("it runs");
        let mut family = children(process.id());
        match how {
            Stop::Fast => process.signal("INT"),
            Stop::Immediate => process.signal("QUIT"),
            Stop::Kill => {
                // Stopped first, it starts no further children while they are counted.
                process.signal("STOP");
                family = children(process.id());
                process.signal("KILL");
                for child in &family {
                    signal(*child, "KILL");
                }
            }
        }
        process.ended().await;
        until("nothing of this PostgreSQL runs", async || {
            !family.iter().any(|child| runs(*child))
        })
        .await;
    }

    /// SIGSTOP to the whole of it: its connections stay open, and nothing answers.
    pub(crate) fn pause(&self) {
        let process = self.process.as_ref().expect("it runs");
        process.signal("STOP");
        for child in children(process.id()) {
            signal(child, "STOP");
        }
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        let process = self.process.as_ref().expect("it runs");
        for child in children(process.id()) {
            signal(child, "CONT");
        }
        process.signal("CONT");
    }

    /// A streaming standby, running and caught up with what is here now.
    pub(crate) async fn standby(&self) -> Self {
        let data = data_folder();
        let mut backup = program("pg_basebackup");
        backup.arg("-D").arg(&data);
        backup.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        backup.args(["-U", "postgres", "-R", "-c", "fast", "-X", "stream"]);
        let own = backup.arg("--no-sync");
        tokio::task::block_in_place(|| run(own));
        let standby = Self::running(data, self.settings.clone()).await;
        self.holds(
            "the standby streams",
            "SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'",
        )
        .await;
        standby
    }

    /// From now on a COMMIT here is answered once the standby has applied it.
    pub(crate) async fn wait_for_standby(&self) {
        self.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            .await;
        self.execute("ALTER SYSTEM SET synchronous_commit = 'remote_apply'")
            .await;
        self.execute("SELECT pg_reload_conf()").await;
        self.holds(
            "commits wait for the standby",
            "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'",
        )
        .await;
    }

    /// Turns this standby into a primary, on a timeline of its own.
    pub(crate) async fn promote(&self) {
        let mut promote = program("pg_ctl");
        promote.arg("promote").arg("-D").arg(&self.data);
        let promote = promote.args(["-w", "-t", "60"]);
        tokio::task::block_in_place(|| run(promote));
        self.holds("it takes writes", "SELECT NOT pg_is_in_recovery()")
            .await;
    }

    /// A migrated database on it, which goes with it: recount it, rather than finish it.
    pub(crate) async fn database(&self) -> TestDatabase {
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        self.execute(&format!("CREATE DATABASE {name}")).await;
        let url = self.url(&name);
        database::migrate(&url).await;
        TestDatabase {
            kind: Kind::Postgres,
            url,
            name,
        }
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What it has logged since it was started last, each line after its database's name and a bar.
    pub(crate) fn log(&self) -> String {
        self.process.as_ref().expect("it runs").printed()
    }

    async fn execute(&self, sql: &str) {
        let db = self.connect().await;
        db.execute_unprepared(sql).await.unwrap();
        db.close().await.unwrap();
    }

    async fn connect(&self) -> DatabaseConnection {
        connect(&self.url("postgres")).await
    }

    /// Waits until a statement answers with true.
    async fn holds(&self, what: &str, sql: &str) {
        let db = self.connect().await;
        until(what, async || {
            let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql);
            let row = db.query_one_raw(statement).await.unwrap().unwrap();
            row.try_get_by_index::<bool>(0).unwrap()
        })
        .await;
        db.close().await.unwrap();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end("QUIT");
        }
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

/// One of PostgreSQL's programs, which runs as whom PostgreSQL runs as.
fn program(name: &str) -> Command {
    ordinary(&path(name))
}

/// Where one of PostgreSQL's programs is: beside the server, of whose version it has to be.
pub(crate) fn path(name: &str) -> PathBuf {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    let folder = HOME.get_or_init(|| {
        let found = "dirname \"$(readlink -f \"$(command -v postgres || \
                     ls -d /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)\")\"";
        PathBuf::from(printed(Command::new("sh").args(["-c", found])))
    });
    folder.join(name)
}

/// A program run by an ordinary user: PostgreSQL and pgbouncer refuse to run as root.
pub(crate) fn ordinary(program: &Path) -> Command {
    static USER: OnceLock<Option<[String; 2]>> = OnceLock::new();
    let user = USER.get_or_init(|| {
        (printed(Command::new("id").arg("-u")) == "0").then(|| {
            let (owner, mut id) = (owner(), Command::new("id"));
            let group = printed(id.args(["-g", &owner]));
            [format!("--reuid={owner}"), format!("--regid={group}")]
        })
    });
    match user {
        None => Command::new(program),
        Some(user) => {
            let mut command = Command::new("setpriv");
            command.args(user).arg("--clear-groups").arg(program);
            // What it inherits as its working folder may be closed to it.
            command.current_dir("/");
            command
        }
    }
}

/// Whom PostgreSQL runs as where the tests run as root.
fn owner() -> String {
    let known = Command::new("id").args(["-u", "postgres"]).output();
    if known.unwrap().status.success() {
        "postgres".to_owned()
    } else {
        "nobody".to_owned()
    }
}

/// A folder that belongs to whom PostgreSQL runs as.
fn data_folder() -> PathBuf {
    let data = folder().join(format!("postgres-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir(&data).unwrap();
    if printed(Command::new("id").arg("-u")) == "0" {
        run(Command::new("chown").arg(owner()).arg(&data));
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&data, mode).unwrap();
    data
}

fn run(command: &mut Command) {
    printed(command);
}

fn printed(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} cannot run: {error}; ./test installs it"));
    assert!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Who was started by a process, and still runs.
fn children(parent: u32) -> Vec<u32> {
    let list = Path::new("/proc").join(format!("{parent}/task/{parent}/children"));
    let list = std::fs::read_to_string(list).unwrap_or_default();
    let children = list.split_whitespace().map(|id| id.parse().unwrap());
    children.collect()
}

fn signal(process: u32, name: &str) {
    // It may have ended by itself meanwhile.
    let _ = Command::new("kill")
        .args(["-s", name, &process.to_string()])
        .output();
}

/// Whether a process runs: one that ended may stay listed until its parent asks for it.
fn runs(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
    state.is_some_and(|state| !state.starts_with('Z'))
}
