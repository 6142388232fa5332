//! What happens when something dies: the server's process, or its database.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use directmessages::chat::Clock;
use futures_util::future::join_all;
use serde_json::json;

use crate::harness::{
    Fixture as _,
    database::{Kind, TestDatabase},
    load::{chatter, id},
    process::Process,
    proxy::Proxy,
    server::TestServer,
    socket::Socket,
    until,
    user::{User, send_mutation, send_variables},
    within,
};

const CLIENTS: usize = 6;
const MESSAGES: usize = 50;

/// Sends under a client id until it is acknowledged, as a careful client does. Returns the message's id.
pub(crate) async fn send_for_sure(from: &User, to: &str, text: &str) -> String {
    let sending = async {
        loop {
            let variables = send_variables(to, text, Some(text));
            if let Ok(answer) = from.try_ask(&send_mutation(), variables).await {
                match answer.errors().first() {
                    None => return id(&answer.data()["sendMessage"]["message"]),
                    Some((code, _)) => assert_eq!(code, "UNAVAILABLE", "{}", answer.body),
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    within("a message to be acknowledged", sending).await
}

on_both_databases! {
    async fn kill_9_loses_and_doubles_nothing_acknowledged(database: &TestDatabase) {
        let mut process = Process::serve(database, &[]).await;
        let address = process.address;
        let people = join_all((0..CLIENTS).map(|n| { let process = &process; async move { process.user(&format!("user {n}")).await } })).await;
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..CLIENTS).map(|n| {
            let (me, to, acknowledged) = (people[n].clone(), people[(n + 1) % CLIENTS].id.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let mut sent = Vec::new();
                for message in 0..MESSAGES {
                    let text = format!("{n}: {message}");
                    sent.push((send_for_sure(&me, &to, &text).await, text));
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                sent
            })
        }).collect();
        for enough in [20, 100, 200] {
            until("the clients are busy", async || acknowledged.load(Ordering::SeqCst) >= enough).await;
            process.kill();
            process = Process::serve_at(database, &address.to_string(), &[]).await;
        }
        let sent: HashMap<String, String> = within("the clients", join_all(clients)).await.into_iter().flat_map(Result::unwrap).collect();
        assert_eq!(sent.len(), CLIENTS * MESSAGES, "each was acknowledged under an id of its own");
        let mut stored = HashMap::new();
        for person in &people {
            let unread = person.unread(100).await;
            stored.extend(unread.iter().map(|message| (id(message), message["content"].as_str().unwrap().to_owned())));
        }
        assert_eq!(stored, sent);
        process.kill();
    }

    async fn two_processes_on_one_database_keep_every_number_exact(database: &TestDatabase) {
        let (one, two) = (Process::serve(database, &[]).await, Process::serve(database, &[]).await);
        let people = join_all((0..4).map(|n| { let one = &one; async move { one.user(&format!("user {n}")).await } })).await;
        let elsewhere = people.iter().map(|person| person.at(two.address)).collect();
        let sent = chatter(&[people, elsewhere], 25).await;
        assert_eq!(sent.iter().collect::<HashSet<_>>().len(), sent.len());
    }

    async fn sigterm_finishes_what_was_begun(database: &TestDatabase) {
        let mut process = Process::serve(database, &[]).await;
        let (ann, ben) = (process.user("ann").await, process.user("ben").await);
        let listener = ben.listen("messageSent", None).await;
        ann.send(&ben, "hello").await;
        process.signal("TERM");
        drop(listener);
        assert!(process.ended().await, "it ends with success: {}", process.printed());
        let again = Process::serve(database, &[]).await;
        assert_eq!(ben.at(again.address).unread_count().await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_is_unavailable_until_it_is_back() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let proxy = Proxy::start().await;
    let flags = ["--connect-timeout", "0.3", "--slow-tick", "0.2"];
    let server = TestServer::at(&proxy.url(&database), &flags, Clock::system()).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let mut listener = ben.listen("messageSent", None).await;
    ann.send(&ben, "before").await;
    assert_eq!(listener.contents_until("before").await, ["before"]);

    proxy.close();
    let answer = ann.sending("ben", "during", Some("1")).await;
    assert_eq!(answer.code(), "UNAVAILABLE");
    assert_eq!(answer.body["data"]["sendMessage"], json!(null));
    assert_eq!(
        ben.ask("{ inbox { unreadCount } }", json!({})).await.code(),
        "UNAVAILABLE"
    );
    let stranger = crate::harness::server::tokens()
        .mint("cid", None, false, 60)
        .unwrap();
    let answer = server
        .bearer(Some(stranger))
        .ask("{ viewer { id } }", json!({}))
        .await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (503, "UNAVAILABLE")
    );

    proxy.open();
    until("the database is back", async || {
        let answer = ann.sending("ben", "during", Some("1")).await;
        answer.body.get("errors").is_none()
    })
    .await;
    assert_eq!(
        listener.contents_until("during").await,
        ["during"],
        "the listener waited, and goes on"
    );
    drop(listener);
    server.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_never_told_of_an_absent_database() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let proxy = Proxy::start().await;
    let flags = ["--connect-timeout", "0.3", "--slow-tick", "0.2"];
    let server = TestServer::at(&proxy.url(&database), &flags, Clock::system()).await;
    let direct = TestServer::on(&database, &[]).await;
    let (ann, ben) = (direct.user("ann").await, direct.user("ben").await);
    let start = ben.signal_cursor().await;
    let away = ben.at(server.address);
    // So many as are read from the log at one time: what follows is what each event reads for itself.
    join_all((0..200).map(|n| {
        let (ann, ben) = (&ann, &ben);
        async move { ann.send_as(ben, "hello", &format!("{n}")).await.unwrap() }
    }))
    .await;
    // Known there, so that the socket opens without the database.
    away.data("{ viewer { id } }", json!({})).await;
    let sides = "subscription ($after: String) { messageSent(after: $after) \
                 { message { sequence } conversationPartner { unreadCount } } }";
    let mut socket = Socket::of(&away).await;
    proxy.close();
    let variables = json!({ "after": start });
    socket.subscribe("1", sides, variables).await;
    socket.settle().await;
    proxy.open();
    for sequence in 1..=200 {
        let message = socket.message().await;
        assert_eq!(message["type"], "next", "{message}");
        assert!(message["payload"].get("errors").is_none(), "{message}");
        let event = &message["payload"]["data"]["messageSent"];
        assert_eq!(event["message"]["sequence"], sequence);
        // Again and again, within an event or between two.
        if sequence % 20 == 1 {
            proxy.close();
            until("the database is away", async || {
                let answer = away.ask("{ inbox { unreadCount } }", json!({})).await;
                !answer.errors().is_empty()
            })
            .await;
            proxy.open();
        }
    }
    drop(socket);
    server.stop().await;
    direct.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_is_unavailable_until_it_goes_on() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let proxy = Proxy::start().await;
    let flags = ["--connect-timeout", "2", "--write-timeout", "1"];
    let server = TestServer::at(&proxy.url(&database), &flags, Clock::system()).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    ann.send(&ben, "before").await;
    proxy.freeze();
    let sent = soon("a send", ann.sending("ben", "during", Some("1"))).await;
    let read = soon("a read", ben.ask("{ inbox { unreadCount } }", json!({}))).await;
    assert_eq!(
        (sent.code().as_str(), read.code().as_str()),
        ("UNAVAILABLE", "UNAVAILABLE")
    );
    proxy.thaw();
    until("the database goes on", async || {
        let answer = ann.sending("ben", "during", Some("1")).await;
        answer.body.get("errors").is_none()
    })
    .await;
    until("reads go on", async || {
        let answer = ben.ask("{ inbox { unreadCount } }", json!({})).await;
        answer.body["data"]["inbox"]["unreadCount"] == 2
    })
    .await;
    server.stop().await;
    database.finish().await;
}

/// Waits for an answer while the database gives none.
async fn soon<T>(what: &str, answer: impl Future<Output = T>) -> T {
    let answer = tokio::time::timeout(std::time::Duration::from_secs(15), answer).await;
    answer.unwrap_or_else(|_| panic!("{what} waits without end where the database hangs"))
}
