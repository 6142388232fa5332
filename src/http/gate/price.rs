//! What an operation costs, before it runs: in time proportional to its document, each fragment priced once.
//!
//! - A field costs 1, and what is selected below it. Fragments cost what they select.
//! - A message's `content` and `formatted` cost 1 for each 250 characters that a content may have: what is paid for bounds what
//!   is sent.
//! - A root field costs [`ROOT_FIELD`] instead of 1, since it asks the database (`__typename` asks nobody).
//! - A list costs its length times one item: the page size that the field above it asks for, in this request's variables; as
//!   many as `upsertUsers` was given; as many values as an enum has; in introspection, what the schema has on average.
//! - Each representation that `_entities` was given costs what a root field does beside its item, since it asks the database too.
//! - What `@skip` and `@include` leave out costs nothing; a field that is selected twice costs twice.

use apollo_compiler::{
    ExecutableDocument, Name, Node,
    ast::{self, OperationType},
    collections::{HashMap, HashSet, IndexMap},
    executable::{Field, Operation, Selection, SelectionSet},
};

use super::{
    Refusal,
    check::Checker,
    lists::{Length, input_size},
    message::grouped,
    place,
    values::Values,
};
use crate::{chat::PageSize, graphql::ErrorCode};

/// What a root field costs by itself.
pub(in crate::http) const ROOT_FIELD: u64 = 10;

/// Lists of introspection that lead from type to type, and how many of them may nest: as graphql-js has it, since each level
/// multiplies the answer by what a type holds.
const TYPE_LISTS: [&str; 4] = ["fields", "interfaces", "possibleTypes", "inputFields"];
const TYPE_LISTS_NESTED: u64 = 2;

/// What one operation costs with this request's variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Price {
    pub(super) total: u64,
    pub(super) sends: u64,
}

/// What a part of an operation costs.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    /// Whatever the page around it holds.
    fixed: u64,
    /// For each item of the page around it.
    per_item: u64,
    /// Levels of fields.
    depth: u64,
    /// Levels of introspection's lists.
    type_lists: u64,
    /// Bytes in arguments, with the variables in place.
    bytes: u64,
    /// Entities that are asked for by name.
    named: u64,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.fixed = self.fixed.saturating_add(other.fixed);
        self.per_item = self.per_item.saturating_add(other.per_item);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.named = self.named.saturating_add(other.named);
        self.depth = self.depth.max(other.depth);
        self.type_lists = self.type_lists.max(other.type_lists);
    }

    /// In a page of so many items.
    fn in_page(self, items: u64) -> u64 {
        self.fixed
            .saturating_add(self.per_item.saturating_mul(items))
    }
}

/// # Errors
/// `QUERY_TOO_COMPLEX`, with what is over which limit.
pub(super) fn price(
    checker: &Checker,
    document: &ExecutableDocument,
    operation: &Operation,
    values: &Values<'_>,
) -> Result<Price, Refusal> {
    let mut pricing = Pricing {
        checker,
        document,
        values,
        fragments: HashMap::default(),
    };
    let cost = pricing.selections(&operation.selection_set);
    let total = cost.in_page(PageSize::MAX.unsigned_abs().into());
    let roots = root_fields(document, operation, values);
    let sends = roots.values().filter(|field| field.name == "sendMessage");
    let price = Price {
        total,
        sends: if operation.operation_type == OperationType::Mutation {
            sends.count() as u64
        } else {
            0
        },
    };
    let limits = &checker.limits;
    let prices = &limits.prices;
    let start = operation.selection_set.selections.first();
    let start = start.and_then(|selection| match selection {
        Selection::Field(field) => field.location(),
        Selection::InlineFragment(fragment) => fragment.location(),
        Selection::FragmentSpread(spread) => spread.location(),
    });
    let whole = start.map(|at| at.offset());
    let mut over = Vec::new();
    let mut check =
        |price: u64, limit: u64, at: Option<usize>, message: &dyn Fn(&str, &str) -> String| {
            if price > limit {
                let at = at.and_then(|at| place::of(&document.sources, at));
                over.push((message(&grouped(price), &grouped(limit)), at));
            }
        };
    check(cost.depth, prices.depth_limit, whole, &|price, limit| {
        format!(
            "this operation nests {price} levels deep and the limit is {limit}: ask for less at a time"
        )
    });
    let first_over = usize::try_from(prices.root_field_limit)
        .ok()
        .and_then(|limit| roots.values().nth(limit))
        .and_then(|field| field.location())
        .map(|at| at.offset());
    check(
        roots.len() as u64,
        prices.root_field_limit,
        first_over,
        &|price, limit| {
            format!(
                "this operation has {price} root fields and the limit is {limit}: send several operations"
            )
        },
    );
    check(total, prices.complexity_limit, whole, &|price, limit| {
        format!(
            "this operation costs {price} and the limit is {limit}: ask for smaller pages or fewer fields"
        )
    });
    check(cost.named, prices.entity_limit, whole, &|price, limit| {
        format!(
            "this operation asks for {price} entities and the limit is {limit}: ask for them in several operations"
        )
    });
    check(
        cost.type_lists,
        TYPE_LISTS_NESTED,
        whole,
        &|price, limit| {
            let lists = TYPE_LISTS.join(", ");
            format!(
                "this introspection nests {price} lists ({lists}) and the limit is {limit}: ask for types by their names"
            )
        },
    );
    check(
        cost.bytes,
        limits.argument_bytes as u64,
        whole,
        &|price, limit| {
            format!(
                "with its variables in place, this operation's arguments hold {price} bytes and the limit is {limit}: \
             use a long variable once"
            )
        },
    );
    if over.is_empty() {
        return Ok(price);
    }
    Err(Refusal::of_many(ErrorCode::QueryTooComplex, over))
}

/// The root fields that run, by their keys in the answer, in the document's order.
pub(super) fn root_fields<'a>(
    document: &'a ExecutableDocument,
    operation: &'a Operation,
    values: &Values<'_>,
) -> IndexMap<&'a Name, &'a Node<Field>> {
    let mut roots = IndexMap::default();
    collect_roots(
        document,
        &operation.selection_set,
        values,
        &mut HashSet::default(),
        &mut roots,
    );
    roots
}

fn collect_roots<'a>(
    document: &'a ExecutableDocument,
    set: &'a SelectionSet,
    values: &Values<'_>,
    seen: &mut HashSet<&'a Name>,
    roots: &mut IndexMap<&'a Name, &'a Node<Field>>,
) {
    for selection in &set.selections {
        if !values.included(selection.directives()) {
            continue;
        }
        match selection {
            Selection::Field(field) => {
                roots.entry(field.response_key()).or_insert(field);
            }
            Selection::InlineFragment(fragment) => {
                collect_roots(document, &fragment.selection_set, values, seen, roots);
            }
            Selection::FragmentSpread(spread) => {
                // A second spread of the same fragment adds no key.
                if seen.insert(&spread.fragment_name)
                    && let Some(fragment) = document.fragments.get(&spread.fragment_name)
                {
                    collect_roots(document, &fragment.selection_set, values, seen, roots);
                }
            }
        }
    }
}

struct Pricing<'a> {
    checker: &'a Checker,
    document: &'a ExecutableDocument,
    values: &'a Values<'a>,
    fragments: HashMap<&'a Name, Cost>,
}

impl<'a> Pricing<'a> {
    fn selections(&mut self, set: &'a SelectionSet) -> Cost {
        let mut cost = Cost::default();
        for selection in &set.selections {
            if !self.values.included(selection.directives()) {
                continue;
            }
            cost.add(match selection {
                Selection::Field(field) => self.field(&set.ty, field),
                Selection::InlineFragment(fragment) => self.selections(&fragment.selection_set),
                Selection::FragmentSpread(spread) => self.fragment(&spread.fragment_name),
            });
        }
        cost
    }

    fn fragment(&mut self, name: &'a Name) -> Cost {
        if let Some(cost) = self.fragments.get(name) {
            return *cost;
        }
        let Some(fragment) = self.document.fragments.get(name) else {
            return Cost::default();
        };
        let cost = self.selections(&fragment.selection_set);
        self.fragments.insert(name, cost);
        cost
    }

    fn field(&mut self, parent: &Name, field: &'a Node<Field>) -> Cost {
        let below = self.selections(&field.selection_set);
        let own = if self.is_root(parent) && field.name != "__typename" {
            ROOT_FIELD
        } else {
            let heavy = self.checker.limits.heavy;
            heavy.cost(parent, &field.name).unwrap_or(1)
        };
        let arguments = field.arguments.iter();
        let bytes = arguments.fold(below.bytes, |bytes, argument| {
            bytes.saturating_add(self.values.bytes(&argument.value))
        });
        let is_type_list = parent == "__Type" && TYPE_LISTS.contains(&field.name.as_str());
        let mut cost = Cost {
            fixed: own,
            per_item: 0,
            depth: below.depth + 1,
            type_lists: below.type_lists + u64::from(is_type_list),
            bytes,
            named: below.named,
        };
        let item = if field.selection_set.is_empty() {
            1
        } else {
            // Below a list, every page has a size of its own.
            below.in_page(PageSize::MAX.unsigned_abs().into())
        };
        let lists = &self.checker.lists;
        match lists.length(parent, &field.name) {
            Some(Length::Fixed(length)) => {
                cost.fixed = own.saturating_add(length.saturating_mul(item));
            }
            Some(Length::OfInput) => {
                let items = input_size(field, self.values);
                cost.named = cost.named.saturating_add(items);
                let each = ROOT_FIELD.saturating_add(item);
                cost.fixed = own.saturating_add(items.saturating_mul(each));
            }
            Some(Length::OfPage) => cost.per_item = item,
            None => {
                if let Some(items) = lists.page(parent, field, self.values) {
                    cost.fixed = own.saturating_add(below.in_page(items));
                } else {
                    cost.fixed = own.saturating_add(below.fixed);
                    cost.per_item = below.per_item;
                }
            }
        }
        cost
    }

    fn is_root(&self, ty: &Name) -> bool {
        let kinds = [
            OperationType::Query,
            OperationType::Mutation,
            OperationType::Subscription,
        ];
        kinds
            .into_iter()
            .any(|kind: ast::OperationType| self.checker.schema.root_operation(kind) == Some(ty))
    }
}
