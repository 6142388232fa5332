//! Where a page or a stream goes on: opaque to clients, checked when they come back.

use std::fmt;

use data_encoding::{BASE32HEX_NOPAD, BASE64URL_NOPAD};
use entity::signal::Kind;
use uuid::Uuid;

use super::{
    Error,
    id::{PREFIX, integer_at, uuid_at, write_place},
};

/// The lists that go on by a cursor of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// A conversation, keyed by its id, in the order of `seq`.
    Conversation,
    /// The unread messages, keyed by their reader, in the order of positions.
    Unread,
    /// The conversation partners, keyed by the viewer, latest position first.
    Partners,
}

impl List {
    fn letter(self) -> char {
        match self {
            Self::Conversation => 'c',
            Self::Unread => 'u',
            Self::Partners => 'l',
        }
    }
}

/// The place of one row in one list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageCursor {
    /// Which kind of list.
    pub list: List,
    /// Which one of these: a conversation's or a user's id.
    pub key: Uuid,
    /// The row's number in it.
    pub place: i64,
}

impl fmt::Display for PageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, self.list.letter(), self.key, self.place)
    }
}

impl PageCursor {
    /// The place that a cursor of exactly this list names.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a broken cursor and for another list's.
    pub fn parse(text: &str, list: List, key: Uuid) -> Result<i64, Error> {
        text.strip_prefix(PREFIX)
            .and_then(|text| text.strip_prefix(list.letter()))
            .and_then(|text| BASE64URL_NOPAD.decode(text.as_bytes()).ok())
            .filter(|bytes| bytes.len() == 24 && uuid_at(bytes, 0) == key)
            .map(|bytes| integer_at(&bytes, 16))
            .ok_or_else(|| {
                Error::BadInput(
                    "after: this is no cursor of this list; take endCursor from a page of it"
                        .to_owned(),
                )
            })
    }
}

/// Which stream gave a cursor: that of one field and filter, or `signalCursor`, whose cursors fit all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The field's kind of signal; none for `signalCursor`.
    pub kind: Option<Kind>,
    /// The `partnerId` that it filters by.
    pub partner: Option<Uuid>,
}

impl Stream {
    /// What `signalCursor` belongs to.
    pub const ANY: Self = Self {
        kind: None,
        partner: None,
    };
}

/// A place in one user's signal log. Cursors of one user compare as text in the order of the log: the parts that never
/// change come first, every part has a fixed width, and base32hex keeps the order of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalCursor {
    /// The database's epoch when it was given.
    pub epoch: i64,
    /// Whose log.
    pub user: Uuid,
    /// The last position seen.
    pub position: i64,
    /// The stream that gave it.
    pub stream: Stream,
}

const SIGNAL: char = 's';

impl fmt::Display for SignalCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(49);
        bytes.extend(self.epoch.to_be_bytes());
        bytes.extend(self.user.as_bytes());
        bytes.extend(self.position.to_be_bytes());
        bytes.push(match self.stream.kind {
            None => 0,
            Some(Kind::Sent) => 1,
            Some(Kind::Read) => 2,
        });
        bytes.extend(self.stream.partner.unwrap_or(Uuid::nil()).as_bytes());
        let text = BASE32HEX_NOPAD.encode(&bytes).to_ascii_lowercase();
        write!(f, "{PREFIX}{SIGNAL}{text}")
    }
}

impl SignalCursor {
    /// The cursor, where it may go on `stream` of `user`.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a broken cursor, another user's, or another stream's.
    pub fn parse(text: &str, user: Uuid, stream: Stream) -> Result<Self, Error> {
        let broken = || {
            Error::BadInput(
                "after: this is no cursor of this stream; take one from signalCursor".to_owned(),
            )
        };
        let cursor = Self::decode(text).ok_or_else(broken)?;
        if cursor.user != user {
            return Err(broken());
        }
        if cursor.stream != Stream::ANY && cursor.stream != stream {
            return Err(Error::BadInput(
                "after: this cursor is of another subscription; keep one cursor for each field and partnerId"
                    .to_owned(),
            ));
        }
        Ok(cursor)
    }

    fn decode(text: &str) -> Option<Self> {
        let text = text.strip_prefix(PREFIX)?.strip_prefix(SIGNAL)?;
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let bytes = BASE32HEX_NOPAD
            .decode(text.to_ascii_uppercase().as_bytes())
            .ok()
            .filter(|bytes| bytes.len() == 49)?;
        let kind = match bytes[32] {
            0 => None,
            1 => Some(Kind::Sent),
            2 => Some(Kind::Read),
            _ => return None,
        };
        let partner = uuid_at(&bytes, 33);
        Some(Self {
            epoch: integer_at(&bytes, 0),
            user: uuid_at(&bytes, 8),
            position: integer_at(&bytes, 24),
            stream: Stream {
                kind,
                partner: (!partner.is_nil()).then_some(partner),
            },
        })
    }
}
