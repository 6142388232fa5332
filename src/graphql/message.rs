use async_graphql::{Context, Description, ID, InputObject, Object};

use super::{
    Error,
    caller::viewer,
    partner::{ConversationPartner, Inbox, SideOf, count},
    scalar::DateTime,
    user::User,
};
use crate::chat::{self, NodeId};

/// A message from one user to another. Nobody else sees it.
#[derive(Clone, Debug, Description)]
pub(crate) struct Message(pub(crate) chat::Message);

#[Object(use_type_description)]
impl Message {
    /// Opaque; starts with `dm_m`.
    pub(crate) async fn id(&self) -> ID {
        ID(NodeId::Message(self.0.id).to_string())
    }

    /// 1, 2, 3 … within its conversation: the order. Sort by it, never by time.
    async fn sequence(&self) -> i32 {
        count(self.0.id.seq)
    }

    /// Who sent it.
    async fn sender(&self) -> User {
        User(self.0.sender.clone())
    }

    /// Whom it was sent to.
    async fn recipient(&self) -> User {
        User(self.0.recipient.clone())
    }

    /// The text, as it was sent: 1 to 4,000 characters (a setting of the server's).
    async fn content(&self) -> &str {
        self.0.content()
    }

    /// When it was stored; never before the conversation's previous message.
    async fn sent_at(&self) -> DateTime {
        DateTime(self.0.sent_at)
    }

    /// When its recipient first read it; null while unread.
    async fn read_at(&self) -> Option<DateTime> {
        self.0.read_at.map(DateTime)
    }

    /// Whether its recipient has not read it.
    async fn unread(&self) -> bool {
        self.0.read_at.is_none()
    }

    /// `<sender's username>: <content>`.
    async fn formatted(&self) -> String {
        self.0.formatted()
    }

    /// The sender's own id for this message, for the sender's own clients; null to everyone else, and where none was given.
    #[expect(clippy::unused_async, reason = "resolvers that may fail are async")]
    async fn client_message_id(&self, ctx: &Context<'_>) -> Result<Option<&str>, Error> {
        Ok(self.0.client_message_id(viewer(ctx)?.id))
    }
}

/// A message to send.
#[derive(Debug, InputObject)]
pub(crate) struct SendMessageInput {
    /// Whom to: a user's id in the host application.
    pub(crate) recipient_id: ID,
    /// The text: at least one character that is not white space, at most 4,000 (a setting of the server's), free of NUL.
    pub(crate) content: String,
    /// Chosen by the client (1 to 64 printable ASCII characters; a UUID is fine), unique per sender and recipient: sending
    /// again with the same id returns the message that was sent the first time, and sends nothing. Another content under
    /// it: `CLIENT_MESSAGE_ID_REUSED`.
    pub(crate) client_message_id: Option<String>,
}

/// The message that was sent, now or the first time.
#[derive(Debug, Description)]
pub(crate) struct SendMessagePayload(pub(crate) OneMessage);

/// A message to mark as read.
#[derive(Debug, InputObject)]
pub(crate) struct ReadMessageInput {
    /// A message sent to the viewer; any other id is `MESSAGE_NOT_FOUND`.
    pub(crate) id: ID,
}

/// The message that is read now.
#[derive(Debug, Description)]
pub(crate) struct ReadMessagePayload(pub(crate) OneMessage);

/// A message, and the viewer's side of its conversation.
#[derive(Debug)]
pub(crate) struct OneMessage {
    message: Message,
    side: SideOf,
}

impl OneMessage {
    pub(crate) fn of(viewer: uuid::Uuid, message: chat::Message) -> Self {
        let partner = if message.sender.id == viewer {
            message.recipient.id
        } else {
            message.sender.id
        };
        Self {
            message: Message(message),
            side: SideOf::new(viewer, partner),
        }
    }
}

macro_rules! payload_object {
    ($name:ident) => {
        #[Object(use_type_description)]
        impl $name {
            /// The message.
            async fn message(&self) -> &Message {
                &self.0.message
            }

            /// The viewer's side of the conversation, afterwards.
            async fn conversation_partner(
                &self,
                ctx: &Context<'_>,
            ) -> Result<ConversationPartner, Error> {
                self.0.side.existing(ctx).await
            }

            /// The viewer's inbox, afterwards.
            async fn inbox(&self, ctx: &Context<'_>) -> Result<Inbox, Error> {
                self.0.side.inbox(ctx).await
            }
        }
    };
}

payload_object!(SendMessagePayload);
payload_object!(ReadMessagePayload);

/// A message was sent, by the viewer or to the viewer.
#[derive(Debug, Description)]
pub(crate) struct MessageSent(pub(crate) SignalOf);

/// A message, sent by the viewer or to the viewer, was read for the first time.
#[derive(Debug, Description)]
pub(crate) struct MessageRead(pub(crate) SignalOf);

/// What a signal carries.
#[derive(Debug)]
pub(crate) struct SignalOf {
    cursor: String,
    of: OneMessage,
}

impl SignalOf {
    pub(crate) fn of(signal: &chat::Signal) -> Self {
        let message = chat::Message::clone(&signal.message);
        let OneMessage { message, side } = OneMessage::of(signal.cursor.user, message);
        let side = side.beside(signal.clone());
        Self {
            cursor: signal.cursor.to_string(),
            of: OneMessage { message, side },
        }
    }
}

impl From<SignalOf> for MessageSent {
    fn from(signal: SignalOf) -> Self {
        Self(signal)
    }
}

impl From<SignalOf> for MessageRead {
    fn from(signal: SignalOf) -> Self {
        Self(signal)
    }
}

macro_rules! signal_object {
    ($name:ident) => {
        #[Object(use_type_description)]
        impl $name {
            /// Where to go on after this event. Cursors of one viewer compare as text, in the order of the viewer's stream.
            async fn cursor(&self) -> &str {
                &self.0.cursor
            }

            /// The message.
            async fn message(&self) -> &Message {
                &self.0.of.message
            }

            /// Who sent the message.
            async fn sender(&self) -> User {
                User(self.0.of.message.0.sender.clone())
            }

            /// Whom the message was sent to.
            async fn recipient(&self) -> User {
                User(self.0.of.message.0.recipient.clone())
            }

            /// The viewer's side of the conversation as it is at delivery: keep that of the greatest cursor.
            async fn conversation_partner(
                &self,
                ctx: &Context<'_>,
            ) -> Result<ConversationPartner, Error> {
                self.0.of.side.existing(ctx).await
            }

            /// The viewer's inbox as it is at delivery: keep that of the greatest cursor.
            async fn inbox(&self, ctx: &Context<'_>) -> Result<Inbox, Error> {
                self.0.of.side.inbox(ctx).await
            }
        }
    };
}

signal_object!(MessageSent);
signal_object!(MessageRead);
