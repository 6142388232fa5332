//! The server under load, beside the limits of its own machine: real HTTP, a real PostgreSQL with fsync on, SQLite with
//! synchronous = FULL, and in the same run pgbench, and what bare axum, sqlx and serde make of the same pages.
//!
//! `cargo bench --bench load` loads 200,000 messages of 2,000 users, prints the table, and writes `load.json` and `load.svg`
//! to `target/load`. `-- --messages 200000,2000000` shows what growth costs. The load generator shares the processors.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails may stop")]

#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

#[path = "../parts/mod.rs"]
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod parts;

mod bare;
mod calls;
mod client;
mod data;
mod pgbench;
mod picture;
mod report;
mod signals;
mod usage;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::{Parser, Subcommand, ValueEnum};
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection};

use self::{
    bare::Bare,
    calls::Operation,
    client::{Answered, Calls, load},
    data::Data,
    parts::Server,
    report::{Figures, Report, Row, Start},
};

/// What the server's settings and the targets are about.
const CONNECTIONS: [usize; 2] = [32, 256];
/// How often the server and its limit take turns: the machine's mood then falls on both.
const TURNS: u32 = 2;
/// How often the start is timed.
const STARTS: usize = 5;

#[derive(Parser)]
struct Arguments {
    /// How many messages to load; several sizes, smallest first, show what growth costs.
    #[arg(long, value_delimiter = ',', default_value = "200000")]
    messages: Vec<usize>,
    /// How long each load is measured.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Where `load.json` and `load.svg` go.
    #[arg(long, default_value = "target/load")]
    out: PathBuf,
    /// Only these operations, without listeners.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Operation>,
    /// Only on this database, without listeners.
    #[arg(long)]
    on: Option<Kind>,
    /// Only the listeners.
    #[arg(long)]
    signals: bool,
    /// What cargo says.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Postgresql,
    Sqlite,
}

#[derive(Subcommand)]
enum Role {
    #[command(hide = true)]
    Bare { url: String, port: u16 },
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    if let Some(Role::Bare { url, port }) = &arguments.role {
        return bare::serve(url, *port).await;
    }
    let began = Instant::now();
    let time = Duration::from_secs(arguments.seconds);
    let operations = match arguments.only.as_slice() {
        [] => &Operation::ALL,
        only => only,
    };
    let mut report = Report::default();
    report::print_head();
    let is_on = |kind| !arguments.signals && arguments.on.is_none_or(|on| on == kind);
    let sizes = arguments.messages.iter();
    for messages in sizes.filter(|_| is_on(Kind::Postgresql)) {
        let data = Data::draw(*messages);
        let postgres = support::Guard::postgres(true);
        let url = postgres.url("postgres");
        let run = Run::on(&url, Some(postgres), &data).await;
        run.measure(operations, time, &mut report).await;
    }
    if is_on(Kind::Sqlite) {
        let data = Data::draw(arguments.messages[0]);
        let folder = support::Guard::folder();
        let url = format!("sqlite:{}/load.db", folder.path().display());
        let run = Run::on(&url, None, &data).await;
        run.measure(operations, time, &mut report).await;
    }
    let everything = arguments.only.is_empty() && arguments.on.is_none() && !arguments.signals;
    if everything || arguments.signals {
        signals::measure(&mut report).await;
    }
    report.print_ratios();
    println!("took {:.0} s", began.elapsed().as_secs_f64());
    if everything {
        report.write(&arguments.out).unwrap();
        let (json, svg) = (
            arguments.out.join("load.json"),
            arguments.out.join("load.svg"),
        );
        println!("wrote {} and {}", json.display(), svg.display());
    }
}

/// A database with messages in it.
struct Run<'a> {
    url: String,
    data: &'a Data,
    postgres: Option<support::Guard>,
    db: DatabaseConnection,
}

impl<'a> Run<'a> {
    async fn on(url: &str, postgres: Option<support::Guard>, data: &'a Data) -> Self {
        let folder = support::Guard::folder();
        let file = folder.path().join("messages.csv");
        data.write(&file).unwrap();
        import(url, &file);
        let db = Database::connect(url).await.unwrap();
        if postgres.is_some() {
            // What autovacuum does in its time would come in the middle of a measurement.
            for sql in ["VACUUM ANALYZE", "CHECKPOINT", pgbench::BARE_TABLE] {
                db.execute_unprepared(sql).await.unwrap();
            }
        }
        Self {
            url: url.to_owned(),
            data,
            postgres,
            db,
        }
    }

    fn database(&self) -> &'static str {
        match self.postgres {
            Some(_) => "PostgreSQL",
            None => "SQLite",
        }
    }

    async fn measure(self, operations: &[Operation], time: Duration, report: &mut Report) {
        let start = self.start().await;
        let server = Server::start(&self.url, &[]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let idle = usage::megabytes(server.pid(), "VmRSS");
        let bare = match &self.postgres {
            Some(_) => Some(Bare::start(&self.url).await),
            None => None,
        };
        if let Some(bare) = &bare {
            let fixed = Calls::again_and_again(vec![calls::fixed()]);
            let mut load = Load::default();
            load.add(&self, bare.port, &fixed, CONNECTIONS[0], time, server.pid())
                .await;
            let rate = load.answered.per_second();
            println!("bare axum answers {rate:.0} requests/s with a fixed body");
            report.fixed_per_second = Some(rate);
        }
        for operation in operations {
            for connections in CONNECTIONS {
                let row = self
                    .row(*operation, connections, &server, bare.as_ref(), time)
                    .await;
                row.print();
                report.rows.push(row);
            }
        }
        let start = Start {
            database: self.database(),
            messages: self.data.0.len(),
            ready_ms: start,
            idle_mb: idle,
            peak_mb: usage::megabytes(server.pid(), "VmHWM"),
            log_mb: self.log_megabytes(),
        };
        start.print();
        report.starts.push(start);
    }

    /// SQLite: the most that its log of writes took, as the file never gets smaller while it is open.
    fn log_megabytes(&self) -> Option<f64> {
        let file = self.url.strip_prefix("sqlite:")?;
        let log = std::fs::metadata(format!("{file}-wal")).unwrap();
        Some(f64::from(u32::try_from(log.len()).unwrap()) / 1024.0 / 1024.0)
    }

    /// One operation at one number of connections, beside its limits.
    async fn row(
        &self,
        operation: Operation,
        connections: usize,
        server: &Server,
        bare: Option<&Bare>,
        time: Duration,
    ) -> Row {
        let turn = time / TURNS;
        let calls = operation.calls(self.data, &self.db).await;
        let bare = bare.and_then(|bare| Some((bare.port, operation.bare_calls(self.data)?)));
        let mut row = Row::of(operation, self.database(), self.data.0.len(), connections);
        let mut ours = Load::default();
        let (mut by_bare, mut by_pgbench) = (Load::default(), 0.0);
        for _ in 0..TURNS {
            ours.add(self, server.port, &calls, connections, turn, server.pid())
                .await;
            if connections > CONNECTIONS[0] {
                continue;
            }
            if let Some((port, calls)) = &bare {
                by_bare
                    .add(self, *port, calls, connections, turn, server.pid())
                    .await;
            }
            if let Some(postgres) = &self.postgres {
                let scripts = operation.scripts(self.data);
                by_pgbench += pgbench::transactions(postgres, &scripts, connections, turn);
            }
        }
        row.figures = ours.figures();
        row.bare = (!by_bare.answered.latencies.is_empty()).then(|| by_bare.answered.per_second());
        row.pgbench = (by_pgbench > 0.0).then(|| by_pgbench / f64::from(TURNS));
        row
    }

    /// From the program's start until it is ready on this database, in milliseconds.
    async fn start(&self) -> f64 {
        let mut starts = Vec::with_capacity(STARTS);
        for _ in 0..STARTS {
            let began = Instant::now();
            let _server = Server::start(&self.url, &[]).await;
            starts.push(began.elapsed());
        }
        parts::percentile(&mut starts, 50)
    }
}

/// Several turns of one load.
#[derive(Default)]
struct Load {
    answered: Answered,
    server: Duration,
    database: Duration,
}

impl Load {
    async fn add(
        &mut self,
        run: &Run<'_>,
        port: u16,
        calls: &Arc<Calls>,
        connections: usize,
        time: Duration,
        server: u32,
    ) {
        let postmaster = run.postgres.as_ref();
        let postmaster = postmaster.map(|guard| usage::postmaster(&guard.path().join("data")));
        let processors = || {
            let database = postmaster.map_or(Duration::ZERO, usage::processor_of_family);
            (usage::processor(server), database)
        };
        let (answered, before, after) = load(port, calls, connections, time, processors).await;
        self.answered.add(answered);
        self.server += after.0.saturating_sub(before.0);
        self.database += after.1.saturating_sub(before.1);
    }

    fn figures(mut self) -> Figures {
        let requests = f64::from(u32::try_from(self.answered.latencies.len()).unwrap());
        let per_thousand = |time: Duration| time.as_secs_f64() * 1e3 / requests;
        Figures {
            per_second: self.answered.per_second(),
            errors: self.answered.errors,
            server_seconds: per_thousand(self.server),
            database_seconds: per_thousand(self.database),
            p50_ms: parts::percentile(&mut self.answered.latencies, 50),
            p99_ms: parts::percentile(&mut self.answered.latencies, 99),
            longest_ms: parts::percentile(&mut self.answered.latencies, 100),
        }
    }
}

fn import(url: &str, file: &Path) {
    let done = Command::new(env!("CARGO_BIN_EXE_directmessages"))
        .args(["import", "csv", "--database-url", url])
        .arg(file)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}
