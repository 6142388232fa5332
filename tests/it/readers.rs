//! Those who listen and do not read: dropped, rather than buffered for, with their cursor intact.

use serde_json::json;

use crate::harness::{
    database::{Kind, TestDatabase},
    events::EventStream,
    process::Process,
    socket::{self, Socket},
    until,
    user::User,
};

const MESSAGES: usize = 150;
/// One message, told under so many names, makes an event of 200 KB.
const NAMES: usize = 50;
const CONTENT: usize = 4_000;
/// Far less than what there is to tell: 30 MB.
const MEMORY: u64 = 12 << 20;

fn flood() -> String {
    let names: Vec<String> = (0..NAMES).map(|n| format!("c{n}: content")).collect();
    let names = names.join(" ");
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

/// A flood that waits to be told.
struct Story {
    database: TestDatabase,
    process: Process,
    ben: User,
    start: String,
}

impl Story {
    async fn begin() -> Self {
        let database = TestDatabase::new(Kind::Sqlite).await;
        let flags = ["--keep-alive", "4", "--sockets-per-user", "1"];
        let process = Process::serve(&database, &flags).await;
        let (ann, ben) = (process.user("ann").await, process.user("ben").await);
        let start = ben.signal_cursor().await;
        let content = "x".repeat(CONTENT);
        for _ in 0..MESSAGES {
            ann.send(&ben, &content).await;
        }
        Self {
            database,
            process,
            ben,
            start,
        }
    }

    async fn end(self) {
        self.process.kill();
        crate::harness::Fixture::finish(self.database).await;
    }
}

/// Who is told everything; who is told it, does not read and is dropped; and who goes on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Diligent,
    Idle,
    Back,
}

/// What the readers of one story made of it.
struct Reading {
    after: String,
    sequences: Vec<i64>,
    /// What it takes to tell all of it to somebody who reads.
    memory: u64,
}

impl Reading {
    fn nothing(story: &Story) -> Self {
        Self {
            after: story.start.clone(),
            sequences: Vec::new(),
            memory: 0,
        }
    }

    /// Takes note of an event; none where the connection has ended.
    fn note(&mut self, event: Option<(&serde_json::Value, &str)>, reader: Reader) -> bool {
        let Some((sequence, cursor)) = event else {
            assert_eq!(reader, Reader::Idle, "who reads is not dropped");
            return false;
        };
        self.sequences.push(sequence.as_i64().unwrap());
        cursor.clone_into(&mut self.after);
        self.sequences.len() < MESSAGES
    }

    fn check(&mut self, story: &Story, reader: Reader) {
        let all: Vec<i64> = (1..).take(MESSAGES).collect();
        match reader {
            Reader::Diligent => {
                assert_eq!(self.sequences, all);
                *self = Self::nothing(story);
                self.memory = story.process.peak_memory();
            }
            Reader::Idle => {
                assert!(self.sequences.len() < MESSAGES, "the flood was no flood");
                let grown = story.process.peak_memory().saturating_sub(self.memory);
                assert!(grown < MEMORY, "who did not read took {grown} bytes");
            }
            Reader::Back => assert_eq!(self.sequences, all, "everything once, in order"),
        }
    }
}

const READERS: [Reader; 3] = [Reader::Diligent, Reader::Idle, Reader::Back];

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_not_read_is_dropped_and_goes_on_from_its_cursor() {
    let story = Story::begin().await;
    let mut reading = Reading::nothing(&story);
    for reader in READERS {
        let mut socket = socket(&story.ben).await;
        let variables = json!({ "after": reading.after });
        socket.subscribe("1", &flood(), variables).await;
        if reader == Reader::Idle {
            drop(self::socket(&story.ben).await);
        }
        loop {
            let event = match socket.hear().await {
                socket::Heard::Message(message) => {
                    message["payload"]["data"]["messageSent"].clone()
                }
                socket::Heard::Closed(_) => json!(null),
            };
            let cursor = event["cursor"].as_str();
            let event = cursor.map(|cursor| (&event["message"]["sequence"], cursor));
            if !reading.note(event, reader) {
                break;
            }
        }
        reading.check(&story, reader);
    }
    story.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_that_is_not_read_is_dropped_and_goes_on_from_its_id() {
    let story = Story::begin().await;
    let mut reading = Reading::nothing(&story);
    for reader in READERS {
        let mut stream = stream(&story.ben, &reading.after).await;
        if reader == Reader::Idle {
            drop(socket(&story.ben).await);
        }
        loop {
            let told = stream.event().await.map(|(_, data)| data);
            let told: Option<serde_json::Value> =
                told.map(|data| serde_json::from_str(&data).unwrap());
            let event = told.as_ref().map(|told| {
                let event = &told["data"]["messageSent"];
                (&event["message"]["sequence"], stream.last_event_id.as_str())
            });
            if !reading.note(event, reader) {
                break;
            }
        }
        reading.check(&story, reader);
    }
    story.end().await;
}
