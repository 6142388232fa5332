//! The variables of a request, in the places where the document names them.

use std::cell::RefCell;

use apollo_compiler::{
    Name, Schema,
    ast::{self, DirectiveList, Type},
    collections::HashMap,
    response::JsonValue,
};
use async_graphql::{Name as GraphqlName, Value};

use super::variables::{Coerced, field_type, number_of};

/// This request's variables, for the places that name them.
pub(super) struct Values<'a> {
    variables: &'a Coerced,
    sizes: HashMap<&'a str, Size>,
    /// A variable that is null where a condition was asked for.
    null_condition: RefCell<Option<Name>>,
}

/// What a variable's value holds.
#[derive(Clone, Copy, Default)]
struct Size {
    /// About as many as its JSON has.
    bytes: u64,
    /// Items of its longest list; a single value counts as a list of one.
    longest: u64,
}

impl<'a> Values<'a> {
    pub(super) fn new(variables: &'a Coerced) -> Self {
        let sizes = variables.iter();
        let sizes = sizes.map(|(name, value)| (name.as_str(), size(value)));
        Self {
            variables,
            sizes: sizes.collect(),
            null_condition: RefCell::default(),
        }
    }

    /// Whether `@skip` and `@include` leave it in.
    pub(super) fn included(&self, directives: &DirectiveList) -> bool {
        let condition = |name: &str| {
            let argument = directives.get(name)?.specified_argument_by_name("if")?;
            match &**argument {
                ast::Value::Boolean(condition) => Some(*condition),
                ast::Value::Variable(name) => {
                    let value = self.variables.get(name.as_str())?;
                    if value.is_null() {
                        self.null_condition.replace(Some(name.clone()));
                    }
                    value.as_bool()
                }
                _ => None,
            }
        };
        condition("skip") != Some(true) && condition("include") != Some(false)
    }

    /// A variable that was null where [`Values::included`] met it as a condition. Its type lets it be null only because it
    /// has a default.
    pub(super) fn null_condition(&self) -> Option<Name> {
        self.null_condition.borrow().clone()
    }

    /// A whole number, given as it is or by a variable.
    pub(super) fn int(&self, value: &ast::Value) -> Option<i64> {
        match value {
            ast::Value::Variable(name) => self.variables.get(name.as_str())?.as_i64(),
            value => value.to_i32().map(i64::from),
        }
    }

    /// Bytes of a value with the variables in place.
    pub(super) fn bytes(&self, value: &ast::Value) -> u64 {
        match value {
            ast::Value::Variable(name) => self.size(name).bytes,
            ast::Value::String(text) => text.len() as u64 + 2,
            ast::Value::List(items) => items
                .iter()
                .map(|item| self.bytes(item) + 1)
                .fold(2, u64::saturating_add),
            ast::Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| name.len() as u64 + 2 + self.bytes(value))
                .fold(2, u64::saturating_add),
            ast::Value::Int(number) => number.as_str().len() as u64,
            ast::Value::Float(number) => number.as_str().len() as u64,
            ast::Value::Enum(name) => name.len() as u64,
            ast::Value::Null | ast::Value::Boolean(_) => 4,
        }
    }

    /// Items of the longest list in a value.
    pub(super) fn longest_list(&self, value: &ast::Value) -> u64 {
        let below: u64 = match value {
            ast::Value::Variable(name) => self.size(name).longest,
            ast::Value::List(items) => {
                let below = items.iter().map(|item| self.longest_list(item)).max();
                below.unwrap_or(0).max(items.len() as u64)
            }
            ast::Value::Object(fields) => {
                let below = fields.iter().map(|(_, value)| self.longest_list(value));
                below.max().unwrap_or(0)
            }
            _ => 0,
        };
        below.max(1)
    }

    fn size(&self, variable: &Name) -> Size {
        self.sizes
            .get(variable.as_str())
            .copied()
            .unwrap_or_default()
    }

    /// A value of this type with the variables in place; nothing where it is a variable that was left out.
    pub(super) fn of(&self, schema: &Schema, value: &ast::Value, ty: &Type) -> Option<Value> {
        Some(match value {
            ast::Value::Null => Value::Null,
            ast::Value::Enum(name) => Value::Enum(GraphqlName::new(name.as_str())),
            ast::Value::Variable(name) => from_json(self.variables.get(name.as_str())?),
            ast::Value::String(text) => Value::String(text.clone()),
            ast::Value::Boolean(boolean) => Value::Boolean(*boolean),
            ast::Value::Int(number) => match number_of(number.as_str(), ty) {
                Some(number) => Value::Number(number),
                None => Value::String(number.as_str().to_owned()),
            },
            ast::Value::Float(number) => number.as_str().parse().map_or(Value::Null, Value::Number),
            ast::Value::List(items) => {
                let items = items.iter();
                Value::List(
                    items
                        .map(|item| self.of(schema, item, ty).unwrap_or(Value::Null))
                        .collect(),
                )
            }
            ast::Value::Object(fields) => {
                let fields = fields.iter().filter_map(|(name, value)| {
                    let value = self.of(schema, value, field_type(schema, ty, name))?;
                    Some((GraphqlName::new(name.as_str()), value))
                });
                Value::Object(fields.collect())
            }
        })
    }
}

fn size(value: &JsonValue) -> Size {
    let mut size = Size {
        bytes: 4,
        longest: 1,
    };
    let mut add = |bytes: usize, below: Size| {
        size.bytes = size
            .bytes
            .saturating_add(bytes as u64)
            .saturating_add(below.bytes);
        size.longest = size.longest.max(below.longest);
    };
    match value {
        JsonValue::String(text) => add(text.as_str().len(), Size::default()),
        JsonValue::Array(items) => {
            for item in items {
                add(1, self::size(item));
            }
            size.longest = size.longest.max(items.len() as u64);
        }
        JsonValue::Object(fields) => {
            for (name, value) in fields {
                add(name.as_str().len(), self::size(value));
            }
        }
        JsonValue::Null | JsonValue::Bool(_) | JsonValue::Number(_) => {}
    }
    size
}

fn from_json(value: &JsonValue) -> Value {
    match value {
        JsonValue::Null => Value::Null,
        JsonValue::Bool(boolean) => Value::Boolean(*boolean),
        JsonValue::Number(number) => Value::Number(number.clone()),
        JsonValue::String(text) => Value::String(text.as_str().to_owned()),
        JsonValue::Array(values) => Value::List(values.iter().map(from_json).collect()),
        JsonValue::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| (GraphqlName::new(name.as_str()), from_json(value)))
                .collect(),
        ),
    }
}
