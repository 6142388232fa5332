//! The schema, walked: what it holds, what can be selected of it as deep as it goes, and what answers showed of it.

use std::collections::{BTreeMap, BTreeSet};

use apollo_compiler::{
    Name, Schema,
    ast::{FieldDefinition, OperationType},
    collections::IndexMap,
    schema::{Component, ExtendedType},
    validation::Valid,
};
use serde_json::Value;

use super::world::{Caller, World};

type Fields = IndexMap<Name, Component<FieldDefinition>>;

/// The contract.
pub(super) struct Contract(Valid<Schema>);

/// What the two tables have to name.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Coordinates {
    /// Root fields, arguments, input fields, enums, and scalars of our own.
    pub(super) asked: BTreeSet<String>,
    /// Fields of objects and interfaces.
    pub(super) shown: BTreeSet<String>,
}

/// What the answers showed: of each field, to each caller, every value; and which ways led to it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) values: BTreeMap<(String, Caller), BTreeSet<String>>,
    pub(super) ways: BTreeSet<String>,
}

impl Contract {
    pub(super) fn read() -> Self {
        Self::of(include_str!("../../../schema.graphql"))
    }

    pub(super) fn of(sdl: &str) -> Self {
        Self(Schema::parse_and_validate(sdl, "schema.graphql").unwrap())
    }

    fn roots(&self) -> impl Iterator<Item = (OperationType, &str)> {
        let roots = self.0.schema_definition.iter_root_operations();
        roots.map(|(kind, root)| (kind, root.as_str()))
    }

    fn root(&self, name: &str) -> Option<OperationType> {
        let mut roots = self.roots();
        roots.find(|(_, root)| *root == name).map(|(kind, _)| kind)
    }

    fn fields(&self, ty: &str) -> Option<&Fields> {
        match self.0.types.get(ty)? {
            ExtendedType::Object(object) => Some(&object.fields),
            ExtendedType::Interface(interface) => Some(&interface.fields),
            ExtendedType::Union(_) => panic!("say how the table is to hold the union {ty}"),
            ExtendedType::Scalar(_) | ExtendedType::Enum(_) | ExtendedType::InputObject(_) => None,
        }
    }

    /// The types that an object of this type may be.
    fn implementers(&self, ty: &str) -> Vec<String> {
        if self.0.get_interface(ty).is_none() {
            return Vec::new();
        }
        let map = self.0.implementers_map();
        let mut names: Vec<String> = map[ty].objects.iter().map(ToString::to_string).collect();
        names.sort();
        names
    }

    pub(super) fn coordinates(&self) -> Coordinates {
        let mut found = Coordinates::default();
        let types = self.0.types.iter();
        for (name, ty) in types.filter(|(_, ty)| !ty.is_built_in()) {
            match ty {
                ExtendedType::InputObject(input) => {
                    let fields = input.fields.keys();
                    found
                        .asked
                        .extend(fields.map(|field| format!("{name}.{field}")));
                }
                ExtendedType::Scalar(_) | ExtendedType::Enum(_) => {
                    found.asked.insert(name.to_string());
                }
                ExtendedType::Object(_) | ExtendedType::Interface(_) | ExtendedType::Union(_) => {}
            }
            for (field, definition) in self.fields(name).into_iter().flatten() {
                let coordinate = format!("{name}.{field}");
                for argument in &definition.arguments {
                    found
                        .asked
                        .insert(format!("{coordinate}({}:)", argument.name));
                }
                if self.root(name).is_some() {
                    found.asked.insert(coordinate);
                } else {
                    found.shown.insert(coordinate);
                }
            }
        }
        found
    }

    /// The kind of operation in which a root field stands, its name, and everything that can be selected of it.
    pub(super) fn operation(&self, field: &str) -> (OperationType, String) {
        let mut roots = self.roots();
        let found = roots.find_map(|(kind, root)| {
            let definition = self.fields(root)?.get(field)?;
            Some((kind, definition.ty.inner_named_type()))
        });
        let (kind, ty) = found.unwrap_or_else(|| panic!("there is no root field {field}"));
        (kind, self.everything(ty))
    }

    fn everything(&self, ty: &str) -> String {
        let Some(fields) = self.fields(ty) else {
            return String::new();
        };
        let fields = fields.iter().map(|(name, definition)| {
            let inner = definition.ty.inner_named_type();
            format!("{name} {}", self.everything(inner))
        });
        let types = self.implementers(ty);
        let types = types
            .iter()
            .map(|ty| format!("... on {ty} {}", self.everything(ty)));
        let selections: Vec<String> = fields.chain(types).collect();
        format!("{{ __typename {} }}", selections.join(" "))
    }

    /// Every way from a root to a field.
    pub(super) fn ways(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (_, root) in self.roots() {
            self.ways_below(root, root, &mut found);
        }
        found
    }

    fn ways_below(&self, ty: &str, way: &str, found: &mut BTreeSet<String>) {
        for (name, definition) in self.fields(ty).into_iter().flatten() {
            let way = format!("{way}.{name}");
            self.ways_below(definition.ty.inner_named_type(), &way, found);
            found.insert(way);
        }
        for ty in self.implementers(ty) {
            self.ways_below(&ty, &format!("{way}<{ty}>"), found);
        }
    }

    /// Takes down what an answer's root field shows to a caller.
    pub(super) fn observe(
        &self,
        seen: &mut Seen,
        world: &World,
        caller: Caller,
        root: &str,
        value: &Value,
    ) {
        let (kind, _) = self.operation(root);
        let ty = self.0.root_operation(kind).unwrap();
        let inner = self.fields(ty).unwrap()[root].ty.inner_named_type();
        let way = format!("{ty}.{root}");
        self.observe_value(seen, world, caller, inner, &way, value);
        if !value.is_null() {
            seen.ways.insert(way);
        }
    }

    fn observe_value(
        &self,
        seen: &mut Seen,
        world: &World,
        caller: Caller,
        ty: &str,
        way: &str,
        value: &Value,
    ) {
        match value {
            Value::Array(items) => {
                for item in items {
                    self.observe_value(seen, world, caller, ty, way, item);
                }
            }
            Value::Object(_) => {
                self.observe_object(seen, world, caller, ty, way, value);
                let actual = value["__typename"].as_str().unwrap();
                if actual != ty {
                    let way = format!("{way}<{actual}>");
                    self.observe_object(seen, world, caller, actual, &way, value);
                }
            }
            _ => {}
        }
    }

    fn observe_object(
        &self,
        seen: &mut Seen,
        world: &World,
        caller: Caller,
        ty: &str,
        way: &str,
        object: &Value,
    ) {
        for (name, definition) in self.fields(ty).into_iter().flatten() {
            let value = &object[name.as_str()];
            let inner = definition.ty.inner_named_type();
            let way = format!("{way}.{name}");
            self.observe_value(seen, world, caller, inner, &way, value);
            let told = match value {
                // Exact counts are the first table's: here it matters whether a number is there.
                Value::Number(_) => "n".to_owned(),
                Value::Bool(_) => "y/n".to_owned(),
                _ if name == "clientMessageId" && !value.is_null() => {
                    let sender = object["sender"]["id"].as_str().unwrap();
                    format!("{}:{}", world.tell(sender), value.as_str().unwrap())
                }
                _ => self.tell(world, inner, value),
            };
            let values = seen.values.entry((format!("{ty}.{name}"), caller));
            values.or_default().insert(told);
            seen.ways.insert(way);
        }
    }

    /// A value in the table's words.
    pub(super) fn tell(&self, world: &World, ty: &str, value: &Value) -> String {
        match value {
            Value::Null => "null".to_owned(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::String(text) if ty == "DateTime" => {
                assert!(text.ends_with('Z'), "{text}");
                "time".to_owned()
            }
            Value::String(text) => world.tell(text),
            Value::Array(items) if items.is_empty() => "[]".to_owned(),
            Value::Array(items) if self.0.get_enum(ty).is_some() => {
                let values = self.0.get_enum(ty).unwrap().values.len();
                assert_eq!(items.len(), values, "every value of {ty}");
                "all".to_owned()
            }
            Value::Array(_) => "[…]".to_owned(),
            Value::Object(object) => match object.get("id") {
                Some(id) => self.tell(world, "ID", id),
                None => "{…}".to_owned(),
            },
        }
    }

    /// What stands at the end of a path of fields, through lists.
    pub(super) fn tell_at(
        &self,
        world: &World,
        root: &str,
        path: &[&str],
        value: &Value,
    ) -> String {
        let (kind, _) = self.operation(root);
        let ty = self.0.root_operation(kind).unwrap();
        let inner = self.fields(ty).unwrap()[root].ty.inner_named_type();
        self.tell_below(world, inner, path, value)
    }

    fn tell_below(&self, world: &World, ty: &str, path: &[&str], value: &Value) -> String {
        match (path, value) {
            ([], _) | (_, Value::Null) => self.tell(world, ty, value),
            (_, Value::Array(items)) if items.is_empty() => "[]".to_owned(),
            (_, Value::Array(items)) => {
                let told = items
                    .iter()
                    .map(|item| self.tell_below(world, ty, path, item));
                told.collect::<Vec<_>>().join(",")
            }
            ([name, rest @ ..], _) => {
                let actual = value["__typename"].as_str().unwrap_or(ty);
                let definition = &self.fields(actual).unwrap()[*name];
                let inner = definition.ty.inner_named_type();
                self.tell_below(world, inner, rest, &value[*name])
            }
        }
    }
}
