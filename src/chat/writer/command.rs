use std::collections::{BTreeMap, BTreeSet};

use tokio::{sync::oneshot, time::Instant};
use tracing::Span;
use uuid::Uuid;

use crate::chat::{
    Error, Message,
    text::{ClientMessageId, Content},
};

/// One caller's wish, and where the answer goes.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) action: Action,
    pub(super) reply: oneshot::Sender<Result<Outcome, Error>>,
    /// When to give up.
    pub(super) deadline: Instant,
    /// In which it was asked for, so that traces find the batch that stored it.
    pub(super) span: Span,
}

#[derive(Debug)]
pub(super) enum Action {
    Send(Send),
    Read(Read),
}

/// Everything here was checked before it was queued: one bad text would fail the whole batch.
#[derive(Clone, Debug)]
pub(crate) struct Send {
    pub(crate) sender: Uuid,
    pub(crate) recipient: Uuid,
    /// As the caller named the recipient, for the error.
    pub(crate) recipient_subject: String,
    pub(crate) conversation: Uuid,
    pub(crate) content: Content,
    pub(crate) client_message_id: ClientMessageId,
}

/// The messages to `viewer` in `after < seq <= up_to`.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) viewer: Uuid,
    pub(crate) partner: Uuid,
    pub(crate) conversation: Uuid,
    pub(crate) after: i64,
    pub(crate) up_to: i64,
    /// Whether everything up to `up_to` is read afterwards, so that `read_seq` may move there.
    pub(crate) complete: bool,
    /// What a transaction turned read whose COMMIT got no answer: it counts, whether it was stored then or is now.
    pub(crate) maybe_stored: BTreeSet<i64>,
}

/// What a command came to.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Sent(Box<Message>),
    Read(TurnedRead),
}

/// What a read turned read.
#[derive(Clone, Debug, Default)]
pub(crate) struct TurnedRead {
    /// How many messages.
    pub(crate) count: usize,
    /// When each was, by its `seq`; without those of an attempt whose COMMIT got no answer.
    pub(crate) at: BTreeMap<i64, i64>,
}

impl Action {
    /// How many messages it writes at most.
    pub(super) fn messages(&self) -> usize {
        match self {
            Self::Send(_) => 1,
            Self::Read(read) => usize::try_from(read.up_to - read.after).unwrap_or(0),
        }
    }

    /// Both users, whose inboxes guard everything that the command touches.
    pub(super) fn users(&self) -> [Uuid; 2] {
        match self {
            Self::Send(send) => [send.sender, send.recipient],
            Self::Read(read) => [read.viewer, read.partner],
        }
    }
}
