//! What a listener costs: the server as a process of its own, a thousand sockets that listen, and sends that reach them.
//!
//! `cargo bench --bench listeners` prints the memory that each listener adds (resident, by the kernel's account) and how long
//! a send takes to reach its listener. `cargo bench --bench listeners -- --listeners 5000` opens more.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails may stop")]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use directmessages::auth::Tokens;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Message, client::IntoClientRequest as _, protocol::WebSocketConfig},
};

const SECRET: &str = "a secret for the benchmark, 32 bytes or more";
const SENDS: usize = 1_000;
/// Sockets opened before the memory is read for the first time: by then the caches that all share are warm.
const SHARED: usize = 300;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::main]
async fn main() {
    let listeners = std::env::args()
        .skip_while(|argument| argument != "--listeners")
        .nth(1)
        .map_or(1_000, |count| count.parse().unwrap());
    println!("database    listeners   KB each   p50 ms   p99 ms");
    let folder = support::Guard::folder();
    let postgres = support::Guard::postgres(true);
    let sqlite = format!("sqlite:{}/listeners.db", folder.path().display());
    measure("SQLite", &sqlite, listeners).await;
    measure("PostgreSQL", &postgres.url("postgres"), listeners).await;
}

async fn measure(database: &str, url: &str, listeners: usize) {
    let port = support::free_port();
    let server = Command::new(env!("CARGO_BIN_EXE_directmessages"))
        .args(["serve", "--jwt-secret", SECRET, "--database-url", url])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        // The sockets here read only when it is their turn.
        .args(["--keep-alive", "3600"])
        .args(["--send-rate", "0", "--cost-rate", "0"])
        .args(["--connection-rate", "0", "--address-rate", "0"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = Server(server);
    let http = reqwest::Client::new();
    let ready = format!("http://127.0.0.1:{port}/health/ready");
    while http.get(&ready).send().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let tokens = Tokens::hs256(SECRET, None, None);
    // The first sockets pay for what all share.
    let mut sockets = Vec::with_capacity(listeners);
    for user in 0..SHARED {
        sockets.push(listen(port, &tokens, user).await);
    }
    let before = resident(&server);
    for user in SHARED..listeners {
        sockets.push(listen(port, &tokens, user).await);
    }
    #[expect(clippy::cast_precision_loss, reason = "kilobytes and listeners")]
    let each = (resident(&server).saturating_sub(before)) as f64 / (listeners - SHARED) as f64;

    let sender = tokens.mint("sender", None, false, 3_600).unwrap();
    let mut latencies = Vec::with_capacity(SENDS);
    for turn in 0..SENDS {
        let user = turn * 7 % listeners;
        let start = Instant::now();
        let send = send(&http, port, &sender, user);
        let (reached, ()) = tokio::join!(next_event(&mut sockets[user]), send);
        latencies.push(reached.duration_since(start));
    }
    latencies.sort_unstable();
    let at = |percent: usize| latencies[latencies.len() * percent / 100].as_secs_f64() * 1e3;
    println!(
        "{database:<11} {listeners:>9} {each:>9.1} {:>8.2} {:>8.2}",
        at(50),
        at(99)
    );
}

async fn listen(port: u16, tokens: &Tokens, user: usize) -> Socket {
    let mut request = format!("ws://127.0.0.1:{port}/graphql")
        .into_client_request()
        .unwrap();
    let protocol = "graphql-transport-ws".parse().unwrap();
    request
        .headers_mut()
        .insert("sec-websocket-protocol", protocol);
    let config = WebSocketConfig::default().read_buffer_size(4_096);
    let (mut socket, _) = connect_async_with_config(request, Some(config), true)
        .await
        .unwrap();
    let token = tokens
        .mint(&format!("listener-{user}"), None, false, 3_600)
        .unwrap();
    let init = json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {token}") } });
    say(&mut socket, &init).await;
    assert_eq!(hear(&mut socket).await["type"], "connection_ack");
    let query = "subscription { messageSent { cursor message { id formatted } } }";
    say(
        &mut socket,
        &json!({ "type": "subscribe", "id": "1", "payload": { "query": query } }),
    )
    .await;
    // An answer to what was sent later shows that the subscription stands.
    say(
        &mut socket,
        &json!({ "type": "subscribe", "id": "2", "payload": { "query": "{ viewer { id } }" } }),
    )
    .await;
    while hear(&mut socket).await["type"] != "complete" {}
    socket
}

async fn send(http: &reqwest::Client, port: u16, token: &str, user: usize) {
    let query = "mutation($to: ID!) { sendMessage(input: { recipientId: $to, content: \"Hello\" }) { message { id } } }";
    let answer: Value = http
        .post(format!("http://127.0.0.1:{port}/graphql"))
        .bearer_auth(token)
        .json(&json!({ "query": query, "variables": { "to": format!("listener-{user}") } }))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert!(answer["errors"].is_null(), "{answer}");
}

async fn next_event(socket: &mut Socket) -> Instant {
    while hear(socket).await["type"] != "next" {}
    Instant::now()
}

async fn say(socket: &mut Socket, message: &Value) {
    socket
        .send(Message::text(message.to_string()))
        .await
        .unwrap();
}

async fn hear(socket: &mut Socket) -> Value {
    loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

/// Resident memory of the server in kilobytes.
fn resident(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.0.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
