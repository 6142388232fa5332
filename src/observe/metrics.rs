//! What is counted and measured. `docs/observe.md` says what each name means to an operator.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// From a fast read to [`crate::config::Bounds`]' longest wait.
const SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The counters of one server. Cheap to clone; each is of its own, so that two servers in one process do not add up.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    registry: Registry,
    requests: Family<Request, Counter>,
    durations: Family<Timed, Histogram, fn() -> Histogram>,
    rate_limited: Family<Limited, Counter>,
    listeners: Family<Listener, Gauge>,
    open_connections: Gauge,
    accept_failures: Counter,
    batch: Histogram,
    wait: Histogram,
    transactions: Family<Transaction, Histogram, fn() -> Histogram>,
    commit: Histogram,
    lag: Histogram,
    begin: Histogram,
    read: Histogram,
    pruned: Counter,
    read_off: ReadOff,
}

/// What is set from a [`Reading`] whenever somebody asks.
#[derive(Debug, Default)]
struct ReadOff {
    queued: Gauge,
    queue_size: Gauge,
    subscriptions: Gauge,
    connections: Family<Connections, Gauge>,
    most_connections: Family<OfPool, Gauge>,
    database: Gauge,
    bus: Gauge,
    hints_sent: Counter,
    hints_received: Counter,
    hints_dropped: Counter,
    memory: Gauge,
}

/// What cannot be counted while it happens, or need not be.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Commands that wait for the writer, and the most that may.
    pub queue: (usize, usize),
    /// Subscriptions that run.
    pub subscriptions: usize,
    /// The pools of connections.
    pub pools: Vec<Pool>,
    /// Whether the database is not known to be away.
    pub database: bool,
    /// Whether hints come through to other servers and back.
    pub bus: bool,
    /// Batches of hints handed to the bus, hints that came from it, and batches dropped because it was behind.
    pub hints: (u64, u64, u64),
}

/// A pool's connections.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// What it is for.
    pub role: &'static str,
    /// Those with a statement under way.
    pub in_use: usize,
    /// Those that wait for one.
    pub idle: usize,
    /// The most that there may be.
    pub most: u32,
}

/// One operation that ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Request {
    /// `query`, `mutation`, `subscription`, or `none` where it was refused before that was known.
    pub kind: &'static str,
    /// Its root field, `several` of them, or a trusted document's name: never a name that a client made up.
    pub operation: String,
    /// `ok`, or an error's code.
    pub outcome: Outcome,
}

/// What an operation came to: `ok`, or its first error's code.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outcome(pub std::borrow::Cow<'static, str>);

impl EncodeLabelValue for Outcome {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        self.0.as_ref().encode(encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Timed {
    kind: &'static str,
    operation: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Limited {
    limit: Limit,
}

/// Which bound an operation or a connection ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Messages of one user in a minute.
    Messages,
    /// Points of price of one user in a minute.
    Cost,
    /// Sockets and streams that one user opens in a minute.
    Connections,
    /// Requests of one address in a minute.
    Addresses,
    /// Sockets and streams of one user at one time.
    Open,
    /// Operations at one time on one socket.
    Operations,
    /// Subscriptions of one user at one time.
    Subscriptions,
    /// Connections of one address at one time.
    AddressConnections,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Listener {
    kind: Listening,
}

/// How somebody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listening {
    /// Over a WebSocket.
    Socket,
    /// Over an event stream.
    Stream,
}

/// Gives a label's values their names.
macro_rules! named {
    ($type:ident { $($variant:ident => $name:literal),* $(,)? }) => {
        impl EncodeLabelValue for $type {
            fn encode(
                &self,
                encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
            ) -> Result<(), std::fmt::Error> {
                let name = match self { $(Self::$variant => $name),* };
                name.encode(encoder)
            }
        }
    };
}

named!(Limit {
    Messages => "messages",
    Cost => "cost",
    Connections => "connections",
    Addresses => "addresses",
    Open => "open",
    Operations => "operations",
    Subscriptions => "subscriptions",
    AddressConnections => "address_connections",
});
named!(Listening { Socket => "socket", Stream => "stream" });

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transaction {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Connections {
    role: &'static str,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPool {
    role: &'static str,
}

/// Held for as long as somebody listens.
#[derive(Debug)]
pub struct Watched(Gauge);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

impl Default for Counted {
    fn default() -> Self {
        let mut counted = Self {
            registry: Registry::with_prefix("directmessages"),
            requests: Family::default(),
            durations: Family::new_with_constructor(seconds),
            rate_limited: Family::default(),
            listeners: Family::default(),
            open_connections: Gauge::default(),
            accept_failures: Counter::default(),
            batch: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            wait: seconds(),
            transactions: Family::new_with_constructor(seconds),
            commit: seconds(),
            lag: seconds(),
            begin: seconds(),
            read: seconds(),
            pruned: Counter::default(),
            read_off: ReadOff::default(),
        };
        counted.register();
        counted
    }
}

impl Counted {
    fn register(&mut self) {
        let mut all = Registry::default();
        let ours = all.sub_registry_with_prefix("directmessages");
        macro_rules! register {
            ($($name:literal, $help:literal, $metric:expr;)*) => {
                $(ours.register($name, $help, $metric.clone());)*
            };
        }
        let off = &self.read_off;
        register! {
            "requests", "Operations that ended, by root field or trusted name, and outcome", self.requests;
            "request_duration_seconds", "From an operation's arrival to its answer; subscriptions are left out", self.durations;
            "rate_limited", "Operations and connections refused as too many, by the limit", self.rate_limited;
            "listeners", "Sockets and event streams that are open", self.listeners;
            "subscriptions", "Subscriptions that run", off.subscriptions;
            "connections", "Connections of clients that are open, with sockets and event streams", self.open_connections;
            "accept_failures", "Connections that could not be accepted, as where no file descriptors are left", self.accept_failures;
            "signal_lag_seconds", "From the time of a signal to its handing to a listener who was there already", self.lag;
            "write_batch_commands", "Commands in a batch", self.batch;
            "write_queue_commands", "Commands that wait for the writer", off.queued;
            "write_queue_size_commands", "The most commands that may wait", off.queue_size;
            "write_wait_seconds", "How long commands waited for the writer", self.wait;
            "write_transaction_seconds", "How long a batch's transaction took, with its commit", self.transactions;
            "write_commit_seconds", "How long a batch's COMMIT took", self.commit;
            "database_connections", "Connections to the database, by pool and state", off.connections;
            "database_connections_most", "The most connections that a pool may have", off.most_connections;
            "database_begin_seconds", "How long the beginning of a transaction took, with the wait for a connection", self.begin;
            "database_read_seconds", "How long a reading statement took, with the wait for a connection", self.read;
            "database_up", "0 while the database is known to be away", off.database;
            "bus_up", "0 while hints between servers do not come through; 1 also where there is no bus", off.bus;
            "hints_sent", "Batches of hints handed to the bus", off.hints_sent;
            "hints_received", "Hints that came from other servers", off.hints_received;
            "hints_dropped", "Batches of hints dropped because the bus was behind", off.hints_dropped;
            "signals_pruned", "Old signals that this server removed", self.pruned;
        }
        let build = Family::<Vec<(&str, &str)>, Gauge>::default();
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        build.get_or_create(&version).set(1);
        ours.register("build_info", "The version that runs", build);
        for listening in [Listening::Socket, Listening::Stream] {
            let kind = Listener { kind: listening };
            self.listeners.get_or_create(&kind).set(0);
        }
        // Alerts need a zero to see the first one.
        for limit in [
            Limit::Messages,
            Limit::Cost,
            Limit::Connections,
            Limit::Addresses,
            Limit::Open,
            Limit::Operations,
            Limit::Subscriptions,
            Limit::AddressConnections,
        ] {
            drop(self.rate_limited.get_or_create(&Limited { limit }));
        }
        for outcome in ["stored", "failed"] {
            drop(self.transactions.get_or_create(&Transaction { outcome }));
        }
        let process = all.sub_registry_with_prefix("process");
        let start = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        start.set(now.unwrap_or_default().as_secs_f64());
        process.register(
            "start_time_seconds",
            "When the server started, in seconds since 1970",
            start,
        );
        process.register(
            "resident_memory_bytes",
            "Memory that is resident",
            off.memory.clone(),
        );
        self.registry = all;
    }
}

impl Metrics {
    /// An operation ended; `took` is nothing for a subscription.
    pub fn request(&self, request: &Request, took: Option<Duration>) {
        if let Some(took) = took {
            let timed = Timed {
                kind: request.kind,
                operation: request.operation.clone(),
            };
            let duration = self.0.durations.get_or_create(&timed);
            duration.observe(took.as_secs_f64());
        }
        self.0.requests.get_or_create(request).inc();
    }

    /// Somebody asked for too much.
    pub fn limited(&self, limit: Limit) {
        self.0.rate_limited.get_or_create(&Limited { limit }).inc();
    }

    /// Somebody listens, until this is dropped.
    #[must_use]
    pub fn listening(&self, kind: Listening) -> Watched {
        let gauge = self.0.listeners.get_or_create_owned(&Listener { kind });
        gauge.inc();
        Watched(gauge)
    }

    /// A client's connection is open, until this is dropped.
    #[must_use]
    pub fn connection(&self) -> Watched {
        let gauge = self.0.open_connections.clone();
        gauge.inc();
        Watched(gauge)
    }

    /// A connection could not be accepted.
    pub fn accept_failed(&self) {
        self.0.accept_failures.inc();
    }

    /// The writer took a batch, whose commands waited so long.
    pub fn batch(&self, waits: impl ExactSizeIterator<Item = Duration>) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a batch has fewer commands than a float has whole numbers"
        )]
        self.0.batch.observe(waits.len() as f64);
        for wait in waits {
            self.0.wait.observe(wait.as_secs_f64());
        }
    }

    /// A batch's transaction ended.
    pub fn transaction(&self, took: Duration, stored: bool) {
        let outcome = if stored { "stored" } else { "failed" };
        let transactions = &self.0.transactions;
        let took = took.as_secs_f64();
        transactions
            .get_or_create(&Transaction { outcome })
            .observe(took);
    }

    /// A COMMIT was answered.
    pub fn commit(&self, took: Duration) {
        self.0.commit.observe(took.as_secs_f64());
    }

    /// A transaction was begun, or that failed.
    pub fn begin(&self, took: Duration) {
        self.0.begin.observe(took.as_secs_f64());
    }

    /// A reading statement was answered, or failed.
    pub fn read(&self, took: Duration) {
        self.0.read.observe(took.as_secs_f64());
    }

    /// A listener who was there already was handed a signal, so many milliseconds after it happened.
    pub fn signal(&self, milliseconds: i64) {
        let lag = Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
        self.0.lag.observe(lag.as_secs_f64());
    }

    /// Old signals were removed.
    pub fn pruned(&self, signals: u64) {
        self.0.pruned.inc_by(signals);
    }

    /// Everything, in the text format of `OpenMetrics`.
    ///
    /// # Panics
    /// Never: a string takes everything.
    #[must_use]
    pub fn open_metrics(&self, reading: &Reading) -> String {
        self.0.read_off.take(reading);
        let mut written = String::with_capacity(16_384);
        text::encode(&mut written, &self.0.registry).expect("a string takes everything");
        written
    }

    /// Everything, in Prometheus' older text format, which names counters by their whole name.
    #[must_use]
    pub fn text(&self, reading: &Reading) -> String {
        let open = self.open_metrics(reading);
        let counters: Vec<&str> = open
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
            .collect();
        let mut written = String::with_capacity(open.len());
        for line in open.lines().filter(|line| *line != "# EOF") {
            match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
                ["#", what, name, rest] if counters.contains(&name) => {
                    written.extend(["# ", what, " ", name, "_total ", rest]);
                }
                _ => written.push_str(line),
            }
            written.push('\n');
        }
        written
    }
}

impl ReadOff {
    fn take(&self, reading: &Reading) {
        set(&self.queued, reading.queue.0);
        set(&self.queue_size, reading.queue.1);
        set(&self.subscriptions, reading.subscriptions);
        for pool in &reading.pools {
            let role = pool.role;
            for (state, count) in [("in_use", pool.in_use), ("idle", pool.idle)] {
                let labels = Connections { role, state };
                set(&self.connections.get_or_create(&labels), count);
            }
            let most = self.most_connections.get_or_create(&OfPool { role });
            most.set(pool.most.into());
        }
        self.database.set(reading.database.into());
        self.bus.set(reading.bus.into());
        let (sent, received, dropped) = reading.hints;
        for (counter, count) in [
            (&self.hints_sent, sent),
            (&self.hints_received, received),
            (&self.hints_dropped, dropped),
        ] {
            counter.inner().store(count, Ordering::Relaxed);
        }
        if let Some(bytes) = resident_memory() {
            self.memory.set(bytes);
        }
    }
}

fn set(gauge: &Gauge, count: usize) {
    gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
}

/// By the kernel's account; nothing where the system has none of this kind.
fn resident_memory() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1_024)
}
