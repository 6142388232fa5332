use std::{fmt, str::FromStr};

use data_encoding::BASE64URL_NOPAD;
use uuid::Uuid;

/// The namespace of the ids of users: UUIDv5 of the host application's own id.
const USERS: Uuid = Uuid::from_u128(0x2f6b_0f3c_6a53_4d0e_9a4b_63c5_1d0a_7e11);
/// The namespace of the ids of conversations: UUIDv5 of the two users' ids.
const CONVERSATIONS: Uuid = Uuid::from_u128(0x8c1d_6b52_44f7_4c39_b7e0_2a95_70f3_c6d4);

/// The id of the user whom the host application calls `subject`.
#[must_use]
pub fn user_id(subject: &str) -> Uuid {
    Uuid::new_v5(&USERS, subject.as_bytes())
}

/// The id of the conversation between two users, the same from both sides.
#[must_use]
pub fn conversation_id(one: Uuid, other: Uuid) -> Uuid {
    let (small, large) = if one < other {
        (one, other)
    } else {
        (other, one)
    };
    let mut pair = [0; 32];
    pair[..16].copy_from_slice(small.as_bytes());
    pair[16..].copy_from_slice(large.as_bytes());
    Uuid::new_v5(&CONVERSATIONS, &pair)
}

/// What begins every public id and cursor of ours, and no user's.
pub(crate) const PREFIX: &str = "dm_";

/// The id of anything in the API: `dm_`, a letter for its type, and its key; a user's is the host application's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NodeId {
    /// A user, by the host application's id.
    User(String),
    /// A message, by its place in its conversation.
    Message(MessageId),
    /// One user's side of a conversation.
    ConversationPartner {
        /// Whose side.
        user: Uuid,
        /// With whom.
        partner: Uuid,
    },
    /// A user's inbox.
    Inbox(Uuid),
}

/// A message's place: the conversation, and the number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageId {
    /// The conversation.
    pub conversation: Uuid,
    /// 1, 2, 3 … within it.
    pub seq: i64,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(subject) => f.write_str(subject),
            Self::Message(id) => write_place(f, 'm', id.conversation, id.seq),
            Self::ConversationPartner { user, partner } => {
                let mut key = [0; 32];
                key[..16].copy_from_slice(user.as_bytes());
                key[16..].copy_from_slice(partner.as_bytes());
                write_opaque(f, 'p', &key)
            }
            Self::Inbox(user) => write_opaque(f, 'i', user.as_bytes()),
        }
    }
}

/// An id or cursor whose key is a number within something.
pub(super) fn write_place(
    f: &mut fmt::Formatter<'_>,
    kind: char,
    of: Uuid,
    number: i64,
) -> fmt::Result {
    let mut key = [0; 24];
    key[..16].copy_from_slice(of.as_bytes());
    key[16..].copy_from_slice(&number.to_be_bytes());
    write_opaque(f, kind, &key)
}

fn write_opaque(f: &mut fmt::Formatter<'_>, kind: char, key: &[u8]) -> fmt::Result {
    write!(f, "{PREFIX}{kind}{}", BASE64URL_NOPAD.encode_display(key))
}

/// The text is no id that this server could have given.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownId;

impl FromStr for NodeId {
    type Err = UnknownId;

    fn from_str(text: &str) -> Result<Self, UnknownId> {
        let Some(opaque) = text.strip_prefix(PREFIX) else {
            return Ok(Self::User(text.to_owned()));
        };
        let mut characters = opaque.chars();
        let kind = characters.next();
        let key = BASE64URL_NOPAD
            .decode(characters.as_str().as_bytes())
            .map_err(|_| UnknownId)?;
        match (kind, key.len()) {
            (Some('m'), 24) => Ok(Self::Message(MessageId {
                conversation: uuid_at(&key, 0),
                seq: integer_at(&key, 16),
            })),
            (Some('p'), 32) => Ok(Self::ConversationPartner {
                user: uuid_at(&key, 0),
                partner: uuid_at(&key, 16),
            }),
            (Some('i'), 16) => Ok(Self::Inbox(uuid_at(&key, 0))),
            _ => Err(UnknownId),
        }
    }
}

impl FromStr for MessageId {
    type Err = UnknownId;

    fn from_str(text: &str) -> Result<Self, UnknownId> {
        match text.parse()? {
            NodeId::Message(id) => Ok(id),
            NodeId::User(_) | NodeId::ConversationPartner { .. } | NodeId::Inbox(_) => {
                Err(UnknownId)
            }
        }
    }
}

/// The uuid at this offset of a key whose length was checked.
pub(super) fn uuid_at(key: &[u8], offset: usize) -> Uuid {
    Uuid::from_slice(&key[offset..offset + 16]).expect("sixteen bytes")
}

/// The big-endian integer at this offset of a key whose length was checked.
pub(super) fn integer_at(key: &[u8], offset: usize) -> i64 {
    i64::from_be_bytes(key[offset..offset + 8].try_into().expect("eight bytes"))
}
