//! The people who write and read messages: mirrors of the host application's users.

#![expect(
    missing_docs,
    reason = "SeaORM's derive writes undocumented public items"
)]

use sea_orm::entity::prelude::*;

/// One user of the host application.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user")]
pub struct Model {
    /// UUIDv5 of `subject`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The user's id in the host application, verbatim: 1 to 255 bytes.
    pub subject: String,
    /// The name shown beside this user's messages: 1 to 255 bytes.
    pub username: String,
    /// When the username was given, by the clock of whoever gave it; 0 where the subject stands in for a name.
    pub named_at: i64,
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
