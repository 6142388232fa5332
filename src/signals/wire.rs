//! Hints as bytes: the tag of the server that sends them, then each user with a position. None at all is a beat.

use uuid::Uuid;

/// A server's tag is a uuid, and so is a user's id.
const ID_BYTES: usize = 16;
const HINT_BYTES: usize = ID_BYTES + size_of::<i64>();

pub(super) fn encode(own: Uuid, hints: &[(Uuid, i64)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ID_BYTES + hints.len() * HINT_BYTES);
    bytes.extend(own.as_bytes());
    for (user, position) in hints {
        bytes.extend(user.as_bytes());
        bytes.extend(position.to_be_bytes());
    }
    bytes
}

/// Who sent them, and the hints. What cannot be read is no hint: whoever reaches the bus may write to it.
pub(super) fn decode(bytes: &[u8]) -> Option<(Uuid, impl Iterator<Item = (Uuid, i64)>)> {
    let (from, hints) = bytes.split_at_checked(ID_BYTES)?;
    let hints = hints.chunks_exact(HINT_BYTES).filter_map(|hint| {
        let user = Uuid::from_slice(&hint[..ID_BYTES]).ok()?;
        let position = i64::from_be_bytes(hint[ID_BYTES..].try_into().ok()?);
        Some((user, position))
    });
    Some((Uuid::from_slice(from).ok()?, hints))
}
