//! What happened, as the clients saw it: written down while it happens, judged afterwards.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use data_encoding::BASE32HEX_NOPAD;
use serde_json::Value;

/// What a listener is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Sent,
    Read,
}

impl Kind {
    /// The subscription's name.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Sent => "messageSent",
            Self::Read => "messageRead",
        }
    }
}

/// From when to when somebody did something, in microseconds of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) began: u64,
    pub(super) ended: u64,
}

/// A message, as somebody was shown it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shown {
    pub(super) id: String,
    pub(super) sequence: i64,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) content: String,
    /// Null to everyone but the sender.
    pub(super) client_id: Option<String>,
    pub(super) sent_at: String,
    pub(super) read_at: Option<String>,
}

impl Shown {
    /// The conversation that it is of: both people, in one order.
    pub(super) fn pair(&self) -> Pair {
        pair(&self.from, &self.to)
    }
}

pub(super) type Pair = (String, String);

pub(super) fn pair(one: &str, other: &str) -> Pair {
    let (less, more) = if one < other {
        (one, other)
    } else {
        (other, one)
    };
    (less.to_owned(), more.to_owned())
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome<T> {
    Done(T),
    /// No answer, or one that says to try again: it may have been done all the same.
    Unknown,
    /// The code with which it was refused: it was not done.
    Refused(String),
}

/// One try to send. The content names what is sent: several tries of one send have one content, no two sends have the same.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) content: String,
    pub(super) client_id: Option<String>,
    /// Whether the client id belongs to another message already, so that the send has to be refused.
    pub(super) stolen: bool,
    pub(super) server: usize,
    pub(super) span: Span,
    pub(super) outcome: Outcome<Arc<Shown>>,
}

/// What somebody wanted to have read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// One message, by its id.
    Message(String),
    /// A partner's messages, up to a number where one is given.
    Conversation(String, Option<i64>),
    /// Those of a page that were shown with `markRead`.
    Page(String),
}

#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) by: String,
    pub(super) target: Target,
    pub(super) span: Span,
    pub(super) outcome: Outcome<()>,
}

/// A page, as somebody was shown it.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) by: String,
    pub(super) server: usize,
    pub(super) span: Span,
    /// The partner with whom these are the newest messages, newest first.
    pub(super) newest_with: Option<String>,
    pub(super) messages: Vec<Arc<Shown>>,
}

/// What a listener was told, and when.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) position: i64,
    pub(super) message: Arc<Shown>,
    pub(super) at: u64,
}

/// How a listener's session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The listener left, or the connection broke.
    Dropped,
    /// The listener heard the last signal of all.
    Complete,
    /// The run ended, and the last signal had not come.
    Waiting,
    /// The server ended the subscription with this code.
    Refused(String),
}

/// One subscription, from its cursor to its end.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Which listener's: its name tells the user too.
    pub(super) listener: String,
    pub(super) user: String,
    pub(super) kind: Kind,
    pub(super) server: usize,
    /// The position of the cursor that was given.
    pub(super) after: i64,
    pub(super) span: Span,
    pub(super) events: Vec<Event>,
    /// Two cursors that followed each other and do not ascend as text.
    pub(super) disorder: Option<(String, String)>,
    pub(super) ending: Ending,
}

/// How things stood when everything was quiet.
#[derive(Clone, Debug, Default)]
pub(super) struct End {
    /// What each one saw of each conversation, paging up and paging down (turned round), by viewer and partner.
    pub(super) pages: BTreeMap<(String, String), [Vec<Arc<Shown>>; 2]>,
    /// Each one's unread count, and the ids in their unread list.
    pub(super) unread: BTreeMap<String, (i64, Vec<String>)>,
    /// Each one's unread count of each partner.
    pub(super) unread_of: BTreeMap<(String, String), i64>,
    /// The position of each one's `signalCursor`.
    pub(super) last: BTreeMap<String, i64>,
    /// What the database itself gives away, by the check's name: its counters do not add up, it broke a deadlock, …
    pub(super) defects: Vec<(&'static str, String)>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) attempts: Vec<Attempt>,
    pub(super) readings: Vec<Reading>,
    pub(super) looks: Vec<Look>,
    pub(super) sessions: Vec<Session>,
    /// Requests of other kinds that were refused: what was asked, and the code.
    pub(super) refusals: Vec<(String, String)>,
    pub(super) end: End,
}

/// Takes down what happens, from many tasks at one time.
pub(super) struct Recorder {
    start: Instant,
    history: Mutex<History>,
    /// Each way in which a message was shown, kept once: most are shown many times.
    shown: Mutex<HashSet<Arc<Shown>>>,
}

impl Recorder {
    pub(super) fn start() -> Self {
        Self {
            start: Instant::now(),
            history: Mutex::default(),
            shown: Mutex::default(),
        }
    }

    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap()
    }

    /// From a moment until now.
    pub(super) fn since(&self, began: u64) -> Span {
        let ended = self.now();
        Span { began, ended }
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message out of an answer.
    pub(super) fn shown(&self, message: &Value) -> Arc<Shown> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let shown = Arc::new(Shown {
            id: text(&message["id"]),
            sequence: message["sequence"].as_i64().unwrap(),
            from: text(&message["sender"]["id"]),
            to: text(&message["recipient"]["id"]),
            content: text(&message["content"]),
            client_id: message["clientMessageId"].as_str().map(str::to_owned),
            sent_at: text(&message["sentAt"]),
            read_at: message["readAt"].as_str().map(str::to_owned),
        });
        let mut all = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&shown) {
            return known.clone();
        }
        all.insert(shown.clone());
        shown
    }

    pub(super) fn shown_all(&self, messages: &Value) -> Vec<Arc<Shown>> {
        let messages = messages.as_array().unwrap();
        messages.iter().map(|message| self.shown(message)).collect()
    }
}

/// The position in a cursor, which to clients is opaque: the tests look inside to tell what lies between two.
pub(super) fn position(cursor: &str) -> i64 {
    let text = cursor.strip_prefix("dm_s").unwrap().to_ascii_uppercase();
    let bytes = BASE32HEX_NOPAD.decode(text.as_bytes()).unwrap();
    i64::from_be_bytes(bytes[24..32].try_into().unwrap())
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            sequence,
            from,
            to,
            content,
            ..
        } = self;
        write!(
            f,
            "{content:?} ({from} to {to}, number {sequence}, …{}",
            tail(id)
        )?;
        write!(f, ", sent {}", self.sent_at)?;
        match &self.read_at {
            Some(read_at) => write!(f, ", read {read_at})"),
            None => write!(f, ", unread)"),
        }
    }
}

/// The end of an id, which tells it from its neighbours.
pub(super) fn tail(id: &str) -> &str {
    &id[id.len().saturating_sub(10)..]
}
