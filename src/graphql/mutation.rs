use std::sync::Arc;

use async_graphql::{Context, Description, Object};

use super::{
    Error,
    caller::{service, viewer},
    message::{
        OneMessage, ReadMessageInput, ReadMessagePayload, SendMessageInput, SendMessagePayload,
    },
    partner::{ReadConversationInput, ReadConversationPayload, SideOf},
    user::{UpsertUsersInput, UpsertUsersPayload, User},
};
use crate::chat::{self, Chat, MessageId, Subject, Username, user_id};

/// What can be changed. Each field is done, or nothing of it is.
#[derive(Debug, Description)]
pub(crate) struct Mutation;

/// Root fields are nullable: one that fails is null beside its error, and the others stand.
type Root<T> = Option<Result<T, Error>>;

#[Object(use_type_description)]
impl Mutation {
    /// Sends a message.
    async fn send_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The message.")] input: SendMessageInput,
    ) -> Root<SendMessagePayload> {
        Some(send_message(ctx, input).await)
    }

    /// Marks a message sent to the viewer as read. Reading it again changes nothing and signals nothing.
    async fn read_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which message.")] input: ReadMessageInput,
    ) -> Root<ReadMessagePayload> {
        Some(read_message(ctx, &input).await)
    }

    /// Marks every message of a partner as read, up to a message where one is named.
    async fn read_conversation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which conversation, and up to where.")] input: ReadConversationInput,
    ) -> Root<ReadConversationPayload> {
        Some(read_conversation(ctx, &input).await)
    }

    /// Stores users, new or known, with their names. For the host application's own service token only: `FORBIDDEN` to
    /// everyone else.
    async fn upsert_users(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The users.")] input: UpsertUsersInput,
    ) -> Root<UpsertUsersPayload> {
        Some(upsert_users(ctx, input).await)
    }
}

fn chat<'a>(ctx: &Context<'a>) -> &'a Chat {
    ctx.data_unchecked::<Chat>()
}

async fn send_message(
    ctx: &Context<'_>,
    input: SendMessageInput,
) -> Result<SendMessagePayload, Error> {
    let viewer = viewer(ctx)?.id;
    let sent = chat(ctx)
        .send(
            viewer,
            &input.recipient_id,
            input.content,
            input.client_message_id,
        )
        .await?;
    Ok(SendMessagePayload(OneMessage::of(viewer, sent)))
}

async fn read_message(
    ctx: &Context<'_>,
    input: &ReadMessageInput,
) -> Result<ReadMessagePayload, Error> {
    let viewer = viewer(ctx)?.id;
    let id: MessageId = input.id.parse().map_err(|_| chat::Error::MessageNotFound)?;
    let read = chat(ctx).read_message(viewer, id).await?;
    Ok(ReadMessagePayload(OneMessage::of(viewer, read)))
}

async fn read_conversation(
    ctx: &Context<'_>,
    input: &ReadConversationInput,
) -> Result<ReadConversationPayload, Error> {
    let viewer = viewer(ctx)?.id;
    let up_to = input.up_to.as_ref().map(|id| id.parse());
    let up_to = up_to
        .transpose()
        .map_err(|_| chat::Error::MessageNotFound)?;
    let read_count = chat(ctx)
        .read_conversation(viewer, &input.partner_id, up_to)
        .await?;
    let side = SideOf::new(viewer, user_id(&input.partner_id));
    Ok(ReadConversationPayload { read_count, side })
}

async fn upsert_users(
    ctx: &Context<'_>,
    input: UpsertUsersInput,
) -> Result<UpsertUsersPayload, Error> {
    service(ctx)?;
    let users = input
        .users
        .into_iter()
        .map(|user| Ok((Subject::parse(user.id.0)?, Username::parse(user.username)?)))
        .collect::<Result<Vec<_>, chat::Error>>()?;
    let stored = chat(ctx).upsert(&users).await?;
    let stored = stored.into_iter().map(|user| User(Arc::new(user)));
    Ok(UpsertUsersPayload(stored.collect()))
}
