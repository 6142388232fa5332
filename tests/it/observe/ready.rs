//! `/health/ready`: which part is wrong.

use directmessages::chat::DatabaseUrl;
use futures_util::future;
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use serde_json::{Value, json};

use crate::{
    harness::{
        Fixture as _,
        database::{Kind, TestDatabase},
        server::TestServer,
        until,
    },
    support::free_port,
};

async fn readiness(server: &TestServer) -> (u16, Value) {
    let url = format!("http://{}/health/ready", server.address);
    let answer = server.http.get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn tells(kind: Kind, bus: &str) {
    let database = TestDatabase::new(kind).await;
    let server = TestServer::on(&database, &[]).await;
    let well = json!({ "database": "ok", "migrations": "ok", "bus": bus, "keys": "ok" });
    assert_eq!(
        readiness(&server).await,
        (200, json!({ "status": "ok", "checks": well }))
    );
    let last = "(SELECT max(version) FROM seaql_migrations)";
    let rename = |from: &str, to: &str| {
        format!("UPDATE seaql_migrations SET version = {to} WHERE version = {from}")
    };
    database.execute(&rename(last, "'none'")).await;
    let (status, body) = readiness(&server).await;
    assert_eq!((status, &body["status"]), (503, &json!("unavailable")));
    assert_eq!(body["checks"]["migrations"], "pending", "{body}");
    assert!(body["reason"].as_str().unwrap().contains("migrate up"));
    server.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_behind_is_told_on_sqlite() {
    tells(Kind::Sqlite, "none").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_behind_is_told_on_postgres() {
    tells(Kind::Postgres, "ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_all_in_use_are_no_absence() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let server = TestServer::on(&database, &["--read-connections", "1"]).await;
    let ann = server.user("ann").await;
    let db = database.connect().await;
    let lock = db.begin().await.unwrap();
    lock.execute_unprepared("LOCK TABLE conversation_partner")
        .await
        .unwrap();
    let waiting = tokio::spawn(async move {
        let query = "{ conversationPartners { nodes { id } } }";
        ann.ask(query, json!({})).await
    });
    until("the request holds the connection", async || {
        let (status, body) = readiness(&server).await;
        assert_eq!(status, 200, "{body}");
        body["checks"]["database"] == "busy" && body["status"] == "degraded"
    })
    .await;
    lock.commit().await.unwrap();
    let answer = waiting.await.unwrap();
    assert!(answer.body["errors"].is_null(), "{}", answer.body);
    let (_, body) = readiness(&server).await;
    assert_eq!(body["status"], "ok", "{body}");
    db.close().await.unwrap();
    server.stop().await;
    database.finish().await;
}

/// A file that cannot be read is no migration that is still to come.
#[tokio::test(flavor = "multi_thread")]
async fn a_spoilt_file_is_told() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let server = TestServer::on(&database, &[]).await;
    let ann = server.user("ann").await;
    assert_eq!(readiness(&server).await.0, 200);
    let url: DatabaseUrl = database.url.parse().unwrap();
    let file = url.file().unwrap();
    let whole = std::fs::read(file).unwrap();
    std::fs::write(file, vec![0x5a; whole.len()]).unwrap();
    until(
        "a connection that has read nothing yet is told",
        async || {
            // Those that have read something hold it: several reads at one time need new ones.
            let asked = (0..16).map(async |_| {
                let read = ann.ask("{ inbox { unreadCount } }", json!({}));
                future::join(read, readiness(&server)).await.1
            });
            let answers = future::join_all(asked).await;
            let broken = |body: &Value| body["checks"]["database"] == "broken";
            let told = answers.iter().find(|(_, body)| broken(body));
            let Some((status, body)) = told else {
                return false;
            };
            assert_eq!(*status, 503, "{body}");
            assert!(body["reason"].as_str().unwrap().contains("the log"));
            true
        },
    )
    .await;
    server.stop().await;
    std::fs::write(file, whole).unwrap();
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_still_to_come_are_told_without_their_address() {
    let jwks = format!("http://127.0.0.1:{}/secret-path", free_port());
    let flags = ["--jwt-jwks-url", &jwks, "--jwt-audience", "here"];
    let server = TestServer::with(Kind::Sqlite, &flags).await;
    let (status, body) = readiness(&server).await;
    assert_eq!((status, &body["status"]), (200, &json!("degraded")));
    assert_eq!(body["checks"]["keys"], "some", "{body}");
    assert!(!body.to_string().contains("secret-path"), "{body}");
    server.finish().await;
}
