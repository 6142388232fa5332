//! The Rust client of docs/client.md, by `graphql_client`: it is compiled here, and has the same story as the page's other
//! clients have in tests/node.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, routing};
use tokio::{net::TcpListener, sync::watch};

use crate::harness::{
    Fixture as _,
    database::Kind,
    proxy::Proxy,
    server::{TestServer, tokens},
    tool::path,
    within,
};

#[expect(
    dead_code,
    clippy::disallowed_methods,
    reason = "a program of its own, whose settings are variables: its main is for whoever copies it"
)]
mod client;

/// Seconds: enough for what the client does between two tokens, and little to wait for.
const SHORT: u32 = 4;
const LONG: u32 = 3_600;

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_tells_of_every_message_once_over_a_cut_connection_and_an_ended_token() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    for content in ["before one", "before two"] {
        ben.send(&ann, content).await;
    }
    let network = Proxy::to(server.address.port()).await;
    let tokens = TokenUrl::start("ann").await;
    let client = Running::start(&network, &tokens);
    let says = async |line: &str| client.says(line).await;

    says("2 unread, 2 messages").await;
    says("2 read").await;
    says("ann: Hello").await;
    assert!(
        tokens.asked() >= 2,
        "the first token, which had ended, was refused"
    );
    ben.send(&ann, "one").await;
    says("ben: one").await;
    network.close();
    ben.send(&ann, "two").await;
    ben.send(&ann, "three").await;
    network.open();
    says("ben: three").await;

    // Nothing else asks for tokens now: the socket's own has ended.
    tokens.asked_again().await;
    *tokens.shared.valid_for.lock().unwrap() = LONG;
    ben.send(&ann, "four").await;
    says("ben: four").await;
    ben.send(&ann, "marker").await;
    says("ben: marker").await;
    let lines = client.lines.borrow().clone();
    let heard: Vec<&str> = lines[2..].iter().map(String::as_str).collect();
    assert_eq!(
        heard,
        [
            "ann: Hello",
            "ben: one",
            "ben: two",
            "ben: three",
            "ben: four",
            "ben: marker"
        ]
    );
    client.stop().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_starts_again_where_its_cursor_has_expired() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let network = Proxy::to(server.address.port()).await;
    let tokens = TokenUrl::start("ann").await;
    *tokens.shared.valid_for.lock().unwrap() = LONG;
    let client = Running::start(&network, &tokens);
    client.says("0 unread, 0 messages").await;
    client.says("ann: Hello").await;

    network.close();
    ben.send(&ann, "missed").await;
    let floor = "UPDATE inbox SET log_floor = 2 WHERE user_id = (SELECT id FROM \"user\" WHERE subject = 'ann')";
    server.database().execute(floor).await;
    network.open();
    client.says("1 unread, 2 messages").await;
    ben.send(&ann, "after").await;
    client.says("ben: after").await;
    client.stop().await;
    server.finish().await;
}

/// The client, and the lines that it has printed.
struct Running {
    lines: Arc<watch::Sender<Vec<String>>>,
    task: tokio::task::JoinHandle<Result<(), Box<dyn std::error::Error + Send + Sync>>>,
}

impl Running {
    fn start(network: &Proxy, tokens: &TokenUrl) -> Self {
        let lines = Arc::new(watch::Sender::new(Vec::<String>::new()));
        let printed = lines.clone();
        let task = tokio::spawn(client::chat(
            format!("http://{}", network.address()),
            tokens.url.clone(),
            "ben".to_owned(),
            move |line| printed.send_modify(|lines| lines.push(line.to_owned())),
        ));
        Self { lines, task }
    }

    /// Waits until this line was printed.
    async fn says(&self, line: &str) {
        let mut lines = self.lines.subscribe();
        let said = lines.wait_for(|lines| lines.iter().any(|each| each == line));
        within(line, said).await.unwrap();
    }

    async fn stop(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

#[test]
fn the_page_shows_the_client_that_is_tested() {
    let page = std::fs::read_to_string(path("docs/client.md")).unwrap();
    for (language, name) in [("rust", "client.rs"), ("graphql", "client.graphql")] {
        let source = std::fs::read_to_string(path("tests/it/clients").join(name)).unwrap();
        // In a project of its own the operations stand beside Cargo.toml.
        let source = source.replace("tests/it/clients/", "");
        let block = format!("\n```{language} {name}\n{source}```\n");
        assert!(
            page.contains(&block),
            "docs/client.md does not show {name} as it is: copy it there"
        );
    }
}

/// The application's address for tokens: the first one has ended, and those after it live for a few seconds.
struct TokenUrl {
    url: String,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    asked: AtomicUsize,
    valid_for: Mutex<u32>,
}

impl TokenUrl {
    async fn start(user: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            asked: AtomicUsize::new(0),
            valid_for: Mutex::new(SHORT),
        });
        let given = shared.clone();
        let give = move || async move {
            let first = given.asked.fetch_add(1, Ordering::SeqCst) == 0;
            let seconds = if first {
                0
            } else {
                *given.valid_for.lock().unwrap()
            };
            tokens().mint(user, None, false, seconds).unwrap()
        };
        let router = Router::new().route("/", routing::get(give));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, task }
    }

    fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Waits until one more token was asked for.
    async fn asked_again(&self) {
        let before = self.asked();
        crate::harness::until("another token is asked for", async || self.asked() > before).await;
    }
}

impl Drop for TokenUrl {
    fn drop(&mut self) {
        self.task.abort();
    }
}
