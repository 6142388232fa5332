//! Connections below HTTP: how many, how long, and what their heads may hold.

use std::net::SocketAddr;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    harness::{
        Fixture as _,
        database::{Kind, TestDatabase},
        process::{Process, program},
        server::TestServer,
        socket::{Heard, Socket},
        until, within,
    },
    support::free_port,
};

const LIVE: &str = "GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n";

/// A connection, and what was read from it.
struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let read = Vec::new();
        Self { stream, read }
    }

    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Waits for the whole response to [`LIVE`].
    async fn is_alive(&mut self) {
        let response = async {
            while !self.read.ends_with(br#"{"status":"ok"}"#) {
                let count = self.stream.read_buf(&mut self.read).await.unwrap();
                assert!(count > 0, "it was closed: {}", self.text());
            }
        };
        within("a response", response).await;
        self.read.clear();
    }

    /// Everything that comes until the server closes the connection.
    async fn rest(&mut self) -> String {
        let rest = async {
            // It may be cut off where the client had more to say.
            while matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {}
        };
        within("the connection to end", rest).await;
        self.text()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_not_spoken() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let mut connection = Connection::open(server.address).await;
    let settings = "\0\0\0\x04\0\0\0\0\0";
    connection
        .send(&format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{settings}"))
        .await;
    let answer = connection.rest().await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 "),
        "{answer:?}"
    );
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_of_every_request_has_to_come_in_time() {
    let flags = ["--header-timeout", "0.3", "--idle-timeout", "86400"];
    let server = TestServer::with(Kind::Sqlite, &flags).await;
    let (head, rest) = LIVE.split_at(20);

    let mut silent = Connection::open(server.address).await;
    assert_eq!(silent.rest().await, "");

    let mut first = Connection::open(server.address).await;
    first.send(head).await;
    assert_eq!(first.rest().await, "");

    let mut second = Connection::open(server.address).await;
    second.send(LIVE).await;
    second.is_alive().await;
    second.send(head).await;
    assert_eq!(second.rest().await, "");

    // What came with the request before counts from its response on.
    let mut pipelined = Connection::open(server.address).await;
    pipelined.send(&format!("{LIVE}{head}")).await;
    pipelined.is_alive().await;
    assert_eq!(pipelined.rest().await, "");
    let mut twice = Connection::open(server.address).await;
    twice.send(&format!("{LIVE}{LIVE}{head}")).await;
    twice.is_alive().await;
    assert_eq!(twice.rest().await, "");

    let mut in_pieces = Connection::open(server.address).await;
    for _ in 0..3 {
        in_pieces.send(head).await;
        in_pieces.send(rest).await;
        in_pieces.is_alive().await;
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_be_idle_for_longer_than_a_head_may_take() {
    let flags = ["--header-timeout", "0.2", "--idle-timeout", "86400"];
    let server = TestServer::with(Kind::Sqlite, &flags).await;
    let ann = server.user("ann").await;
    let mut idle = Connection::open(server.address).await;
    idle.send(LIVE).await;
    idle.is_alive().await;
    let mut socket = Socket::of(&ann).await;
    // One that begins now is closed for its head: the time is over.
    let mut slow = Connection::open(server.address).await;
    assert_eq!(slow.rest().await, "");
    idle.send(LIVE).await;
    idle.is_alive().await;
    socket.subscribe("1", "{ viewer { id } }", json!({})).await;
    assert_eq!(socket.message().await["type"], "next");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_bounded_in_bytes() {
    let server = TestServer::with(Kind::Sqlite, &["--header-limit", "8192"]).await;
    let mut connection = Connection::open(server.address).await;
    let name = "x".repeat(5_000);
    let fits = LIVE.replace("host: x", &format!("host: x\r\nx-padding: {name}"));
    connection.send(&fits).await;
    connection.is_alive().await;
    // Without an end: it is not waited for.
    let endless = format!("GET / HTTP/1.1\r\nx-padding: {}", name.repeat(4));
    connection.send(&endless).await;
    let answer = connection.rest().await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer:?}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_connections_and_no_more() {
    let server = TestServer::with(Kind::Sqlite, &["--connections-per-address", "2"]).await;
    let mut open = [
        Connection::open(server.address).await,
        Connection::open(server.address).await,
    ];
    for connection in &mut open {
        connection.send(LIVE).await;
        connection.is_alive().await;
    }
    let answer = Connection::open(server.address).await.rest().await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer:?}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["errors"][0]["extensions"]["code"], "RATE_LIMITED");
    drop(open);
    until("there is room again", async || {
        let mut connection = Connection::open(server.address).await;
        // The connection may be closed already.
        let _ = connection.stream.write_all(LIVE.as_bytes()).await;
        let _ = connection.stream.shutdown().await;
        connection.rest().await.starts_with("HTTP/1.1 200 ")
    })
    .await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_s_connections_are_not_counted_by_address() {
    let flags = ["--connections-per-address", "1", "--trusted-proxies", "1"];
    let server = TestServer::with(Kind::Sqlite, &flags).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut connection = Connection::open(server.address).await;
        connection.send(LIVE).await;
        connection.is_alive().await;
        open.push(connection);
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_all_wait_for_one_to_close() {
    let server = TestServer::with(Kind::Sqlite, &["--connections", "2"]).await;
    let mut first = Connection::open(server.address).await;
    first.send(LIVE).await;
    first.is_alive().await;
    // A socket counts for as long as it is open.
    let mut socket = Socket::open(server.address).await;
    let mut waiting = Connection::open(server.address).await;
    waiting.send(LIVE).await;
    // Whatever comes on an open connection comes first.
    for _ in 0..3 {
        first.send(LIVE).await;
        first.is_alive().await;
    }
    assert!(waiting.stream.try_read(&mut [0]).is_err());
    assert_eq!(socket.init(json!({})).await, Heard::Closed(4403));
    drop(socket);
    waiting.is_alive().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_and_a_metric_tell_that_no_connection_can_be_accepted() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let (port, metrics) = (free_port(), free_port());
    let address: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    let metrics = format!("127.0.0.1:{metrics}");
    let listen = address.to_string();
    let serve = program(&[
        "serve",
        "--listen",
        &listen,
        "--jwt-secret",
        crate::harness::SECRET,
        "--database-url",
        &database.url,
        "--metrics-listen",
        &metrics,
    ]);
    let mut few_files = std::process::Command::new("prlimit");
    few_files.arg("--nofile=64").arg(serve.get_program());
    few_files.args(serve.get_args()).env_clear();
    let path = std::env::vars_os().find(|(name, _)| name == "PATH");
    few_files.envs(path);
    let process = Process::start(few_files, address);
    process.ready().await;
    // Its own connection stays open, for what follows.
    let metrics = format!("http://{metrics}/metrics");
    let client = crate::harness::server::client();
    let failures = async || {
        let text = client.get(&metrics).send().await.unwrap().text().await;
        let text = text.unwrap();
        let mut lines = text.lines();
        let line = lines.find_map(|it| it.strip_prefix("directmessages_accept_failures_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(failures().await, 0);
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(Connection::open(address).await);
    }
    until("it fails to accept", async || failures().await > 0).await;
    assert!(
        process.printed().contains("no connection can be accepted"),
        "{}",
        process.printed()
    );
    drop(open);
    process.ready().await;
    drop(process);
    database.finish().await;
}
