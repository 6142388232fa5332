//! What a listener costs: the server as a process of its own, a thousand sockets that listen, and sends that reach them.
//!
//! `cargo bench --bench listeners` prints the memory that each listener adds (resident, by the kernel's account), all that
//! the server takes with them, its processor time while nothing happens, and how long a send takes to reach its listener.
//! `cargo bench --bench listeners -- --listeners 10000` opens more.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails may stop")]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

#[expect(dead_code, reason = "the load benchmark uses the rest")]
mod parts;

use std::time::Duration;

use self::parts::{Server, percentile, reach};

const SENDS: usize = 1_000;
/// Sockets opened before the memory is read for the first time: by then the caches that all share are warm.
const SHARED: usize = 300;
/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() {
    let listeners = std::env::args()
        .skip_while(|argument| argument != "--listeners")
        .nth(1)
        .map_or(1_000, |count| count.parse().unwrap());
    println!("database    listeners   KB each   MB in all   % processor idle   p50 ms   p99 ms");
    let folder = support::Guard::folder();
    let postgres = support::Guard::postgres(true);
    let sqlite = format!("sqlite:{}/listeners.db", folder.path().display());
    measure("SQLite", &sqlite, listeners).await;
    measure("PostgreSQL", &postgres.url("postgres"), listeners).await;
}

#[expect(
    clippy::cast_precision_loss,
    reason = "kilobytes, listeners and hundredths of seconds"
)]
async fn measure(database: &str, url: &str, listeners: usize) {
    // The sockets here read only when it is their turn.
    let server = Server::start(url, &["--keep-alive", "3600"]).await;
    // The first sockets pay for what all share.
    let mut sockets = Vec::with_capacity(listeners);
    for user in 0..SHARED {
        sockets.push(server.listen(&name(user)).await);
    }
    let before = server.resident();
    for user in SHARED..listeners {
        sockets.push(server.listen(&name(user)).await);
    }
    let resident = server.resident();
    let each = resident.saturating_sub(before) as f64 / (listeners - SHARED) as f64;

    // The first slow tick looks at each new log once.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let busy = server.processor();
    tokio::time::sleep(IDLE).await;
    let busy = (server.processor() - busy) as f64 / IDLE.as_secs_f64();

    let mut latencies = Vec::with_capacity(SENDS);
    for turn in 0..SENDS {
        let user = turn * 7 % listeners;
        latencies.push(reach(&server, &name(user), &mut sockets[user]).await);
    }
    println!(
        "{database:<11} {listeners:>9} {each:>9.1} {:>11.1} {busy:>18.2} {:>8.2} {:>8.2}",
        resident as f64 / 1024.0,
        percentile(&mut latencies, 50),
        percentile(&mut latencies, 99)
    );
}

fn name(user: usize) -> String {
    format!("listener-{user}")
}
