//! Nothing lost: several servers, real faults, and a check of everything that anybody was told, in the manner of Jepsen's
//! set and list-append checkers.
//!
//! `workload` and `listen` are the clients, `faults` breaks what they speak to, `record` is what was written down of it,
//! `check` says what is wrong with that. `tests/history/broken` holds builds with a defect, which this has to catch.

mod check;
mod faults;
mod finish;
mod listen;
mod record;
mod workload;
mod world;

use std::{fmt::Write as _, sync::Arc, time::Duration};

use futures_util::future::join_all;
use serde_json::json;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use self::{
    faults::Counts,
    listen::Listener,
    record::{Ending, History, Kind, Outcome, Recorder},
    workload::Client,
    world::{Setup, World},
};
use crate::harness::{chance::Chance, proxy::Proxy, tool, until, within};

const USERS: [&str; 5] = ["ann", "ben", "chloe", "dan", "eva"];
const SENDERS: usize = 2;
const LISTENERS: usize = 2;
/// How many faults there are at one time, at most.
const FAULTS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    run(Setup::Postgres, Duration::from_secs(10), 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nats() {
    run(Setup::Nats, Duration::from_secs(10), 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    run(Setup::Sqlite, Duration::from_secs(6), 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_s_clock_goes_where_it_is_set() {
    let world = Arc::new(World::start(Setup::Sqlite).await);
    let recorder = Arc::new(Recorder::start());
    let users = USERS.map(str::to_owned);
    let stop = CancellationToken::new();
    let client = |me: &str| Client::new(&world, &recorder, &users, me, me, &stop);
    let ann = client("ann");
    ann.ask_surely("{ signalCursor }", json!({})).await;
    // To somebody new each time: within a conversation, times do not go back.
    let day = async || {
        let sent = recorder.history().attempts.len();
        let stranger = format!("stranger {sent}");
        let other = client(&stranger);
        other.ask_surely("{ signalCursor }", json!({})).await;
        ann.send_surely(0, &stranger, &stranger).await;
        let history = recorder.history();
        match &history.attempts.last().unwrap().outcome {
            Outcome::Done(message) => message.sent_at[..10].to_owned(),
            other => panic!("not stored: {other:?}"),
        }
    };
    let today = day().await;
    world.servers[0].set_clock(200_000);
    until("the clock goes forward", async || day().await > today).await;
    world.servers[0].set_clock(-200_000);
    until("the clock goes back", async || day().await < today).await;
}

#[test]
fn every_patch_that_breaks_the_program_fits_it() {
    let folder = "tests/history/broken";
    let names = tool::suites_in(folder, "", ".patch");
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        let patch = tool::path(&format!("{folder}/{name}.patch"));
        let text = std::fs::read_to_string(&patch).unwrap();
        assert!(
            text.contains("\nCaught by: "),
            "{name}.patch does not say by which check it is caught"
        );
        let mut apply = std::process::Command::new("git");
        apply
            .current_dir(tool::path(""))
            .args(["apply", "--check"])
            .arg(&patch);
        let applied = apply.output().unwrap();
        assert!(
            applied.status.success(),
            "{name}.patch does not fit the program any more: make the same mistake in what is there now, and run \
             tests/history/broken.sh {name}\n{}",
            String::from_utf8_lossy(&applied.stderr)
        );
    }
}

/// A number out of the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "a setting of the tests, not of the program"
)]
fn given(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")),
    )
}

/// Lets clients, listeners and faults loose on a system, mends it, and judges what everybody was told.
async fn run(setup: Setup, time: Duration, seed: u64) {
    let seed = given("SEED").unwrap_or(seed);
    let time = given("HISTORY_SECONDS").map_or(time, Duration::from_secs);
    let mut chance = Chance::seeded(seed);
    let mut fork = move || Chance::seeded(chance.below(1 << 40) as u64);
    let begun = Instant::now();
    let world = Arc::new(World::start(setup).await);
    let recorder = Arc::new(Recorder::start());
    let users: Vec<String> = USERS.map(str::to_owned).to_vec();
    let stop = CancellationToken::new();
    let client = |me: &str, name: &str| Client::new(&world, &recorder, &users, me, name, &stop);
    let clients: Vec<Client> = users.iter().map(|me| client(me, me)).collect();
    // Everybody's first request makes them known, and tells where their log begins.
    let firsts = clients
        .iter()
        .map(|client| client.ask_surely("{ signalCursor }", json!({})));
    let firsts = join_all(firsts.collect::<Vec<_>>()).await;
    let firsts: Vec<String> = firsts
        .iter()
        .map(|data| data["signalCursor"].as_str().unwrap().to_owned())
        .collect();

    let (tell_ends, ends) = watch::channel(None);
    let listener = |place: usize, kind: Kind, name: String| Listener {
        client: clients[place].clone(),
        name,
        kind,
        ends: ends.clone(),
        cursors: vec![firsts[place].clone()],
        newest: String::new(),
    };
    let (mut working, mut listening) = (Vec::new(), Vec::new());
    for (place, user) in users.iter().enumerate() {
        for number in 0..SENDERS {
            let sender = client(user, &format!("{user}/{number}"));
            working.push(tokio::spawn(sender.keep_sending(fork())));
        }
        working.push(tokio::spawn(clients[place].clone().keep_reading(fork())));
        for kind in [Kind::Sent, Kind::Read] {
            for number in 0..LISTENERS {
                let name = format!("{user}'s {} listener {number}", kind.field());
                let listener = listener(place, kind, name);
                listening.push(tokio::spawn(listener.keep_listening(fork())));
            }
        }
    }
    let (counts, calm) = (Counts::default(), CancellationToken::new());
    let breaking: Vec<_> = (0..FAULTS)
        .map(|_| faults::keep_breaking(world.clone(), fork(), counts.clone(), calm.clone()))
        .collect();
    tokio::join!(join_all(breaking), async {
        tokio::time::sleep(time).await;
        calm.cancel();
    });
    within("the servers to be mended", faults::heal(&world)).await;
    stop.cancel();
    within("the clients to end", all(working)).await;
    tell_ends.send_replace(finish::mark_the_end(&clients, &recorder).await);
    within("the listeners to end", all(listening)).await;
    let logs = (0..users.len()).flat_map(|place| {
        [Kind::Sent, Kind::Read].map(|kind| {
            listener(
                place,
                kind,
                format!("{}'s whole log of {kind:?}", users[place]),
            )
        })
    });
    finish::look(&world, &recorder, &clients, logs.collect()).await;

    let history = std::mem::take(&mut *recorder.history());
    let findings = check::check(&history);
    let faults = counts.lock().unwrap().clone();
    let faults: Vec<String> = faults
        .iter()
        .map(|(fault, count)| format!("{count} {fault:?}"))
        .collect();
    println!("SEED={seed} on {setup:?}: {}", summary(&history));
    let proxies = world.servers.iter().flat_map(|server| &server.proxy);
    let disturbed: usize = proxies.map(Proxy::disturbed).sum();
    println!(
        "faults in {} s of {}: {}; {disturbed} COMMITs disturbed",
        time.as_secs(),
        begun.elapsed().as_secs(),
        faults.join(", ")
    );
    assert!(findings.is_empty(), "{}", story(&history, &findings, seed));
}

/// Waits for tasks, and fails where one did.
async fn all(tasks: Vec<tokio::task::JoinHandle<()>>) {
    for task in tasks {
        task.await.unwrap();
    }
}

fn summary(history: &History) -> String {
    let attempts = |which: fn(&Outcome<_>) -> bool| {
        history
            .attempts
            .iter()
            .filter(|attempt| which(&attempt.outcome))
            .count()
    };
    let sessions = |ending: &Ending| {
        history
            .sessions
            .iter()
            .filter(|s| s.ending == *ending)
            .count()
    };
    let stored: usize = history.end.pages.values().map(|[up, _]| up.len()).sum();
    let events: usize = history
        .sessions
        .iter()
        .map(|session| session.events.len())
        .sum();
    let mut acknowledged: Vec<u64> = vec![0];
    for attempt in &history.attempts {
        if matches!(attempt.outcome, Outcome::Done(_)) {
            acknowledged.push(attempt.span.ended);
        }
    }
    acknowledged.sort_unstable();
    let silence = acknowledged.windows(2).map(|two| two[1] - two[0]).max();
    format!(
        "{} messages stored; sends: {} acknowledged, {} unknown, {} refused as they had to be; {} reads, {} pages; \
         {} events heard in {} sessions, {} expired; at most {} ms without an acknowledgement",
        stored / 2,
        attempts(|outcome| matches!(outcome, Outcome::Done(_))),
        attempts(|outcome| matches!(outcome, Outcome::Unknown)),
        attempts(|outcome| matches!(outcome, Outcome::Refused(_))),
        history.readings.len(),
        history.looks.len(),
        events,
        history.sessions.len(),
        sessions(&Ending::Refused("CURSOR_EXPIRED".to_owned())),
        silence.unwrap_or(0) / 1_000,
    )
}

/// What was found, and everything that was told of the first message of each kind of finding.
fn story(history: &History, findings: &[check::Finding], seed: u64) -> String {
    let mut counts: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    let mut text = format!(
        "{} findings; SEED={seed} repeats the choices\n",
        findings.len()
    );
    for finding in findings {
        let count = counts.entry(finding.check).or_default();
        *count += 1;
        if *count <= 3 {
            let _ = writeln!(text, "{finding}");
        }
        if *count == 1
            && let Some(about) = &finding.about
        {
            text.push_str(&tell(history, about));
        }
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(check, count)| format!("{check}: {count}"))
        .collect();
    let _ = write!(text, "FOUND {}", counts.join(", "));
    text
}

/// Who sent, was told and saw a message, when, at which server.
fn tell(history: &History, about: &str) -> String {
    let mut lines: Vec<(u64, String)> = Vec::new();
    let of_it = |message: &record::Shown| message.id == about || message.content == about;
    for attempt in &history.attempts {
        let acknowledged = match &attempt.outcome {
            Outcome::Done(message) => of_it(message),
            Outcome::Unknown | Outcome::Refused(_) => false,
        };
        if attempt.content == about || acknowledged {
            let answer = match &attempt.outcome {
                Outcome::Done(message) => format!("acknowledged as {message}"),
                Outcome::Unknown => "no answer".to_owned(),
                Outcome::Refused(code) => code.clone(),
            };
            let what = format!(
                "{} sends {:?} to {} at server {}, until {} ms: {answer}",
                attempt.from,
                attempt.content,
                attempt.to,
                attempt.server,
                attempt.span.ended / 1_000
            );
            lines.push((attempt.span.began, what));
        }
    }
    for look in &history.looks {
        for message in look.messages.iter().filter(|message| of_it(message)) {
            let what = format!("{} sees at server {}: {message}", look.by, look.server);
            lines.push((look.span.ended, what));
        }
    }
    for session in &history.sessions {
        for event in session.events.iter().filter(|event| of_it(&event.message)) {
            let what = format!(
                "{} hears at server {}, position {}: {}",
                session.listener, session.server, event.position, event.message
            );
            lines.push((event.at, what));
        }
    }
    lines.sort();
    let more = lines.len().saturating_sub(24);
    let mut text = String::new();
    for (at, line) in lines.into_iter().take(24) {
        let _ = writeln!(text, "    {:>7} ms  {line}", at / 1_000);
    }
    if more > 0 {
        let _ = writeln!(text, "    … and {more} more");
    }
    text
}
