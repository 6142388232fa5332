//! Many rows as one statement's parameters: the text of a set-based statement does not depend on how many rows it takes.

use std::borrow::Cow;

use data_encoding::HEXLOWER;
use sea_orm::{
    ConnectionTrait as _, DatabaseTransaction, DbBackend, DbErr, Statement, Value,
    sea_query::ArrayType,
};
use uuid::Uuid;

/// Columns of equal length, by name. A statement reads them as a table, `r`, where its text says `{rows}`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    columns: Vec<(&'static str, Column)>,
}

/// A statement that writes one row of a table for each of its own, and answers with nothing.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    table: &'static str,
    rows: Rows,
    sql: Cow<'static, str>,
}

/// Writes of different tables, none of which needs to see what another one did.
#[must_use]
#[derive(Clone, Debug, Default)]
pub(crate) struct Writes(Vec<Write>);

#[derive(Clone, Debug)]
enum Column {
    Uuids(Vec<Uuid>),
    Integers(Vec<i64>),
    Texts(Vec<String>),
}

impl Rows {
    pub(crate) fn uuids(self, name: &'static str, values: impl IntoIterator<Item = Uuid>) -> Self {
        self.column(name, Column::Uuids(values.into_iter().collect()))
    }

    pub(crate) fn integers(
        self,
        name: &'static str,
        values: impl IntoIterator<Item = i64>,
    ) -> Self {
        self.column(name, Column::Integers(values.into_iter().collect()))
    }

    pub(crate) fn texts(
        self,
        name: &'static str,
        values: impl IntoIterator<Item = String>,
    ) -> Self {
        self.column(name, Column::Texts(values.into_iter().collect()))
    }

    fn len(&self) -> usize {
        self.columns.first().map_or(0, |(_, column)| column.len())
    }

    fn column(mut self, name: &'static str, column: Column) -> Self {
        self.columns.push((name, column));
        self
    }

    /// The statement that reads these rows where `sql` says `{rows}`.
    pub(crate) fn statement(self, backend: DbBackend, sql: &str) -> Statement {
        let mut values = Vec::new();
        let sql = self.fill_in(backend, sql, &mut values);
        Statement::from_sql_and_values(backend, sql, values)
    }

    /// The write of a table by these rows, which `sql` calls `{rows}`.
    pub(crate) fn write(self, table: &'static str, sql: impl Into<Cow<'static, str>>) -> Write {
        Write {
            table,
            rows: self,
            sql: sql.into(),
        }
    }

    /// The text with its parameters after those that are there.
    fn fill_in(self, backend: DbBackend, sql: &str, values: &mut Vec<Value>) -> String {
        let source = match backend {
            DbBackend::Sqlite => self.into_json(values),
            _ => self.into_arrays(values),
        };
        sql.replace("{rows}", &source)
    }

    /// PostgreSQL: one array per column, side by side.
    fn into_arrays(self, values: &mut Vec<Value>) -> String {
        let mut arguments = Vec::new();
        let mut names = Vec::new();
        for (place, (name, column)) in (values.len() + 1..).zip(self.columns) {
            names.push(name);
            let (sql_type, value) = match column {
                Column::Uuids(uuids) => ("uuid", array(ArrayType::Uuid, uuids)),
                Column::Integers(integers) => ("bigint", array(ArrayType::BigInt, integers)),
                Column::Texts(texts) => ("text", array(ArrayType::String, texts)),
            };
            arguments.push(format!("${place}::{sql_type}[]"));
            values.push(value);
        }
        format!(
            "unnest({}) AS r({})",
            arguments.join(", "),
            names.join(", ")
        )
    }

    /// SQLite: one JSON array of rows. A uuid is a blob in a column but text in JSON.
    fn into_json(self, values: &mut Vec<Value>) -> String {
        let expressions: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .map(|(place, (name, column))| match column {
                Column::Uuids(_) => format!("unhex(value ->> {place}) AS {name}"),
                Column::Integers(_) | Column::Texts(_) => format!("value ->> {place} AS {name}"),
            })
            .collect();
        let height = self.len();
        let rows: Vec<Vec<serde_json::Value>> = (0..height)
            .map(|row| {
                self.columns
                    .iter()
                    .map(|(_, column)| column.json(row))
                    .collect()
            })
            .collect();
        let json = serde_json::to_string(&rows).expect("numbers and texts are JSON");
        values.push(json.into());
        let (place, columns) = (values.len(), expressions.join(", "));
        format!("(SELECT {columns} FROM json_each(${place})) AS r")
    }
}

impl From<Write> for Writes {
    fn from(write: Write) -> Self {
        Self(vec![write])
    }
}

impl Writes {
    /// Adds one, of a table that no other one writes: two writes of one row in one statement are one too few.
    pub(crate) fn add(&mut self, write: Write) {
        let again = self.0.iter().any(|other| other.table == write.table);
        assert!(!again, "{} is written twice", write.table);
        self.0.push(write);
    }

    /// On PostgreSQL as one statement, since each is a round trip that locks are held for; one after the other on SQLite,
    /// which is in this process and whose statements write one table each.
    ///
    /// An error where the last one's table lacks a row that it was to change; on SQLite, any one's.
    pub(crate) async fn execute(self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
        let backend = tx.get_database_backend();
        if backend == DbBackend::Sqlite {
            for Write { table, rows, sql } in self.0 {
                let expected = rows.len();
                let done = tx.execute_raw(rows.statement(backend, &sql)).await?;
                all_there(table, expected, done.rows_affected())?;
            }
            return Ok(());
        }
        let Some((table, expected)) = self.0.last().map(|last| (last.table, last.rows.len()))
        else {
            return Ok(());
        };
        let mut values = Vec::new();
        let mut texts: Vec<String> = self
            .0
            .into_iter()
            .map(|Write { rows, sql, .. }| rows.fill_in(backend, &sql, &mut values))
            .collect();
        let last = texts.pop().unwrap_or_default();
        let before: Vec<String> = texts
            .iter()
            .enumerate()
            .map(|(n, text)| format!("w{n} AS ({text})"))
            .collect();
        let sql = if before.is_empty() {
            last
        } else {
            format!("WITH {} {last}", before.join(", "))
        };
        let statement = Statement::from_sql_and_values(backend, sql, values);
        let done = tx.execute_raw(statement).await?;
        all_there(table, expected, done.rows_affected())
    }
}

fn all_there(table: &str, expected: usize, written: u64) -> Result<(), DbErr> {
    if usize::try_from(written).is_ok_and(|written| written == expected) {
        return Ok(());
    }
    let told =
        format!("{written} of {expected} rows of {table} are there: run `directmessages verify`");
    Err(DbErr::Custom(told))
}

impl Column {
    fn len(&self) -> usize {
        match self {
            Self::Uuids(values) => values.len(),
            Self::Integers(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    fn json(&self, row: usize) -> serde_json::Value {
        match self {
            Self::Uuids(values) => HEXLOWER.encode(values[row].as_bytes()).into(),
            Self::Integers(values) => values[row].into(),
            Self::Texts(values) => values[row].as_str().into(),
        }
    }
}

fn array<T: Into<Value>>(kind: ArrayType, values: Vec<T>) -> Value {
    let values = values.into_iter().map(Into::into).collect();
    Value::Array(kind, Some(Box::new(values)))
}
