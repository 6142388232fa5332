//! How long the lists of the schema can be, told from the schema itself: so that a new list is priced, or found out.

use apollo_compiler::{
    Name, Node, Schema,
    ast::{FieldDefinition, Type},
    collections::{HashMap, HashSet},
    executable,
    schema::ExtendedType,
};

use super::values::Values;
use crate::chat::PageSize;

/// Arguments that say how many items a page holds.
const SIZES: [&str; 2] = ["first", "limit"];

/// How many items a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// Always about as many: an enum's values, or what the schema holds.
    Fixed(u64),
    /// As many as the list in its own arguments: what was named is looked for, one by one.
    OfInput,
    /// As many as the field asked for whose answer the list is part of: a page.
    OfPage,
}

/// How a field says how long the lists in its answer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sizing {
    /// By `first` or `limit`.
    Page,
    /// By a list in its arguments: one item for each.
    Input,
}

/// The lists of a schema.
pub(super) struct Lists {
    /// By type and field.
    lengths: HashMap<(Name, Name), Length>,
    sizings: HashMap<(Name, Name), Sizing>,
}

impl Lists {
    /// # Errors
    /// A list, as `Type.field`, of which the schema does not tell how long it can be: each field that leads to it needs
    /// `first` or `limit`, or a list among its arguments.
    pub(super) fn new(
        schema: &Schema,
        implementers: &HashMap<Name, Vec<Name>>,
    ) -> Result<Self, String> {
        let mut lists = Self {
            lengths: HashMap::default(),
            sizings: HashMap::default(),
        };
        let mut paged = HashSet::default();
        for (parent, field) in fields(schema) {
            if !field.ty.is_list() {
                continue;
            }
            if holds_lists(schema, field) {
                let key = (parent.clone(), field.name.clone());
                lists.lengths.insert(key, Length::OfInput);
                continue;
            }
            let length = match schema.types.get(field.ty.inner_named_type()) {
                Some(ExtendedType::Enum(item)) => Length::Fixed(item.values.len() as u64),
                _ if is_introspection(parent) => {
                    Length::Fixed(introspected(schema, implementers, &field.name))
                }
                _ => {
                    paged.insert(parent);
                    Length::OfPage
                }
            };
            lists
                .lengths
                .insert((parent.clone(), field.name.clone()), length);
        }
        for (parent, field) in fields(schema) {
            let Some(of) = paged.get(field.ty.inner_named_type()) else {
                continue;
            };
            let Some(sizing) = sizing(schema, field) else {
                return Err(format!("the lists of {of} below {parent}.{}", field.name));
            };
            lists
                .sizings
                .insert((parent.clone(), field.name.clone()), sizing);
        }
        Ok(lists)
    }

    /// How long a field's list is; nothing for what is no list.
    pub(super) fn length(&self, parent: &Name, field: &Name) -> Option<Length> {
        // A pair of names is cheap to clone: they are counted references.
        self.lengths.get(&(parent.clone(), field.clone())).copied()
    }

    /// How many items the lists in this field's answer have, where it says so.
    pub(super) fn page(
        &self,
        parent: &Name,
        field: &executable::Field,
        values: &Values<'_>,
    ) -> Option<u64> {
        let sizing = self.sizings.get(&(parent.clone(), field.name.clone()))?;
        Some(match sizing {
            Sizing::Page => page_size(field, values),
            Sizing::Input => input_size(field, values),
        })
    }
}

/// The page that the field's arguments ask for, by this request's variables or by default. What is out of range is refused
/// by the resolver, and what is given twice too.
fn page_size(field: &executable::Field, values: &Values<'_>) -> u64 {
    let given = SIZES.iter().filter_map(|name| {
        let given = field.specified_argument_by_name(name);
        let given = given.and_then(|value| values.int(value));
        let definition = field.definition.argument_by_name(name);
        let default = definition.and_then(|definition| definition.default_value.as_ref());
        given.or_else(|| default.and_then(|value| i64::from(value.to_i32()?).into()))
    });
    let size = given.max().unwrap_or(PageSize::DEFAULT.into());
    size.clamp(1, PageSize::MAX.into()).unsigned_abs()
}

/// How many items the longest list in the field's arguments has.
pub(super) fn input_size(field: &executable::Field, values: &Values<'_>) -> u64 {
    let arguments = field.arguments.iter();
    let lengths = arguments.map(|argument| values.longest_list(&argument.value));
    lengths.max().unwrap_or(0)
}

fn fields(schema: &Schema) -> impl Iterator<Item = (&Name, &Node<FieldDefinition>)> {
    schema.types.iter().flat_map(|(name, ty)| {
        let fields = match ty {
            ExtendedType::Object(object) => Some(&object.fields),
            ExtendedType::Interface(interface) => Some(&interface.fields),
            _ => None,
        };
        let fields = fields.into_iter().flat_map(|fields| fields.values());
        fields.map(move |field| (name, &field.node))
    })
}

fn sizing(schema: &Schema, field: &FieldDefinition) -> Option<Sizing> {
    let is_size = |name: &&str| {
        let argument = field.argument_by_name(name);
        argument.is_some_and(|argument| argument.ty.inner_named_type() == "Int")
    };
    if SIZES.iter().any(is_size) {
        return Some(Sizing::Page);
    }
    holds_lists(schema, field).then_some(Sizing::Input)
}

fn holds_lists(schema: &Schema, field: &FieldDefinition) -> bool {
    let mut arguments = field.arguments.iter();
    arguments.any(|argument| holds_list(schema, &argument.ty, &mut HashSet::default()))
}

fn holds_list<'a>(schema: &'a Schema, ty: &'a Type, seen: &mut HashSet<&'a Name>) -> bool {
    if ty.is_list() {
        return true;
    }
    let name = ty.inner_named_type();
    match schema.types.get(name) {
        Some(ExtendedType::InputObject(object)) if seen.insert(name) => object
            .fields
            .values()
            .any(|field| holds_list(schema, &field.ty, seen)),
        _ => false,
    }
}

fn is_introspection(name: &Name) -> bool {
    name.starts_with("__")
}

/// How long an introspection field's lists are on average in this schema, rounded up: what they cost where the whole
/// schema is asked for. One type may have a few times as many.
fn introspected(schema: &Schema, implementers: &HashMap<Name, Vec<Name>>, field: &Name) -> u64 {
    let types = schema.types.len();
    let members = |count: fn(&ExtendedType) -> usize| schema.types.values().map(count).sum();
    let (all, of): (usize, usize) = match field.as_str() {
        "directives" => (schema.directive_definitions.len(), 1),
        "fields" => (fields(schema).count(), types),
        "args" => {
            let arguments = fields(schema).map(|(_, field)| field.arguments.len()).sum();
            (arguments, fields(schema).count())
        }
        "possibleTypes" => (implementers.values().map(Vec::len).sum(), types),
        "interfaces" => {
            let count = |ty: &ExtendedType| match ty {
                ExtendedType::Object(object) => object.implements_interfaces.len(),
                ExtendedType::Interface(interface) => interface.implements_interfaces.len(),
                _ => 0,
            };
            (members(count), types)
        }
        "enumValues" => {
            let count = |ty: &ExtendedType| match ty {
                ExtendedType::Enum(item) => item.values.len(),
                _ => 0,
            };
            (members(count), types)
        }
        "inputFields" => {
            let count = |ty: &ExtendedType| match ty {
                ExtendedType::InputObject(object) => object.fields.len(),
                _ => 0,
            };
            (members(count), types)
        }
        // `types`, and what introspection may have in the future.
        _ => (types, 1),
    };
    all.div_ceil(of.max(1)).max(1) as u64
}
