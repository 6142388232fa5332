use std::{sync::Arc, time::Duration};

use async_graphql::{Enum, ErrorExtensions as _};

use crate::chat;

/// Every code that this server can answer: `errors[].extensions.code` is always one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum ErrorCode {
    /// No token, or one that is not believed or has expired: sign in, and send `Authorization: Bearer <token>`.
    Unauthenticated,
    /// Signed in, but not allowed to do this.
    Forbidden,
    /// No user has this id.
    UserNotFound,
    /// No such message, or not yours to read: one answer for both.
    MessageNotFound,
    /// Sender and recipient, or viewer and partner, are one person.
    CannotMessageSelf,
    /// The content holds nothing but white space.
    ContentEmpty,
    /// The content has more characters than the server's limit.
    ContentTooLong,
    /// The same `clientMessageId` came before with another content.
    ClientMessageIdReused,
    /// A bad limit, cursor, id or variable.
    BadUserInput,
    /// The stream no longer holds that position: reload the lists, and go on from `signalCursor`.
    CursorExpired,
    /// A mutation, or `markRead: true`, came by GET: send it by POST.
    SideEffectRequiresPost,
    /// Too many requests: wait as long as `Retry-After` says.
    RateLimited,
    /// The operation costs more than the server's limit: ask for less at a time.
    QueryTooComplex,
    /// The response is larger than the server's limit: ask for less at a time. A mutation in it was carried out.
    ResponseTooLarge,
    /// No well-formed GraphQL-over-HTTP request (status 400, 404, 405, 406, 413 or 415).
    BadRequest,
    /// The document is not GraphQL.
    GraphqlParseFailed,
    /// The document does not fit the schema.
    GraphqlValidationFailed,
    /// The persisted query is not known: send its text.
    PersistedQueryNotFound,
    /// This server keeps no persisted queries.
    PersistedQueryNotSupported,
    /// This server runs only the documents it was given.
    DocumentNotAllowed,
    /// Try again: the database is away, or the queue is full.
    Unavailable,
    /// A defect of the server's: its log has the details under the `requestId` beside this code.
    Internal,
}

impl ErrorCode {
    /// The code as it stands in `extensions.code`.
    #[must_use]
    pub fn name(self) -> String {
        async_graphql::resolver_utils::enum_value(self)
            .to_string()
            .replace('"', "")
    }
}

/// An error on its way to the client. It is not `Display`, so that `?` cannot turn anything else into one unseen.
#[derive(Clone, Debug)]
pub struct Error {
    /// What kind.
    pub code: ErrorCode,
    /// For the person who reads it.
    pub message: String,
    /// How long to wait before the same is asked again.
    retry_after: Option<Duration>,
    /// For the log.
    cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error that says everything itself.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
            cause: None,
        }
    }
}

impl Error {
    /// Logs an internal error, once. The request's span has the id that the client is told in place of the cause.
    pub fn log(&self) {
        if self.code == ErrorCode::Internal {
            // As people read it: PostgreSQL's own form holds the row that it refused, with the message's content.
            let cause = self.cause.as_ref().map(tracing::field::display);
            tracing::error!(cause, "a request failed: {}", self.message);
        }
    }
}

impl From<chat::Error> for Error {
    fn from(error: chat::Error) -> Self {
        let message = error.to_string();
        let code = match &error {
            chat::Error::UserNotFound(_) => ErrorCode::UserNotFound,
            chat::Error::MessageNotFound => ErrorCode::MessageNotFound,
            chat::Error::CannotMessageSelf => ErrorCode::CannotMessageSelf,
            chat::Error::ContentEmpty => ErrorCode::ContentEmpty,
            chat::Error::ContentTooLong { .. } => ErrorCode::ContentTooLong,
            chat::Error::ClientMessageIdReused => ErrorCode::ClientMessageIdReused,
            chat::Error::BadInput(_) => ErrorCode::BadUserInput,
            chat::Error::CursorExpired => ErrorCode::CursorExpired,
            chat::Error::TooManyMisses(wait) => {
                return Self {
                    retry_after: Some(*wait),
                    ..Self::new(ErrorCode::RateLimited, message)
                };
            }
            chat::Error::Unavailable(_) => ErrorCode::Unavailable,
            chat::Error::Internal(cause) => {
                return Self {
                    code: ErrorCode::Internal,
                    message,
                    retry_after: None,
                    cause: Some(cause.clone()),
                };
            }
        };
        Self::new(code, message)
    }
}

impl From<Error> for async_graphql::Error {
    fn from(error: Error) -> Self {
        error.log();
        let client = async_graphql::Error::new(error.message);
        client.extend_with(|_, extensions| {
            extensions.set("code", error.code.name());
            if let Some(wait) = error.retry_after {
                extensions.set("retryAfter", wait.as_secs() + 1);
            }
        })
    }
}

impl From<Error> for async_graphql::ServerError {
    /// Of a whole operation: no place in its document is at fault.
    fn from(error: Error) -> Self {
        let error: async_graphql::Error = error.into();
        let mut error = error.into_server_error(async_graphql::Pos::default());
        error.locations.clear();
        error
    }
}
