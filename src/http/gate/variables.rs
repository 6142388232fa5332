//! The variables of a request: coerced to the types that the operation declares, as graphql-js coerces them, and put in the
//! places where the document names them.

use apollo_compiler::{
    ExecutableDocument, Name, Schema,
    ast::{self, DirectiveList, Type},
    collections::HashMap,
    executable::Operation,
    response::{JsonMap, JsonValue},
    schema::{ExtendedType, InputObjectType},
};
use async_graphql::{Name as GraphqlName, Value};

use super::{Refusal, message::cut, place, refusal::Errors};
use crate::graphql::ErrorCode;

/// Variables with values of their declared types, defaults filled in. One that was left out and has no default is not here.
pub(super) type Coerced = JsonMap;

/// # Errors
/// `BAD_USER_INPUT` for every variable that is missing, null or of another type, by its name and path.
pub(super) fn coerce(
    schema: &Schema,
    document: &ExecutableDocument,
    operation: &Operation,
    given: &JsonMap,
) -> Result<Coerced, Refusal> {
    let mut coerced = JsonMap::new();
    let mut errors = Errors::default();
    for variable in &operation.variables {
        let name = variable.name.as_str();
        let mut coercion = Coercion {
            schema,
            variable: name,
            errors: Vec::new(),
        };
        if let Some((key, value)) = given.get_key_value(name) {
            if let Some(value) = coercion.value(&variable.ty, value, &Path::Variable) {
                coerced.insert(key.clone(), value);
            }
        } else if let Some(default) = &variable.default_value {
            let default = json_of(default);
            if let Some(default) = coercion.value(&variable.ty, &default, &Path::Variable) {
                coerced.insert(name, default);
            }
        } else if variable.ty.is_non_null() {
            coercion.errors.push(format!(
                "Variable \"${name}\" of required type \"{}\" was not provided.",
                variable.ty
            ));
        }
        for message in coercion.errors {
            errors.add(|| {
                let at = variable.location();
                let at = at.and_then(|at| place::of(&document.sources, at.offset()));
                (message, at)
            });
        }
    }
    errors.refuse_or(ErrorCode::BadUserInput, coerced)
}

/// Where a value stands in a variable.
enum Path<'a> {
    Variable,
    Item(&'a Path<'a>, usize),
    Field(&'a Path<'a>, &'a str),
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable => Ok(()),
            Self::Item(above, index) => write!(f, "{above}[{index}]"),
            Self::Field(above, name) => write!(f, "{above}.{name}"),
        }
    }
}

struct Coercion<'a> {
    schema: &'a Schema,
    variable: &'a str,
    errors: Vec<String>,
}

impl Coercion<'_> {
    /// The value as its type has it; nothing, and an error, where it cannot be.
    fn value(&mut self, ty: &Type, value: &JsonValue, path: &Path<'_>) -> Option<JsonValue> {
        if value.is_null() {
            if ty.is_non_null() {
                self.refuse_null(ty, path);
                return None;
            }
            return Some(JsonValue::Null);
        }
        match ty {
            Type::List(item) | Type::NonNullList(item) => {
                let JsonValue::Array(items) = value else {
                    // A single value stands for a list of one.
                    let single = self.value(item, value, path)?;
                    return Some(JsonValue::Array(vec![single]));
                };
                let items = items.iter().enumerate();
                let items: Vec<_> = items
                    .map_while(|(index, value)| self.value(item, value, &Path::Item(path, index)))
                    .collect();
                // The first bad item is told; a thousand of the same kind would help nobody.
                (self.errors.is_empty()).then_some(JsonValue::Array(items))
            }
            Type::Named(name) | Type::NonNullNamed(name) => match self.schema.types.get(name) {
                Some(ExtendedType::InputObject(object)) => self.object(object, value, path),
                Some(ExtendedType::Enum(item)) => {
                    let known = value
                        .as_str()
                        .is_some_and(|text| item.values.contains_key(text));
                    if !known {
                        let why = format!("Enum \"{name}\" has no such value.");
                        self.refuse(value, path, &why);
                    }
                    known.then(|| value.clone())
                }
                _ => self.scalar(name, value, path),
            },
        }
    }

    fn scalar(&mut self, name: &Name, value: &JsonValue, path: &Path<'_>) -> Option<JsonValue> {
        let coerced = match name.as_str() {
            "Int" => whole(value)
                .and_then(|number| i32::try_from(number).ok())
                .map(JsonValue::from),
            "Float" => value.is_number().then(|| value.clone()),
            "String" => value.is_string().then(|| value.clone()),
            "Boolean" => value.is_boolean().then(|| value.clone()),
            "ID" => id(value),
            _ => Some(value.clone()),
        };
        if coerced.is_none() {
            let why = match (name.as_str(), value) {
                ("Int", JsonValue::Number(number)) if whole(value).is_some() => {
                    format!("Int cannot represent non 32-bit signed integer value: {number}")
                }
                ("Int", _) => "Int cannot represent non-integer value.".to_owned(),
                ("Float", _) => "Float cannot represent non numeric value.".to_owned(),
                ("String", _) => "String cannot represent a non string value.".to_owned(),
                ("Boolean", _) => "Boolean cannot represent a non boolean value.".to_owned(),
                (other, _) => format!("{other} cannot represent this value."),
            };
            self.refuse(value, path, &why);
        }
        coerced
    }

    fn object(
        &mut self,
        object: &InputObjectType,
        value: &JsonValue,
        path: &Path<'_>,
    ) -> Option<JsonValue> {
        let JsonValue::Object(given) = value else {
            let why = format!("Expected type \"{}\" to be an object.", object.name);
            self.refuse(value, path, &why);
            return None;
        };
        let before = self.errors.len();
        let mut coerced = JsonMap::new();
        for (name, field) in &object.fields {
            match given.get(name.as_str()) {
                Some(value) => {
                    let path = Path::Field(path, name);
                    if let Some(value) = self.value(&field.ty, value, &path) {
                        coerced.insert(name.as_str(), value);
                    }
                }
                None => {
                    if let Some(default) = &field.default_value {
                        coerced.insert(name.as_str(), json_of(default));
                    } else if field.ty.is_non_null() {
                        let why = format!(
                            "Field \"{name}\" of required type \"{}\" was not provided.",
                            field.ty
                        );
                        self.refuse(value, path, &why);
                    }
                }
            }
        }
        let unknown = given
            .keys()
            .find(|key| !object.fields.contains_key(key.as_str()));
        if let Some(unknown) = unknown {
            let why = format!(
                "Field \"{}\" is not defined by type \"{}\".",
                cut(unknown.as_str()),
                object.name
            );
            self.refuse(value, path, &why);
        }
        (self.errors.len() == before).then_some(JsonValue::Object(coerced))
    }

    fn refuse(&mut self, value: &JsonValue, path: &Path<'_>, why: &str) {
        let variable = self.variable;
        let shown = serde_json::to_string(value).unwrap_or_default();
        let shown = cut(&shown);
        let at = match path {
            Path::Variable => String::new(),
            path => format!(" at \"{variable}{path}\""),
        };
        self.errors.push(format!(
            "Variable \"${variable}\" got invalid value {shown}{at}; {why}"
        ));
    }

    fn refuse_null(&mut self, ty: &Type, path: &Path<'_>) {
        let variable = self.variable;
        self.errors.push(match path {
            Path::Variable => {
                format!("Variable \"${variable}\" of non-null type \"{ty}\" must not be null.")
            }
            path => format!(
                "Variable \"${variable}\" got invalid value null at \"{variable}{path}\"; \
                 Expected non-nullable type \"{ty}\" not to be null."
            ),
        });
    }
}

/// A number without a fraction, as JavaScript has it: 1.0 is one.
fn whole(value: &JsonValue) -> Option<i128> {
    let JsonValue::Number(number) = value else {
        return None;
    };
    let exact = number.as_i64().map(i128::from);
    let exact = exact.or_else(|| number.as_u64().map(i128::from));
    exact.or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "what is too large stays too large"
        )]
        Some(float as i128)
    })
}

/// An id's text: a string, or a whole number as JavaScript writes it.
fn id(value: &JsonValue) -> Option<JsonValue> {
    if value.is_string() {
        return Some(value.clone());
    }
    let number = whole(value)?;
    let float = value.as_f64().filter(|float| float.abs() >= 1e21);
    Some(match float {
        Some(float) => {
            let text = format!("{float:e}");
            let text = match text.split_once("e-") {
                Some(_) => text,
                None => text.replace('e', "e+"),
            };
            text.into()
        }
        // The shortest digits that mean this float.
        None if value.is_f64() => format!("{}", value.as_f64().unwrap_or_default() + 0.0).into(),
        None => number.to_string().into(),
    })
}

/// A constant of the document as JSON. Whole numbers of more than 64 bits can only be ids.
fn json_of(value: &ast::Value) -> JsonValue {
    match value {
        ast::Value::Null | ast::Value::Variable(_) => JsonValue::Null,
        ast::Value::Enum(name) => name.as_str().into(),
        ast::Value::String(text) => text.as_str().into(),
        ast::Value::Boolean(boolean) => (*boolean).into(),
        ast::Value::Int(number) => match number_of(number.as_str()) {
            Some(number) => JsonValue::Number(number),
            None => number.as_str().into(),
        },
        ast::Value::Float(number) => match number.as_str().parse() {
            Ok(number) => JsonValue::Number(number),
            Err(_) => number.as_str().into(),
        },
        ast::Value::List(items) => items.iter().map(|item| json_of(item)).collect(),
        ast::Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.as_str(), json_of(value)))
            .collect(),
    }
}

/// A whole number where a number keeps its text; not where only an id could: of more than 64 bits, or `-0`.
fn number_of(text: &str) -> Option<serde_json::Number> {
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then(|| number.into())
}

/// This request's variables, for the places that name them.
pub(super) struct Values<'a> {
    variables: &'a Coerced,
    sizes: HashMap<&'a str, Size>,
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
        }
    }

    /// Whether `@skip` and `@include` leave it in.
    pub(super) fn included(&self, directives: &DirectiveList) -> bool {
        let condition = |name: &str| {
            let argument = directives.get(name)?.specified_argument_by_name("if")?;
            match &**argument {
                ast::Value::Boolean(condition) => Some(*condition),
                ast::Value::Variable(name) => self.variables.get(name.as_str())?.as_bool(),
                _ => None,
            }
        };
        condition("skip") != Some(true) && condition("include") != Some(false)
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

    /// A value with the variables in place; nothing where it is a variable that was left out.
    pub(super) fn of(&self, value: &ast::Value) -> Option<Value> {
        Some(match value {
            ast::Value::Null => Value::Null,
            ast::Value::Enum(name) => Value::Enum(GraphqlName::new(name.as_str())),
            ast::Value::Variable(name) => from_json(self.variables.get(name.as_str())?),
            ast::Value::String(text) => Value::String(text.clone()),
            ast::Value::Boolean(boolean) => Value::Boolean(*boolean),
            ast::Value::Int(number) => match number_of(number.as_str()) {
                Some(number) => Value::Number(number),
                None => Value::String(number.as_str().to_owned()),
            },
            ast::Value::Float(number) => number.as_str().parse().map_or(Value::Null, Value::Number),
            ast::Value::List(items) => {
                let items = items.iter();
                Value::List(
                    items
                        .map(|item| self.of(item).unwrap_or(Value::Null))
                        .collect(),
                )
            }
            ast::Value::Object(fields) => {
                let fields = fields.iter().filter_map(|(name, value)| {
                    Some((GraphqlName::new(name.as_str()), self.of(value)?))
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
