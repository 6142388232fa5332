use async_graphql::Context;
use uuid::Uuid;

use super::{Error, ErrorCode};
use crate::{
    auth::Identity,
    chat::{self, Chat, Naming, Observer, Subject, Username, user_id},
};

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Without a token.
    Nobody,
    /// A user, by a token of their own or by the host application acting for them.
    User(Viewer),
    /// The host application itself.
    Service,
}

/// A signed-in user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The user's id here.
    pub id: Uuid,
    /// The user's id in the host application.
    pub subject: String,
    /// Whether the host application acts for the user, and may do what only it may.
    pub service: bool,
}

impl Caller {
    /// Whether a service token was given, by itself or to act for a user.
    #[must_use]
    pub fn is_service(&self) -> bool {
        match self {
            Self::Nobody => false,
            Self::User(viewer) => viewer.service,
            Self::Service => true,
        }
    }

    /// Makes sure that whoever a token speaks for exists here. The host application creates nobody, and acts for an
    /// existing user by `act_as`.
    ///
    /// # Errors
    /// `FORBIDDEN` for a user that would act for another, `USER_NOT_FOUND` for acting for nobody, `UNAUTHENTICATED` for a
    /// `sub` that cannot be a user's id, `UNAVAILABLE`.
    pub async fn arrive(
        chat: &Chat,
        identity: &Identity,
        act_as: Option<&str>,
    ) -> Result<Self, Error> {
        match (identity.service, act_as) {
            (true, None) => Ok(Self::Service),
            (true, Some(subject)) => {
                let user = chat.user(user_id(subject), subject).await?;
                let user = user.ok_or_else(|| chat::Error::UserNotFound(subject.to_owned()))?;
                Ok(Self::User(Viewer {
                    id: user.id,
                    subject: user.subject,
                    service: true,
                }))
            }
            (false, Some(_)) => Err(Error::new(
                ErrorCode::Forbidden,
                "only a service token may act for another user: leave X-Act-As out",
            )),
            (false, None) => {
                let broken = |error: chat::Error| {
                    let message = format!("the token's sub cannot be used: {error}");
                    Error::new(ErrorCode::Unauthenticated, message)
                };
                let subject = Subject::parse(identity.subject.clone()).map_err(broken)?;
                chat.arrive(&subject, naming(identity).as_ref()).await?;
                Ok(Self::User(Viewer {
                    id: user_id(subject.as_str()),
                    subject: identity.subject.clone(),
                    service: false,
                }))
            }
        }
    }
}

/// The name that a token gives, where it can be one; the token is good without.
fn naming(identity: &Identity) -> Option<Naming> {
    let (username, stripped) = Username::strip(identity.name.clone()?).ok()?;
    Some(Naming {
        username,
        named_at: identity.issued_at.unwrap_or(0).saturating_mul(1_000),
        stripped,
    })
}

impl Caller {
    /// The signed-in user.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`; `FORBIDDEN` for the host application where it acts for nobody.
    pub(super) fn viewer(&self) -> Result<&Viewer, Error> {
        match self {
            Self::User(viewer) => Ok(viewer),
            Self::Nobody => Err(unauthenticated()),
            Self::Service => Err(Error::new(
                ErrorCode::Forbidden,
                "a service token acts for a user by the header X-Act-As: give the user's id",
            )),
        }
    }

    /// Who looks users up.
    pub(super) fn observer(&self) -> Observer {
        match self {
            Self::User(viewer) if viewer.service => Observer::Application(viewer.id),
            Self::User(viewer) => Observer::User(viewer.id),
            Self::Nobody | Self::Service => Observer::Application(Uuid::nil()),
        }
    }
}

/// The signed-in user.
///
/// # Errors
/// As [`Caller::viewer`].
pub(crate) fn viewer<'a>(ctx: &Context<'a>) -> Result<&'a Viewer, Error> {
    ctx.data_unchecked::<Caller>().viewer()
}

/// Who looks users up.
///
/// # Errors
/// `UNAUTHENTICATED`.
pub(crate) fn observer(ctx: &Context<'_>) -> Result<Observer, Error> {
    signed_in(ctx)?;
    Ok(ctx.data_unchecked::<Caller>().observer())
}

/// Anybody with a token.
pub(crate) fn signed_in(ctx: &Context<'_>) -> Result<(), Error> {
    match ctx.data_unchecked::<Caller>() {
        Caller::User(_) | Caller::Service => Ok(()),
        Caller::Nobody => Err(unauthenticated()),
    }
}

/// The host application itself.
pub(crate) fn service(ctx: &Context<'_>) -> Result<(), Error> {
    match ctx.data_unchecked::<Caller>() {
        Caller::Service | Caller::User(Viewer { service: true, .. }) => Ok(()),
        Caller::Nobody => Err(unauthenticated()),
        Caller::User(_) => Err(Error::new(
            ErrorCode::Forbidden,
            "only the host application may do this: its token carries role: \"service\"",
        )),
    }
}

fn unauthenticated() -> Error {
    Error::new(
        ErrorCode::Unauthenticated,
        "sign in: send a token as Authorization: Bearer <token>",
    )
}
