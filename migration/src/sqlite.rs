//! What a SQLite file holds before it is migrated.

use sea_orm_migration::{
    prelude::{DbErr, MigrationName as _},
    sea_orm::{ConnectionTrait, Statement},
};

use crate::m20261122_000001_create_tables as first;

/// The contents of a SQLite file, as far as migrations are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SqliteState {
    /// There is no table.
    Empty,
    /// The tables of a first migration that was cut short: some are missing, none has a row. The first version of this
    /// program ran its migration without a transaction.
    Partial,
    /// The first migration is recorded, and its tables exist.
    Migrated,
    /// The first migration is recorded, but these tables are missing: the first version of this program also took its
    /// migration back without a transaction.
    Incomplete(Vec<String>),
    /// There are tables of another application, and no record of ours.
    Foreign(Vec<String>),
}

impl SqliteState {
    /// What keeps the program from using such a file, and what to do.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        match self {
            Self::Empty | Self::Partial | Self::Migrated => None,
            Self::Incomplete(missing) => Some(format!(
                "tables are missing ({}): restore a backup, or run `directmessages migrate down` and `directmessages \
                 migrate up` to start without messages",
                missing.join(", ")
            )),
            Self::Foreign(tables) => Some(format!(
                "the file belongs to another application (tables: {}) and is left as it is: name another file in \
                 DATABASE_URL",
                tables.join(", ")
            )),
        }
    }
}

/// Looks at the tables of a SQLite file. It only reads.
///
/// # Errors
/// Where the file cannot be read.
pub async fn inspect_sqlite(db: &impl ConnectionTrait) -> Result<SqliteState, DbErr> {
    // Replication tools, as Litestream, keep tables of their own, whose names begin with an underscore.
    let objects = query(
        db,
        "SELECT name, coalesce(sql, ''), type FROM sqlite_schema \
         WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND tbl_name NOT LIKE '\\_%' ESCAPE '\\'",
        |row| {
            let (name, sql, kind) = (
                row.try_get_by_index(0)?,
                row.try_get_by_index(1)?,
                row.try_get_by_index(2)?,
            );
            Ok(Object { name, sql, kind })
        },
    )
    .await?;
    let (record, objects): (Vec<_>, Vec<_>) = objects
        .into_iter()
        .partition(|object| object.name == RECORD);
    if !record.is_empty() {
        let versions = "SELECT version FROM seaql_migrations";
        let versions: Vec<String> = query(db, versions, |row| row.try_get_by_index(0)).await?;
        if versions
            .iter()
            .any(|version| version == first::Migration.name())
        {
            let exists = |table: &str| objects.iter().any(|object| object.name == table);
            let missing = first::TABLES.into_iter().filter(|table| !exists(table));
            let missing: Vec<String> = missing.map(ToOwned::to_owned).collect();
            return Ok(if missing.is_empty() {
                SqliteState::Migrated
            } else {
                SqliteState::Incomplete(missing)
            });
        }
        if !versions.is_empty() {
            return Ok(foreign([record, objects].concat()));
        }
    }
    if objects.is_empty() {
        return Ok(SqliteState::Empty);
    }
    let ours = first::sqlite_schema();
    if !objects.iter().all(|object| ours.contains(&object.sql)) {
        return Ok(foreign(objects));
    }
    for table in objects.iter().filter(|object| object.kind == "table") {
        // The one row that the migration itself writes.
        if table.name != "epoch" && has_rows(db, &table.name).await? {
            return Ok(foreign(objects));
        }
    }
    Ok(SqliteState::Partial)
}

/// Where sea-orm-migration records what it has applied.
const RECORD: &str = "seaql_migrations";

#[derive(Clone)]
struct Object {
    name: String,
    sql: String,
    kind: String,
}

fn foreign(objects: Vec<Object>) -> SqliteState {
    let tables = objects.into_iter().filter(|object| object.kind != "index");
    let mut tables: Vec<String> = tables.map(|object| object.name).collect();
    tables.sort();
    SqliteState::Foreign(tables)
}

async fn has_rows(db: &impl ConnectionTrait, table: &str) -> Result<bool, DbErr> {
    let sql = format!("SELECT 1 FROM \"{table}\" LIMIT 1");
    let rows = query(db, &sql, |_| Ok(())).await?;
    Ok(!rows.is_empty())
}

async fn query<T>(
    db: &impl ConnectionTrait,
    sql: &str,
    read: impl Fn(sea_orm_migration::sea_orm::QueryResult) -> Result<T, DbErr>,
) -> Result<Vec<T>, DbErr> {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let rows = db.query_all_raw(statement).await?;
    rows.into_iter().map(read).collect()
}
