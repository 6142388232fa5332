//! Traces, as a collector gets them.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, extract::State, routing};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, trace::v1::Span,
};
use prost::Message as _;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    harness::{
        Fixture as _, SECRET,
        database::{Kind, TestDatabase},
        process::{Process, program},
        server::client,
        until,
    },
    support::free_port,
};

type Received = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

/// Takes what is sent to it, as a collector does.
struct Collector {
    endpoint: String,
    received: Received,
    task: JoinHandle<()>,
}

impl Collector {
    async fn start() -> Self {
        let received = Received::default();
        let take = |State(received): State<Received>, body: Bytes| async move {
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            received.lock().unwrap().push(request);
        };
        let router = Router::new()
            .route("/v1/traces", routing::post(take))
            .with_state(received.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            endpoint,
            received,
            task,
        }
    }

    fn spans(&self) -> Vec<Span> {
        let received = self.received.lock().unwrap();
        let resources = received.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const TRACE: [u8; 16] = [7; 16];
const PARENT: [u8; 8] = [9; 8];

async fn traces(kind: Kind) {
    let collector = Collector::start().await;
    let database = TestDatabase::new(kind).await;
    let flags = [
        "--otlp-endpoint",
        &collector.endpoint,
        "--trusted-proxies",
        "1",
    ];
    let mut process = Process::serve(&database, &flags).await;
    let (ann, _ben) = (process.user("ann").await, process.user("ben").await);
    let content = "marker in content";
    let query = "mutation marker($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }";
    let input = json!({ "recipientId": "ben", "content": content });
    let sent = client()
        .post(format!("http://{}/graphql", process.address))
        .bearer_auth(ann.token.as_deref().unwrap())
        .header(
            "traceparent",
            format!("00-{}-{}-01", "07".repeat(16), "09".repeat(8)),
        )
        .json(&json!({ "query": query, "variables": { "input": input } }));
    assert_eq!(sent.send().await.unwrap().status(), 200);
    // What is gathered is sent at the end at the latest.
    process.end("TERM");
    until("the trace arrived", async || {
        collector.spans().iter().any(|span| span.trace_id == TRACE)
    })
    .await;
    let spans = collector.spans();
    let named = |name: &str| {
        let found = spans
            .iter()
            .find(|span| span.name == name && span.trace_id == TRACE);
        found.unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
    };
    let request = named("POST /graphql");
    assert_eq!(request.parent_span_id, PARENT);
    let operation = named("mutation sendMessage");
    assert_eq!(operation.parent_span_id, request.span_id);
    let linked = |span: &&Span| {
        let mut links = span.links.iter();
        links.any(|link| link.trace_id == TRACE && link.span_id == operation.span_id)
    };
    let batch = spans
        .iter()
        .filter(|span| span.name == "batch")
        .find(linked);
    let batch = batch.unwrap_or_else(|| panic!("no batch is linked in {spans:#?}"));
    assert_ne!(batch.trace_id, TRACE, "one batch serves many requests");
    let statements = spans
        .iter()
        .filter(|span| span.parent_span_id == batch.span_id);
    assert!(statements.count() > 3, "{spans:#?}");
    let all = format!("{:?}", collector.received.lock().unwrap());
    assert!(all.contains("service.name") && all.contains("directmessages"));
    let token = ann.token.as_deref().unwrap();
    for secret in ["marker", token] {
        assert!(!all.contains(secret), "{secret} is in {all}");
    }
    drop(process);
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_from_the_client_to_the_statements_on_sqlite() {
    traces(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_from_the_client_to_the_statements_on_postgres() {
    traces(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_trace_is_not_continued_without_trusted_proxies() {
    let collector = Collector::start().await;
    let database = TestDatabase::new(Kind::Sqlite).await;
    let mut process = Process::serve(&database, &["--otlp-endpoint", &collector.endpoint]).await;
    let url = format!("http://{}/health/live", process.address);
    let parent = format!("00-{}-{}-01", "07".repeat(16), "09".repeat(8));
    let sent = client().get(url).header("traceparent", parent);
    assert_eq!(sent.send().await.unwrap().status(), 200);
    process.end("TERM");
    let requests = |span: &Span| span.name == "GET /health/live";
    until("the traces are received", async || {
        collector.spans().iter().any(requests)
    })
    .await;
    let spans = collector.spans();
    let foreign = spans.iter().find(|span| span.trace_id == TRACE);
    assert!(foreign.is_none(), "{foreign:#?}");
    drop(process);
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_takes_nothing_is_told_of_once() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let port = free_port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut command = program(&[
        "serve",
        "--jwt-secret",
        SECRET,
        "--otlp-endpoint",
        &endpoint,
    ]);
    let listen = format!("127.0.0.1:{}", free_port());
    command.args(["--listen", &listen, "--database-url", &database.url]);
    command.env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let mut process = Process::start(command, listen.parse().unwrap());
    process.ready().await;
    process.user("ann").await;
    until("it is told of", async || {
        process
            .printed()
            .contains("traces do not arrive: see OTEL_EXPORTER_OTLP_ENDPOINT")
    })
    .await;
    process.user("ben").await;
    process.signal("TERM");
    assert!(process.ended().await, "{}", process.printed());
    let printed = process.printed();
    assert_eq!(
        printed.matches("traces do not arrive").count(),
        1,
        "{printed}"
    );
    database.finish().await;
}
