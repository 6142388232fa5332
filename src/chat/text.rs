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

/// The name that is shown for a user: 1 to 255 bytes, free of control characters and of those that change the direction of
/// text, by which a name could pass for another, or change the lines around it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Username(String);

impl Username {
    /// # Errors
    /// [`Error::BadInput`] where it is not of that form.
    pub fn parse(text: String) -> Result<Self, Error> {
        check_name("a username", &text)?;
        if let Some(character) = text.chars().find(|c| is_deceptive(*c)) {
            return Err(Error::BadInput(format!(
                "a username holds no control characters, and none that change the direction of text: leave U+{:04X} out",
                u32::from(character)
            )));
        }
        Ok(Self(text))
    }

    /// The name without the characters that it may not hold, and whether there were any.
    ///
    /// # Errors
    /// [`Error::BadInput`] where nothing is left, or too much.
    pub fn strip(mut text: String) -> Result<(Self, bool), Error> {
        let length = text.len();
        text.retain(|c| !is_deceptive(c));
        let stripped = text.len() < length;
        Ok((Self::parse(text)?, stripped))
    }

    /// What stands in for the name of a user until one is given: the id, as far as it can be a name.
    #[must_use]
    pub fn stand_in(subject: &str) -> Self {
        Self::strip(subject.to_owned()).map_or_else(|_| Self("?".to_owned()), |(name, _)| name)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Controls, ends of lines, and embeddings, overrides and isolates of bidirectional text (Unicode, annex 9).
fn is_deceptive(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
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
