//! The server behind pgbouncer in transaction mode: every transaction may get another of few connections.

use directmessages::chat::Clock;

use crate::harness::{
    Fixture as _,
    database::{Kind, TestDatabase},
    load::chatter,
    pooler::Pooler,
    process::run,
    server::TestServer,
    until,
};

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_through_two_connections() {
    let database = TestDatabase::empty(Kind::Postgres).await;
    let pooler = Pooler::start(2).await;
    let url = pooler.url(&database);
    let up = ["migrate", "up", "--database-pooled", "--database-url", &url];
    let migrated = run(&up);
    assert!(migrated.status.success(), "{migrated:?}");
    // More connections than the pooler has, of two servers: what one prepares another meets.
    let flags = [
        &["--database-pooled", "--direct-database-url", &database.url][..],
        &["--read-connections", "20", "--writers", "4"],
    ]
    .concat();
    let one = TestServer::at(&url, &flags, Clock::system()).await;
    let two = TestServer::at(&url, &flags, Clock::system()).await;
    let names = ["ann", "ben", "cid", "dan", "eva", "fay"];
    let mut people = Vec::new();
    for name in names {
        people.push(one.user(name).await);
    }
    let mut listener = people[1].at(two.address).listen("messageSent", None).await;
    let elsewhere: Vec<_> = people.iter().map(|person| person.at(two.address)).collect();
    chatter(&[people.clone(), elsewhere], 20).await;
    for person in &people {
        let partners = person.partners(2).await;
        assert!(
            !partners.is_empty(),
            "the partners are listed, page by page"
        );
        for other in people.iter().filter(|other| other.id != person.id) {
            let list = person.conversation(other, 7, true).await;
            assert!(list.is_sorted_by_key(|message| -message["sequence"].as_i64().unwrap()));
        }
    }
    people[0].send(&people[1], "the end").await;
    listener.contents_until("the end").await;
    drop(listener);
    // LISTEN goes past the pooler: a hint comes at once, by no slow tick.
    let slow = [&flags[..], &["--slow-tick", "3600"]].concat();
    let slow = TestServer::at(&url, &slow, Clock::system()).await;
    let mut listener = people[2].at(slow.address).listen("messageSent", None).await;
    until("a hint comes through", async || {
        people[0].send(&people[2], "hint").await;
        let heard = listener.contents_until("hint");
        tokio::time::timeout(std::time::Duration::from_millis(500), heard)
            .await
            .is_ok()
    })
    .await;
    drop(listener);
    for server in [one, two, slow] {
        server.stop().await;
    }
    let log = pooler.log();
    assert!(
        !log.contains("ERROR") && !log.contains("prepared statement"),
        "{log}"
    );
    drop(pooler);
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_way_past_the_pooler_the_slow_tick_serves() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let pooler = Pooler::start(2).await;
    let flags = ["--database-pooled", "--slow-tick", "0.3"];
    let url = pooler.url(&database);
    let one = TestServer::at(&url, &flags, Clock::system()).await;
    let two = TestServer::at(&url, &flags, Clock::system()).await;
    let (ann, ben) = (one.user("ann").await, one.user("ben").await);
    let mut listener = ben.at(two.address).listen("messageSent", None).await;
    for n in 0..5 {
        let text = format!("message {n}");
        ann.send(&ben, &text).await;
        assert_eq!(listener.contents_until(&text).await, [text]);
    }
    drop(listener);
    one.stop().await;
    two.stop().await;
    drop(pooler);
    database.finish().await;
}
