//! Old signals go; nobody who listens misses anything without being told, and nobody who sends waits.

use std::{collections::BTreeSet, process::Stdio};

use directmessages::chat::{Clock, user_id};
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};

use crate::{
    harness::{
        Fixture as _,
        chance::Chance,
        database::{Kind, TestDatabase},
        events::EventStream,
        load::chatter,
        postgres::Postgres,
        process::{program, run},
        server::TestServer,
        socket::{Heard, Socket, subscription},
        until,
        user::User,
        within,
    },
    statements::{Log, logged},
};

/// What the tests keep: everything in them is younger, but for what they age.
const HOUR: &str = "3600";

impl TestDatabase {
    /// Makes every signal older than an hour, or those that this condition tells.
    async fn age(&self, which: &str) {
        let sql = format!("UPDATE signal SET created_at = created_at - 7200000 WHERE true {which}");
        self.execute(&sql).await;
    }

    /// A number that a statement answers with.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let db = self.connect().await;
        let statement = Statement::from_string(db.get_database_backend(), sql);
        let row = db.query_one_raw(statement).await.unwrap().unwrap();
        let number = row.try_get_by_index(0).unwrap();
        db.close().await.unwrap();
        number
    }

    async fn signals(&self) -> i64 {
        self.number("SELECT count(*) FROM signal").await
    }

    /// The condition that tells one user's rows.
    fn of(&self, user: &str) -> String {
        let id = user_id(user);
        match self.kind {
            Kind::Sqlite => format!("AND user_id = x'{}'", id.simple()),
            Kind::Postgres => format!("AND user_id = '{id}'"),
        }
    }

    fn pruning(&self, flags: &[&str]) -> tokio::process::Command {
        let mut arguments = vec!["prune", "--database-url", &self.url];
        if !flags.contains(&"--signal-retention") {
            arguments.extend(["--signal-retention", HOUR]);
        }
        arguments.extend(flags);
        let mut command = tokio::process::Command::from(program(&arguments));
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs `prune`, and returns what it printed.
    pub(crate) async fn prune(&self, flags: &[&str]) -> String {
        let output = self.pruning(flags).output().await.unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{told}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Many messages from one to another, a hundred at one time.
async fn send_many(from: &User, to: &User, count: usize, content: &str) {
    for chunk in (0..count).collect::<Vec<_>>().chunks(100) {
        join_all(chunk.iter().map(|_| from.send(to, content))).await;
    }
}

/// What a listener heard before its stream ended with `CURSOR_EXPIRED`, or before it heard enough.
async fn hear(socket: &mut Socket, enough: usize) -> (Vec<Value>, bool) {
    let mut events = Vec::new();
    while events.len() < enough {
        let message = socket.message().await;
        if message["payload"].get("errors").is_some() {
            let error = &socket.failed(&message).await[0];
            assert_eq!(error["extensions"]["code"], "CURSOR_EXPIRED", "{error}");
            return (events, true);
        }
        events.push(message["payload"]["data"]["messageSent"].clone());
    }
    (events, false)
}

/// The messages' numbers rise by one: there is no hole.
fn is_dense(events: &[Value]) -> bool {
    let sequence = |event: &Value| event["message"]["sequence"].as_i64().unwrap();
    events
        .windows(2)
        .all(|two| sequence(&two[1]) == sequence(&two[0]) + 1)
}

on_both_databases! {
    async fn old_signals_go_from_the_front_of_each_log_and_young_ones_stay(database: &TestDatabase) {
        let server = TestServer::on(database, &[]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let start = ben.signal_cursor().await;
        send_many(&ann, &ben, 30, "hello").await;
        let middle = ben.signal_cursor().await;
        send_many(&ann, &ben, 30, "hello").await;
        // The clock of whoever wrote the last ones was behind: what follows a young one stays all the same.
        database.age("AND (position <= 30 OR position > 50)").await;
        assert_eq!(database.prune(&[]).await, "pruned 60 signals of 2 users\n");
        assert_eq!(database.signals().await, 60);
        assert_eq!(database.number("SELECT min(log_floor) FROM inbox").await, 30);
        assert_eq!(database.prune(&[]).await, "pruned 0 signals of 0 users\n");
        assert_eq!(ben.listen("messageSent", Some(&start)).await.refusal().await, "CURSOR_EXPIRED");
        let mut listener = ben.listen("messageSent", Some(&middle)).await;
        assert_eq!(listener.take(30).await.len(), 30);
        assert_eq!(ben.unread_count().await, 60);
        assert_eq!(ben.conversation(&ann, 100, false).await.len(), 60, "messages stay");
        drop(listener);
        server.stop().await;
    }

    async fn whoever_keeps_signals_for_ever_prunes_nothing(database: &TestDatabase) {
        let server = TestServer::on(database, &[]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        ann.send(&ben, "hello").await;
        database.age("").await;
        let told = database.prune(&["--signal-retention", "0"]).await;
        assert_eq!(told, "nothing is pruned: SIGNAL_RETENTION is 0, which keeps every signal\n");
        assert_eq!(database.signals().await, 2);
        server.stop().await;
    }

    async fn a_replay_that_pruning_overtakes_is_told_so(database: &TestDatabase) {
        let server = TestServer::on(database, &[]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let start = ben.signal_cursor().await;
        // A replay of 30 MB: more than the connection's buffers hold, so that it cannot be over before it is overtaken.
        send_many(&ann, &ben, 600, &"\u{1f980}".repeat(3_000)).await;
        let mut socket = Socket::of(&ben).await;
        let contents: Vec<String> = (0..4).map(|n| format!("c{n}: content")).collect();
        let query = format!(
            "subscription ($after: String) {{ messageSent(after: $after) {{ message {{ sequence {} }} }} }}",
            contents.join(" ")
        );
        socket.subscribe("1", &query, json!({ "after": start })).await;
        let (mut heard, expired) = hear(&mut socket, 1).await;
        assert!(!expired);
        database.age("").await;
        assert_eq!(database.prune(&["--prune-batch", "500"]).await, "pruned 1200 signals of 2 users\n");
        let (more, expired) = hear(&mut socket, 600).await;
        heard.extend(more);
        assert!(expired, "it is told, after {} events", heard.len());
        assert!(is_dense(&heard) && heard.len() < 600, "{} events", heard.len());
        drop(socket);
        server.stop().await;
    }

    async fn replays_while_pruning_runs_have_no_hole(database: &TestDatabase) {
        let server = TestServer::on(database, &[]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let mut cursors = vec![ben.signal_cursor().await];
        for _ in 0..20 {
            send_many(&ann, &ben, 30, "hello").await;
            cursors.push(ben.signal_cursor().await);
        }
        database.age("").await;
        let mut pruning = database.pruning(&["--prune-batch", "8"]).stdout(Stdio::null()).spawn().unwrap();
        let mut chance = Chance::fresh();
        let (mut replays, mut expirations) = (0, 0);
        while pruning.try_wait().unwrap().is_none() {
            let at = chance.below(20);
            let mut socket = Socket::of(&ben).await;
            let variables = json!({ "after": cursors[at] });
            socket.subscribe("1", &subscription("messageSent"), variables).await;
            let left = 600 - at * 30;
            let (events, expired) = hear(&mut socket, left).await;
            assert!(is_dense(&events), "{events:?}");
            if let Some(first) = events.first() {
                assert_eq!(first["message"]["sequence"], at * 30 + 1);
            }
            assert!(expired || events.len() == left, "{} of {left}", events.len());
            replays += 1;
            expirations += usize::from(expired);
        }
        assert!(pruning.wait().await.unwrap().success());
        assert!(replays > 2 && expirations > 0, "{expirations} of {replays} expired");
        assert_eq!(database.signals().await, 0);
        server.stop().await;
    }

    async fn a_quiet_listener_that_missed_nothing_is_not_expired(database: &TestDatabase) {
        let server = TestServer::on(database, &["--keep-alive", "2"]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let start = ben.signal_cursor().await;
        let mut listener = ben.listen("messageRead", Some(&start)).await;
        let mut stream = EventStream::listen(&ben, "messageRead", &start).await;
        let message = ann.send(&ben, "hello").await;
        let end = ben.signal_cursor().await;
        // The position stands before what tells the streams apart.
        let caught_up = |cursor: &str| cursor.len() == end.len() && cursor[..50] >= end[..50];
        let told = loop {
            let Heard::Message(told) = listener.socket.hear_all().await else { panic!("it was closed") };
            let cursor = told["payload"]["cursors"]["1"].as_str().unwrap_or_default().to_owned();
            if caught_up(&cursor) {
                break cursor;
            }
        };
        while !caught_up(&stream.last_event_id) {
            stream.block().await.unwrap();
        }
        let streamed = stream.last_event_id.clone();
        database.age("").await;
        assert_eq!(database.prune(&[]).await, "pruned 2 signals of 2 users\n");
        assert_eq!(ben.listen("messageRead", Some(&start)).await.refusal().await, "CURSOR_EXPIRED");
        let mut again = [
            ben.listen("messageRead", Some(&told)).await,
            ben.listen("messageRead", Some(&streamed)).await,
            ben.listen("messageRead", Some(&end)).await,
        ];
        ben.read(&message).await;
        assert_eq!(listener.contents_until("hello").await, ["hello"], "live");
        assert_eq!(stream.contents_until("messageRead", "hello").await, ["hello"], "live, as a stream");
        for listener in &mut again {
            assert_eq!(listener.contents_until("hello").await, ["hello"], "by its progress");
        }
        drop((listener, stream, again));
        server.stop().await;
    }

    async fn the_recipe_recovers_with_nothing_missed(database: &TestDatabase) {
        let server = TestServer::on(database, &[]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let before = ben.signal_cursor().await;
        send_many(&ann, &ben, 40, "while Ben was away").await;
        database.age("").await;
        database.prune(&[]).await;
        assert_eq!(ben.listen("messageSent", Some(&before)).await.refusal().await, "CURSOR_EXPIRED");
        // Ann goes on sending while Ben reloads.
        let sending = {
            let (ann, ben) = (ann.clone(), ben.clone());
            tokio::spawn(async move {
                send_many(&ann, &ben, 150, "while Ben reloads").await;
                ann.send(&ben, "last").await;
            })
        };
        let query = "{ signalCursor list: conversation(partnerId: \"ann\", reversed: true, limit: 100) \
            { nodes { sequence content } pageInfo { hasNextPage } } }";
        let data = ben.data(query, json!({})).await;
        let mut listener = ben.listen("messageSent", data["signalCursor"].as_str()).await;
        let listed = data["list"]["nodes"].as_array().unwrap().iter();
        let mut seen: BTreeSet<i64> = listed.map(|node| node["sequence"].as_i64().unwrap()).collect();
        loop {
            let event = listener.next().await;
            seen.insert(event["message"]["sequence"].as_i64().unwrap());
            if event["message"]["content"] == "last" {
                break;
            }
        }
        sending.await.unwrap();
        let newest = *seen.last().unwrap();
        assert_eq!(newest, 191);
        let oldest = *seen.first().unwrap();
        assert!((oldest..=newest).all(|n| seen.contains(&n)), "{seen:?}");
        drop(listener);
        server.stop().await;
    }

    async fn a_server_prunes_by_the_databases_clock_however_wrong_its_own_is(database: &TestDatabase) {
        let year = 365 * 86_400_000;
        let flags = ["--signal-retention", HOUR, "--prune-interval", "0.05"];
        let clock = |wrong: i64| Clock::from_fn(move || Clock::system().now() + wrong);
        let ahead = TestServer::at(&database.url, &flags, clock(year)).await;
        let behind = TestServer::at(&database.url, &flags, clock(-year)).await;
        let (ann, ben) = (ahead.user("ann").await, behind.user("ben").await);
        let start = ben.signal_cursor().await;
        ann.send(&ben, "from a server that is ahead").await;
        ben.send(&ann, "from a server that is behind").await;
        // A round that comes to these has seen the others too: both servers make several.
        for _ in 0..5 {
            let (cleo, dan) = (ahead.user("cleo").await, behind.user("dan").await);
            cleo.send(&dan, "old").await;
            database.age(&database.of("cleo")).await;
            database.age(&database.of("dan")).await;
            until("old signals are gone", async || database.signals().await == 4).await;
        }
        let mut listener = ben.listen("messageSent", Some(&start)).await;
        assert_eq!(listener.take(2).await.len(), 2);
        drop(listener);
        ahead.stop().await;
        behind.stop().await;
    }

    async fn several_that_prune_at_one_time_share_the_work(database: &TestDatabase) {
        let server = TestServer::on(database, &[]).await;
        let people = join_all((0..12).map(async |n| server.user(&format!("user {n}")).await)).await;
        chatter(std::slice::from_ref(&people), 20).await;
        let signals = database.signals().await;
        database.age("").await;
        let talking = tokio::spawn(async move { chatter(&[people], 10).await });
        let rounds = (0..4).map(|_| database.prune(&["--prune-batch", "8"]));
        let mut told = join_all(rounds).await;
        talking.await.unwrap();
        // What was busy all the while is left for the next time.
        told.push(database.prune(&[]).await);
        let counts = told.iter().map(|told| told.split(' ').nth(1).unwrap());
        let pruned: i64 = counts.map(|count| count.parse::<i64>().unwrap()).sum();
        assert_eq!(pruned, signals, "each signal was pruned by one of them");
        database.recount().await;
        server.stop().await;
    }

    async fn pruning_that_is_killed_leaves_nothing_half_done(database: &TestDatabase) {
        let server = TestServer::on(database, &[]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        send_many(&ann, &ben, 300, "hello").await;
        database.age("").await;
        let mut pruning = database.pruning(&["--prune-batch", "2"]).stdout(Stdio::null()).spawn().unwrap();
        until("some are gone", async || database.signals().await < 550).await;
        pruning.kill().await.unwrap();
        let left = database.signals().await;
        assert!(left > 0, "it was over before it was killed");
        database.recount().await;
        let told = format!("pruned {left} signals of 2 users\n");
        // What the killed one held is let go of when the database notices.
        until("the rest goes", async || {
            let now = database.signals().await;
            now == 0 || database.prune(&[]).await == told
        })
        .await;
        assert_eq!(database.signals().await, 0);
        server.stop().await;
    }

    async fn what_an_import_left_below_the_floor_goes_too(database: &TestDatabase) {
        let server = TestServer::on(database, &[]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        send_many(&ann, &ben, 30, "hello").await;
        // An import moves the log to its end, and leaves what was there.
        database.execute("UPDATE inbox SET log_floor = last_position").await;
        ann.send(&ben, "young").await;
        assert_eq!(database.prune(&["--prune-batch", "20"]).await, "pruned 60 signals of 2 users\n");
        assert_eq!(database.signals().await, 2);
        assert_eq!(database.number("SELECT min(log_floor) FROM inbox").await, 30);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_that_somebody_holds_is_passed_over_and_left_for_the_next_time() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let server = TestServer::on(&database, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    send_many(&ann, &ben, 10, "hello").await;
    database.age("").await;
    let hold = database.hold("ben").await;
    let told = database.prune(&[]).await;
    assert_eq!(
        told,
        "pruned 10 signals of 1 users\n1 users were busy all the while: run it again for theirs\n"
    );
    hold.release().await;
    assert_eq!(database.prune(&[]).await, "pruned 10 signals of 1 users\n");
    server.stop().await;
    database.finish().await;
}

/// Counted rather than timed: what a sender may have to wait for is one such transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_prunes_is_short_and_waits_for_nobody() {
    let database = logged().await;
    let server = TestServer::on(&database, &["--prune-interval", "0"]).await;
    let log = Log {
        database: &database.name,
    };
    let people = join_all((0..40).map(async |n| server.user(&format!("user {n}")).await)).await;
    chatter(&[people], 12).await;
    let signals = database.signals().await;
    database.age("").await;
    server.stop().await;
    let before = log.statements().len();
    let told = database.prune(&["--prune-batch", "160"]).await;
    assert_eq!(told, format!("pruned {signals} signals of 40 users\n"));
    let statements = log.statements().split_off(before);
    let mut transactions = Vec::new();
    for statement in &statements {
        if statement.starts_with("BEGIN") {
            transactions.push(Vec::new());
        }
        if let Some(transaction) = transactions.last_mut() {
            transaction.push(statement.as_str());
        }
    }
    let pruning: Vec<_> = transactions
        .iter()
        .filter(|transaction| transaction.iter().any(|s| s.starts_with("DELETE")))
        .collect();
    assert!(pruning.len() >= 3, "{statements:#?}");
    for transaction in pruning {
        let lock = transaction
            .iter()
            .find(|statement| !statement.starts_with("BEGIN") && !statement.starts_with("SET"))
            .unwrap();
        assert!(
            lock.ends_with("FOR UPDATE SKIP LOCKED"),
            "it takes what is free, first of all: {lock}"
        );
        let removals = transaction.iter().filter(|s| s.starts_with("DELETE"));
        assert!(removals.count() <= 8, "a few inboxes: {transaction:#?}");
        assert!(
            transaction
                .iter()
                .filter(|s| s.starts_with("UPDATE"))
                .count()
                == 1,
            "{transaction:#?}"
        );
    }
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_waits_for_less_than_one_transaction_of_pruning() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let server = TestServer::on(&database, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    send_many(&ann, &ben, 400, "hello").await;
    database.age("").await;
    // 800 signals, four at a time: sends in between each find the inboxes free again.
    let mut pruning = database
        .pruning(&["--prune-batch", "4"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("it has begun", async || database.signals().await < 800).await;
    let mut sent = 0;
    while pruning.try_wait().unwrap().is_none() {
        ann.send(&ben, "meanwhile").await;
        sent += 1;
    }
    assert!(sent >= 20, "only {sent} sends went through meanwhile");
    server.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_lets_go_of_a_database_that_stops_answering() {
    let postgres = Postgres::new(&[]).await;
    let database = postgres.database().await;
    let server = TestServer::on(&database, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    send_many(&ann, &ben, 10, "hello").await;
    server.stop().await;
    database.age("").await;
    database
        .execute(
            "CREATE FUNCTION rest() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END'",
        )
        .await;
    database
        .execute("CREATE TRIGGER rest BEFORE DELETE ON signal EXECUTE FUNCTION rest()")
        .await;
    let flags = ["--connect-timeout", "0.3"];
    let mut command = database.pruning(&flags);
    let pruning = command.stderr(Stdio::piped()).spawn().unwrap();
    until("it removes signals", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        database.number(sql).await == 1
    })
    .await;
    postgres.pause();
    let output = within("it lets go", pruning.wait_with_output()).await;
    postgres.resume();
    let output = output.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && told.contains("did not answer in time"),
        "{told}"
    );
    until("nothing was done", async || {
        database
            .number("SELECT count(*) FROM pg_locks WHERE mode = 'RowExclusiveLock'")
            .await
            == 0
    })
    .await;
    assert_eq!(database.signals().await, 20);
    database.recount().await;
}

#[test]
fn a_batch_that_no_transaction_could_remove_is_refused() {
    for batch in ["0", "10001"] {
        let output = run(&[
            "prune",
            "--database-url",
            "sqlite:unused.db",
            "--prune-batch",
            batch,
        ]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && told.contains("from 1 to 10000"),
            "{told}"
        );
    }
}
