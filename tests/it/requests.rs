//! Requests that are cut off, held back or too long, and clients that hang up: what only raw HTTP shows.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::harness::{
    Fixture as _,
    database::Kind,
    server::{TestServer, tokens},
    until, within,
};

/// A connection over which a test sends what it likes.
struct Raw(TcpStream);

impl Raw {
    async fn open(server: &TestServer) -> Self {
        Self(TcpStream::connect(server.address).await.unwrap())
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Everything until the server closes the connection.
    async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = within("the connection's end", self.0.read_to_end(&mut rest)).await;
        String::from_utf8(rest).unwrap()
    }
}

fn head(server: &TestServer, more: &str) -> String {
    format!(
        "POST /graphql HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n{more}\r\n",
        server.address
    )
}

/// The status, and the code of the only error in the JSON body.
fn refusal(answer: &str) -> (&str, String) {
    let status = answer.split(' ').nth(1).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {body}"));
    assert_eq!(body.get("data"), None);
    let code = body["errors"][0]["extensions"]["code"].as_str().unwrap();
    (status, code.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_refused_also_where_its_length_is_not_told() {
    let server = TestServer::with(Kind::Sqlite, &["--body-limit", "1000"]).await;
    let mut told = Raw::open(&server).await;
    told.send(&head(&server, "Content-Length: 1001\r\n")).await;
    assert_eq!(
        refusal(&told.rest().await),
        ("413", "BAD_REQUEST".to_owned())
    );

    let mut chunked = Raw::open(&server).await;
    chunked
        .send(&head(&server, "Transfer-Encoding: chunked\r\n"))
        .await;
    chunked
        .send(&format!("3E9\r\n{}\r\n", " ".repeat(1_001)))
        .await;
    assert_eq!(
        refusal(&chunked.rest().await),
        ("413", "BAD_REQUEST".to_owned())
    );

    let json = json!({ "query": "{ __typename }" }).to_string();
    let body = format!("{json}{}", " ".repeat(1_000 - json.len()));
    let mut full = Raw::open(&server).await;
    full.send(&head(&server, "Content-Length: 1000\r\n")).await;
    full.send(&body).await;
    assert!(full.rest().await.starts_with("HTTP/1.1 200 "));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let server = TestServer::with(Kind::Sqlite, &["--body-timeout", "0.05"]).await;
    let mut slow = Raw::open(&server).await;
    slow.send(&head(&server, "Content-Length: 50\r\n")).await;
    slow.send("{\"query\":").await;
    assert_eq!(
        refusal(&slow.rest().await),
        ("408", "BAD_REQUEST".to_owned())
    );

    let mut broken = Raw::open(&server).await;
    broken
        .send(&head(&server, "Transfer-Encoding: chunked\r\n"))
        .await;
    broken.send("no length\r\n").await;
    assert_eq!(
        refusal(&broken.rest().await),
        ("400", "BAD_REQUEST".to_owned())
    );
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_request_is_closed() {
    let server = TestServer::with(Kind::Sqlite, &["--header-timeout", "0.05"]).await;
    let mut silent = Raw::open(&server).await;
    assert_eq!(silent.rest().await, "");
    let mut slow = Raw::open(&server).await;
    slow.send("POST /graphql HTTP/1.1\r\nHost").await;
    assert_eq!(slow.rest().await, "");
    server.finish().await;

    let server = TestServer::with(Kind::Sqlite, &["--idle-timeout", "0.05"]).await;
    let mut idle = Raw::open(&server).await;
    idle.send("GET /health/live HTTP/1.1\r\nHost: here\r\n\r\n")
        .await;
    assert!(
        idle.rest().await.starts_with("HTTP/1.1 200 "),
        "it is answered, and closed later"
    );
    server.finish().await;
}

on_both_databases! {
    async fn a_client_that_hangs_up_leaves_no_mutation_half_done(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let hold = server.database().hold("ben").await;
        let query = "mutation { \
            first: sendMessage(input: { recipientId: \"ben\", content: \"first\" }) { message { id } } \
            second: sendMessage(input: { recipientId: \"ben\", content: \"second\" }) { message { id } } }";
        let body = json!({ "query": query }).to_string();
        let mut client = Raw::open(server).await;
        let token = ann.token.as_deref().unwrap();
        client.send(&head(server, &format!("Authorization: Bearer {token}\r\nContent-Length: {}\r\n", body.len()))).await;
        client.send(&body).await;
        // The request is seen to be under way: it has not been answered, and its bytes have been read.
        let read = tokio::time::timeout(Duration::from_millis(300), client.0.read_u8()).await;
        assert!(read.is_err(), "it is not answered while the inbox is held");
        drop(client);
        hold.release().await;
        until("both messages are there", async || {
            let unread = ben.data("{ unreadMessages { nodes { content } } }", json!({})).await;
            unread["unreadMessages"]["nodes"] == json!([{ "content": "first" }, { "content": "second" }])
        }).await;
    }
}

/// Of two headers a proxy may believe one, and this server the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_of_which_one_can_hold_is_rejected_where_it_is_given_twice() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let token = |name| tokens().mint(name, None, false, 60).unwrap();
    let (ann, ben) = (
        format!("Bearer {}", token("ann")),
        format!("Bearer {}", token("ben")),
    );
    let service = server.service().token.unwrap();
    let query = json!({ "query": "{ viewer { id } }" }).to_string();
    let listen = json!({ "query": "subscription { messageSent { cursor } }" }).to_string();
    let url = format!("http://{}/graphql", server.address);
    let post = |body: &str| server.http.post(&url).body(body.to_owned());
    let get = || server.http.get(format!("{url}?query=%7Bviewer%7Bid%7D%7D"));
    let json = "application/json";
    let stream = "text/event-stream";
    for (name, first, second) in [
        ("authorization", &ann, &ben),
        ("authorization", &ann, &ann),
        ("x-act-as", &"ann".to_owned(), &"ben".to_owned()),
        ("last-event-id", &"a".to_owned(), &"b".to_owned()),
        (
            "origin",
            &"https://a.example".to_owned(),
            &"https://b.example".to_owned(),
        ),
    ] {
        for request in [
            post(&query).header("content-type", json),
            post(&listen)
                .header("content-type", json)
                .header("accept", stream),
            get(),
            get().header("accept", stream),
        ] {
            let request = match name {
                "authorization" => request,
                _ => request.bearer_auth(&service),
            };
            let response = request
                .header(name, first)
                .header(name, second)
                .send()
                .await
                .unwrap();
            assert_eq!(response.status().as_u16(), 400, "{name}");
            let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
            assert_eq!(
                body["errors"][0]["extensions"]["code"], "BAD_REQUEST",
                "{body}"
            );
            let message = body["errors"][0]["message"].as_str().unwrap();
            assert!(message.contains(name), "{message}");
        }
    }
    let twice = post(&query)
        .header("content-type", json)
        .header("content-type", "text/plain");
    let response = twice.header("authorization", &ann).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 400);
    let mut raw = Raw::open(&server).await;
    let more = format!("Host: other.example\r\nContent-Length: {}\r\n", query.len());
    raw.send(&head(&server, &more)).await;
    raw.send(&query).await;
    assert_eq!(
        refusal(&raw.rest().await),
        ("400", "BAD_REQUEST".to_owned())
    );
    server.finish().await;
}
