//! What one transaction for many commands rests on: what the lock answers with, whose rows it may touch, and how SQLite's
//! log is copied beside it.

use directmessages::chat::{DatabaseUrl, user_id};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement, TransactionTrait as _};

use crate::harness::{
    Fixture as _,
    database::{Kind, TestDatabase},
    server::TestServer,
    until,
    user::contents,
};

/// A batch numbers signals from where the log ends when the lock is had, not from where it ended when it was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn positions_go_on_from_where_the_lock_was_waited_for() {
    let server = TestServer::with(Kind::Postgres, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    ann.send(&ben, "before").await;
    let database = server.database();
    let db = database.connect().await;
    let other = db.begin().await.unwrap();
    // As an import does, which leaves no signals behind.
    let raise = format!(
        "UPDATE inbox SET last_position = last_position + 5, log_floor = last_position + 5 WHERE user_id = '{}'",
        user_id("ben")
    );
    other.execute_unprepared(&raise).await.unwrap();
    let (sent, ()) = tokio::join!(ann.sending("ben", "after", None), async {
        database.waits_for_locks(1).await;
        other.commit().await.unwrap();
    });
    sent.data();
    db.close().await.unwrap();
    let position = "SELECT max(position) FROM signal s JOIN inbox i USING (user_id) WHERE s.position = i.last_position \
                    AND s.position > i.log_floor AND i.user_id";
    let position = format!("{position} = '{}'", user_id("ben"));
    assert_eq!(database.number(&position).await, 7);
    assert_eq!(contents(&ben.unread(5).await), ["before", "after"]);
    server.finish().await;
}

/// A message whose sender is not its conversation's other one, which nothing here writes, is nobody's to mark: the commands
/// beside it are stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_by_a_stranger_harms_no_batch() {
    let server = TestServer::with(Kind::Postgres, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let first = ann.send(&ben, "first").await;
    ann.send(&ben, "second").await;
    let database = server.database();
    let by = |who: &str| {
        let who = user_id(who);
        format!("UPDATE message SET sender_id = '{who}' WHERE seq = 1")
    };
    database.execute(&by("a stranger")).await;
    let hold = database.hold("ben").await;
    // While a first one waits for the lock, the others wait behind it, and go together.
    let (held_up, (read, sent, ())) = tokio::join!(ben.sending("ann", "held up", None), async {
        database.waits_for_locks(1).await;
        tokio::join!(
            ben.read_conversation(&ann, None),
            ann.sending("ben", "third", None),
            async {
                ann.unread_count().await;
                hold.release().await;
            }
        )
    });
    held_up.data();
    sent.data();
    assert_eq!(read, 1, "the second alone");
    database.execute(&by("ann")).await;
    assert_eq!(contents(&ben.unread(5).await), ["first", "third"]);
    ben.read(&first).await;
    server.finish().await;
}

/// What is stored reaches the file long before the writer would copy its log itself.
#[tokio::test(flavor = "multi_thread")]
async fn sqlite_s_log_is_copied_beside_the_writer() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    for n in 0..134 {
        ann.send(&ben, &format!("to be copied: {n:03}")).await;
    }
    let url: DatabaseUrl = server.database().url.parse().unwrap();
    let file = url.file().unwrap().to_owned();
    until("the log is copied", async || {
        let bytes = std::fs::read(&file).unwrap();
        let copied = b"to be copied: 127";
        bytes.windows(copied.len()).any(|part| part == copied)
    })
    .await;
    server.finish().await;
}

/// Before 3.51.3, a log that began anew beside a checkpoint by another connection could spoil the file.
#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_one_on_which_two_connections_may_copy_the_log() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let db = database.connect().await;
    let statement = Statement::from_string(DbBackend::Sqlite, "SELECT sqlite_version()");
    let row = db.query_one_raw(statement).await.unwrap().unwrap();
    let version: String = row.try_get_by_index(0).unwrap();
    let parts: Vec<u32> = version
        .split('.')
        .map(|part| part.parse().unwrap())
        .collect();
    assert!(parts >= vec![3, 51, 3], "{version}");
    db.close().await.unwrap();
    database.finish().await;
}
