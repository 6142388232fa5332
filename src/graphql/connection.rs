use async_graphql::{Context, Description, Object, SimpleObject};

use super::{
    Error,
    message::Message,
    partner::{ConversationPartner, Inbox, SideOf, count},
};
use crate::chat::{self, Page};

/// Where a page stands in its list.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct PageInfo {
    /// Whether more follow: take `endCursor` as the next page's `after`.
    has_next_page: bool,
    /// Whether `after` was given.
    has_previous_page: bool,
    /// The cursor of the first row; null on an empty page.
    start_cursor: Option<String>,
    /// The cursor of the last row; null on an empty page.
    end_cursor: Option<String>,
}

impl PageInfo {
    fn of<T>(page: &Page<T>) -> Self {
        Self {
            has_next_page: page.has_next,
            has_previous_page: page.has_previous,
            start_cursor: page.rows.first().map(|(cursor, _)| cursor.to_string()),
            end_cursor: page.rows.last().map(|(cursor, _)| cursor.to_string()),
        }
    }
}

/// A message in a list.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct MessageEdge {
    /// The message's place in this list.
    cursor: String,
    /// The message.
    node: Message,
}

/// A conversation partner in a list.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct ConversationPartnerEdge {
    /// The partner's place in this list.
    cursor: String,
    /// The partner.
    node: ConversationPartner,
}

/// A conversation's page.
#[derive(Debug, Description)]
pub(crate) struct MessageConnection {
    page: Page<chat::Message>,
    side: SideOf,
}

impl MessageConnection {
    pub(crate) fn of(page: Page<chat::Message>, side: SideOf) -> Self {
        Self { page, side }
    }
}

#[Object(use_type_description)]
impl MessageConnection {
    /// The messages with their cursors.
    async fn edges(&self) -> Vec<MessageEdge> {
        edges(&self.page)
    }

    /// The messages.
    async fn nodes(&self) -> Vec<Message> {
        nodes(&self.page)
    }

    /// Where the page stands.
    async fn page_info(&self) -> PageInfo {
        PageInfo::of(&self.page)
    }

    /// The viewer's side of the conversation, as it stands after `markRead`; null before the first message.
    async fn conversation_partner(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<ConversationPartner>, Error> {
        self.side.partner(ctx).await
    }

    /// The viewer's inbox, as it stands after `markRead`.
    async fn inbox(&self, ctx: &Context<'_>) -> Result<Inbox, Error> {
        self.side.inbox(ctx).await
    }
}

/// A page of the messages that the viewer has not read.
#[derive(Debug, Description)]
pub(crate) struct UnreadMessageConnection {
    pub(crate) page: Page<chat::Message>,
    pub(crate) viewer: uuid::Uuid,
}

#[Object(use_type_description)]
impl UnreadMessageConnection {
    /// The messages with their cursors.
    async fn edges(&self) -> Vec<MessageEdge> {
        edges(&self.page)
    }

    /// The messages.
    async fn nodes(&self) -> Vec<Message> {
        nodes(&self.page)
    }

    /// Where the page stands.
    async fn page_info(&self) -> PageInfo {
        PageInfo::of(&self.page)
    }

    /// How many messages to the viewer are unread, over all pages: the inbox's `unreadCount`.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<i32, Error> {
        let chat = ctx.data_unchecked::<chat::Chat>();
        Ok(count(chat.unread_count(self.viewer).await?))
    }
}

/// A page of the viewer's conversation partners.
#[derive(Debug, Description)]
pub(crate) struct ConversationPartnerConnection(pub(crate) Page<chat::Partner>);

#[Object(use_type_description)]
impl ConversationPartnerConnection {
    /// The partners with their cursors.
    async fn edges(&self) -> Vec<ConversationPartnerEdge> {
        let rows = self.0.rows.iter();
        rows.map(|(cursor, partner)| ConversationPartnerEdge {
            cursor: cursor.to_string(),
            node: ConversationPartner(partner.clone()),
        })
        .collect()
    }

    /// The partners.
    async fn nodes(&self) -> Vec<ConversationPartner> {
        let rows = self.0.rows.iter();
        rows.map(|(_, partner)| ConversationPartner(partner.clone()))
            .collect()
    }

    /// Where the page stands.
    async fn page_info(&self) -> PageInfo {
        PageInfo::of(&self.0)
    }
}

fn edges(page: &Page<chat::Message>) -> Vec<MessageEdge> {
    let rows = page.rows.iter();
    rows.map(|(cursor, message)| MessageEdge {
        cursor: cursor.to_string(),
        node: Message(message.clone()),
    })
    .collect()
}

fn nodes(page: &Page<chat::Message>) -> Vec<Message> {
    let rows = page.rows.iter();
    rows.map(|(_, message)| Message(message.clone())).collect()
}
