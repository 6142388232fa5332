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

use crate::{
    crash::send_for_sure,
    harness::{
        database::TestDatabase,
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
    server.stop().await;
    moved(&database, &standby).recount().await;
}

/// The same database, where it is now.
fn moved(database: &TestDatabase, to: &Postgres) -> TestDatabase {
    TestDatabase {
        kind: database.kind,
        url: to.url(&database.name),
        name: database.name.clone(),
    }
}
