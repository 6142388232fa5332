//! Lists, a page at a time: each page starts by a key, so that it costs what it holds, however long the list is.

use entity::message;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, Order, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use uuid::Uuid;

use super::{
    Chat, Error, LastMessages, List, Message, PageCursor, Partner, conversation_id, other_than,
    query::{self, Users},
    writer,
};

/// How many rows a page may hold: 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageSize(u64);

impl PageSize {
    /// The most rows in a page.
    pub const MAX: i32 = 100;
    /// The rows in a page that nobody sized.
    pub const DEFAULT: i32 = 50;

    /// # Errors
    /// [`Error::BadInput`] outside 1 to 100, named by `argument`.
    pub fn parse(size: i32, argument: &str) -> Result<Self, Error> {
        u64::try_from(size)
            .ok()
            .filter(|size| *size >= 1 && size <= &Self::MAX.unsigned_abs().into())
            .map(Self)
            .ok_or_else(|| {
                Error::BadInput(format!(
                    "{argument}: {size} is out of range; give 1 to {}",
                    Self::MAX
                ))
            })
    }
}

/// Some rows of a list, and whether more follow.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows with their cursors, in the list's order.
    pub rows: Vec<(PageCursor, T)>,
    /// Whether the list goes on.
    pub has_next: bool,
    /// Whether the page began after a cursor.
    pub has_previous: bool,
}

/// What a page of a conversation is asked by.
#[derive(Clone, Debug)]
pub struct ConversationPage {
    /// The host application's id of the other one.
    pub partner: String,
    /// How many messages.
    pub size: PageSize,
    /// Newest first.
    pub reversed: bool,
    /// The cursor where the page before ended.
    pub after: Option<String>,
}

impl Chat {
    /// A page of the conversation between `viewer` and a partner; empty where they never wrote.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::CannotMessageSelf`], [`Error::BadInput`] for a bad cursor, [`Error::Unavailable`].
    pub async fn conversation(
        &self,
        viewer: Uuid,
        page: &ConversationPage,
    ) -> Result<Page<Message>, Error> {
        let (partner, conversation, after) = resolve(viewer, page)?;
        let users = self.people([viewer, partner]).await?;
        if users
            .find(partner)
            .is_none_or(|user| user.subject != page.partner)
        {
            return Err(Error::UserNotFound(page.partner.clone()));
        }
        let rows = self.conversation_rows(conversation, page, after).await?;
        Self::message_page(rows, page, conversation, after, &users)
    }

    /// The same page, after every message in it that was sent to `viewer` was marked as read; only those, and each once.
    ///
    /// # Errors
    /// As [`Chat::conversation`].
    pub async fn read_page(
        &self,
        viewer: Uuid,
        page: &ConversationPage,
    ) -> Result<Page<Message>, Error> {
        let (partner, conversation, after) = resolve(viewer, page)?;
        let shown = self.conversation(viewer, page).await?;
        let unread = || {
            let rows = shown.rows.iter().map(|(_, message)| &message.row);
            rows.filter(|row| row.recipient_id == viewer && row.read_at.is_none())
                .map(|row| row.seq)
        };
        let (Some(first), Some(last)) = (unread().min(), unread().max()) else {
            return Ok(shown);
        };
        self.writer
            .read(writer::Read {
                viewer,
                partner,
                conversation,
                after: first - 1,
                up_to: last,
                complete: false,
                maybe_stored: std::collections::BTreeSet::new(),
            })
            .await?;
        // The same messages, now read. Nothing but the mark can have changed, and nothing lies between.
        let bounds = shown.rows.iter().map(|(_, message)| message.row.seq);
        let (from, to) = (bounds.clone().min().unwrap_or(0), bounds.max().unwrap_or(0));
        let people = shown.rows.first().map(|(_, message)| message);
        let people = people.map(|message| [message.sender.clone(), message.recipient.clone()]);
        let users: Users = people.into_iter().flatten().collect();
        let find = Self::in_order(conversation, page.reversed)
            .filter(message::Column::Seq.between(from, to));
        let mut rows = query::find(&self.store.read, find).await?;
        rows.truncate(shown.rows.len());
        let mut read = Self::message_page(rows, page, conversation, after, &users)?;
        read.has_next = shown.has_next;
        Ok(read)
    }

    fn in_order(conversation: Uuid, reversed: bool) -> sea_orm::Select<message::Entity> {
        message::Entity::find()
            .filter(message::Column::ConversationId.eq(conversation))
            .order_by(
                message::Column::Seq,
                if reversed { Order::Desc } else { Order::Asc },
            )
    }

    async fn conversation_rows(
        &self,
        conversation: Uuid,
        page: &ConversationPage,
        after: Option<i64>,
    ) -> Result<Vec<message::Model>, Error> {
        let mut find = Self::in_order(conversation, page.reversed);
        if let Some(seq) = after {
            find = find.filter(query::beyond(message::Column::Seq, seq, page.reversed));
        }
        Ok(query::find(&self.store.read, find.limit(page.size.0 + 1)).await?)
    }

    fn message_page(
        rows: Vec<message::Model>,
        page: &ConversationPage,
        conversation: Uuid,
        after: Option<i64>,
        users: &Users,
    ) -> Result<Page<Message>, Error> {
        Page::of(rows, page.size, after.is_some(), |row| {
            let cursor = PageCursor {
                list: List::Conversation,
                key: conversation,
                place: row.seq,
            };
            Ok((cursor, Message::join(row, users)?))
        })
    }

    /// The messages to `viewer` that the viewer has not read, oldest first.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a bad cursor, [`Error::Unavailable`].
    pub async fn unread(
        &self,
        viewer: Uuid,
        size: PageSize,
        after: Option<&str>,
    ) -> Result<Page<Message>, Error> {
        let after = parse_after(after, List::Unread, viewer)?;
        let find = message::Entity::unread_by(viewer)
            .filter(message::Column::RecipientPosition.gt(after.unwrap_or(0)))
            .order_by_asc(message::Column::RecipientPosition)
            .limit(size.0 + 1);
        let rows = query::find(&self.store.read, find).await?;
        let people = rows
            .iter()
            .flat_map(|row| [row.sender_id, row.recipient_id]);
        let users = self.people(people).await?;
        Page::of(rows, size, after.is_some(), |row| {
            let cursor = PageCursor {
                list: List::Unread,
                key: viewer,
                place: row.recipient_position,
            };
            Ok((cursor, Message::join(row, &users)?))
        })
    }

    /// Everyone whom `viewer` has exchanged a message with, latest message first; with these messages where they are shown.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a bad cursor, [`Error::Unavailable`].
    pub async fn partners(
        &self,
        viewer: Uuid,
        size: PageSize,
        after: Option<&str>,
        last_messages: LastMessages,
    ) -> Result<Page<Partner>, Error> {
        let after = parse_after(after, List::Partners, viewer)?;
        let before = after.unwrap_or(i64::MAX);
        let rows = query::partners(&self.store, viewer, before, size.0 + 1, last_messages);
        Page::of(rows.await?, size, after.is_some(), |partner| {
            let cursor = PageCursor {
                list: List::Partners,
                key: viewer,
                place: partner.row.last_position,
            };
            Ok((cursor, partner))
        })
    }
}

impl<T> Page<T> {
    /// One row more than the page holds was read: it tells whether the list goes on.
    fn of<R>(
        mut rows: Vec<R>,
        size: PageSize,
        has_previous: bool,
        row: impl FnMut(R) -> Result<(PageCursor, T), Error>,
    ) -> Result<Self, Error> {
        let size = usize::try_from(size.0).unwrap_or(usize::MAX);
        let has_next = rows.len() > size;
        rows.truncate(size);
        Ok(Self {
            rows: rows.into_iter().map(row).collect::<Result<_, _>>()?,
            has_next,
            has_previous,
        })
    }
}

/// The partner, the conversation, and the message after which the page starts.
fn resolve(viewer: Uuid, page: &ConversationPage) -> Result<(Uuid, Uuid, Option<i64>), Error> {
    let partner = other_than(viewer, &page.partner)?;
    let conversation = conversation_id(viewer, partner);
    let after = parse_after(page.after.as_deref(), List::Conversation, conversation)?;
    Ok((partner, conversation, after))
}

fn parse_after(after: Option<&str>, list: List, key: Uuid) -> Result<Option<i64>, Error> {
    after
        .map(|text| PageCursor::parse(text, list, key))
        .transpose()
}
