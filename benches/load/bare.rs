//! The limits by HTTP: what axum, sqlx and serde make of the same statements, without GraphQL, tokens or rules. Runs as a
//! process of its own, as the server does.

use std::{
    collections::HashMap,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::header::CONTENT_TYPE,
    routing::get,
};
use mimalloc::MiMalloc;
use serde::Serialize;
use sqlx::{
    ConnectOptions as _, PgPool, Row as _,
    postgres::{PgConnectOptions, PgPoolOptions, PgRow},
};
use uuid::Uuid;

use super::support::free_port;

// As the server has it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The statements of the three pages, with the place of the viewer's or the conversation's id as `$1`. None reads that id back.
pub(crate) const CONVERSATION: &str = "SELECT seq, sender_id, content, sent_at, read_at, recipient_id \
     FROM message WHERE conversation_id = $1 ORDER BY seq DESC LIMIT 51";
pub(crate) const UNREAD: &str = "SELECT seq, sender_id, content, sent_at, read_at, conversation_id \
     FROM message WHERE recipient_id = $1 AND read_at IS NULL ORDER BY recipient_position LIMIT 51";
pub(crate) const PARTNERS: &str = "SELECT partner_id, unread_count FROM conversation_partner \
     WHERE user_id = $1 ORDER BY last_position DESC LIMIT 51";

/// The process, which ends when this is dropped.
pub(crate) struct Bare {
    child: Child,
    pub(crate) port: u16,
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bare {
    pub(crate) async fn start(url: &str) -> Self {
        let port = free_port();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["bare", url, &port.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        while tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
        {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        Self { child, port }
    }
}

/// What the process does, until it is killed.
pub(crate) async fn serve(url: &str, port: u16) {
    // As the server has it.
    let options: PgConnectOptions = url.parse().unwrap();
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .test_before_acquire(false)
        .connect_with(options.disable_statement_logging())
        .await
        .unwrap();
    let users = sqlx::query("SELECT id, subject, username FROM \"user\"")
        .fetch_all(&pool)
        .await
        .unwrap();
    let users = users.iter().map(|row| {
        let user = User {
            id: row.get(1),
            username: row.get(2),
        };
        (row.get(0), user)
    });
    let database = Arc::new(Database {
        users: users.collect(),
        pool,
    });
    let app = Router::new()
        .route("/fixed", get(async || "{\"data\":{\"fixed\":true}}"))
        .route("/conversation/{id}", get(conversation))
        .route("/unread/{id}", get(unread))
        .route("/partners/{id}", get(partners))
        .with_state(database);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    axum::serve(listener, app).await.unwrap();
}

struct Database {
    pool: PgPool,
    users: HashMap<Uuid, User>,
}

#[derive(Serialize)]
struct User {
    id: String,
    username: String,
}

#[derive(Serialize)]
struct Message<'a> {
    conversation: Uuid,
    seq: i64,
    content: &'a str,
    sent_at: i64,
    read_at: Option<i64>,
    sender: &'a User,
    recipient: &'a User,
}

#[derive(Serialize)]
struct Partner<'a> {
    id: Uuid,
    unread_count: i64,
    user: &'a User,
}

type Page = State<Arc<Database>>;
type Json = ([(axum::http::HeaderName, &'static str); 1], Bytes);

async fn conversation(State(database): Page, Path(id): Path<Uuid>) -> Json {
    let rows = rows(&database, CONVERSATION, id).await;
    let messages = rows.iter().map(|row| {
        let recipient: Uuid = row.get(5);
        database.message(row, id, recipient)
    });
    json(&messages.collect::<Vec<_>>())
}

async fn unread(State(database): Page, Path(id): Path<Uuid>) -> Json {
    let rows = rows(&database, UNREAD, id).await;
    let messages = rows.iter().map(|row| {
        let conversation: Uuid = row.get(5);
        database.message(row, conversation, id)
    });
    json(&messages.collect::<Vec<_>>())
}

impl Database {
    fn message<'a>(&'a self, row: &'a PgRow, conversation: Uuid, recipient: Uuid) -> Message<'a> {
        Message {
            conversation,
            seq: row.get(0),
            sender: &self.users[&row.get::<Uuid, _>(1)],
            recipient: &self.users[&recipient],
            content: row.get(2),
            sent_at: row.get(3),
            read_at: row.get(4),
        }
    }
}

async fn partners(State(database): Page, Path(id): Path<Uuid>) -> Json {
    let rows = rows(&database, PARTNERS, id).await;
    let partners: Vec<Partner<'_>> = rows
        .iter()
        .map(|row| Partner {
            id: row.get(0),
            unread_count: row.get(1),
            user: &database.users[&row.get::<Uuid, _>(0)],
        })
        .collect();
    json(&partners)
}

async fn rows(database: &Database, sql: &'static str, id: Uuid) -> Vec<PgRow> {
    sqlx::query(sql)
        .bind(id)
        .fetch_all(&database.pool)
        .await
        .unwrap()
}

fn json(body: &impl Serialize) -> Json {
    let body = serde_json::to_vec(body).unwrap();
    ([(CONTENT_TYPE, "application/json")], body.into())
}
