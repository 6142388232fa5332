//! Messages: immutable but for `read_at`, numbered without gaps within their conversation.

#![expect(
    missing_docs,
    reason = "SeaORM's derive writes undocumented public items"
)]

use sea_orm::{Condition, entity::prelude::*};

/// One message from one user to another.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "message")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub conversation_id: Uuid,
    /// 1, 2, 3 … within the conversation: the order.
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    pub sender_id: Uuid,
    pub recipient_id: Uuid,
    pub content: String,
    /// Never before the conversation's previous message.
    pub sent_at: i64,
    /// Never before `sent_at`; absent while unread.
    pub read_at: Option<i64>,
    /// The sender's id for this message, or one that the server drew (it then starts with a character no client may use).
    pub client_message_id: String,
    /// The position of this message's signal in the recipient's log: the order of the unread list.
    pub recipient_position: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The messages that the viewer sent or received: absent and not-yours are the same answer.
    #[must_use]
    pub fn visible_to(viewer: Uuid) -> Select<Self> {
        Self::find().filter(
            Condition::any()
                .add(Column::SenderId.eq(viewer))
                .add(Column::RecipientId.eq(viewer)),
        )
    }
}
