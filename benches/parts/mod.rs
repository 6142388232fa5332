//! What several benchmarks share: the server as a process of its own, and a client for its sockets.

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

use crate::support::free_port;

const SECRET: &str = "a secret for the benchmark, 32 bytes or more";

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A process that is killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    pub(crate) http: reqwest::Client,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// `serve` without rates, once it is ready.
    pub(crate) async fn start(url: &str, flags: &[&str]) -> Self {
        let http = reqwest::Client::new();
        let port = free_port();
        let child = Command::new(env!("CARGO_BIN_EXE_directmessages"))
            .args(["serve", "--jwt-secret", SECRET, "--database-url", url])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--send-rate", "0", "--cost-rate", "0"])
            .args(["--connection-rate", "0", "--address-rate", "0"])
            .args(["--event-rate", "0", "--connections", "100000"])
            .args(["--connections-per-address", "100000"])
            .args(flags)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let ready = format!("http://127.0.0.1:{port}/health/ready");
        let is_ready = async || {
            let answer = http.get(&ready).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        };
        while !is_ready().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Self { child, port, http }
    }

    /// A socket of a user's that listens to messages sent.
    pub(crate) async fn listen(&self, user: &str) -> Socket {
        let mut request = format!("ws://127.0.0.1:{}/graphql", self.port)
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
        let init = json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {}", token(user)) } });
        say(&mut socket, &init).await;
        assert_eq!(hear(&mut socket).await["type"], "connection_ack");
        let query = "subscription { messageSent { cursor message { id formatted } } }";
        let listen = json!({ "type": "subscribe", "id": "1", "payload": { "query": query } });
        say(&mut socket, &listen).await;
        // An answer to what was sent later shows that the subscription stands.
        let viewer =
            json!({ "type": "subscribe", "id": "2", "payload": { "query": "{ viewer { id } }" } });
        say(&mut socket, &viewer).await;
        while hear(&mut socket).await["type"] != "complete" {}
        socket
    }

    /// Sends one message.
    pub(crate) async fn send(&self, from: &str, to: &str) {
        let query = "mutation($to: ID!) { sendMessage(input: { recipientId: $to, content: \"Hello\" }) { message { id } } }";
        let answer: Value = self
            .http
            .post(format!("http://127.0.0.1:{}/graphql", self.port))
            .bearer_auth(token(from))
            .json(&json!({ "query": query, "variables": { "to": to } }))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert!(answer["errors"].is_null(), "{answer}");
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in kilobytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.unwrap().split_whitespace().nth(1);
        kilobytes.unwrap().parse().unwrap()
    }

    /// Processor time so far, in hundredths of a second: what Linux counts in.
    pub(crate) fn processor(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name, which may hold anything, ends at the last parenthesis; user and system time are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let fields = fields.split_whitespace().skip(11).take(2);
        fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }
}

/// How long a send at one server takes to reach a listener, which may be at another.
pub(crate) async fn reach(server: &Server, to: &str, listener: &mut Socket) -> Duration {
    let start = Instant::now();
    let (reached, ()) = tokio::join!(next_event(listener), server.send("sender", to));
    reached.duration_since(start)
}

/// In milliseconds, at this percentile.
pub(crate) fn percentile(latencies: &mut [Duration], percent: usize) -> f64 {
    latencies.sort_unstable();
    latencies[(latencies.len() - 1) * percent / 100].as_secs_f64() * 1e3
}

/// A token of a user's.
pub(crate) fn token(user: &str) -> String {
    let tokens = Tokens::hs256(SECRET, None, None);
    tokens.mint(user, None, false, 86_400).unwrap()
}

async fn next_event(socket: &mut Socket) -> Instant {
    while hear(socket).await["type"] != "next" {}
    Instant::now()
}

async fn say(socket: &mut Socket, message: &Value) {
    let message = Message::text(message.to_string());
    socket.send(message).await.unwrap();
}

pub(crate) async fn hear(socket: &mut Socket) -> Value {
    loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}
