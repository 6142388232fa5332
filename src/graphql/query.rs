use std::sync::Arc;

use async_graphql::{Context, Description, ID, Interface, Object};

use super::{
    Error, ErrorCode, Prologue,
    caller::{observer, signed_in, viewer},
    connection::{ConversationPartnerConnection, MessageConnection, UnreadMessageConnection},
    conversation::ConversationArguments,
    message::Message,
    partner::{ConversationPartner, Inbox, SideOf},
    user::User,
};
use crate::chat::{Chat, LastMessages, MessageId, NodeId, PageSize, user_id};

/// Anything with an id of its own. Ids of messages, conversation partners and inboxes are opaque, start with `dm_` and
/// name their type; a user's is the host application's own.
#[derive(Debug, Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "Unique among all nodes, and stable."))]
pub(crate) enum Node {
    /// A user of the host application.
    User(User),
    /// A message from one user to another.
    Message(Message),
    /// The viewer's inbox.
    Inbox(Inbox),
    /// The viewer's side of one conversation.
    ConversationPartner(ConversationPartner),
}

/// What can be read.
#[derive(Debug, Description)]
pub(crate) struct Query;

/// Root fields are nullable: one that fails is null beside its error, and the others stand.
type Root<T> = Option<Result<T, Error>>;

#[Object(use_type_description)]
impl Query {
    /// The signed-in user.
    async fn viewer(&self, ctx: &Context<'_>) -> Root<User> {
        let found = match viewer(ctx) {
            Ok(viewer) => {
                let found = chat(ctx).user(viewer.id, &viewer.subject).await;
                found.map_err(Error::from)
            }
            Err(error) => Err(error),
        };
        found
            .map(|user| user.map(|user| User(Arc::new(user))))
            .transpose()
    }

    /// The viewer's inbox.
    async fn inbox(&self, ctx: &Context<'_>) -> Root<Inbox> {
        Some(inbox(ctx).await)
    }

    /// Messages to the viewer that the viewer has not read, oldest first.
    async fn unread_messages(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many: 1 to 100.", default_with = "Some(50)")] first: Option<i32>,
        #[graphql(desc = "The `endCursor` of the page before.")] after: Option<String>,
    ) -> Root<UnreadMessageConnection> {
        let first = first.unwrap_or(PageSize::DEFAULT);
        Some(unread_messages(ctx, first, after.as_deref()).await)
    }

    /// Everyone the viewer has exchanged a message with, latest message first (being read is no activity). Whoever becomes
    /// active while pages are fetched moves to the front, and comes by `messageSent` instead of by a later page.
    async fn conversation_partners(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many: 1 to 100.", default_with = "Some(50)")] first: Option<i32>,
        #[graphql(desc = "The `endCursor` of the page before.")] after: Option<String>,
    ) -> Root<ConversationPartnerConnection> {
        let first = first.unwrap_or(PageSize::DEFAULT);
        Some(conversation_partners(ctx, first, after.as_deref()).await)
    }

    /// The viewer's side of the conversation with a partner; null before the first message. An unknown partner:
    /// `USER_NOT_FOUND`, or null where the server's settings hide who exists. Oneself: `CANNOT_MESSAGE_SELF`.
    async fn conversation_partner(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The partner: a user's id in the host application.")] partner_id: ID,
    ) -> Root<ConversationPartner> {
        conversation_partner(ctx, &partner_id).await.transpose()
    }

    /// The conversation between the viewer and a partner, oldest first. A partner that exists but was never written to: an
    /// empty page. An unknown partner: `USER_NOT_FOUND`, or an empty page where the server's settings hide who exists. Oneself: `CANNOT_MESSAGE_SELF`.
    #[expect(clippy::too_many_arguments, reason = "they are the contract")]
    async fn conversation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The partner: a user's id in the host application.")] partner_id: ID,
        #[graphql(
            desc = "How many: 1 to 100; 50 when absent. The first that many, in the order asked for."
        )]
        limit: Option<i32>,
        #[graphql(
            desc = "Turns the order round: newest first.",
            default_with = "Some(false)"
        )]
        reversed: Option<bool>,
        #[graphql(
            desc = "Marks the returned messages that were sent to the viewer as read: by POST only, and a convenience (caches may skip a query): `readConversation` is the sure way.",
            default_with = "Some(false)"
        )]
        mark_read: Option<bool>,
        #[graphql(
            desc = "Relay's word for `limit`, so that its connections work here too; giving both is `BAD_USER_INPUT`."
        )]
        first: Option<i32>,
        #[graphql(desc = "The `endCursor` of the page before: goes on where it ended.")]
        after: Option<String>,
    ) -> Root<MessageConnection> {
        let arguments = ConversationArguments {
            partner_id: partner_id.0,
            limit,
            reversed: reversed.unwrap_or_default(),
            mark_read: mark_read.unwrap_or_default(),
            first,
            after,
        };
        Some(conversation(ctx, arguments).await)
    }

    /// One message that the viewer sent or received; null for every other id.
    async fn message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The message's id.")] id: ID,
    ) -> Root<Message> {
        message(ctx, id.parse().ok()).await.transpose()
    }

    /// Any existing user, to a signed-in caller; null for every other id. By a setting of the server's, only oneself and whoever the
    /// viewer has exchanged a message with.
    async fn user(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The user's id in the host application.")] id: ID,
    ) -> Root<User> {
        user(ctx, &id).await.transpose()
    }

    /// Anything with an id that the viewer may see; null for every other id.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Any node's id.")] id: ID,
    ) -> Root<Node> {
        node(ctx, &id).await.transpose()
    }

    /// Where the viewer's signal stream stands. Read before every other field of the same operation, so that lists fetched
    /// with it, then `messageSent(after: …)`, miss nothing.
    async fn signal_cursor(&self, ctx: &Context<'_>) -> Root<String> {
        let read = ctx.data_unchecked::<Prologue>().signal_cursor.clone();
        Some(match (viewer(ctx), read) {
            (Err(error), _) => Err(error),
            (Ok(_), Some(read)) => read,
            (Ok(viewer), None) => super::signal_cursor(chat(ctx), viewer).await,
        })
    }

    /// Every code that this server can answer (keeps the enum visible to introspection and codegen).
    async fn error_codes(&self) -> Option<Vec<ErrorCode>> {
        let codes = <ErrorCode as async_graphql::resolver_utils::EnumType>::items();
        Some(codes.iter().map(|item| item.value).collect())
    }
}

fn chat<'a>(ctx: &Context<'a>) -> &'a Chat {
    ctx.data_unchecked::<Chat>()
}

async fn inbox(ctx: &Context<'_>) -> Result<Inbox, Error> {
    let user = viewer(ctx)?.id;
    let unread_count = chat(ctx).unread_count(user).await?;
    Ok(Inbox { user, unread_count })
}

async fn unread_messages(
    ctx: &Context<'_>,
    first: i32,
    after: Option<&str>,
) -> Result<UnreadMessageConnection, Error> {
    let viewer = viewer(ctx)?.id;
    let size = PageSize::parse(first, "first")?;
    let page = chat(ctx).unread(viewer, size, after).await?;
    Ok(UnreadMessageConnection { page, viewer })
}

async fn conversation_partners(
    ctx: &Context<'_>,
    first: i32,
    after: Option<&str>,
) -> Result<ConversationPartnerConnection, Error> {
    let viewer = viewer(ctx)?.id;
    let size = PageSize::parse(first, "first")?;
    let page = chat(ctx)
        .partners(viewer, size, after, LastMessages::Shown)
        .await?;
    Ok(ConversationPartnerConnection(page))
}

async fn conversation_partner(
    ctx: &Context<'_>,
    partner: &str,
) -> Result<Option<ConversationPartner>, Error> {
    let viewer = viewer(ctx)?.id;
    let partner = chat(ctx).partner(viewer, partner).await?;
    Ok(partner.map(ConversationPartner))
}

async fn conversation(
    ctx: &Context<'_>,
    arguments: ConversationArguments,
) -> Result<MessageConnection, Error> {
    let viewer = viewer(ctx)?.id;
    let side = SideOf::new(viewer, user_id(&arguments.partner_id));
    let page = if arguments.mark_read {
        let marked = &ctx.data_unchecked::<Prologue>().marked;
        let page = marked.iter().find(|(of, _)| *of == arguments);
        match page {
            Some((_, page)) => page.clone()?,
            None => arguments.read(chat(ctx), viewer).await?,
        }
    } else {
        arguments.read(chat(ctx), viewer).await?
    };
    Ok(MessageConnection::of(page, side))
}

async fn message(ctx: &Context<'_>, id: Option<MessageId>) -> Result<Option<Message>, Error> {
    let viewer = viewer(ctx)?.id;
    let Some(id) = id else {
        return Ok(None);
    };
    Ok(chat(ctx).message(viewer, id).await?.map(Message))
}

async fn user(ctx: &Context<'_>, subject: &str) -> Result<Option<User>, Error> {
    let observer = observer(ctx)?;
    Ok(chat(ctx).look_up(observer, subject).await?.map(User))
}

async fn node(ctx: &Context<'_>, id: &str) -> Result<Option<Node>, Error> {
    match id.parse() {
        Ok(NodeId::User(subject)) => Ok(user(ctx, &subject).await?.map(Node::User)),
        Ok(NodeId::Message(id)) => Ok(message(ctx, Some(id)).await?.map(Node::Message)),
        Ok(NodeId::Inbox(of)) if of == viewer(ctx)?.id => Ok(Some(Node::Inbox(inbox(ctx).await?))),
        Ok(NodeId::ConversationPartner { user, partner }) if user == viewer(ctx)?.id => {
            let side = SideOf::new(user, partner);
            Ok(side.partner(ctx).await?.map(Node::ConversationPartner))
        }
        Ok(NodeId::Inbox(_) | NodeId::ConversationPartner { .. }) => Ok(None),
        Err(_) => signed_in(ctx).map(|()| None),
    }
}
