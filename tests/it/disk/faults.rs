//! A disk that takes nothing more, and files that may not be used.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use sea_orm::{ConnectionTrait as _, TransactionTrait as _};

use super::{Recorded, beside, file_of};
use crate::{
    harness::{
        Fixture as _, SECRET,
        database::{Kind, TestDatabase, folder},
        process::{PROGRAM, Process, program},
        server::unlimited,
        socket::Listener,
        user::User,
    },
    support::free_port,
};

/// A send that cannot be stored says so, once the disk is full.
async fn is_refused(from: &User, to: &User, id: &str) {
    let answer = from.sending(&to.id, "while it is full", Some(id)).await;
    assert_eq!(answer.code(), "UNAVAILABLE", "{}", answer.body);
    let told = answer.body["errors"][0]["message"].as_str().unwrap();
    assert!(
        told.starts_with("the database cannot store anything now"),
        "{told}"
    );
}

/// What holds before, while and after nothing can be stored.
async fn through_a_full_disk(
    process: &Process,
    fill: impl AsyncFnOnce(),
    make_room: impl AsyncFnOnce(),
) {
    let (ann, ben) = (process.user("ann").await, process.user("ben").await);
    let mut listener = Listener::start(&ben, "messageSent", None, None).await;
    for n in 0..5 {
        ann.send(&ben, &format!("before {n}")).await;
    }
    assert_eq!(listener.take(5).await.len(), 5);
    fill().await;
    for n in 0..3 {
        is_refused(&ann, &ben, &format!("late {n}")).await;
    }
    assert_eq!(ben.unread_count().await, 5, "reads go on");
    assert_eq!(ben.conversation(&ann, 100, false).await.len(), 5);
    let read = ben.reading(&first(&ben, &ann).await).await;
    assert_eq!(read.code(), "UNAVAILABLE", "{}", read.body);
    let refused = process.printed();
    assert!(refused.contains("a batch could not be stored"), "{refused}");
    make_room().await;
    for n in 0..3 {
        let id = format!("late {n}");
        ann.send_as(&ben, "while it is full", &id).await.unwrap();
        ann.send_as(&ben, "while it is full", &id).await.unwrap();
    }
    assert_eq!(
        listener.take(3).await.len(),
        3,
        "and whoever listens goes on"
    );
    assert_eq!(ben.unread_count().await, 8);
    assert_eq!(ben.read_conversation(&ann, None).await, 8);
}

async fn first(reader: &User, partner: &User) -> String {
    let messages = reader.conversation(partner, 100, false).await;
    messages[0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_sends_and_loses_nothing() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let server = Recorded::serve(&database, &[]).await;
    let full = server.full.clone();
    through_a_full_disk(
        &server.process,
        async || std::fs::write(&full, "").unwrap(),
        async || std::fs::remove_file(&full).unwrap(),
    )
    .await;
    server.kill();
    database.is_right().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_the_files_size_refuses_sends_and_loses_nothing() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let listen = format!("127.0.0.1:{}", free_port());
    let mut arguments = vec![
        PROGRAM,
        "serve",
        "--listen",
        &listen,
        "--jwt-secret",
        SECRET,
    ];
    arguments.extend(["--database-url", &database.url]);
    arguments.extend(unlimited(&[]));
    let mut command = Command::new("sh");
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        // Unless it is ignored, the signal would end the process instead of failing the write.
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .args(&arguments);
    let process = Process::start(command, listen.parse().unwrap());
    process.ready().await;
    let limit = |bytes: &str| {
        let limited = Command::new("prlimit")
            .arg(format!("--pid={}", process.id()))
            .arg(format!("--fsize={bytes}:unlimited"))
            .status();
        assert!(limited.unwrap().success());
    };
    let log = beside(&database, "-wal");
    through_a_full_disk(
        &process,
        async || limit(&std::fs::metadata(&log).unwrap().len().to_string()),
        async || limit("unlimited"),
    )
    .await;
    process.kill();
    database.is_right().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_program_holds_is_waited_for_and_said() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let process = Process::serve(&database, &["--write-timeout", "1"]).await;
    let (ann, ben) = (process.user("ann").await, process.user("ben").await);
    ann.send(&ben, "before").await;
    let hold = database.hold("ann").await;
    let answer = ann.sending("ben", "meanwhile", Some("1")).await;
    assert_eq!(answer.code(), "UNAVAILABLE", "{}", answer.body);
    assert_eq!(ben.unread_count().await, 1, "reads go on");
    hold.release().await;
    ann.send_as(&ben, "meanwhile", "1").await.unwrap();
    assert_eq!(ben.unread_count().await, 2);
    process.kill();
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_program_has_for_itself_is_said_at_start() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let db = database.connect().await;
    db.execute_unprepared("PRAGMA locking_mode = EXCLUSIVE")
        .await
        .unwrap();
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared("UPDATE epoch SET value = value")
        .await
        .unwrap();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET];
    let arguments = [&arguments[..], &["--database-url", &database.url]].concat();
    let mut command = tokio::process::Command::from(program(&arguments));
    let output = command.output().await.unwrap();
    is_told(&output, "another program holds the database");
    tx.rollback().await.unwrap();
    db.close().await.unwrap();
    database.finish().await;
}

/// It ended with 1, and a sentence that says what to do.
fn is_told(output: &Output, advice: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(advice), "{advice:?} is not in: {told}");
    assert!(!told.contains("panicked"), "{told}");
}

/// The server as somebody who is not root, to whom permissions mean something.
fn serve_as_nobody(file: &Path) -> Output {
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let url = format!("sqlite:{}", file.display());
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(nobody).arg(PROGRAM);
        command
    } else {
        Command::new(PROGRAM)
    };
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .args(["serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET])
        .args(["--database-url", &url])
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

fn folder_with(mode: u32) -> PathBuf {
    let path = folder().join(uuid::Uuid::new_v4().simple().to_string());
    std::fs::create_dir(&path).unwrap();
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(&path, permissions).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_used_are_said_at_start() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let closed = folder_with(0o555);
    is_told(
        &serve_as_nobody(&closed.join("new.db")),
        "may read and write",
    );
    is_told(
        &serve_as_nobody(&closed.join("below/new.db")),
        "Permission denied",
    );
    let kept = folder_with(0o755);
    let copy = kept.join("copy.db");
    std::fs::copy(file_of(&database), &copy).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o444)).unwrap();
    std::fs::set_permissions(&kept, std::fs::Permissions::from_mode(0o555)).unwrap();
    is_told(&serve_as_nobody(&copy), "may read and write");
    let open = folder_with(0o777);
    let text = open.join("text.db");
    std::fs::write(&text, "this is a text, and no database at all".repeat(100)).unwrap();
    std::fs::set_permissions(&text, std::fs::Permissions::from_mode(0o666)).unwrap();
    is_told(&serve_as_nobody(&text), "no SQLite database");
    is_told(&serve_as_nobody(&open), "may read and write");
    assert_eq!(std::fs::read_dir(&closed).unwrap().count(), 0);
    for path in [closed, kept, open] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::remove_dir_all(path).unwrap();
    }
    database.finish().await;
}
