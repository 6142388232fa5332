//! What happened, in the order in which one user sees it: the truth behind every subscription.

#![expect(
    missing_docs,
    reason = "SeaORM's derive writes undocumented public items"
)]

use sea_orm::entity::prelude::*;

/// One entry of one user's log. It names the message and holds no content.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "signal")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Uuid,
    /// 1, 2, 3 … within the user's log, without gaps.
    #[sea_orm(primary_key, auto_increment = false)]
    pub position: i64,
    pub kind: Kind,
    pub conversation_id: Uuid,
    pub seq: i64,
    pub created_at: i64,
}

/// What a signal tells of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
pub enum Kind {
    /// The message was sent.
    #[sea_orm(num_value = 1)]
    Sent,
    /// The message was read for the first time.
    #[sea_orm(num_value = 2)]
    Read,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
