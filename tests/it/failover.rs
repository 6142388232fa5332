//! What becomes of a server whose PostgreSQL is stopped, killed, or replaced by its standby.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use directmessages::chat::Clock;
use futures_util::future::join_all;
use serde_json::json;

use crate::{
    crash::send_for_sure,
    harness::{
        Fixture as _,
        database::{Kind, TestDatabase},
        load::id,
        postgres::{Postgres, Stop},
        proxy::Proxy,
        server::TestServer,
        until,
        user::User,
        within,
    },
};

/// What lets a test wait less for a database that is away.
const IMPATIENT: [&str; 4] = ["--connect-timeout", "0.3", "--slow-tick", "0.2"];

/// Sends, in the background, so many messages under client ids, each until it is acknowledged; with the number that were.
struct Clients {
    tasks: Vec<tokio::task::JoinHandle<Vec<(String, String)>>>,
    acknowledged: Arc<AtomicUsize>,
}

impl Clients {
    fn start(people: &[User], messages: usize) -> Self {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let tasks = people.iter().enumerate().map(|(n, me)| {
            let (me, to) = (me.clone(), people[(n + 1) % people.len()].id.clone());
            let acknowledged = acknowledged.clone();
            tokio::spawn(async move {
                let mut sent = Vec::new();
                for message in 0..messages {
                    let text = format!("{n}: {message}");
                    sent.push((send_for_sure(&me, &to, &text).await, text));
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                sent
            })
        });
        let tasks = tasks.collect();
        Self {
            tasks,
            acknowledged,
        }
    }

    async fn reach(&self, count: usize) {
        until("the clients are busy", async || {
            self.acknowledged.load(Ordering::SeqCst) >= count
        })
        .await;
    }

    /// The contents by the ids under which they were acknowledged.
    async fn finish(self) -> HashMap<String, String> {
        let sent = within("the clients", join_all(self.tasks)).await;
        sent.into_iter().flat_map(Result::unwrap).collect()
    }
}

async fn people(server: &TestServer, count: usize) -> Vec<User> {
    join_all((0..count).map(async |n| server.user(&format!("user {n}")).await)).await
}

/// Everything that the people have not read, by its id.
async fn stored(people: &[User]) -> HashMap<String, String> {
    let mut stored = HashMap::new();
    for person in people {
        let unread = person.unread(100).await;
        stored.extend(unread.iter().map(|message| {
            let content = message["content"].as_str().unwrap();
            (id(message), content.to_owned())
        }));
    }
    stored
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_goes_on_however_its_postgres_stopped() {
    let mut postgres = Postgres::new(&["fsync=on"]).await;
    let database = postgres.database().await;
    let flags = [&IMPATIENT[..], &["--write-timeout", "1"]].concat();
    let server = TestServer::on(&database, &flags).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    for (round, how) in [Stop::Fast, Stop::Immediate, Stop::Kill]
        .into_iter()
        .enumerate()
    {
        let text = format!("before {how:?}");
        ann.send(&ben, &text).await;
        postgres.stop(how).await;
        let answer = ann.sending("ben", "away", Some(&text)).await;
        assert_eq!(answer.code(), "UNAVAILABLE", "{how:?}");
        postgres.start().await;
        until("it stores again", async || {
            let answer = ann.sending("ben", "away", Some(&text)).await;
            answer.body.get("errors").is_none()
        })
        .await;
        let stored = i64::try_from(2 * (round + 1)).unwrap();
        assert_eq!(ben.unread_count().await, stored, "{how:?}");
    }
    // Paused, it keeps every connection and answers nothing.
    postgres.pause();
    let answer = ann.sending("ben", "paused", Some("paused")).await;
    assert_eq!(answer.code(), "UNAVAILABLE");
    postgres.resume();
    until("it stores again", async || {
        let answer = ann.sending("ben", "paused", Some("paused")).await;
        answer.body.get("errors").is_none()
    })
    .await;
    assert_eq!(ben.unread_count().await, 7);
    server.stop().await;
    database.recount().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_with_all_that_was_acknowledged() {
    let mut primary = Postgres::new(&[]).await;
    let database = primary.database().await;
    let standby = primary.standby().await;
    primary.wait_for_standby().await;
    // The address that moves: what a virtual address, HAProxy or a service name do.
    let proxy = Proxy::to(primary.port()).await;
    let server = TestServer::at(&proxy.url(&database), &IMPATIENT, Clock::system()).await;
    let people = people(&server, 6).await;
    let (ann, quiet) = (server.user("ann").await, server.user("quiet").await);
    let old = ann.signal_cursor().await;
    let mut listening = people[0].listen("messageSent", None).await;
    let mut quietly = quiet.listen("messageSent", None).await;
    let clients = Clients::start(&people, 40);
    clients.reach(60).await;
    primary.stop(Stop::Kill).await;
    let before = clients.acknowledged.load(Ordering::SeqCst);
    standby.promote().await;
    proxy.switch(standby.port());
    let promoted = std::time::Instant::now();
    clients.reach(before + 12).await;
    let took = promoted.elapsed();
    assert!(
        took.as_secs() < 10,
        "the new primary served after {took:?} only"
    );
    let sent = clients.finish().await;
    assert_eq!(sent.len(), 240, "each was acknowledged under its own id");
    assert_eq!(stored(&people).await, sent);

    // Its log may lack what the old one told of: whoever listened is sent to reload, also who missed nothing.
    assert_eq!(quietly.refusal().await, "CURSOR_EXPIRED");
    assert_eq!(listening.last_refusal().await, "CURSOR_EXPIRED");
    let refused = ann.listen("messageSent", Some(&old)).await.refusal().await;
    assert_eq!(refused, "CURSOR_EXPIRED");
    // The recipe: take signalCursor, then the lists, then listen from there.
    let new = ann.signal_cursor().await;
    assert_eq!(ann.unread_count().await, 0);
    people[0].send(&ann, "after the reload").await;
    let mut again = ann.listen("messageSent", Some(&new)).await;
    let told = again.contents_until("after the reload").await;
    assert_eq!(told, ["after the reload"]);
    drop((listening, quietly, again));
    server.stop().await;
    moved(&database, &standby).recount().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_hosts_the_one_that_takes_writes_is_used() {
    let mut primary = Postgres::new(&[]).await;
    let database = primary.database().await;
    let standby = primary.standby().await;
    primary.wait_for_standby().await;
    // Both are reached through a proxy, so that either can become a void: open, and without an answer.
    let (to_standby, to_primary) = (
        Proxy::to(standby.port()).await,
        Proxy::to(primary.port()).await,
    );
    let url = format!(
        "postgres://postgres@{},{}/{}?sslmode=disable",
        to_standby.address(),
        to_primary.address(),
        database.name
    );
    let flags = [
        &IMPATIENT[..],
        &["--read-timeout", "1", "--write-timeout", "2"],
    ]
    .concat();
    let server = TestServer::at(&url, &flags, Clock::system()).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    ann.send(&ben, "to the second host").await;
    // Every connection is in use once, and stays open into the void: no reset tells the server that its primary is gone.
    join_all((0..30).map(|_| ben.unread_count())).await;
    to_primary.freeze();
    primary.stop(Stop::Kill).await;
    standby.promote().await;
    let promoted = std::time::Instant::now();
    send_for_sure(&ann, "ben", "to the first host").await;
    until("reads go on", async || {
        let answers = join_all((0..10).map(|_| ben.ask("{ inbox { unreadCount } }", json!({}))));
        answers
            .await
            .iter()
            .all(|answer| answer.errors().is_empty())
    })
    .await;
    let took = promoted.elapsed();
    assert!(
        took.as_secs() < 15,
        "it found the new primary after {took:?} only"
    );
    assert_eq!(ben.unread_count().await, 2);
    // Hints find it too: another server's listener hears at once, by no slow tick.
    let there = format!(
        "postgres://postgres@{}/{}",
        to_standby.address(),
        database.name
    );
    let other = TestServer::at(&there, &[], Clock::system()).await;
    let slow = TestServer::at(&url, &["--slow-tick", "3600"], Clock::system()).await;
    let mut listener = ben.at(slow.address).listen("messageSent", None).await;
    let elsewhere = ann.at(other.address);
    until("a hint comes through", async || {
        elsewhere.send(&ben, "hint").await;
        tokio::time::timeout(
            std::time::Duration::from_millis(500),
            listener.contents_until("hint"),
        )
        .await
        .is_ok()
    })
    .await;
    drop(listener);
    for server in [server, other, slow] {
        server.stop().await;
    }
    moved(&database, &standby).recount().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_an_absent_database_until_it_is_promoted() {
    let primary = Postgres::new(&[]).await;
    let database = primary.database().await;
    let standby = primary.standby().await;
    primary.wait_for_standby().await;
    let proxy = Proxy::to(primary.port()).await;
    let server = TestServer::at(&proxy.url(&database), &IMPATIENT, Clock::system()).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    ann.send(&ben, "before").await;
    let cursor = ben.signal_cursor().await;
    // The address moves too early: what it leads to answers, and takes no writes.
    proxy.switch(standby.port());
    proxy.cut();
    let both = "{ signalCursor inbox { unreadCount } }";
    for round in 0..5 {
        let sent = ann.sending("ben", "early", Some("early")).await;
        assert_eq!(sent.code(), "UNAVAILABLE", "in round {round}");
        // A list alone, too: what a standby would tell may be old.
        for query in [both, "{ inbox { unreadCount } }"] {
            let read = ben.ask(query, json!({})).await;
            let codes: Vec<_> = read.errors().into_iter().map(|(code, _)| code).collect();
            assert!(
                !codes.is_empty() && codes.iter().all(|code| code == "UNAVAILABLE"),
                "{read:?}"
            );
        }
    }
    // Commits there waited for this one as their standby.
    drop(primary);
    standby.promote().await;
    send_for_sure(&ann, "ben", "early").await;
    assert_eq!(ben.unread_count().await, 2);
    let refused = ben
        .listen("messageSent", Some(&cursor))
        .await
        .refusal()
        .await;
    assert_eq!(refused, "CURSOR_EXPIRED");
    server.stop().await;
    moved(&database, &standby).recount().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_before_the_standby_has_it() {
    let primary = Postgres::new(&[]).await;
    let database = primary.database().await;
    let standby = primary.standby().await;
    primary.wait_for_standby().await;
    // Longer than any statement's patience, which must not turn a wait for the standby into an answer.
    let server = TestServer::on(&database, &["--write-timeout", "7"]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    standby.pause();
    let answer = ann.sending("ben", "hello", Some("1")).await;
    assert_eq!(answer.code(), "UNAVAILABLE");
    standby.resume();
    send_for_sure(&ann, "ben", "hello").await;
    let again = ann.send_as(&ben, "hello", "1").await;
    assert!(again.is_ok(), "{again:?}");
    server.stop().await;
    database.recount().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_timeline_cursors_hold_the_epoch_alone() {
    let database = TestDatabase::new(Kind::Postgres).await;
    // Found before PostgreSQL's own: as on a database that has no such function, it fails.
    let function = "CREATE FUNCTION public.pg_current_wal_lsn() RETURNS pg_lsn LANGUAGE plpgsql \
                    AS $$ BEGIN RAISE EXCEPTION 'not here' USING ERRCODE = '0A000'; END $$";
    let name = &database.name;
    let path = format!("ALTER DATABASE {name} SET search_path = public, pg_catalog");
    database.execute(&format!("{function}; {path}")).await;
    let server = TestServer::on(&database, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let before = ben.signal_cursor().await;
    ann.send(&ben, "hello").await;
    let mut listener = ben.listen("messageSent", Some(&before)).await;
    assert_eq!(listener.contents_until("hello").await, ["hello"]);
    database.execute("UPDATE epoch SET value = value + 1").await;
    let refused = ben
        .listen("messageSent", Some(&before))
        .await
        .refusal()
        .await;
    assert_eq!(refused, "CURSOR_EXPIRED");
    drop(listener);
    server.stop().await;
    database.finish().await;
}

/// The same database, where it is now.
fn moved(database: &TestDatabase, to: &Postgres) -> TestDatabase {
    TestDatabase {
        kind: database.kind,
        url: to.url(&database.name),
        name: database.name.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_refuses_us_is_not_taken_for_the_primary() {
    let database = TestDatabase::new(Kind::Postgres).await;
    // It answers at once, that it has no such database; the primary takes longer.
    let stranger = Postgres::new(&[]).await;
    let proxy = Proxy::start().await;
    proxy.lag(20);
    let hosts = format!("{},127.0.0.1:{}", proxy.address(), stranger.port());
    let url = format!(
        "postgres://postgres@{hosts}/{}?sslmode=disable",
        database.name
    );
    let server = TestServer::at(&url, &IMPATIENT, Clock::system()).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    for round in 1..=3 {
        proxy.cut();
        send_for_sure(&ann, "ben", &format!("{round}")).await;
        assert_eq!(ben.unread_count().await, round);
    }
    server.stop().await;
    database.finish().await;
}
