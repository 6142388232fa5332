//! The messages of graphql-transport-ws, and the codes by which a socket ends.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// A close frame's payload takes 125 bytes, two of them the code.
const REASON_BYTES: usize = 123;
/// The longest id of an operation, in bytes. Clients number them, or draw a UUID; every id is held for as long as its
/// operation runs.
const ID_BYTES: usize = 256;

/// Why this server closes a socket. What the client makes of it is said by the example of graphql-ws: from codes that it
/// takes for fatal it does not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// What was sent breaks the WebSocket protocol itself. Fatal.
    BrokenFrame = 1002,
    /// Text that is not UTF-8. Fatal.
    NotUtf8 = 1007,
    /// A message that is too long. Fatal.
    TooLong = 1009,
    /// The server stops: the client comes back, after a while that grows.
    Restart = 1012,
    /// The server cannot take the client now: likewise.
    TryAgainLater = 1013,
    /// Not a message of the protocol. Fatal.
    InvalidMessage = 4400,
    /// An operation before `connection_init`. Fatal.
    Unauthorized = 4401,
    /// No token, one that is not believed, or one that has ended: the client comes back, and asks its user for a token.
    Forbidden = 4403,
    /// The client does not speak graphql-transport-ws. Fatal.
    SubprotocolNotAcceptable = 4406,
    /// No `connection_init` in time: the client comes back.
    InitTimeout = 4408,
    /// Two operations under one id. Fatal.
    SubscriberAlreadyExists = 4409,
    /// A second `connection_init`. Fatal.
    TooManyInits = 4429,
    /// A defect of the server's. Fatal.
    InternalError = 4500,
}

/// What a client may send. What stands beside the fields named here is ignored.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Received {
    ConnectionInit { payload: Option<Map<String, Value>> },
    Subscribe { id: Id, payload: Map<String, Value> },
    Complete { id: String },
    Ping { payload: Option<Map<String, Value>> },
    Pong { payload: Option<Map<String, Value>> },
}

/// The id of an operation: not empty, and no longer than [`ID_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Id(pub(super) String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = String::deserialize(deserializer)?;
        if (1..=ID_BYTES).contains(&id.len()) {
            return Ok(Self(id));
        }
        let message = format!("id: give 1 to {ID_BYTES} bytes");
        Err(serde::de::Error::custom(message))
    }
}

/// What this server sends.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Sent<'a> {
    ConnectionAck,
    Ping {
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<Cursors>,
    },
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<Map<String, Value>>,
    },
    Error {
        id: &'a str,
        payload: Value,
    },
    Complete {
        id: &'a str,
    },
}

/// The message `next`, with a result that is JSON already.
pub(super) fn next(id: &str, payload: &str) -> String {
    let id = serde_json::to_string(id).expect("a text is JSON");
    format!(r#"{{"type":"next","id":{id},"payload":{payload}}}"#)
}

/// How far quiet listeners have come: from an operation's id to its cursor.
#[derive(Debug, Serialize)]
pub(super) struct Cursors {
    pub(super) cursors: Map<String, Value>,
}

/// A client's message.
///
/// # Errors
/// What is wrong with it, for the reason of a close frame.
pub(super) fn parse(text: &str) -> Result<Received, String> {
    serde_json::from_str(text).map_err(|error| format!("Invalid message: {error}"))
}

/// As much of a reason as a close frame takes.
pub(super) fn cut(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES)]
}
