//! What PostgreSQL refuses, and what is tried again; and what an absent database costs its callers.

use std::time::{Duration, Instant};

use directmessages::chat::{Clock, user_id};
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use serde_json::json;

use crate::{
    crash::send_for_sure,
    harness::{
        Fixture as _,
        database::{Kind, TestDatabase, postgres},
        proxy::Proxy,
        server::TestServer,
        until,
        user::{User, contents},
        within,
    },
};

/// Whether PostgreSQL logged this about a database.
fn logged(database: &TestDatabase, what: &str) -> bool {
    let log = std::fs::read_to_string(postgres().path().join("postgres.log")).unwrap();
    let prefix = format!("{}|", database.name);
    log.lines()
        .any(|line| line.starts_with(&prefix) && line.contains(what))
}

/// Fails an insertion into `message` as long as a count of attempts (which no rollback takes back) is below a limit, and
/// always for one content.
async fn fail_inserts(database: &TestDatabase, attempts: u32, code: &str, poison: &str) {
    let sql = format!(
        "CREATE SEQUENCE attempts; \
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF (SELECT count(*) FROM added WHERE content = '{poison}') > 0 THEN RAISE 'poisoned' USING ERRCODE = '22000'; END IF; \
         IF nextval('attempts') <= {attempts} THEN RAISE 'refused' USING ERRCODE = '{code}'; END IF; \
         RETURN NULL; END $$; \
         CREATE TRIGGER refuse AFTER INSERT ON message REFERENCING NEW TABLE AS added \
         FOR EACH STATEMENT EXECUTE FUNCTION refuse()"
    );
    database.execute(&sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_with_somebody_else_is_tried_again() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let soon = format!(
        "ALTER DATABASE {} SET deadlock_timeout = '300ms'",
        database.name
    );
    database.execute(&soon).await;
    let server = TestServer::on(&database, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let mut ids = [user_id("ann"), user_id("ben")];
    ids.sort_unstable();
    let lock = |place: usize| {
        let id = ids[place];
        format!("SELECT 1 FROM inbox WHERE user_id = '{id}' FOR UPDATE")
    };
    // Against our order, and too patient to be the one who is chosen to lose.
    let db = database.connect().await;
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared("SET LOCAL deadlock_timeout = '1min'")
        .await
        .unwrap();
    tx.execute_unprepared(&lock(1)).await.unwrap();
    let (sent, ()) = tokio::join!(ann.send_as(&ben, "hello", "1"), async {
        database.waits_for_locks(1).await;
        tx.execute_unprepared(&lock(0)).await.unwrap();
        tx.commit().await.unwrap();
    });
    assert_eq!(sent.unwrap()["sequence"], 1);
    assert!(
        logged(&database, "deadlock detected"),
        "the test is about one"
    );
    db.close().await.unwrap();
    server.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_serialized_is_tried_again_and_split() {
    for attempts in [1, 2, 5] {
        let database = TestDatabase::new(Kind::Postgres).await;
        fail_inserts(&database, attempts, "40001", "").await;
        let server = TestServer::on(&database, &[]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let hold = database.hold("ben").await;
        let texts: Vec<String> = (0..8).map(|n| format!("text {n}")).collect();
        let sending = texts.iter().map(|text| ann.send_as(&ben, text, text));
        let (sent, ()) = tokio::join!(join_all(sending), async {
            database.waits_for_locks(1).await;
            hold.release().await;
        });
        assert!(
            sent.iter().all(Result::is_ok),
            "after {attempts} refusals: {sent:?}"
        );
        assert_eq!(ben.unread_count().await, 8);
        assert!(logged(&database, "refused"), "the test is about refusals");
        server.stop().await;
        database.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_takes_too_long_is_split() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let slow = "CREATE FUNCTION crawl() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                IF (SELECT count(*) FROM added) > 1 THEN PERFORM pg_sleep(60); END IF; RETURN NULL; END $$; \
                CREATE TRIGGER crawl AFTER INSERT ON message REFERENCING NEW TABLE AS added \
                FOR EACH STATEMENT EXECUTE FUNCTION crawl()";
    database.execute(slow).await;
    let server = TestServer::on(&database, &["--write-timeout", "60"]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let hold = database.hold("ben").await;
    let texts = ["first", "second", "third"];
    let sending = texts.iter().map(|text| ann.send_as(&ben, text, text));
    let (sent, ()) = tokio::join!(join_all(sending), async {
        database.waits_for_locks(1).await;
        ann.unread_count().await;
        hold.release().await;
    });
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    assert_eq!(ben.unread_count().await, 3);
    assert!(
        logged(&database, "canceling statement due to statement timeout"),
        "the test is about one"
    );
    server.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_refuses_of_a_batch_fails_alone() {
    let database = TestDatabase::new(Kind::Postgres).await;
    fail_inserts(&database, 0, "40001", "poison").await;
    let server = TestServer::on(&database, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let hold = database.hold("ben").await;
    let texts: Vec<String> = (0..12)
        .map(|n| {
            if n == 5 {
                "poison".to_owned()
            } else {
                format!("{n}")
            }
        })
        .collect();
    let sending = texts.iter().map(|text| ann.send_as(&ben, text, text));
    let (sent, ()) = tokio::join!(join_all(sending), async {
        database.waits_for_locks(1).await;
        hold.release().await;
    });
    for (text, sent) in texts.iter().zip(&sent) {
        match text.as_str() {
            "poison" => assert_eq!(sent, &Err("INTERNAL".to_owned())),
            _ => assert!(sent.is_ok(), "{text}: {sent:?}"),
        }
    }
    assert_eq!(ben.unread_count().await, 11);
    server.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_with_its_locks_held_stops_nobody_for_long() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let proxy = Proxy::start().await;
    let hanging = TestServer::at(&proxy.url(&database), &[], Clock::system()).await;
    let other = TestServer::on(&database, &[]).await;
    let (ann, ben) = (other.user("ann").await, other.user("ben").await);
    let there = ann.at(hanging.address);
    // Known there, and with a connection.
    there.send(&ben, "before").await;
    proxy.freeze_at_commit();
    let stuck = tokio::spawn(async move { send_for_sure(&there, "ben", "stuck").await });
    until("it hangs", async || proxy.disturbed() == 1).await;
    let started = Instant::now();
    ann.send(&ben, "going on").await;
    let took = started.elapsed();
    assert!(
        took > Duration::from_millis(500),
        "the lock was held: {took:?}"
    );
    assert!(
        took < Duration::from_secs(6),
        "idle_in_transaction_session_timeout is 2 s: {took:?}"
    );
    proxy.thaw();
    within("what was stuck", stuck).await.unwrap();
    assert_eq!(
        contents(&ben.unread(10).await),
        ["before", "going on", "stuck"]
    );
    hanging.stop().await;
    other.stop().await;
    database.finish().await;
}

/// So many callers at one time, half of whom send and half read. Returns how long the last one waited.
async fn crowd(ann: &User, wave: usize, callers: usize) -> Duration {
    let started = Instant::now();
    let calls = (0..callers).map(async |n| {
        let answer = match n % 2 {
            0 => {
                ann.sending("ben", "hello", Some(&format!("{wave} {n}")))
                    .await
            }
            _ => ann.ask("{ inbox { unreadCount } }", json!({})).await,
        };
        assert_eq!(answer.code(), "UNAVAILABLE");
    });
    join_all(calls).await;
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_database_keeps_nobody_waiting_in_turn() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let proxy = Proxy::start().await;
    let flags = [
        "--connect-timeout",
        "1",
        "--read-timeout",
        "2",
        "--write-timeout",
        "2",
    ];
    let server = TestServer::at(&proxy.url(&database), &flags, Clock::system()).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    ann.send(&ben, "before").await;
    for (round, hangs) in [false, true].into_iter().enumerate() {
        if hangs {
            proxy.freeze();
        } else {
            proxy.close();
        }
        let first = crowd(&ann, round * 10, 500).await;
        assert!(
            first < Duration::from_secs(7),
            "hangs: {hangs}; the last of the first wave waited {first:?}"
        );
        until("its absence is known", async || {
            let started = Instant::now();
            let answer = ann.ask("{ inbox { unreadCount } }", json!({})).await;
            answer.code() == "UNAVAILABLE" && started.elapsed() < Duration::from_millis(200)
        })
        .await;
        // Nothing waits now: not for a connection, nor for those who came before.
        let second = crowd(&ann, round * 10 + 1, 50).await;
        assert!(
            second < Duration::from_secs(2),
            "hangs: {hangs}; the second wave waited {second:?}"
        );
        if hangs {
            proxy.thaw();
        } else {
            proxy.open();
        }
        let back = Instant::now();
        send_for_sure(&ann, "ben", &format!("after {round}")).await;
        assert!(
            back.elapsed() < Duration::from_secs(5),
            "{:?}",
            back.elapsed()
        );
        println!(
            "hangs: {hangs}; first wave {first:?}, second {second:?}, back after {:?}",
            back.elapsed()
        );
    }
    server.stop().await;
    database.finish().await;
}
