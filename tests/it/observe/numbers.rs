//! `/metrics`: that the numbers are right after what is known to have happened.

use std::collections::HashMap;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::{
    harness::{
        Fixture as _,
        database::{Kind, TestDatabase},
        events::EventStream,
        process::Process,
        server::{TestServer, client},
        socket::Socket,
        until,
    },
    support::free_port,
};

/// Every sample by its name and labels, as the text has them.
pub(super) struct Samples {
    pub(super) text: String,
    values: HashMap<String, f64>,
}

impl Samples {
    pub(super) async fn read(port: u16) -> Self {
        let url = format!("http://127.0.0.1:{port}/metrics");
        let answer = client().get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        Self {
            values: values.collect(),
            text,
        }
    }

    /// The sum of all samples of a name whose labels hold these.
    #[expect(clippy::float_cmp, reason = "what is counted here is whole")]
    fn is(&self, name: &str, labels: &[&str], expected: f64) -> bool {
        self.sum(name, labels) == expected
    }

    fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let fits = |key: &str| {
            key.split('{').next() == Some(name) && labels.iter().all(|label| key.contains(label))
        };
        let fitting = self.values.iter().filter(|(key, _)| fits(key));
        fitting.map(|(_, value)| value).sum()
    }

    fn assert(&self, name: &str, labels: &[&str], expected: f64) {
        let typed = name.trim_end_matches("_count").trim_end_matches("_sum");
        assert!(
            self.text.contains(&format!("# TYPE {typed} ")),
            "there is no {name}:\n{}",
            self.text
        );
        let told = self.sum(name, labels);
        assert!(
            self.is(name, labels, expected),
            "{name}{labels:?} is {told}, not {expected}:\n{}",
            self.text
        );
    }
}

/// A server with metrics, and their port.
pub(super) async fn measured(kind: Kind, flags: &[&str]) -> (TestServer, u16) {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let flags = [&["--metrics-listen", &address], flags].concat();
    let server = TestServer::with(kind, &flags).await;
    until("metrics are told", async || {
        let connected = tokio::net::TcpStream::connect(&address).await;
        connected.is_ok()
    })
    .await;
    (server, port)
}

#[expect(
    clippy::too_many_lines,
    reason = "one story, and what is counted of it"
)]
async fn counts(kind: Kind) {
    let (server, port) = measured(kind, &["--send-rate", "3"]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let mut listener = ben.listen("messageSent", None).await;
    until("the subscription runs", async || {
        let now = Samples::read(port).await;
        now.is("directmessages_subscriptions", &[], 1.0)
    })
    .await;
    let before = Samples::read(port).await;
    before.assert("directmessages_listeners", &["kind=\"socket\""], 1.0);
    before.assert("directmessages_listeners", &["kind=\"stream\""], 0.0);
    let ok = ["operation=\"sendMessage\"", "outcome=\"ok\""];
    before.assert("directmessages_requests_total", &ok, 0.0);
    for text in ["one", "two", "three"] {
        ann.send(&ben, text).await;
    }
    assert_eq!(listener.contents_until("three").await.len(), 3);
    let send = "mutation { sendMessage(input: { recipientId: \"ben\", content: \"four\" }) { message { id } } }";
    assert_eq!(ann.ask(send, json!({})).await.status, 429);
    ann.ask(
        "{ one: inbox { unreadCount } two: inbox { id } }",
        json!({}),
    )
    .await;
    ann.ask("query Mine { viewer { id } inbox { id } }", json!({}))
        .await;
    ann.ask("{ nonsense }", json!({})).await;
    ann.ask(
        "mutation { readMessage(input: { id: \"dm_x\" }) { message { id } } }",
        json!({}),
    )
    .await;
    let after = Samples::read(port).await;
    let requests = "directmessages_requests_total";
    after.assert(requests, &ok, 3.0);
    let limited = ["operation=\"sendMessage\"", "outcome=\"RATE_LIMITED\""];
    after.assert(requests, &limited, 1.0);
    after.assert(requests, &["operation=\"inbox\"", "kind=\"query\""], 1.0);
    after.assert(requests, &["operation=\"several\"", "outcome=\"ok\""], 1.0);
    let invalid = [
        "operation=\"none\"",
        "outcome=\"GRAPHQL_VALIDATION_FAILED\"",
    ];
    after.assert(requests, &invalid, 1.0);
    let failed = ["operation=\"readMessage\""];
    after.assert(requests, &failed, 1.0);
    assert!(after.is(
        requests,
        &["operation=\"readMessage\"", "outcome=\"ok\""],
        0.0
    ));
    assert!(
        !after.text.contains("Mine"),
        "a client's own name is no label"
    );
    let timed = ["operation=\"sendMessage\"", "kind=\"mutation\""];
    after.assert("directmessages_request_duration_seconds_count", &timed, 4.0);
    after.assert(
        "directmessages_rate_limited_total",
        &["limit=\"messages\""],
        1.0,
    );
    after.assert("directmessages_write_batch_commands_sum", &[], 3.0);
    after.assert("directmessages_write_wait_seconds_count", &[], 3.0);
    let stored = ["outcome=\"stored\""];
    let batches = after.sum("directmessages_write_batch_commands_count", &[]);
    after.assert(
        "directmessages_write_transaction_seconds_count",
        &stored,
        batches,
    );
    after.assert("directmessages_write_commit_seconds_count", &[], batches);
    after.assert("directmessages_signal_lag_seconds_count", &[], 3.0);
    after.assert("directmessages_write_queue_commands", &[], 0.0);
    after.assert("directmessages_write_queue_size_commands", &[], 4_096.0);
    let most = match kind {
        Kind::Postgres => 8.0,
        // And the one that copies the log.
        Kind::Sqlite => 9.0,
    };
    after.assert(
        "directmessages_database_connections_most",
        &["role=\"read\""],
        most,
    );
    after.assert("directmessages_database_up", &[], 1.0);
    until("hints come through", async || {
        let now = Samples::read(port).await;
        now.is("directmessages_bus_up", &[], 1.0)
    })
    .await;
    assert!(after.sum("directmessages_database_read_seconds_count", &[]) > 0.0);
    assert!(after.sum("process_resident_memory_bytes", &[]) > 1e6);
    assert!(after.sum("process_start_time_seconds", &[]) > 1.7e9);
    drop(listener);
    let cursor = ben.signal_cursor().await;
    let stream = EventStream::listen(&ben, "messageSent", &cursor).await;
    until("the socket is gone, and the stream is there", async || {
        let now = Samples::read(port).await;
        let listeners = "directmessages_listeners";
        now.is(listeners, &["kind=\"socket\""], 0.0) && now.is(listeners, &["kind=\"stream\""], 1.0)
    })
    .await;
    drop(stream);
    until(
        "both subscriptions were counted when they ended",
        async || {
            let kind = ["kind=\"subscription\"", "outcome=\"cancelled\""];
            Samples::read(port).await.is(requests, &kind, 2.0)
        },
    )
    .await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_counted_on_sqlite() {
    counts(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_counted_on_postgres() {
    counts(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_never_at_the_public_address() {
    let (server, port) = measured(Kind::Sqlite, &[]).await;
    let url = format!("http://{}/metrics", server.address);
    assert_eq!(server.http.get(url).send().await.unwrap().status(), 404);
    let url = format!("http://127.0.0.1:{port}/graphql");
    assert_eq!(server.http.get(url).send().await.unwrap().status(), 404);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_half_sent_does_not_keep_the_server_from_ending() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let address = format!("127.0.0.1:{}", free_port());
    let mut process = Process::serve(&database, &["--metrics-listen", &address]).await;
    let mut half = tokio::net::TcpStream::connect(&address).await.unwrap();
    half.write_all(b"GET /m").await.unwrap();
    process.signal("TERM");
    assert!(process.ended().await, "{}", process.printed());
    drop(half);
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_open_metrics_gets_them() {
    let (server, port) = measured(Kind::Sqlite, &[]).await;
    let url = format!("http://127.0.0.1:{port}/metrics");
    let asked = server
        .http
        .get(url)
        .header("accept", "application/openmetrics-text;version=1.0.0");
    let answer = asked.send().await.unwrap();
    let media_type = answer.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        media_type.starts_with("application/openmetrics-text"),
        "{media_type}"
    );
    assert!(answer.text().await.unwrap().ends_with("# EOF\n"));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_on_a_socket_are_counted_too() {
    let (server, port) = measured(Kind::Sqlite, &["--socket-operations", "1"]).await;
    let ann = server.user("ann").await;
    let mut socket = Socket::of(&ann).await;
    socket.subscribe("q", "{ inbox { id } }", json!({})).await;
    until("the query was counted", async || {
        let labels = ["operation=\"inbox\"", "kind=\"query\"", "outcome=\"ok\""];
        Samples::read(port)
            .await
            .is("directmessages_requests_total", &labels, 1.0)
    })
    .await;
    let listen = "subscription { messageSent { cursor } }";
    socket.subscribe("a", listen, json!({})).await;
    socket.subscribe("b", listen, json!({})).await;
    until("the second one was refused, and counted", async || {
        let labels = ["limit=\"operations\""];
        Samples::read(port)
            .await
            .is("directmessages_rate_limited_total", &labels, 1.0)
    })
    .await;
    drop(socket);
    server.finish().await;
}
