//! The database schema, up and down, on SQLite and PostgreSQL alike.

use sea_orm_migration::prelude::*;

mod m20261122_000001_create_tables;
mod sqlite;

/// Every migration, oldest first.
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m20261122_000001_create_tables::Migration)]
    }
}

pub use sea_orm_migration::{MigrationStatus, MigratorTrait};

pub use self::sqlite::{SqliteState, inspect_sqlite};
