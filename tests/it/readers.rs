//! Those who listen and do not read: dropped, rather than buffered for, with their cursor intact.

use std::collections::HashSet;

use serde_json::json;

use crate::harness::{
    database::{Kind, TestDatabase},
    events::EventStream,
    process::Process,
    socket::{Heard, Socket},
    until,
    user::User,
};

const MESSAGES: usize = 200;
/// One message, told under so many names, makes an event of 200 KB.
const NAMES: usize = 50;
const CONTENT: usize = 4_000;
/// Far less than what there is to tell: 40 MB.
const MEMORY: u64 = 16 << 20;

fn flood() -> String {
    let names: String = (0..NAMES).map(|n| format!("c{n}: content ")).collect();
    format!(
        "subscription ($after: String) {{ messageSent(after: $after) {{ cursor message {{ sequence {names} }} }} }}"
    )
}

/// A socket of a user who may have one listener at a time: once the one before was dropped.
async fn socket(user: &User) -> Socket {
    let mut socket = None;
    until("the one before is dropped", async || {
        socket = Socket::try_of(user).await.ok();
        socket.is_some()
    })
    .await;
    socket.unwrap()
}

/// Likewise.
async fn stream(user: &User, after: &str) -> EventStream {
    let mut response = None;
    until("the one before is dropped", async || {
        let variables = json!({ "after": after });
        response = Some(user.stream(&flood(), variables, &[]).await);
        response
            .as_ref()
            .is_some_and(|response| response.status() == 200)
    })
    .await;
    EventStream::of(response.unwrap())
}

struct Story {
    database: TestDatabase,
    process: Process,
    ben: User,
    start: String,
    memory: u64,
}

/// A flood that waits to be told.
async fn begin() -> Story {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let flags = ["--keep-alive", "0.3", "--sockets-per-user", "1"];
    let process = Process::serve(&database, &flags).await;
    let (ann, ben) = (process.user("ann").await, process.user("ben").await);
    let start = ben.signal_cursor().await;
    let content = "x".repeat(CONTENT);
    for _ in 0..MESSAGES {
        ann.send(&ben, &content).await;
    }
    Story {
        memory: process.peak_memory(),
        database,
        process,
        ben,
        start,
    }
}

impl Story {
    /// Nothing was kept for who did not read.
    async fn end(self, heard: &[i64]) {
        let grown = self.process.peak_memory() - self.memory;
        assert!(grown < MEMORY, "the server's memory grew by {grown} bytes");
        let all: Vec<i64> = (1..).take(MESSAGES).collect();
        assert_eq!(heard, all, "everything once, in order");
        self.process.kill();
        crate::harness::Fixture::finish(self.database).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_not_read_is_dropped_and_goes_on_from_its_cursor() {
    let story = begin().await;
    let (mut heard, mut after) = (Vec::new(), story.start.clone());
    for reads in [false, true] {
        let mut socket = socket(&story.ben).await;
        socket
            .subscribe("1", &flood(), json!({ "after": after }))
            .await;
        if !reads {
            drop(self::socket(&story.ben).await);
        }
        while heard.len() < MESSAGES {
            let Heard::Message(message) = socket.hear().await else {
                assert!(!reads, "who reads is not dropped");
                break;
            };
            let event = &message["payload"]["data"]["messageSent"];
            heard.push(event["message"]["sequence"].as_i64().unwrap());
            event["cursor"].as_str().unwrap().clone_into(&mut after);
        }
        assert!(reads || heard.len() < MESSAGES, "the flood was no flood");
    }
    story.end(&heard).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_that_is_not_read_is_dropped_and_goes_on_from_its_id() {
    let story = begin().await;
    let (mut heard, mut after) = (HashSet::new(), story.start.clone());
    let mut in_order = Vec::new();
    for reads in [false, true] {
        let mut stream = stream(&story.ben, &after).await;
        if !reads {
            drop(self::socket(&story.ben).await);
        }
        while heard.len() < MESSAGES {
            let Some((_, data)) = stream.event().await else {
                assert!(!reads, "who reads is not dropped");
                break;
            };
            let event: serde_json::Value = serde_json::from_str(&data).unwrap();
            let sequence = event["data"]["messageSent"]["message"]["sequence"].as_i64();
            assert!(heard.insert(sequence.unwrap()), "it was told before");
            in_order.push(sequence.unwrap());
            stream.last_event_id.clone_into(&mut after);
        }
        assert!(reads || heard.len() < MESSAGES, "the flood was no flood");
    }
    story.end(&in_order).await;
}
