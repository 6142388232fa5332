//! One user's side of one conversation.

#![expect(
    missing_docs,
    reason = "SeaORM's derive writes undocumented public items"
)]

use sea_orm::entity::prelude::*;

/// How a conversation stands for one of its two users.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "conversation_partner")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub partner_id: Uuid,
    pub conversation_id: Uuid,
    /// The `seq` of the conversation's latest message.
    pub last_seq: i64,
    /// The position, in this user's log, of the latest message sent or received (never of a read): the order of the list.
    pub last_position: i64,
    /// How many of the partner's messages this user has not read.
    pub unread_count: i64,
    /// Everything up to and with this `seq` is read: where readConversation starts.
    pub read_seq: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The viewer's own sides, and nobody else's.
    #[must_use]
    pub fn of(viewer: Uuid) -> Select<Self> {
        Self::find().filter(Column::UserId.eq(viewer))
    }
}
