//! Documents that fit the schema, built from bytes: each byte is a choice, so that what mutates bytes walks the grammar.

use apollo_compiler::{
    Name, Schema,
    ast::{FieldDefinition, InputValueDefinition, OperationType, Type},
    collections::IndexMap,
    response::JsonMap,
    schema::{Component, ExtendedType},
    validation::Valid,
};
use serde_json::{Value, json};

/// How deep selections and values nest.
const DEPTH: usize = 6;
const TEXTS: [&str; 8] = [
    "",
    "ben",
    "dm_x",
    "é🙈",
    "a\"b\\c",
    "two\nlines",
    "$x } {",
    "7",
];
const NUMBERS: [i32; 6] = [0, 1, 50, 100, -1, i32::MAX];

/// A document in the making.
pub(super) struct Selections<'a> {
    schema: &'a Valid<Schema>,
    choices: &'a [u8],
    /// Names given so far: each is new.
    names: usize,
    definitions: Vec<String>,
    variables: JsonMap,
    fragments: Vec<String>,
}

impl<'a> Selections<'a> {
    /// A document of one operation, and its variables.
    pub(super) fn document(schema: &'a Valid<Schema>, choices: &'a [u8]) -> (String, JsonMap) {
        let mut made = Self {
            schema,
            choices,
            names: 0,
            definitions: Vec::new(),
            variables: JsonMap::new(),
            fragments: Vec::new(),
        };
        let kinds = [
            OperationType::Query,
            OperationType::Mutation,
            OperationType::Subscription,
        ];
        let kind = kinds[made.choose(kinds.len())];
        let root = schema.root_operation(kind).expect("every root is there");
        let selection = if kind == OperationType::Subscription {
            let fields = made.fields(root).expect("a root is an object");
            let field = made.choose(fields.len());
            let field = made.field(&fields[field], "", DEPTH);
            format!("{{ {field} }}")
        } else {
            made.selection(root, DEPTH)
        };
        let definitions = match made.definitions.as_slice() {
            [] => String::new(),
            definitions => format!("({})", definitions.join(", ")),
        };
        let fragments = made.fragments.join("\n");
        let document = format!("{kind} O{definitions} {selection}\n{fragments}");
        (document, made.variables)
    }

    /// One of so many; the first where no choices are left.
    fn choose(&mut self, among: usize) -> usize {
        let Some((choice, rest)) = self.choices.split_first() else {
            return 0;
        };
        self.choices = rest;
        usize::from(*choice) % among
    }

    fn name(&mut self, letter: char) -> String {
        self.names += 1;
        format!("{letter}{}", self.names)
    }

    fn fields(&self, ty: &Name) -> Option<&'a IndexMap<Name, Component<FieldDefinition>>> {
        match self.schema.types.get(ty)? {
            ExtendedType::Object(object) => Some(&object.fields),
            ExtendedType::Interface(interface) => Some(&interface.fields),
            _ => None,
        }
    }

    fn selection(&mut self, ty: &Name, depth: usize) -> String {
        let Some(fields) = self.fields(ty).filter(|_| depth > 0) else {
            return "{ __typename }".to_owned();
        };
        let mut selected = Vec::new();
        for _ in 0..=self.choose(4) {
            let directive = self.directive();
            let part = match self.choose(8) {
                0 => format!("__typename{directive}"),
                1 => {
                    let selection = self.selection(ty, depth - 1);
                    format!("...{directive} {selection}")
                }
                2 => {
                    let name = self.name('F');
                    let ty = self.possible(ty);
                    let selection = self.selection(&ty, depth - 1);
                    self.fragments
                        .push(format!("fragment {name} on {ty} {selection}"));
                    format!("...{name}{directive}")
                }
                3 => {
                    let ty = self.possible(ty);
                    let selection = self.selection(&ty, depth - 1);
                    format!("... on {ty}{directive} {selection}")
                }
                _ => {
                    let field = self.choose(fields.len());
                    self.field(&fields[field], &directive, depth)
                }
            };
            selected.push(part);
        }
        format!("{{ {} }}", selected.join(" "))
    }

    /// A type that something of this type may be of: itself, or what implements it.
    fn possible(&mut self, ty: &Name) -> Name {
        let map = self.schema.implementers_map();
        let mut types: Vec<&Name> = map
            .get(ty)
            .into_iter()
            .flat_map(|of| of.objects.iter())
            .collect();
        types.sort();
        types.push(ty);
        let chosen = self.choose(types.len());
        types[chosen].clone()
    }

    /// A field under a name of its own, so that it conflicts with no other.
    fn field(&mut self, field: &FieldDefinition, directive: &str, depth: usize) -> String {
        let alias = self.name('f');
        let mut arguments = Vec::new();
        for argument in &field.arguments {
            if argument.is_required() || self.choose(2) == 1 {
                let value = self.argument(argument);
                arguments.push(format!("{}: {value}", argument.name));
            }
        }
        let arguments = match arguments.as_slice() {
            [] => String::new(),
            arguments => format!("({})", arguments.join(", ")),
        };
        let inner = field.ty.inner_named_type();
        let selection = match self.fields(inner) {
            Some(_) => self.selection(inner, depth - 1),
            None => String::new(),
        };
        format!("{alias}: {}{arguments}{directive} {selection}", field.name)
    }

    fn directive(&mut self) -> String {
        match self.choose(8) {
            1 => " @include(if: true)".to_owned(),
            2 => " @skip(if: false)".to_owned(),
            3 => {
                let name = self.name('v');
                self.definitions.push(format!("${name}: Boolean!"));
                let value = self.choose(2) == 1;
                self.variables.insert(name.as_str(), value.into());
                format!(" @include(if: ${name})")
            }
            _ => String::new(),
        }
    }

    /// A literal, or a variable of the argument's own type.
    fn argument(&mut self, argument: &InputValueDefinition) -> String {
        let value = self.value(&argument.ty, DEPTH);
        if self.choose(3) != 1 {
            return literal(&value);
        }
        let name = self.name('v');
        self.definitions.push(format!("${name}: {}", argument.ty));
        if argument.ty.is_non_null() || self.choose(2) == 1 {
            self.variables.insert(name.as_str(), value.into());
        }
        format!("${name}")
    }

    fn value(&mut self, ty: &Type, depth: usize) -> Value {
        if !ty.is_non_null() && (depth == 0 || self.choose(4) == 1) {
            return Value::Null;
        }
        if ty.is_list() {
            let items = self.choose(3);
            let item = ty.item_type();
            return (0..items)
                .map(|_| self.value(item, depth.saturating_sub(1)))
                .collect();
        }
        match self.schema.types.get(ty.inner_named_type()) {
            Some(ExtendedType::InputObject(input)) => {
                let mut object = serde_json::Map::new();
                for (name, field) in &input.fields {
                    if field.is_required() || self.choose(2) == 1 {
                        let value = self.value(&field.ty, depth.saturating_sub(1));
                        object.insert(name.to_string(), value);
                    }
                }
                Value::Object(object)
            }
            _ => match ty.inner_named_type().as_str() {
                "Int" => json!(NUMBERS[self.choose(NUMBERS.len())]),
                "Boolean" => json!(self.choose(2) == 1),
                "ID" if self.choose(4) == 1 => json!(NUMBERS[self.choose(NUMBERS.len())]),
                "ID" | "String" => json!(TEXTS[self.choose(TEXTS.len())]),
                other => panic!("say how a value of {other} is built"),
            },
        }
    }
}

/// A value as GraphQL writes it: as JSON does, but for the names of fields.
fn literal(value: &Value) -> String {
    match value {
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(literal).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| format!("{name}: {}", literal(value)));
            let fields: Vec<String> = fields.collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}
