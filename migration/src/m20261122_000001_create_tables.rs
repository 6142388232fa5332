//! The six tables of DESIGN.md's section 3.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};
use uuid::Uuid;

use crate::sqlite::{SqliteState, inspect_sqlite};

/// The tables, in the order in which they are created.
pub(super) const TABLES: [&str; 6] = [
    "user",
    "inbox",
    "conversation_partner",
    "message",
    "signal",
    "epoch",
];

/// The statements by which SQLite remembers the tables and indexes.
pub(super) fn sqlite_schema() -> Vec<String> {
    let tables = tables(DbBackend::Sqlite);
    let tables = tables
        .iter()
        .map(|table| table.to_string(SqliteQueryBuilder));
    let indexes = indexes();
    let indexes = indexes
        .iter()
        .map(|index| index.to_string(SqliteQueryBuilder));
    tables.chain(indexes).collect()
}

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        if backend == DbBackend::Sqlite {
            let state = inspect_sqlite(manager.get_connection()).await?;
            if let Some(error) = state.error() {
                return Err(DbErr::Custom(error));
            }
            if state == SqliteState::Partial {
                self.down(manager).await?;
            }
        }
        for table in tables(backend) {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        // The first 8 random bytes of a version 4 uuid, less the sign bit: the same on both databases.
        let value = i64::from_be_bytes(
            Uuid::new_v4().as_bytes()[..8]
                .try_into()
                .expect("eight bytes"),
        ) & i64::MAX;
        let epoch = Query::insert()
            .into_table("epoch")
            .columns(["id", "value"])
            .values_panic([1.into(), value.into()])
            .to_owned();
        manager.get_connection().execute(&epoch).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES.into_iter().rev() {
            // Some may be missing in a file of the first version, which dropped them without a transaction.
            manager
                .drop_table(Table::drop().table(table).if_exists().to_owned())
                .await?;
        }
        Ok(())
    }
}

fn tables(backend: DbBackend) -> Vec<TableCreateStatement> {
    let uuid = |name: &'static str| {
        let mut column = ColumnDef::new(name);
        match backend {
            DbBackend::Sqlite => column.blob(),
            _ => column.uuid(),
        };
        column.not_null().to_owned()
    };
    let integer = |name: &'static str| ColumnDef::new(name).big_integer().not_null().to_owned();
    let text = |name: &'static str| ColumnDef::new(name).text().not_null().to_owned();
    let table = |name: &'static str, columns: Vec<ColumnDef>, key: &[&'static str]| {
        let mut table = Table::create();
        table.table(name);
        for column in columns {
            table.col(column);
        }
        let mut primary_key = Index::create();
        for column in key {
            primary_key.col(*column);
        }
        table.primary_key(&mut primary_key);
        if backend == DbBackend::Sqlite {
            // Rows lie in the order of their key: a page of a conversation is one stretch of the file.
            table.extra("WITHOUT ROWID");
        }
        table.take()
    };
    vec![
        table(
            "user",
            vec![
                uuid("id"),
                text("subject"),
                text("username"),
                integer("named_at"),
                integer("created_at"),
            ],
            &["id"],
        ),
        table(
            "inbox",
            vec![
                uuid("user_id"),
                integer("last_position"),
                integer("log_floor"),
                integer("unread_count"),
            ],
            &["user_id"],
        ),
        table(
            "conversation_partner",
            vec![
                uuid("user_id"),
                uuid("partner_id"),
                uuid("conversation_id"),
                integer("last_seq"),
                integer("last_position"),
                integer("unread_count"),
                integer("read_seq"),
            ],
            &["user_id", "partner_id"],
        ),
        table(
            "message",
            vec![
                uuid("conversation_id"),
                integer("seq"),
                uuid("sender_id"),
                uuid("recipient_id"),
                text("content"),
                integer("sent_at"),
                ColumnDef::new("read_at").big_integer().null().to_owned(),
                text("client_message_id"),
                integer("recipient_position"),
            ],
            &["conversation_id", "seq"],
        ),
        table(
            "signal",
            vec![
                uuid("user_id"),
                integer("position"),
                ColumnDef::new("kind").small_integer().not_null().to_owned(),
                uuid("conversation_id"),
                integer("seq"),
                integer("created_at"),
            ],
            &["user_id", "position"],
        ),
        table(
            "epoch",
            vec![
                ColumnDef::new("id").integer().not_null().to_owned(),
                integer("value"),
            ],
            &["id"],
        ),
    ]
}

fn indexes() -> [IndexCreateStatement; 3] {
    [
        Index::create()
            .name("conversation_partner_by_activity")
            .table("conversation_partner")
            .col("user_id")
            .col("last_position")
            .to_owned(),
        Index::create()
            .name("message_by_client_id")
            .table("message")
            .col("conversation_id")
            .col("sender_id")
            .col("client_message_id")
            .unique()
            .to_owned(),
        Index::create()
            .name("message_unread")
            .table("message")
            .col("recipient_id")
            .col("recipient_position")
            .and_where(Expr::col("read_at").is_null())
            .to_owned(),
    ]
}
