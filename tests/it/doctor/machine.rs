//! What it says of files, keys, the bus and the machine.

use std::process::Command;

use sea_orm::{ConnectionTrait as _, TransactionTrait as _};

use super::{Told, doctor, run};
use crate::{
    harness::{
        Fixture as _, SECRET,
        database::{Kind, TestDatabase, folder},
        keys::{Answer, Jwks, Signer, file},
        nats::Nats,
        postgres::ordinary,
        process::{PROGRAM, program},
    },
    support::free_port,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_a_database_fails() {
    let told = doctor("sqlite:/dev/null/chat.db", &[]).await;
    told.has(
        "failed",
        "database",
        &["/dev/null is no folder", "DATABASE_URL"],
    );
    let text = folder().join(format!("text-{}", uuid::Uuid::new_v4().simple()));
    std::fs::write(&text, "this is a text, and no database at all".repeat(100)).unwrap();
    let told = doctor(&format!("sqlite:{}", text.display()), &[]).await;
    told.has(
        "failed",
        "database",
        &["no SQLite database", "name another one"],
    );

    // There is no room where the kernel tells of itself.
    let told = doctor("sqlite:/proc/chat.db", &[]).await;
    told.has("failed", "disk", &["0 MB are free at /proc", "make room"]);

    let closed = folder().join(format!("closed-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir(&closed).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o555);
    std::fs::set_permissions(&closed, mode).unwrap();
    let mut command = ordinary(PROGRAM.as_ref());
    let url = format!("sqlite:{}/below/chat.db", closed.display());
    command
        .env_remove("RUST_LOG")
        .args(["doctor", "--jwt-secret", SECRET]);
    command.args(["--listen", "127.0.0.1:0", "--database-url", &url]);
    let told = run(command).await;
    told.has(
        "failed",
        "database",
        &[
            closed.to_str().unwrap(),
            "Permission denied",
            "the server's user",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_program_holds_fails_and_a_newer_one_too() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let db = database.connect().await;
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared("UPDATE epoch SET value = value")
        .await
        .unwrap();
    let told = doctor(&database.url, &[]).await;
    told.has(
        "failed",
        "database",
        &["another program holds the database", "stop it"],
    );
    tx.rollback().await.unwrap();
    let newer = "INSERT INTO seaql_migrations VALUES ('m20990101_000001_from_the_future', 0)";
    db.execute_unprepared(newer).await.unwrap();
    let told = doctor(&database.url, &[]).await;
    told.has(
        "failed",
        "migrations",
        &["m20990101_000001_from_the_future", "run that version"],
    );
    db.close().await.unwrap();

    let empty = TestDatabase::empty(Kind::Sqlite).await;
    let told = doctor(&empty.url, &["--no-migrate"]).await;
    told.has(
        "failed",
        "migrations",
        &["1 of 1 are pending", "directmessages migrate up"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_used_fail() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let told = async |flags: &[&str]| doctor(&database.url, flags).await;
    let signer = Signer::new("ES256");
    let good = signer.file().display().to_string();
    told(&["--jwt-public-key", &good])
        .await
        .has("ok", "keys", &[&good, "ES256"]);
    let none = told(&["--jwt-public-key", "/no/such.pem"]).await;
    none.has(
        "failed",
        "keys",
        &["/no/such.pem", "No such file", "mend it"],
    );
    none.has("ok", "keys", &["JWT_SECRET: HS256"]);
    let private = file(&signer.private_pem).display().to_string();
    told(&["--jwt-public-key", &private])
        .await
        .has("failed", "keys", &["private key", "-pubout"]);

    let mut encryption = signer.jwk("sealed");
    encryption["use"] = "enc".into();
    let jwks = Jwks::start(vec![signer.jwk("one"), encryption]).await;
    let url = jwks.url.as_str();
    let bare = told(&["--jwt-jwks-url", url]).await;
    bare.is_well();
    bare.has("ok", "keys", &["the JWKS at", "ES256 \"one\""]);
    bare.has(
        "warning",
        "keys",
        &["key \"sealed\"", "not for checking signatures"],
    );
    bare.has("warning", "keys", &["JWT_AUDIENCE"]);
    jwks.answer(Answer::Other(503, "hidden".to_owned()));
    let away = told(&["--jwt-jwks-url", url, "--jwt-audience", "chat"]).await;
    away.has("failed", "keys", &["the JWKS at", "503"]);
    let nobody = format!("http://127.0.0.1:{}/jwks.json?key=hidden", free_port());
    told(&["--jwt-jwks-url", &nobody])
        .await
        .has("failed", "keys", &["Connection refused"]);

    // Without any, and with a manifest that is none.
    let listen = [
        "doctor",
        "--listen",
        "127.0.0.1:0",
        "--database-url",
        &database.url,
    ];
    let output = program(&listen).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("JWT_SECRET"), "{error}");
    told(&["--documents", &good]).await.has(
        "failed",
        "settings",
        &[&good, "DOCUMENTS", "no manifest"],
    );
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_that_does_not_carry_fails() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let told =
        async |url: &str| doctor(&database.url, &["--nats-url", url, "--check-timeout", "2"]).await;
    let mut nats = Nats::start(1, &["--user", "chat", "--pass", "hidden"]).await;
    let address = nats.url().replace("nats://", "");
    let right = format!("nats://chat:hidden@{address}");
    let content = told(&right).await;
    content.is_content();
    content.has("ok", "bus", &["NATS at", "carries a message in"]);
    let wrong = told(&format!("nats://chat:hidden-too@{address}")).await;
    wrong.has("failed", "bus", &["does not carry", "NATS_URL"]);
    nats.freeze(0);
    told(&right).await.has("failed", "bus", &["does not carry"]);
    nats.thaw(0);
    nats.kill(0);
    told(&right).await.has(
        "failed",
        "bus",
        &["Connection refused", "nats-server runs there"],
    );

    let silent = folder().join(format!("nats-{}.conf", uuid::Uuid::new_v4().simple()));
    let rules = "authorization { users: [ { user: chat, password: hidden, permissions: { publish: \"other.>\", subscribe: \"other.>\" } } ] }";
    std::fs::write(&silent, rules).unwrap();
    let strict = Nats::start(1, &["-c", silent.to_str().unwrap()]).await;
    let address = strict.url().replace("nats://", "");
    let told = told(&format!("nats://chat:hidden@{address}")).await;
    told.has("failed", "bus", &["did not come", "NATS_SUBJECT"]);
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_machine_s_limits_and_addresses_are_looked_at() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let limited = async |files: &str| -> Told {
        let mut command = Command::new("prlimit");
        command
            .arg(format!("--nofile={files}:{files}"))
            .arg(PROGRAM);
        command
            .env_remove("RUST_LOG")
            .args(["doctor", "--jwt-secret", SECRET]);
        command.args(["--listen", "127.0.0.1:0", "--database-url", &database.url]);
        run(command).await
    };
    let few = limited("70").await;
    few.has(
        "failed",
        "sockets",
        &["70 open files", "room for 0 sockets", "LimitNOFILE=65536"],
    );
    let some = limited("1024").await;
    some.is_well();
    some.has("warning", "sockets", &["room for 950 sockets", "ulimit -n"]);
    limited("5000").await.has("ok", "sockets", &["room for"]);
    // An address for documentation, which no machine has.
    for (flag, check, setting) in [
        ("--listen", "address", "--listen (LISTEN)"),
        (
            "--metrics-listen",
            "metrics",
            "--metrics-listen (METRICS_LISTEN)",
        ),
    ] {
        let elsewhere = doctor(&database.url, &[flag, "192.0.2.1:8000"]).await;
        elsewhere.has("failed", check, &["192.0.2.1:8000", setting]);
    }

    let mut command = program(&["doctor", "--jwt-secret", SECRET, "--listen", "127.0.0.1:0"]);
    command
        .args(["--database-url", &database.url])
        .env("DATABASE_POOLD", "hidden");
    let told = run(command).await;
    told.is_well();
    told.has(
        "warning",
        "settings",
        &["DATABASE_POOLD", "rename it to DATABASE_POOLED"],
    );
    database.finish().await;
}
