//! Reads a statement as a distributed PostgreSQL would have to route it: does it say where each of its tables' rows are?

use std::{collections::BTreeSet, ops::ControlFlow};

use sqlparser::{
    ast::{
        AssignmentTarget, BinaryOperator, ConflictTarget, Expr, FromTable, Insert, JoinConstraint,
        JoinOperator, ObjectName, OnInsert, Query, Select, SetExpr, Statement, TableFactor,
        TableObject, TableWithJoins, UpdateTableFromKind, Visit as _, Visitor,
    },
    dialect::PostgreSqlDialect,
    parser::Parser,
};

/// By which column each table is spread. `epoch`, one row, is copied to every node.
const KEYS: [(&str, Option<&str>); 6] = [
    ("user", Some("id")),
    ("inbox", Some("user_id")),
    ("conversation_partner", Some("user_id")),
    ("message", Some("conversation_id")),
    ("signal", Some("user_id")),
    ("epoch", None),
];

/// What needs one answer for all nodes, or a session.
const FORBIDDEN: [&str; 7] = [
    "nextval",
    "currval",
    "setval",
    "lastval",
    "pg_advisory",
    "pg_try_advisory",
    "pg_notify",
];

/// What is to be said of a statement that is neither refused nor routed by what it was given alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Remark {
    /// Its rows are found by a column of another table's rows: a look-up on another node.
    LookUp { table: String, by: String },
    /// Nothing tells where its rows are: every node is asked.
    FanOut { table: String },
}

/// The remarks on a statement, or why no distributed database could run it.
pub(crate) fn check(sql: &str) -> Result<BTreeSet<Remark>, String> {
    let statements = Parser::parse_sql(&PostgreSqlDialect {}, sql)
        .map_err(|error| format!("it cannot be read: {error}"))?;
    let mut checker = Checker::default();
    for statement in &statements {
        checker.written.clear();
        if let ControlFlow::Break(why) = statement.visit(&mut checker) {
            return Err(why);
        }
    }
    Ok(checker.remarks)
}

#[derive(Default)]
struct Checker {
    remarks: BTreeSet<Remark>,
    /// The tables that the statement's parts write.
    written: BTreeSet<String>,
}

impl Visitor for Checker {
    type Break = String;

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<String> {
        let checked = match statement {
            // Its parts are visited.
            Statement::Query(_) => Ok(()),
            Statement::Insert(insert) => {
                let table = match &insert.table {
                    TableObject::TableName(table) => name(table),
                    other => other.to_string(),
                };
                self.write(table).and(insertion(insert))
            }
            Statement::Update(update) => {
                let from = update.from.iter().flat_map(|from| match from {
                    UpdateTableFromKind::BeforeSet(tables)
                    | UpdateTableFromKind::AfterSet(tables) => tables,
                });
                let tables = std::iter::once(&update.table).chain(from);
                let mut moved = Ok(());
                for assignment in &update.assignments {
                    let (table, key) = (factor_name(&update.table.relation), &assignment.target);
                    if let AssignmentTarget::ColumnName(column) = key
                        && key_of(&table).is_ok_and(|key| key == Some(name(column).as_str()))
                    {
                        moved = Err(format!("it moves rows of {table} to another node"));
                    }
                }
                self.scope(tables, update.selection.as_ref())
                    .and(moved)
                    .and(self.write(factor_name(&update.table.relation)))
            }
            Statement::Delete(delete) => {
                let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) =
                    &delete.from;
                let tables = from.iter().chain(delete.using.iter().flatten());
                let written = match from.as_slice() {
                    [one] => self.write(factor_name(&one.relation)),
                    _ => Err("it deletes from several tables".to_owned()),
                };
                written.and(self.scope(tables, delete.selection.as_ref()))
            }
            other => Err(format!("it is of a kind that is not known here: {other}")),
        };
        done(checked)
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<String> {
        done(self.scope(select.from.iter(), select.selection.as_ref()))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        match expr {
            Expr::Function(function) => {
                let called = name(&function.name);
                let forbidden = FORBIDDEN.iter().any(|begin| called.starts_with(begin));
                done(if forbidden {
                    Err(format!("it calls {called}"))
                } else {
                    Ok(())
                })
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

fn done(checked: Result<(), String>) -> ControlFlow<String> {
    match checked {
        Ok(()) => ControlFlow::Continue(()),
        Err(why) => ControlFlow::Break(why),
    }
}

fn insertion(insert: &Insert) -> Result<(), String> {
    let TableObject::TableName(table) = &insert.table else {
        return Err("it inserts into no table".to_owned());
    };
    let table = name(table);
    let Some(key) = key_of(&table)? else {
        return Ok(());
    };
    if !insert.columns.iter().any(|column| name(column) == key) {
        return Err(format!("it inserts into {table} without {key}"));
    }
    if let Some(OnInsert::OnConflict(conflict)) = &insert.on {
        match &conflict.conflict_target {
            Some(ConflictTarget::Columns(columns))
                if columns.iter().any(|column| column.value == key) => {}
            _ => return Err(format!("its conflicts on {table} are not within one {key}")),
        }
    }
    Ok(())
}

/// A table of a scope, by the name it goes by there; none for rows that the statement brings along, or gets by a select of
/// its own, which is looked at by itself.
struct Source {
    alias: String,
    table: Option<String>,
    selected: bool,
}

impl Checker {
    /// PostgreSQL's parts do not see what another one wrote, and `CockroachDB` refuses it.
    fn write(&mut self, table: String) -> Result<(), String> {
        if self.written.contains(&table) {
            return Err(format!("it writes {table} twice"));
        }
        self.written.insert(table);
        Ok(())
    }

    fn scope<'a>(
        &mut self,
        tables: impl Iterator<Item = &'a TableWithJoins>,
        selection: Option<&'a Expr>,
    ) -> Result<(), String> {
        let (mut sources, mut conditions) = (Vec::new(), Vec::new());
        if let Some(all) = selection {
            split(all, &mut conditions);
        }
        for table in tables {
            sources.push(source(&table.relation)?);
            for join in &table.joins {
                sources.push(source(&join.relation)?);
                let (JoinOperator::Join(on)
                | JoinOperator::Inner(on)
                | JoinOperator::Left(on)
                | JoinOperator::LeftOuter(on)) = &join.join_operator
                else {
                    return Err("it joins in a way that is not known here".to_owned());
                };
                if let JoinConstraint::On(on) = on {
                    split(on, &mut conditions);
                }
            }
        }
        let mut known: Vec<&str> = Vec::new();
        for source in &sources {
            if source.table.is_none() {
                known.push(&source.alias);
            }
        }
        // Each table that is found lets others be found by it.
        while let Some((found, remarks)) = sources
            .iter()
            .filter(|source| !known.contains(&source.alias.as_str()))
            .find_map(|source| {
                let remarks = found(source, &sources, &known, &conditions)?;
                Some((source.alias.as_str(), remarks))
            })
        {
            known.push(found);
            self.remarks.extend(remarks);
        }
        for source in sources
            .iter()
            .filter(|s| !known.contains(&s.alias.as_str()))
        {
            let table = source.table.clone().unwrap_or_default();
            self.remarks.insert(Remark::FanOut { table });
        }
        Ok(())
    }
}

/// Whether the conditions tell where a table's rows are: some do, with a remark where they do so by another table's.
fn found(
    source: &Source,
    sources: &[Source],
    known: &[&str],
    conditions: &[&Expr],
) -> Option<Vec<Remark>> {
    let table = source.table.as_deref()?;
    let Some(key) = key_of(table).ok()? else {
        return Some(Vec::new());
    };
    let is_key = |expr: &Expr| {
        column(expr).is_some_and(|(of, column)| {
            column == key && of.map_or(sources.len() == 1, |of| of == source.alias)
        })
    };
    // By what is at hand alone, rather than by another table, where there is a choice.
    let mut by_others = None;
    for condition in conditions {
        let others: Vec<&Expr> = match condition {
            Expr::BinaryOp {
                left,
                op: BinaryOperator::Eq,
                right,
            } if is_key(left) => vec![right],
            Expr::BinaryOp {
                left,
                op: BinaryOperator::Eq,
                right,
            } if is_key(right) => vec![left],
            Expr::AnyOp {
                left,
                compare_op: BinaryOperator::Eq,
                right,
                ..
            } if is_key(left) => vec![right],
            Expr::InList {
                expr,
                list,
                negated: false,
            } if is_key(expr) => list.iter().collect(),
            Expr::InSubquery {
                expr,
                subquery,
                negated: false,
            } if is_key(expr) && brings_rows_only(subquery) => return Some(Vec::new()),
            _ => continue,
        };
        let mut remark = None;
        let all_known = others.iter().all(|other| match column(other) {
            None => !mentions_columns(other),
            Some((of, column)) => {
                let of = of.unwrap_or_default();
                let by = sources.iter().find(|by| by.alias == of);
                let by = by.and_then(|by| {
                    if by.selected {
                        Some(by.alias.as_str())
                    } else {
                        by.table.as_deref()
                    }
                });
                if let Some(by) = by
                    && key_of(by).ok().flatten() != Some(&column)
                {
                    remark = Some(Remark::LookUp {
                        table: table.to_owned(),
                        by: format!("{by}.{column}"),
                    });
                }
                known.contains(&of.as_str())
            }
        });
        match (all_known, remark) {
            (true, None) => return Some(Vec::new()),
            (true, Some(remark)) => by_others = Some(vec![remark]),
            (false, _) => {}
        }
    }
    by_others
}

fn brings_rows_only(query: &Query) -> bool {
    match &*query.body {
        SetExpr::Select(select) => select.from.iter().all(|table| {
            let relations = table.joins.iter().map(|join| &join.relation);
            std::iter::once(&table.relation)
                .chain(relations)
                .all(|each| source(each).is_ok_and(|s| s.table.is_none() && !s.selected))
        }),
        _ => false,
    }
}

fn split<'a>(expr: &'a Expr, into: &mut Vec<&'a Expr>) {
    match expr {
        Expr::BinaryOp {
            left,
            op: BinaryOperator::And,
            right,
        } => {
            split(left, into);
            split(right, into);
        }
        Expr::Nested(inner) => split(inner, into),
        other => into.push(other),
    }
}

fn source(factor: &TableFactor) -> Result<Source, String> {
    let (alias, table) = match factor {
        TableFactor::Table {
            name: table,
            alias,
            args: None,
            ..
        } => {
            let table = name(table);
            key_of(&table)?;
            (alias, Some(table))
        }
        TableFactor::Table { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::Derived { alias, .. } => (alias, None),
        other => return Err(format!("it reads from what is not known here: {other}")),
    };
    let alias = alias.as_ref().map(|alias| alias.name.value.clone());
    let alias = alias.or_else(|| table.clone()).unwrap_or_default();
    let selected = matches!(factor, TableFactor::Derived { .. });
    Ok(Source {
        alias,
        table,
        selected,
    })
}

fn factor_name(factor: &TableFactor) -> String {
    match factor {
        TableFactor::Table { name: table, .. } => name(table),
        _ => String::new(),
    }
}

/// A table's key; an error for a table that is not ours.
fn key_of(table: &str) -> Result<Option<&'static str>, String> {
    let known = KEYS.iter().find(|(name, _)| *name == table);
    let known = known.ok_or_else(|| format!("{table} is no table of ours"))?;
    Ok(known.1)
}

/// A column, with what it is a column of where that is said.
fn column(expr: &Expr) -> Option<(Option<String>, String)> {
    match expr {
        Expr::Identifier(column) => Some((None, column.value.clone())),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [of, column] => Some((Some(of.value.clone()), column.value.clone())),
            _ => None,
        },
        Expr::Nested(inner) => column(inner),
        _ => None,
    }
}

fn mentions_columns(expr: &Expr) -> bool {
    struct Finder;
    impl Visitor for Finder {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match column(expr) {
                Some(_) => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            }
        }
    }
    expr.visit(&mut Finder).is_break()
}

/// The last part of a name, without quotes.
fn name(name: &ObjectName) -> String {
    let last = name.0.last().map(ToString::to_string).unwrap_or_default();
    last.trim_matches('"').to_owned()
}
