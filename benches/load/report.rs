//! What was measured: as a table while it runs, as ratios at the end, and as JSON.

use std::path::Path;

use serde::Serialize;

use super::{CONNECTIONS, calls::Operation, picture};

/// Everything that one run measured.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    /// What bare axum answers with a fixed body, over the first number of connections.
    pub(crate) fixed_per_second: Option<f64>,
    pub(crate) starts: Vec<Start>,
    pub(crate) signals: Vec<Signals>,
}

/// One operation under one load.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) database: &'static str,
    pub(crate) messages: usize,
    pub(crate) operation: &'static str,
    pub(crate) connections: usize,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    /// Requests per second of bare axum, sqlx and serde with the same page.
    pub(crate) bare: Option<f64>,
    /// Transactions per second of pgbench: the page's statement, or one bare row inserted.
    pub(crate) pgbench: Option<f64>,
}

/// What the server did with it. Processor time is in seconds per 1,000 requests: milliseconds a request.
#[derive(Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    pub(crate) errors: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) longest_ms: f64,
    pub(crate) server_seconds: f64,
    pub(crate) database_seconds: f64,
}

/// How the server starts on a database that is there, and what memory it takes.
#[derive(Serialize)]
pub(crate) struct Start {
    pub(crate) database: &'static str,
    pub(crate) messages: usize,
    pub(crate) ready_ms: f64,
    pub(crate) idle_mb: f64,
    pub(crate) peak_mb: f64,
    /// The most that SQLite's log of writes took beside the file.
    pub(crate) log_mb: Option<f64>,
}

/// What listeners take, and how soon they are told.
#[derive(Serialize)]
pub(crate) struct Signals {
    pub(crate) listeners: usize,
    pub(crate) kilobytes_each: f64,
    pub(crate) per_second: f64,
    /// From the answer of the send to the listener.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// From when the send was due to the listener.
    pub(crate) whole_p50_ms: f64,
    pub(crate) whole_p99_ms: f64,
}

pub(crate) fn print_head() {
    println!(
        "database   messages  operation             connections  requests/s  p50 ms  p99 ms  longest  errors  \
         server s/1,000  database s/1,000  bare/s  pgbench/s  ratio"
    );
}

impl Row {
    pub(crate) fn of(
        operation: Operation,
        database: &'static str,
        messages: usize,
        connections: usize,
    ) -> Self {
        Self {
            database,
            messages,
            operation: operation.name(),
            connections,
            figures: Figures::default(),
            bare: None,
            pgbench: None,
        }
    }

    /// Of what bounds it: a page by bare axum, sqlx and serde, a change by pgbench's insert.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let limit = self.bare.or(self.pgbench)?;
        Some(self.figures.per_second / limit)
    }

    pub(crate) fn print(&self) {
        let figures = &self.figures;
        let rate = |rate: Option<f64>| rate.map_or_else(String::new, |rate| format!("{rate:.0}"));
        let ratio = self.ratio().map(|ratio| format!("{ratio:.2}"));
        // On SQLite the database is in the server.
        let database = match self.database {
            "SQLite" => String::new(),
            _ => format!("{:.3}", figures.database_seconds),
        };
        println!(
            "{:<10} {:>8}  {:<20}  {:>11}  {:>10.0}  {:>6.2}  {:>6.2}  {:>7.1}  {:>6}  {:>14.3}  {:>16}  {:>6}  {:>9}  {:>5}",
            self.database,
            self.messages,
            self.operation,
            self.connections,
            figures.per_second,
            figures.p50_ms,
            figures.p99_ms,
            figures.longest_ms,
            figures.errors,
            figures.server_seconds,
            database,
            rate(self.bare),
            rate(self.pgbench),
            ratio.unwrap_or_default(),
        );
    }
}

impl Start {
    pub(crate) fn print(&self) {
        println!(
            "{:<10} {:>8}  ready in {:.0} ms; {:.1} MB idle, {:.1} MB at most",
            self.database, self.messages, self.ready_ms, self.idle_mb, self.peak_mb
        );
        if let Some(log) = self.log_mb {
            println!("SQLite's log of writes took {log:.0} MB at most");
        }
    }
}

impl Signals {
    pub(crate) fn print(&self) {
        println!(
            "{} listeners: {:.1} KB each; {:.0} signals/s reach them p50 {:.2} ms, p99 {:.2} ms after the send's answer, \
             p50 {:.2} ms, p99 {:.2} ms after it was due",
            self.listeners,
            self.kilobytes_each,
            self.per_second,
            self.p50_ms,
            self.p99_ms,
            self.whole_p50_ms,
            self.whole_p99_ms,
        );
    }
}

impl Report {
    /// What growth costs, and what SQLite does beside PostgreSQL.
    pub(crate) fn print_ratios(&self) {
        let Some(smallest) = self.rows.iter().map(|row| row.messages).min() else {
            return;
        };
        let on_postgres = |row: &&Row| row.database == "PostgreSQL" && row.messages == smallest;
        for base in self.rows.iter().filter(on_postgres) {
            let same = self.rows.iter().filter(|row| {
                row.operation == base.operation && row.connections == base.connections
            });
            for row in same {
                let ratio = row.figures.per_second / base.figures.per_second;
                if row.database != base.database || row.messages != base.messages {
                    println!(
                        "{} with {} messages, {} connections: {} is {ratio:.2} of PostgreSQL's with {}",
                        row.database, row.messages, row.connections, row.operation, base.messages
                    );
                }
            }
        }
    }

    /// What the picture shows: the smallest PostgreSQL, at the first number of connections.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Row> {
        let rows = self.rows.iter();
        let smallest = rows.clone().map(|row| row.messages).min();
        rows.filter(move |row| {
            row.database == "PostgreSQL"
                && row.connections == CONNECTIONS[0]
                && Some(row.messages) == smallest
        })
    }

    pub(crate) fn write(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(folder.join("load.json"), json + "\n")?;
        std::fs::write(folder.join("load.svg"), picture::draw(self))
    }
}
