//! The writer: each rule of group commit, with a test that fails without it.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use directmessages::chat::Clock;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{
    Fixture as _,
    database::{Kind, TestDatabase},
    load::{chatter, id},
    proxy::Proxy,
    server::TestServer,
    user::{User, contents},
    within,
};

/// Some users of one server.
async fn crowd(server: &TestServer, count: usize) -> Vec<User> {
    let users = (0..count).map(|n| async move { server.user(&format!("user {n}")).await });
    join_all(users).await
}

on_both_databases! {
    async fn messages_to_one_user_in_one_batch_all_count(server: &TestServer) {
        let ann = server.user("ann").await;
        let people = crowd(server, 20).await;
        let hold = server.database().hold("ann").await;
        let sending = people.iter().map(|person| person.send(&ann, "hello"));
        let (sent, ()) = tokio::join!(join_all(sending), async {
            // Whatever waits now goes together. Another's request shows that the server had the time to take them.
            ann.unread_count().await;
            hold.release().await;
        });
        assert_eq!(sent.len(), 20);
        assert_eq!(ann.unread_count().await, 20);
        for person in &people {
            assert_eq!(ann.conversation(person, 10, false).await.len(), 1);
        }
    }

    async fn three_messages_of_one_conversation_in_one_batch_are_numbered(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        ann.send(&ben, "before").await;
        let hold = server.database().hold("ben").await;
        let sending = (0..12).map(|n| {
            let (ann, ben) = (&ann, &ben);
            async move {
                if n % 2 == 0 { ann.send(ben, "to").await } else { ben.send(ann, "fro").await }
            }
        });
        let (sent, ()) = tokio::join!(join_all(sending), async {
            ann.unread_count().await;
            hold.release().await;
        });
        let numbers: HashSet<i64> = sent.iter().map(|m| m["sequence"].as_i64().unwrap()).collect();
        assert_eq!(numbers, (2..=13).collect::<HashSet<i64>>());
        assert_eq!((ann.unread_count().await, ben.unread_count().await), (6, 7));
    }

    async fn the_same_client_id_many_times_at_once_sends_one_message(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let hold = server.database().hold("ben").await;
        let sending = (0..40).map(|_| ann.send_as(&ben, "once", "the one"));
        let (sent, ()) = tokio::join!(join_all(sending), async {
            ann.unread_count().await;
            hold.release().await;
        });
        let ids: HashSet<String> = sent.into_iter().map(|sent| id(&sent.unwrap())).collect();
        assert_eq!(ids.len(), 1, "everyone is told of the same message");
        assert_eq!(contents(&ben.unread(10).await), ["once"]);
        let again = ann.send_as(&ben, "once", "the one").await.unwrap();
        assert!(ids.contains(&id(&again)));
    }

    async fn of_different_contents_under_one_client_id_one_wins(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let hold = server.database().hold("ben").await;
        let texts: Vec<String> = (0..20).map(|n| format!("text {n}")).collect();
        let sending = texts.iter().map(|text| ann.send_as(&ben, text, "the one"));
        let (sent, ()) = tokio::join!(join_all(sending), async {
            ann.unread_count().await;
            hold.release().await;
        });
        let (won, lost): (Vec<_>, Vec<_>) = sent.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 19));
        assert!(lost.iter().all(|code| code.as_ref() == Err(&"CLIENT_MESSAGE_ID_REUSED".to_owned())));
        let stored = ben.unread(10).await;
        assert_eq!(won[0].as_ref().unwrap()["content"], stored[0]["content"]);
    }

    async fn the_same_client_id_on_two_servers_sends_one_message(database: &TestDatabase) {
        let (one, two) = (TestServer::on(database, &[]).await, TestServer::on(database, &[]).await);
        let (ann, ben) = (one.user("ann").await, one.user("ben").await);
        let elsewhere = ann.at(two.address);
        for round in 0..20 {
            let client_id = format!("round {round}");
            let sending = (0..6).map(|n| if n % 2 == 0 { &ann } else { &elsewhere });
            let sending = sending.map(|ann| ann.send_as(&ben, "once", &client_id));
            let sent = join_all(sending).await;
            let ids: HashSet<String> = sent.into_iter().map(|sent| id(&sent.unwrap())).collect();
            assert_eq!(ids.len(), 1, "in round {round}");
        }
        assert_eq!(ben.unread_count().await, 20);
        one.stop().await;
        two.stop().await;
    }

    async fn two_servers_under_load_keep_every_number_exact(database: &TestDatabase) {
        let (one, two) = (TestServer::on(database, &[]).await, TestServer::on(database, &[]).await);
        let people = crowd(&one, 6).await;
        let elsewhere = people.iter().map(|person| person.at(two.address)).collect();
        let sent = chatter(&[people, elsewhere], 25).await;
        let different: HashSet<&String> = sent.iter().collect();
        assert_eq!(different.len(), sent.len(), "no two sends got one message");
        one.stop().await;
        two.stop().await;
    }

    async fn opposite_directions_from_two_servers_do_not_deadlock(database: &TestDatabase) {
        let (one, two) = (TestServer::on(database, &[]).await, TestServer::on(database, &[]).await);
        let people = crowd(&one, 4).await;
        let elsewhere: Vec<User> = people.iter().map(|person| person.at(two.address)).collect();
        let sending = (0..200).map(|n| {
            let (from, to) = (n % 4, (n + 1 + n / 4 % 3) % 4);
            let from = if n % 2 == 0 { &people[from] } else { &elsewhere[from] };
            from.send(&people[to], "across")
        });
        let sent = within("all sends", join_all(sending)).await;
        assert_eq!(sent.len(), 200);
        one.stop().await;
        two.stop().await;
    }

    async fn a_bad_command_in_a_batch_fails_alone(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        ann.send_as(&ben, "first", "used").await.unwrap();
        let hold = server.database().hold("ben").await;
        let nobody = ben.called("nobody");
        let sending = (0..15).map(|n| {
            let (ann, ben, nobody) = (&ann, &ben, &nobody);
            async move {
                match n % 3 {
                    0 => ann.send_as(ben, "good", &format!("{n}")).await,
                    1 => ann.send_as(nobody, "lost", &format!("{n}")).await,
                    _ => ann.send_as(ben, "other", "used").await,
                }
            }
        });
        let (sent, ()) = tokio::join!(join_all(sending), async {
            ann.unread_count().await;
            hold.release().await;
        });
        for (n, sent) in sent.iter().enumerate() {
            match n % 3 {
                0 => assert_eq!(sent.as_ref().unwrap()["content"], "good"),
                1 => assert_eq!(sent.as_ref().unwrap_err(), "USER_NOT_FOUND"),
                _ => assert_eq!(sent.as_ref().unwrap_err(), "CLIENT_MESSAGE_ID_REUSED"),
            }
        }
        assert_eq!(ben.unread_count().await, 6);
    }

    async fn reading_many_times_at_once_signals_once(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let message = ann.send(&ben, "hello").await;
        let mut listener = ann.listen("messageRead", None).await;
        let hold = server.database().hold("ben").await;
        let reading = (0..20).map(|n| {
            let (ann, ben, message) = (&ann, &ben, &message);
            async move {
                if n % 2 == 0 {
                    ben.read(message).await;
                    0
                } else {
                    ben.read_conversation(ann, None).await
                }
            }
        });
        let (counts, ()) = tokio::join!(join_all(reading), async {
            ann.unread_count().await;
            hold.release().await;
        });
        assert!(counts.iter().sum::<i64>() <= 1, "at most one call turned it read: {counts:?}");
        let marker = ann.send(&ben, "marker").await;
        ben.read(&marker).await;
        assert_eq!(listener.contents_until("marker").await, ["hello", "marker"]);
    }

    async fn a_clock_that_goes_back_reorders_nothing(database: &TestDatabase) {
        let time = Arc::new(AtomicI64::new(1_000_000));
        let clock = { let time = time.clone(); Clock::from_fn(move || time.load(Ordering::SeqCst)) };
        let server = TestServer::at(&database.url, &[], clock).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let mut sent = Vec::new();
        for (n, now) in [1_000_000, 500_000, 2_000_000, 1].into_iter().enumerate() {
            time.store(now, Ordering::SeqCst);
            sent.push(ann.send(&ben, &format!("message {n}")).await);
        }
        let read = ben.read(&sent[3]).await;
        assert_eq!(read["readAt"], read["sentAt"], "nothing is read before it was sent");
        let listed = ben.conversation(&ann, 2, false).await;
        assert_eq!(contents(&listed), ["message 0", "message 1", "message 2", "message 3"]);
        let times: Vec<&str> = listed.iter().map(|message| message["sentAt"].as_str().unwrap()).collect();
        assert!(times.is_sorted(), "{times:?}");
        assert_eq!(times[1], times[0]);
        server.stop().await;
    }

    async fn a_writer_that_fails_is_started_again(database: &TestDatabase) {
        let fails = Arc::new(AtomicBool::new(false));
        let clock = {
            let fails = fails.clone();
            Clock::from_fn(move || {
                assert!(!fails.load(Ordering::SeqCst), "the clock stands still, as this test wants it");
                Clock::system().now()
            })
        };
        let server = TestServer::at(&database.url, &[], clock).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        fails.store(true, Ordering::SeqCst);
        for attempt in 0..3 {
            let answer = ann.send_as(&ben, "hello", "1").await;
            assert_eq!(answer.unwrap_err(), "UNAVAILABLE", "attempt {attempt}");
        }
        fails.store(false, Ordering::SeqCst);
        ann.send(&ben, "later").await;
        assert_eq!(contents(&ben.conversation(&ann, 10, false).await), ["later"]);
        server.stop().await;
    }

    async fn a_full_queue_answers_unavailable(database: &TestDatabase) {
        let server = TestServer::on(database, &["--write-queue", "1"]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let hold = database.hold("ben").await;
        let sending = (0..30).map(|n| {
            let (ann, ben) = (&ann, &ben);
            async move { ann.send_as(ben, "hello", &format!("{n}")).await }
        });
        let (sent, ()) = tokio::join!(join_all(sending), async {
            ann.unread_count().await;
            hold.release().await;
        });
        let (stored, refused): (Vec<_>, Vec<_>) = sent.into_iter().partition(Result::is_ok);
        assert!(!refused.is_empty(), "a queue of one cannot take thirty");
        assert!(refused.iter().all(|code| code.as_ref() == Err(&"UNAVAILABLE".to_owned())));
        assert_eq!(usize::try_from(ben.unread_count().await), Ok(stored.len()));
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_an_answer_is_stored_once_and_acknowledged() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let proxy = Proxy::start().await;
    let server = TestServer::at(&proxy.url(&database), &[], Clock::system()).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    for round in 1..=5 {
        proxy.lose_answers(1);
        let sent = match round {
            1 => ann.send_as(&ben, "with an id", "mine").await.unwrap(),
            _ => ann.send(&ben, "without").await,
        };
        assert_eq!(
            proxy.disturbed(),
            round,
            "the answer to its COMMIT was lost"
        );
        assert_eq!(sent["sequence"], round);
    }
    assert_eq!(ben.unread_count().await, 5);
    assert_eq!(ben.conversation(&ann, 100, false).await.len(), 5);
    server.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_never_arrived_is_run_again() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let proxy = Proxy::start().await;
    let server = TestServer::at(&proxy.url(&database), &[], Clock::system()).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    proxy.swallow(1);
    let sent = ann.send(&ben, "hello").await;
    assert_eq!((proxy.disturbed(), &sent["sequence"]), (1, &json!(1)));
    assert_eq!(contents(&ben.unread(10).await), ["hello"]);
    server.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_whose_commit_got_no_answer_are_counted_right() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let proxy = Proxy::start().await;
    let server = TestServer::at(&proxy.url(&database), &[], Clock::system()).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    for n in 0..7 {
        ann.send(&ben, &format!("message {n}")).await;
    }
    proxy.lose_answers(1);
    assert_eq!(ben.read_conversation(&ann, None).await, 7);
    assert_eq!(proxy.disturbed(), 1);
    assert_eq!(ben.read_conversation(&ann, None).await, 0);
    assert_eq!(ben.unread_count().await, 0);
    server.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_transaction_holds_up_nobody_else() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let server = TestServer::on(&database, &[]).await;
    let people = crowd(&server, 8).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let hold = database.hold("ben").await;
    let stuck = tokio::spawn({
        let (ann, ben) = (ann.clone(), ben.clone());
        async move {
            let mut sent: Vec<Value> = Vec::new();
            for text in ["first", "second", "third"] {
                sent.push(ann.send(&ben, text).await);
            }
            sent
        }
    });
    let started = std::time::Instant::now();
    for round in 0..40 {
        let sent = people[round % 8]
            .send(&people[(round + 1) % 8], "going on")
            .await;
        assert!(sent["id"].is_string());
    }
    let took = started.elapsed();
    assert!(
        took < Duration::from_secs(10),
        "others waited for the stuck one: {took:?}"
    );
    assert!(
        !stuck.is_finished(),
        "a message to a held inbox cannot be stored"
    );
    hold.release().await;
    let sent = within("the stuck messages", stuck).await.unwrap();
    assert_eq!(contents(&sent), ["first", "second", "third"]);
    assert_eq!(
        contents(&ben.unread(10).await),
        ["first", "second", "third"]
    );
    server.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_stays_stuck_is_answered_in_time() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let server = TestServer::on(&database, &["--write-timeout", "1"]).await;
    let (ann, ben, cid) = (
        server.user("ann").await,
        server.user("ben").await,
        server.user("cid").await,
    );
    let hold = database.hold("ben").await;
    let started = std::time::Instant::now();
    let (first, second) = tokio::join!(
        ann.sending("ben", "stuck", Some("a")),
        cid.sending("ben", "stuck too", Some("b")),
    );
    assert_eq!(
        (first.code().as_str(), second.code().as_str()),
        ("UNAVAILABLE", "UNAVAILABLE")
    );
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
    hold.release().await;
    let sent = ann.send_as(&ben, "stuck", "a").await.unwrap();
    assert_eq!(sent["sequence"], 1, "what was refused was not stored");
    server.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_isolation_level_does_not_matter() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let level = "ALTER DATABASE {} SET default_transaction_isolation = 'serializable'";
    database.execute(&level.replace("{}", &database.name)).await;
    let (one, two) = (
        TestServer::on(&database, &[]).await,
        TestServer::on(&database, &[]).await,
    );
    let people = crowd(&one, 3).await;
    let elsewhere = people.iter().map(|person| person.at(two.address)).collect();
    chatter(&[people, elsewhere], 20).await;
    one.stop().await;
    two.stop().await;
    database.finish().await;
}
