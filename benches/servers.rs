//! Several servers on one PostgreSQL: how long a send at one takes to reach a listener at another, by LISTEN/NOTIFY and by
//! NATS, and how soon a server is ready again after kill -9.
//!
//! `cargo bench --bench servers`. NATS is the real `nats-server`, from the path.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails may stop")]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

#[expect(dead_code, reason = "listeners use the rest")]
mod parts;

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use self::parts::{Server, percentile, reach};

const SENDS: usize = 2_000;
const LISTENERS: usize = 200;
const RESTARTS: usize = 20;

#[tokio::main]
async fn main() {
    let postgres = support::Guard::postgres(true);
    let url = postgres.url("postgres");
    println!("a send reaches a listener      p50 ms   p99 ms");
    let one = Server::start(&url, &[]).await;
    let two = Server::start(&url, &[]).await;
    reached("at the same server", &one, &one).await;
    reached("elsewhere, LISTEN/NOTIFY", &one, &two).await;
    let (_nats, address) = nats();
    let one = Server::start(&url, &["--nats-url", &address]).await;
    let two = Server::start(&url, &["--nats-url", &address]).await;
    reached("elsewhere, NATS", &one, &two).await;

    let mut restarts = Vec::with_capacity(RESTARTS);
    let mut server = two;
    for _ in 0..RESTARTS {
        // kill -9.
        drop(server);
        let start = Instant::now();
        server = Server::start(&url, &[]).await;
        restarts.push(start.elapsed());
    }
    println!(
        "ready after kill -9           {:>7.1} {:>8.1}",
        percentile(&mut restarts, 50),
        percentile(&mut restarts, 99)
    );
}

async fn reached(how: &str, sends: &Server, listens: &Server) {
    let name = |user: usize| format!("listener-{user}");
    let mut sockets = Vec::with_capacity(LISTENERS);
    for user in 0..LISTENERS {
        sockets.push(listens.listen(&name(user)).await);
    }
    let mut latencies = Vec::with_capacity(SENDS);
    for turn in 0..SENDS {
        let user = turn * 7 % LISTENERS;
        latencies.push(reach(sends, &name(user), &mut sockets[user]).await);
    }
    println!(
        "{how:<29} {:>7.2} {:>8.2}",
        percentile(&mut latencies, 50),
        percentile(&mut latencies, 99)
    );
}

/// A NATS server that ends with this process.
fn nats() -> (Nats, String) {
    let port = support::free_port();
    let script = "nats-server -a 127.0.0.1 -p \"$1\" & child=$!; cat >/dev/null; kill -9 $child";
    let child = Command::new("sh")
        .args(["-c", script, "sh", &port.to_string()])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            Instant::now() < deadline,
            "nats-server does not start: is it installed?"
        );
        #[expect(clippy::disallowed_methods, reason = "nothing else runs yet")]
        std::thread::sleep(Duration::from_millis(10));
    }
    (Nats(child), format!("nats://127.0.0.1:{port}"))
}

struct Nats(Child);

impl Drop for Nats {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
