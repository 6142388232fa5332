//! A random value that is part of every cursor: after a backup was restored, a new one turns old cursors away.

#![expect(
    missing_docs,
    reason = "SeaORM's derive writes undocumented public items"
)]

use sea_orm::entity::prelude::*;

/// The only row: `id` is always 1.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "epoch")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    pub value: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
