//! `/health/ready`: which part is wrong.

use serde_json::{Value, json};

use crate::{
    harness::{
        Fixture as _,
        database::{Kind, TestDatabase},
        server::TestServer,
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
