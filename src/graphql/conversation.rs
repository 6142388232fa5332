use async_graphql::{Name, Value};
use uuid::Uuid;

use super::Error;
use crate::chat::{self, Chat, ConversationPage, Page, PageSize};

/// The arguments of one `conversation`, in this request's variables and defaults: what `markRead` marks is known by
/// them before anything else of the operation is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConversationArguments {
    pub(super) partner_id: String,
    pub(super) limit: Option<i32>,
    pub(super) reversed: bool,
    /// Whether the page's messages to the viewer are to be marked.
    pub mark_read: bool,
    pub(super) first: Option<i32>,
    pub(super) after: Option<String>,
}

impl ConversationArguments {
    /// Takes the arguments of a field, coerced; a left-out one has its default.
    #[must_use]
    pub fn of<'a>(arguments: impl IntoIterator<Item = (&'a Name, &'a Value)>) -> Self {
        let mut taken = Self::default();
        for (name, value) in arguments {
            match (name.as_str(), value) {
                ("partnerId", Value::String(id)) => taken.partner_id.clone_from(id),
                // An ID may be written as a number.
                ("partnerId", Value::Number(id)) => taken.partner_id = id.to_string(),
                ("limit", Value::Number(limit)) => taken.limit = as_i32(limit),
                ("first", Value::Number(first)) => taken.first = as_i32(first),
                ("reversed", Value::Boolean(reversed)) => taken.reversed = *reversed,
                ("markRead", Value::Boolean(mark_read)) => taken.mark_read = *mark_read,
                ("after", Value::String(after)) => taken.after = Some(after.clone()),
                _ => {}
            }
        }
        taken
    }

    /// Reads the page, and marks what it shows where that is asked for.
    ///
    /// # Errors
    /// `BAD_USER_INPUT` for a bad size or cursor, and as [`Chat::conversation`].
    pub(super) async fn read(
        &self,
        chat: &Chat,
        viewer: Uuid,
    ) -> Result<Page<chat::Message>, Error> {
        let page = ConversationPage {
            partner: self.partner_id.clone(),
            size: self.size()?,
            reversed: self.reversed,
            after: self.after.clone(),
        };
        Ok(if self.mark_read {
            chat.read_page(viewer, &page).await?
        } else {
            chat.conversation(viewer, &page).await?
        })
    }

    fn size(&self) -> Result<PageSize, chat::Error> {
        match (self.limit, self.first) {
            (Some(_), Some(_)) => Err(chat::Error::BadInput(
                "limit and first are two words for one thing: give one of them".to_owned(),
            )),
            (Some(limit), None) => PageSize::parse(limit, "limit"),
            (None, Some(first)) => PageSize::parse(first, "first"),
            (None, None) => PageSize::parse(PageSize::DEFAULT, "limit"),
        }
    }
}

fn as_i32(number: &async_graphql::Number) -> Option<i32> {
    number
        .as_i64()
        .and_then(|number| i32::try_from(number).ok())
}
