//! Texts that were checked: whoever holds one need not look again.

use uuid::Uuid;

use super::{Error, id::PREFIX};

/// A message's content: not blank, not longer than the limit, free of NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content(String);

impl Content {
    /// # Errors
    /// [`Error::ContentEmpty`] for nothing but white space, [`Error::ContentTooLong`] beyond `limit` Unicode scalar values,
    /// [`Error::BadInput`] for a NUL character, which PostgreSQL cannot store.
    pub fn parse(text: String, limit: usize) -> Result<Self, Error> {
        if text.trim().is_empty() {
            return Err(Error::ContentEmpty);
        }
        let length = text.chars().count();
        if length > limit {
            return Err(Error::ContentTooLong { length, limit });
        }
        if text.contains('\0') {
            return Err(Error::BadInput(
                "the content holds a NUL character (U+0000): leave it out".to_owned(),
            ));
        }
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What makes a send repeatable: the sender's id for the message, or one that the server drew.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientMessageId(String);

/// What begins an id that the server drew. Clients' ids are ASCII, so the two can never meet.
const DRAWN: char = '·';

impl ClientMessageId {
    /// # Errors
    /// [`Error::BadInput`] unless it is 1 to 64 printable ASCII characters.
    pub fn parse(text: String) -> Result<Self, Error> {
        let fits = (1..=64).contains(&text.len());
        if fits && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            Ok(Self(text))
        } else {
            Err(Error::BadInput(
                "clientMessageId takes 1 to 64 printable ASCII characters: a UUID is fine"
                    .to_owned(),
            ))
        }
    }

    /// An id for a send that came without one, so that the server can repeat it.
    #[must_use]
    pub fn draw() -> Self {
        Self(format!("{DRAWN}{}", Uuid::new_v4().simple()))
    }

    /// The text as it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The stored text, where it was the client's own.
    #[must_use]
    pub fn given(stored: &str) -> Option<&str> {
        (!stored.starts_with(DRAWN)).then_some(stored)
    }
}

/// The host application's id of a user: 1 to 255 bytes, free of NUL, not beginning like an id of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject(String);

impl Subject {
    /// # Errors
    /// [`Error::BadInput`] where it is not of that form.
    pub fn parse(text: String) -> Result<Self, Error> {
        check_name("a user's id", &text)?;
        if text.starts_with(PREFIX) {
            return Err(Error::BadInput(format!(
                "a user's id may not begin with {PREFIX:?}, which marks this server's own ids"
            )));
        }
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name that is shown for a user: 1 to 255 bytes, free of NUL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Username(String);

impl Username {
    /// # Errors
    /// [`Error::BadInput`] where it is not of that form.
    pub fn parse(text: String) -> Result<Self, Error> {
        check_name("a username", &text)?;
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_name(what: &str, text: &str) -> Result<(), Error> {
    if (1..=255).contains(&text.len()) && !text.contains('\0') {
        return Ok(());
    }
    Err(Error::BadInput(format!(
        "{what} takes 1 to 255 bytes without NUL, and this one has {}",
        text.len()
    )))
}
