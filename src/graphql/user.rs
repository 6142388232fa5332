use std::sync::Arc;

use async_graphql::{Description, ID, InputObject, Object};
use entity::user;

/// A user of the host application.
#[derive(Clone, Debug, Description)]
pub(crate) struct User(pub(crate) Arc<user::Model>);

#[Object(use_type_description)]
impl User {
    /// The user's id in the host application: the token's `sub`, verbatim; 1 to 255 bytes.
    pub(crate) async fn id(&self) -> ID {
        ID(self.0.subject.clone())
    }

    /// The name to show for this user, 1 to 255 bytes without control characters: from the token's `preferred_username` or `name`,
    /// or from `upsertUsers`; until one was given the id, without the characters that a name may not hold.
    async fn username(&self) -> &str {
        &self.0.username
    }
}

/// One user, by the host application's word.
#[derive(Debug, InputObject)]
pub(crate) struct UserInput {
    /// The user's id in the host application: 1 to 255 bytes, not starting with `dm_`, free of NUL.
    pub(crate) id: ID,
    /// The name to show for this user: 1 to 255 bytes, free of control characters and of those that change the direction of text.
    pub(crate) username: String,
}

/// Users to store, new or known.
#[derive(Debug, InputObject)]
pub(crate) struct UpsertUsersInput {
    /// At most 1,000 (a setting of the server's). Where one is named twice, the last name stands.
    pub(crate) users: Vec<UserInput>,
}

/// What `upsertUsers` stored.
#[derive(Debug, Description)]
pub(crate) struct UpsertUsersPayload(pub(crate) Vec<User>);

#[Object(use_type_description)]
impl UpsertUsersPayload {
    /// The users as they now stand, in the order given.
    async fn users(&self) -> &[User] {
        &self.0
    }
}
