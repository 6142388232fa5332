//! What hostile documents cost: the server as a process of its own, one user who sends them, another who goes on asking.
//!
//! `cargo bench --bench hostile` prints for each bomb how long its answer takes, and beside it how long the other user's
//! ordinary query takes meanwhile; the first row is that query alone.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails may stop")]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::{
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use directmessages::auth::Tokens;
use serde_json::{Value, json};

use support::bombs::{Bomb, bombs};

const SECRET: &str = "a secret for the benchmark, 32 bytes or more";
/// How often each bomb is sent, one after the other; each time another document, so that none is known.
const TIMES: usize = 30;
/// The other user's ordinary query.
const PAGE: &str = "{ inbox { unreadCount } unreadMessages(first: 20) { nodes { id formatted sender { username } } } }";

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One user's way to the server.
#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Client {
    /// How long the answer took, and the code of its first error.
    async fn ask(&self, body: String) -> (Duration, String) {
        let request = self.http.post(&self.url).bearer_auth(&self.token);
        let request = request
            .header("content-type", "application/json")
            .body(body);
        let start = Instant::now();
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let took = start.elapsed();
        let code = answer["errors"][0]["extensions"]["code"].as_str();
        (took, code.unwrap_or("answered").to_owned())
    }
}

#[tokio::main]
async fn main() {
    let folder = support::Guard::folder();
    let port = support::free_port();
    let database = format!("sqlite:{}/hostile.db", folder.path().display());
    let server = Command::new(env!("CARGO_BIN_EXE_directmessages"))
        .args(["serve", "--jwt-secret", SECRET, "--database-url", &database])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        // No rate holds the measuring up.
        .args(["--send-rate", "0", "--cost-rate", "0"])
        .args(["--connection-rate", "0", "--address-rate", "0"])
        // Megabytes are let in, to see what they cost.
        .args([
            "--introspection",
            "--federation",
            "--body-limit",
            "20000000",
        ])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _server = Server(server);
    let tokens = Tokens::hs256(SECRET, None, None);
    let client = |user: &str| Client {
        http: reqwest::Client::new(),
        url: format!("http://127.0.0.1:{port}/graphql"),
        token: tokens.mint(user, None, false, 3_600).unwrap(),
    };
    let (mallory, ben) = (client("mallory"), client("ben"));
    let ready = format!("http://127.0.0.1:{port}/health/ready");
    while mallory.http.get(&ready).send().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ben.ask(json!({ "query": PAGE }).to_string()).await;
    let send = "mutation { sendMessage(input: { recipientId: \"ben\", content: \"Hello\" }) { message { id } } }";
    for _ in 0..20 {
        mallory.ask(json!({ "query": send }).to_string()).await;
    }

    println!(
        "{:<32} {:>9} {:>8} {:>8} {:>9} {:>9}  code",
        "document", "bytes", "p50 ms", "max ms", "other p50", "other p99"
    );
    let alone = meanwhile(&ben, tokio::time::sleep(Duration::from_secs(3))).await;
    row(
        "(the other's query, alone)",
        0,
        &[Duration::ZERO],
        &alone,
        "",
    );
    for bomb in bombs().into_iter().chain(megabytes()) {
        let Bomb {
            name,
            document,
            variables,
            ..
        } = bomb;
        let mut latencies = Vec::with_capacity(TIMES);
        let mut code = String::new();
        let bytes = document.len() + variables.len();
        let exploding = async {
            for time in 0..TIMES {
                let query = serde_json::to_string(&format!("#{time}\n{document}")).unwrap();
                let body = format!("{{\"query\": {query}, \"variables\": {variables}}}");
                let (took, told) = mallory.ask(body).await;
                latencies.push(took);
                code = told;
            }
        };
        let others = meanwhile(&ben, exploding).await;
        row(name, bytes, &latencies, &others, &code);
    }
}

/// How long a user's queries take, one after the other, while something goes on.
async fn meanwhile(user: &Client, something: impl Future<Output = ()>) -> Vec<Duration> {
    let over = AtomicBool::new(false);
    let asking = async {
        let mut latencies = Vec::new();
        while !over.load(Ordering::Relaxed) || latencies.len() < 20 {
            let (took, code) = user.ask(json!({ "query": PAGE }).to_string()).await;
            assert_eq!(code, "answered");
            latencies.push(took);
        }
        latencies
    };
    let something = async {
        something.await;
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(asking, something).0
}

fn row(name: &str, bytes: usize, own: &[Duration], others: &[Duration], code: &str) {
    let (own, others) = (sorted(own), sorted(others));
    let at = |of: &[f64], percent: usize| of[(of.len() - 1) * percent / 100];
    println!(
        "{name:<32} {bytes:>9} {:>8.1} {:>8.1} {:>9.2} {:>9.2}  {code}",
        at(&own, 50),
        at(&own, 100),
        at(&others, 50),
        at(&others, 99)
    );
}

fn sorted(of: &[Duration]) -> Vec<f64> {
    let mut milliseconds: Vec<f64> = of.iter().map(|took| took.as_secs_f64() * 1e3).collect();
    milliseconds.sort_by(f64::total_cmp);
    milliseconds
}

/// The largest of their kinds, beyond the default limit of a request's bytes.
fn megabytes() -> Vec<Bomb> {
    let long = "x".repeat(5_000_000);
    let user = "query ($v: ID!) { user(id: $v) { id } }".to_owned();
    let nested = format!("{{\"v\": {}{}}}", "[".repeat(120), "]".repeat(120));
    let bomb = |name, document, variables: &str| Bomb {
        name,
        document,
        variables: variables.to_owned(),
        code: "",
    };
    vec![
        bomb(
            "a comment of 5 MB",
            format!("{{ viewer {{ id }} }} #{long}"),
            "{}",
        ),
        bomb(
            "a string of 5 MB",
            format!("{{ user(id: \"{long}\") {{ id }} }}"),
            "{}",
        ),
        bomb(
            "a variable of 5 MB",
            user.clone(),
            &json!({ "v": long }).to_string(),
        ),
        bomb("120 brackets in variables", user, &nested),
    ]
}
