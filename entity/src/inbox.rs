//! One row per user that a writer locks: it guards everything else of that user's.

#![expect(
    missing_docs,
    reason = "SeaORM's derive writes undocumented public items"
)]

use sea_orm::entity::prelude::*;

/// Where a user's signal log stands, and how much is unread.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "inbox")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Uuid,
    /// The position of the user's latest signal; 0 before the first.
    pub last_position: i64,
    /// Every signal up to and with this position was pruned, or never written.
    pub log_floor: i64,
    /// How many messages to this user are unread, over all conversations.
    pub unread_count: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
