//! Listeners within one server: what each takes of memory, and how soon it is told while a thousand signals a second go out.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::task::JoinSet;

use super::{
    client::{Call, ask, connect},
    parts::{Server, Socket, hear, percentile, token},
    report::{Report, Signals},
    support::Guard,
    usage,
};

const LISTENERS: [usize; 2] = [200, 5_000];
const PER_SECOND: u32 = 1_000;
const SECONDS: u32 = 5;
/// How many connections send.
const SENDERS: u32 = 32;

/// When a send was due and when it was answered, by its number.
type Sends = Arc<Mutex<Vec<Option<(Instant, Instant)>>>>;

pub(crate) async fn measure(report: &mut Report) {
    let postgres = Guard::postgres(true);
    let url = postgres.url("postgres");
    for listeners in LISTENERS {
        let signals = with(&url, listeners).await;
        signals.print();
        report.signals.push(signals);
    }
}

async fn with(url: &str, listeners: usize) -> Signals {
    let server = Server::start(url, &[]).await;
    let before = usage::megabytes(server.pid(), "VmRSS");
    let mut sockets = Vec::with_capacity(listeners);
    for user in 0..listeners {
        sockets.push(server.listen(&listener(user)).await);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let taken = usage::megabytes(server.pid(), "VmRSS") - before;

    let count = PER_SECOND * SECONDS;
    let sends: Sends = Arc::new(Mutex::new(vec![None; count as usize]));
    let mut told = JoinSet::new();
    for (user, socket) in sockets.into_iter().enumerate() {
        let share = (0..count as usize).filter(|number| number % listeners == user);
        told.spawn(hear_all(socket, share.count()));
    }
    let mut senders = JoinSet::new();
    let start = Instant::now();
    for sender in 0..SENDERS {
        senders.spawn(send(
            server.port,
            sender,
            count,
            listeners,
            start,
            sends.clone(),
        ));
    }
    senders.join_all().await;
    let heard: Vec<(usize, Instant)> = told.join_all().await.into_iter().flatten().collect();
    let took = start.elapsed();
    let sends = sends.lock().unwrap();
    let times = |from: fn((Instant, Instant)) -> Instant| {
        let times = heard.iter().map(|(number, at)| {
            let sent = sends[*number].expect("what is heard was sent");
            at.saturating_duration_since(from(sent))
        });
        times.collect::<Vec<_>>()
    };
    let mut whole = times(|(due, _)| due);
    let mut after = times(|(_, answered)| answered);
    #[expect(clippy::cast_precision_loss, reason = "below 2^52")]
    Signals {
        listeners,
        kilobytes_each: taken * 1024.0 / listeners as f64,
        per_second: heard.len() as f64 / took.as_secs_f64(),
        p50_ms: percentile(&mut after, 50),
        p99_ms: percentile(&mut after, 99),
        whole_p50_ms: percentile(&mut whole, 50),
        whole_p99_ms: percentile(&mut whole, 99),
    }
}

fn listener(user: usize) -> String {
    format!("listener-{user}")
}

/// Every event's number with the moment when it came.
async fn hear_all(mut socket: Socket, count: usize) -> Vec<(usize, Instant)> {
    let mut heard = Vec::with_capacity(count);
    while heard.len() < count {
        let message = hear(&mut socket).await;
        let at = Instant::now();
        if message["type"] == "next" {
            let formatted = &message["payload"]["data"]["messageSent"]["message"]["formatted"];
            let number = formatted.as_str().unwrap().rsplit(' ').next().unwrap();
            heard.push((number.parse().unwrap(), at));
        }
    }
    heard
}

/// One sender's share of the sends, each in its time.
async fn send(port: u16, sender: u32, count: u32, listeners: usize, start: Instant, sends: Sends) {
    let mut connection = connect(port).await;
    let token = format!("Bearer {}", token(&format!("sender-{sender}")));
    for number in (sender..count).step_by(SENDERS as usize) {
        let due = start + Duration::from_secs(1) * number / PER_SECOND;
        tokio::time::sleep_until(due.into()).await;
        let query = "mutation($to: ID!, $content: String!) { sendMessage(input: { recipientId: $to, content: $content }) \
                     { message { id } } }";
        let to = listener(number as usize % listeners);
        let variables = json!({ "to": to, "content": format!("number {number}") });
        let body = json!({ "query": query, "variables": variables }).to_string();
        let call = Call {
            path: "/graphql".to_owned(),
            token: Some(token.parse().unwrap()),
            body: Some(body.into()),
        };
        assert!(ask(&mut connection, &call).await, "a send is answered");
        sends.lock().unwrap()[number as usize] = Some((due, Instant::now()));
    }
}
