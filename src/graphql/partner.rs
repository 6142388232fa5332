use std::{collections::HashMap, sync::Arc};

use async_graphql::{
    Context, Description, ID, InputObject, Object,
    dataloader::{DataLoader, Loader},
};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::{Error, message::Message, subscription::patiently, user::User};
use crate::chat::{self, Chat, NodeId, Side};

/// The viewer's inbox: one node, so that normalising caches keep the badge right.
#[derive(Clone, Debug, Description)]
pub(crate) struct Inbox {
    pub(crate) user: Uuid,
    pub(crate) unread_count: i64,
}

#[Object(use_type_description)]
impl Inbox {
    /// Opaque; starts with `dm_i`; stable.
    pub(crate) async fn id(&self) -> ID {
        ID(NodeId::Inbox(self.user).to_string())
    }

    /// How many messages to the viewer are unread, over all conversations: exact.
    async fn unread_count(&self) -> i32 {
        count(self.unread_count)
    }
}

/// The viewer's side of one conversation.
#[derive(Clone, Debug, Description)]
pub(crate) struct ConversationPartner(pub(crate) chat::Partner);

#[Object(use_type_description)]
impl ConversationPartner {
    /// Opaque; starts with `dm_p`; stable.
    pub(crate) async fn id(&self) -> ID {
        ID(self.0.node_id().to_string())
    }

    /// The other one.
    async fn user(&self) -> User {
        User(self.0.user.clone())
    }

    /// How many of this partner's messages the viewer has not read: exact.
    async fn unread_count(&self) -> i32 {
        count(self.0.unread_count)
    }

    /// The conversation's latest message, whoever sent it.
    #[expect(clippy::unused_async, reason = "resolvers that may fail are async")]
    async fn last_message(&self) -> Result<Message, Error> {
        let last_message = self.0.last_message.clone();
        let left_out = || chat::Error::internal("a last message is asked for that was left out");
        Ok(Message(last_message.ok_or_else(left_out)?))
    }
}

pub(crate) fn count(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A conversation to mark as read.
#[derive(Debug, InputObject)]
pub(crate) struct ReadConversationInput {
    /// The partner whose messages to mark: a user's id in the host application.
    pub(crate) partner_id: ID,
    /// The last message to mark, of this conversation (another's is `MESSAGE_NOT_FOUND`); null: the last one when the
    /// call begins.
    pub(crate) up_to: Option<ID>,
}

/// What `readConversation` did. The messages themselves turn read by `messageRead`.
#[derive(Debug, Description)]
pub(crate) struct ReadConversationPayload {
    pub(crate) read_count: usize,
    pub(crate) side: SideOf,
}

#[Object(use_type_description)]
impl ReadConversationPayload {
    /// How many messages turned read by this call.
    async fn read_count(&self) -> i32 {
        i32::try_from(self.read_count).unwrap_or(i32::MAX)
    }

    /// The viewer's side of the conversation, afterwards; null before the first message.
    async fn conversation_partner(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<ConversationPartner>, Error> {
        self.side.partner(ctx).await
    }

    /// The viewer's inbox, afterwards.
    async fn inbox(&self, ctx: &Context<'_>) -> Result<Inbox, Error> {
        self.side.inbox(ctx).await
    }
}

/// One side of one conversation, read only where a field of it is asked for, and once.
#[derive(Clone, Debug)]
pub(crate) struct SideOf {
    pub(crate) viewer: Uuid,
    pub(crate) partner: Uuid,
    /// The signal beside which it is shown.
    signal: Option<chat::Signal>,
    loaded: Arc<OnceCell<Side>>,
}

impl SideOf {
    pub(crate) fn new(viewer: Uuid, partner: Uuid) -> Self {
        Self {
            viewer,
            partner,
            signal: None,
            loaded: Arc::default(),
        }
    }

    /// As it is when a signal is delivered.
    pub(crate) fn beside(self, signal: chat::Signal) -> Self {
        Self {
            signal: Some(signal),
            ..self
        }
    }

    async fn load(&self, ctx: &Context<'_>) -> Result<&Side, Error> {
        self.loaded
            .get_or_try_init(async || {
                if let Some(signal) = &self.signal {
                    let chat = ctx.data_unchecked::<Chat>();
                    return patiently(|| signal.side(chat)).await;
                }
                let sides = ctx.data_unchecked::<DataLoader<Sides>>();
                let side = sides.load_one((self.viewer, self.partner)).await?;
                let none = || chat::Error::internal("a signed-in user has no inbox");
                Ok(side.ok_or_else(none)?)
            })
            .await
    }

    pub(crate) async fn partner(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<ConversationPartner>, Error> {
        let side = self.load(ctx).await?;
        Ok(side.partner.clone().map(ConversationPartner))
    }

    /// Of a conversation that has a message.
    pub(crate) async fn existing(&self, ctx: &Context<'_>) -> Result<ConversationPartner, Error> {
        let partner = self.partner(ctx).await?;
        partner.ok_or_else(|| chat::Error::internal("a message's conversation has no side").into())
    }

    pub(crate) async fn inbox(&self, ctx: &Context<'_>) -> Result<Inbox, Error> {
        Ok(Inbox {
            user: self.viewer,
            unread_count: self.load(ctx).await?.unread_count,
        })
    }
}

/// Loads the sides that one operation asks for in one statement, however often and under however many names.
#[derive(Debug)]
pub(crate) struct Sides(pub(crate) Chat);

impl Loader<(Uuid, Uuid)> for Sides {
    type Value = Side;
    type Error = Error;

    async fn load(&self, pairs: &[(Uuid, Uuid)]) -> Result<HashMap<(Uuid, Uuid), Side>, Error> {
        Ok(self.0.sides(pairs).await?)
    }
}
