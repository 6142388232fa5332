//! What it says of a PostgreSQL.

use std::time::{Duration, Instant};

use super::{doctor, run};
use crate::{
    harness::{
        Fixture as _, SECRET,
        database::{Kind, TestDatabase, postgres},
        pooler::Pooler,
        postgres::Postgres,
        process::program,
        tool::faketime,
    },
    support::free_port,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_is_as_it_should_be_is_told_so() {
    let own = Postgres::new(&["fsync=on"]).await;
    let database = own.database().await;
    let told = doctor(&database.url, &[]).await;
    told.is_content();
    for (check, holds) in [
        ("database", "takes writes"),
        ("database", "a round trip takes"),
        ("connections", "takes up to 14"),
        ("pooler", "none in transaction mode"),
        ("migrations", "all 1 are applied"),
        ("clock", "ms ahead"),
        ("bus", "LISTEN and NOTIFY"),
    ] {
        told.has("ok", check, &[holds]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_fails_and_says_what_to_do() {
    let port = free_port();
    let away = format!("postgres://ann:hidden@127.0.0.1:{port}/chat");
    let told = doctor(&away, &[]).await;
    told.has(
        "failed",
        "database",
        &["Connection refused", "start PostgreSQL", "DATABASE_URL"],
    );
    told.has("failed", "bus", &["LISTEN", "what is told of the database"]);
    let missing = doctor(&postgres().url("no_such"), &[]).await;
    missing.has("failed", "database", &["no_such", "createdb"]);
    let url = postgres().url("postgres");
    let stranger = url.replace("postgres@", "stranger:hidden@");
    doctor(&stranger, &[])
        .await
        .has("failed", "database", &["stranger", "user and password"]);
    // Of several hosts one is enough.
    let several = url.replace("127.0.0.1", &format!("127.0.0.1:{port},127.0.0.1"));
    let told = doctor(&several, &[]).await;
    told.is_well();
    told.has(
        "warning",
        "database",
        &[&port.to_string(), "Connection refused"],
    );
    told.has("warning", "database", &["fsync is off", "turn it on"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_is_given_up() {
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "postgres://ann:hidden@{}/chat",
        hanging.local_addr().unwrap()
    );
    let begun = Instant::now();
    let told = doctor(&url, &["--check-timeout", "0.3"]).await;
    told.has(
        "failed",
        "database",
        &["no answer within 300ms", "--check-timeout"],
    );
    told.has("failed", "bus", &["no answer within 300ms"]);
    assert!(begun.elapsed() < Duration::from_secs(20), "{begun:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_alone_fails_and_beside_its_primary_does_not() {
    let primary = Postgres::new(&["max_connections=20"]).await;
    let database = primary.database().await;
    let standby = primary.standby().await;
    let alone = doctor(&standby.url(&database.name), &[]).await;
    alone.has(
        "failed",
        "database",
        &["no host takes writes", "promote one"],
    );
    let both = format!("127.0.0.1:{},127.0.0.1:{}", standby.port(), primary.port());
    let both = database
        .url
        .replace(&format!("127.0.0.1:{}", primary.port()), &both);
    let told = doctor(&both, &[]).await;
    told.is_well();
    told.has("ok", "database", &["is a standby"]);
    told.has("ok", "database", &["takes writes"]);

    let many = doctor(&database.url, &["--read-connections", "16"]).await;
    many.has(
        "failed",
        "connections",
        &["takes up to 22", "leaves 17", "READ_CONNECTIONS"],
    );
    let held = database.connect().await;
    let some = doctor(&database.url, &["--read-connections", "11"]).await;
    some.is_well();
    some.has("warning", "connections", &["takes up to 17", "are in use"]);
    held.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_does_not_fit_fails() {
    let database = TestDatabase::new(Kind::Postgres).await;
    database
        .execute("INSERT INTO seaql_migrations VALUES ('m20990101_000001_from_the_future', 0)")
        .await;
    let told = doctor(&database.url, &[]).await;
    told.has(
        "failed",
        "migrations",
        &["m20990101_000001_from_the_future", "run that version"],
    );
    database
        .execute("DELETE FROM seaql_migrations WHERE version LIKE 'm2099%'")
        .await;
    database.finish().await;

    let empty = TestDatabase::empty(Kind::Postgres).await;
    let told = doctor(&empty.url, &["--no-migrate"]).await;
    told.has(
        "failed",
        "migrations",
        &["1 of 1 are pending", "directmessages migrate up"],
    );
    doctor(&empty.url, &[])
        .await
        .has("ok", "migrations", &["1 are pending"]);
    // Since PostgreSQL 15 not everybody may make tables.
    let role = format!("role_{}", empty.name);
    empty.execute(&format!("CREATE ROLE {role} LOGIN")).await;
    let url = empty.url.replace("postgres@", &format!("{role}@"));
    let told = doctor(&url, &[]).await;
    told.has(
        "failed",
        "migrations",
        &["may not make tables", "GRANT CREATE ON SCHEMA public"],
    );
    empty
        .execute(&format!("ALTER ROLE {role} CONNECTION LIMIT 5"))
        .await;
    let told = doctor(&url, &[]).await;
    told.has("failed", "connections", &["the user is limited to 5"]);
    empty.execute(&format!("DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_is_seen() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let pooler = Pooler::start(2).await;
    let url = pooler.url(&database);
    let told = doctor(&url, &["--check-timeout", "4"]).await;
    told.has(
        "warning",
        "pooler",
        &[
            "transaction mode",
            "DATABASE_POOLED=true",
            "DIRECT_DATABASE_URL",
        ],
    );
    told.has("failed", "bus", &["do not carry", "DIRECT_DATABASE_URL"]);
    let told = doctor(&url, &["--check-timeout", "4", "--database-pooled"]).await;
    told.is_well();
    told.has("ok", "pooler", &["as DATABASE_POOLED says"]);
    told.has(
        "warning",
        "bus",
        &["through the pooler", "DIRECT_DATABASE_URL"],
    );
    let direct = ["--database-pooled", "--direct-database-url", &database.url];
    let told = doctor(&url, &direct).await;
    told.is_well();
    told.has("ok", "bus", &["carry a message in"]);
    let told = doctor(&database.url, &["--database-pooled"]).await;
    told.has(
        "warning",
        "pooler",
        &["no pooler in transaction mode was seen"],
    );
    drop(pooler);
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_differ_are_told() {
    let database = TestDatabase::new(Kind::Postgres).await;
    for (off, verdict, holds) in [
        ("+60", "failed", "NTP"),
        ("-60", "failed", "a token's nbf"),
        ("-3", "warning", "NTP"),
    ] {
        let fixed = ["doctor", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET];
        let mut command = program(&[&fixed[..], &["--database-url", &database.url]].concat());
        command.env("LD_PRELOAD", faketime());
        command.env("FAKETIME", off).env("DONT_FAKE_MONOTONIC", "1");
        run(command).await.has(verdict, "clock", &["ahead", holds]);
    }
    database.finish().await;
}
