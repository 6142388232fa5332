//! The variables of a request, coerced to the types that the operation declares, as graphql-js coerces them.

use apollo_compiler::{
    ExecutableDocument, Name, Schema,
    ast::{self, Type},
    executable::Operation,
    response::{JsonMap, JsonValue},
    schema::{ExtendedType, InputObjectType},
};

use super::{Refusal, message::cut, place, refusal::Errors};
use crate::graphql::{ErrorCode, SAFE_INTEGER};

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
            let default = json_of(schema, default, &variable.ty);
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
                ("ID", JsonValue::Number(_)) if whole(value).is_some() => format!(
                    "ID cannot represent a number beyond {SAFE_INTEGER}, which not every JSON writer keeps exactly: send ids as strings"
                ),
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
                        let default = json_of(self.schema, default, &field.ty);
                        coerced.insert(name.as_str(), default);
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

/// An id's text: a string, or a whole number that every JSON writer keeps exactly. A larger one may be another user's id by the
/// time it is read: JavaScript writes 9007199254740993 as 9007199254740992.
fn id(value: &JsonValue) -> Option<JsonValue> {
    if value.is_string() {
        return Some(value.clone());
    }
    let number = whole(value)?;
    (number.unsigned_abs() <= SAFE_INTEGER.into()).then(|| number.to_string().into())
}

/// A constant of the document as JSON.
fn json_of(schema: &Schema, value: &ast::Value, ty: &Type) -> JsonValue {
    match value {
        ast::Value::Null | ast::Value::Variable(_) => JsonValue::Null,
        ast::Value::Enum(name) => name.as_str().into(),
        ast::Value::String(text) => text.as_str().into(),
        ast::Value::Boolean(boolean) => (*boolean).into(),
        ast::Value::Int(number) => match number_of(number.as_str(), ty) {
            Some(number) => JsonValue::Number(number),
            None => number.as_str().into(),
        },
        ast::Value::Float(number) => match number.as_str().parse() {
            Ok(number) => JsonValue::Number(number),
            Err(_) => number.as_str().into(),
        },
        ast::Value::List(items) => {
            let items = items.iter();
            items.map(|item| json_of(schema, item, ty)).collect()
        }
        ast::Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| {
                let value = json_of(schema, value, field_type(schema, ty, name));
                (name.as_str(), value)
            });
            fields.collect()
        }
    }
}

/// The type of an input object's field, by the type that holds the object; that itself where nothing is known of the field.
pub(super) fn field_type<'a>(schema: &'a Schema, ty: &'a Type, field: &Name) -> &'a Type {
    let object = schema.get_input_object(ty.inner_named_type());
    object
        .and_then(|object| object.fields.get(field))
        .map_or(ty, |field| &field.ty)
}

/// The number that a whole one in the document means. An id is its text: nothing where a number would lose that, which `-0`
/// does, and one beyond what JSON keeps exactly.
pub(super) fn number_of(text: &str, ty: &Type) -> Option<serde_json::Number> {
    let number: i64 = text.parse().ok()?;
    let is_exact = number.unsigned_abs() <= SAFE_INTEGER && number.to_string() == text;
    (ty.inner_named_type() == "Int" || is_exact).then(|| number.into())
}
