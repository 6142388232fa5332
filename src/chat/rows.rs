//! Many rows as one statement's parameters: the text of a set-based statement does not depend on how many rows it takes.

use data_encoding::HEXLOWER;
use sea_orm::{DbBackend, Statement, Value, sea_query::ArrayType};
use uuid::Uuid;

/// Columns of equal length, by name. A statement reads them as a table, `r`, where its text says `{rows}`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    columns: Vec<(&'static str, Column)>,
}

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

    fn column(mut self, name: &'static str, column: Column) -> Self {
        self.columns.push((name, column));
        self
    }

    /// The statement that reads these rows where `sql` says `{rows}`.
    pub(crate) fn statement(self, backend: DbBackend, sql: &str) -> Statement {
        let (source, values) = match backend {
            DbBackend::Sqlite => self.into_json(),
            _ => self.into_arrays(),
        };
        Statement::from_sql_and_values(backend, sql.replace("{rows}", &source), values)
    }

    /// PostgreSQL: one array per column, side by side.
    fn into_arrays(self) -> (String, Vec<Value>) {
        let mut arguments = Vec::new();
        let mut names = Vec::new();
        let mut values = Vec::new();
        for (place, (name, column)) in (1..).zip(self.columns) {
            names.push(name);
            let (sql_type, value) = match column {
                Column::Uuids(uuids) => ("uuid", array(ArrayType::Uuid, uuids)),
                Column::Integers(integers) => ("bigint", array(ArrayType::BigInt, integers)),
                Column::Texts(texts) => ("text", array(ArrayType::String, texts)),
            };
            arguments.push(format!("${place}::{sql_type}[]"));
            values.push(value);
        }
        let source = format!(
            "unnest({}) AS r({})",
            arguments.join(", "),
            names.join(", ")
        );
        (source, values)
    }

    /// SQLite: one JSON array of rows. A uuid is a blob in a column but text in JSON.
    fn into_json(self) -> (String, Vec<Value>) {
        let expressions: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .map(|(place, (name, column))| match column {
                Column::Uuids(_) => format!("unhex(value ->> {place}) AS {name}"),
                Column::Integers(_) | Column::Texts(_) => format!("value ->> {place} AS {name}"),
            })
            .collect();
        let height = self.columns.first().map_or(0, |(_, column)| column.len());
        let rows: Vec<Vec<serde_json::Value>> = (0..height)
            .map(|row| {
                self.columns
                    .iter()
                    .map(|(_, column)| column.json(row))
                    .collect()
            })
            .collect();
        let source = format!(
            "(SELECT {} FROM json_each($1)) AS r",
            expressions.join(", ")
        );
        let json = serde_json::to_string(&rows).expect("numbers and texts are JSON");
        (source, vec![json.into()])
    }
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
