//! Lists, a page at a time: each page starts by a key, so that it costs what it holds, however long the list is.

use std::collections::HashSet;

use uuid::Uuid;

use super::{
    Chat, Error, LastMessages, List, Message, PageCursor, Partner, UserLookup, conversation_id,
    other_than,
    query::{self, Conversation},
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
        let (conversation, after) = self.resolve(viewer, page).await?;
        self.page_of(viewer, &conversation, page, after).await
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
        let (conversation, after) = self.resolve(viewer, page).await?;
        let mut shown = self.page_of(viewer, &conversation, page, after).await?;
        let unread = shown.rows.iter().filter_map(|(_, message)| {
            let is_unread = message.recipient.id == viewer && message.read_at.is_none();
            is_unread.then_some((message.id.seq, message.sender.id))
        });
        let (Some((first, partner)), Some((last, _))) = (unread.clone().min(), unread.max()) else {
            return Ok(shown);
        };
        self.writer
            .read(writer::Read {
                viewer,
                partner,
                conversation: conversation.id,
                after: first - 1,
                up_to: last,
                complete: false,
                maybe_stored: std::collections::BTreeSet::new(),
            })
            .await?;
        // The same messages, now read: nothing but the mark can have changed, and nothing lies between.
        let begin = shown.rows.first().map(|(cursor, _)| cursor.place);
        let before = begin.map(|seq| if page.reversed { seq + 1 } else { seq - 1 });
        let limit = shown.rows.len() as u64;
        let reader = self.reader(viewer);
        let read = conversation.messages(&reader, before, page.reversed, limit);
        for ((_, message), read) in shown.rows.iter_mut().zip(read.await?) {
            *message = read;
        }
        Ok(shown)
    }

    async fn page_of(
        &self,
        viewer: Uuid,
        conversation: &Conversation,
        page: &ConversationPage,
        after: Option<i64>,
    ) -> Result<Page<Message>, Error> {
        let limit = page.size.0 + 1;
        let reader = self.reader(viewer);
        let rows = conversation.messages(&reader, after, page.reversed, limit);
        Ok(Page::of(
            rows.await?,
            page.size,
            after.is_some(),
            |message| {
                let cursor = PageCursor {
                    list: List::Conversation,
                    key: conversation.id,
                    place: message.id.seq,
                };
                (cursor, message)
            },
        ))
    }

    /// The conversation, and the message after which the page starts.
    async fn resolve(
        &self,
        viewer: Uuid,
        page: &ConversationPage,
    ) -> Result<(Conversation, Option<i64>), Error> {
        let partner = other_than(viewer, &page.partner)?;
        let id = conversation_id(viewer, partner);
        let after = parse_after(page.after.as_deref(), List::Conversation, id)?;
        let (viewer, partner) = match self.limits.lookup {
            UserLookup::Anyone => {
                let users = self.people(viewer, [viewer, partner]).await?;
                let found = users.find(partner);
                let found = found.filter(|user| user.subject == page.partner);
                let unknown = || Error::UserNotFound(page.partner.clone());
                (users.get(viewer)?, found.ok_or_else(unknown)?)
            }
            // A conversation with a stranger is as empty as one with nobody.
            UserLookup::Partners => {
                let users = self.people(viewer, [viewer]).await?;
                let subjects = HashSet::from([page.partner.as_str()]);
                let partners = self.partners_of(viewer, &subjects).await?;
                let viewer = users.get(viewer)?;
                let partner = partners.find(partner).unwrap_or_else(|| viewer.clone());
                (viewer, partner)
            }
        };
        let people = [viewer, partner];
        Ok((Conversation { id, people }, after))
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
        let rows = query::unread(&self.store, viewer, after.unwrap_or(0), size.0 + 1);
        Ok(Page::of(
            rows.await?,
            size,
            after.is_some(),
            |(place, message)| {
                let cursor = PageCursor {
                    list: List::Unread,
                    key: viewer,
                    place,
                };
                (cursor, message)
            },
        ))
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
        Ok(Page::of(rows.await?, size, after.is_some(), |partner| {
            let cursor = PageCursor {
                list: List::Partners,
                key: viewer,
                place: partner.last_position,
            };
            (cursor, partner)
        }))
    }
}

impl<T> Page<T> {
    /// One row more than the page holds was read: it tells whether the list goes on.
    fn of<R>(
        mut rows: Vec<R>,
        size: PageSize,
        has_previous: bool,
        row: impl FnMut(R) -> (PageCursor, T),
    ) -> Self {
        let size = usize::try_from(size.0).unwrap_or(usize::MAX);
        let has_next = rows.len() > size;
        rows.truncate(size);
        Self {
            rows: rows.into_iter().map(row).collect(),
            has_next,
            has_previous,
        }
    }
}

fn parse_after(after: Option<&str>, list: List, key: Uuid) -> Result<Option<i64>, Error> {
    after
        .map(|text| PageCursor::parse(text, list, key))
        .transpose()
}
