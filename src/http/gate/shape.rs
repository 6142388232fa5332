//! The shape that an answer must have by the specification, whatever the executor made of it.

use apollo_compiler::{ast::Type, collections::HashMap, parser::SourceMap};
use async_graphql::{Name, Pos, Response, ServerError, Value, indexmap::IndexMap};

use super::expand::{TYPE, placed};
use crate::graphql::Error;

/// What one operation's answer looks like.
#[derive(Debug)]
pub(in crate::http) struct Shape {
    fields: Vec<Field>,
    refused: Vec<ServerError>,
    places: Places,
}

/// Where a document's parts stand.
#[derive(Debug)]
pub(in crate::http) struct Places(SourceMap);

/// One key of an object.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) key: Name,
    pub(super) ty: Type,
    pub(super) selection: Selection,
}

/// What is selected of a field's value.
#[derive(Debug)]
pub(super) enum Selection {
    /// A scalar or an enum: all of it.
    Leaf,
    /// A value that is known without running anything.
    Constant(Value),
    /// An object's fields.
    Object(Vec<Field>),
    /// The fields of each object type that it may be.
    Interface(HashMap<String, Vec<Field>>),
}

/// Null stands where the schema rules it out: it goes up to the next place that may be null.
struct NullGoesUp;

impl Shape {
    pub(super) fn new(fields: Vec<Field>, refused: Vec<ServerError>, sources: SourceMap) -> Self {
        Self {
            fields,
            refused,
            places: Places(sources),
        }
    }

    /// What is left to know of an answer that has this shape by itself.
    pub(in crate::http) fn into_places(self) -> Places {
        self.places
    }

    /// Whether anything is left to run: not where every root field was skipped or refused.
    pub(in crate::http) fn is_run(&self) -> bool {
        self.fields.len() > self.refused.len()
    }

    /// Whether no root field was refused.
    pub(in crate::http) fn is_whole(&self) -> bool {
        self.refused.is_empty()
    }

    /// Puts an answer right: failed keys present as null, null of a non-null type carried up, keys in the document's order,
    /// every error with its code and place.
    pub(in crate::http) fn complete(&self, response: &mut Response) {
        let data = std::mem::take(&mut response.data);
        let object = match data {
            Value::Object(object) => object,
            _ => IndexMap::new(),
        };
        response.data = complete_fields(object, &self.fields).unwrap_or(Value::Null);
        response.errors.extend(self.refused.iter().cloned());
        self.places.complete(&mut response.errors);
    }
}

impl Places {
    /// Gives every error its code and place.
    pub(in crate::http) fn complete(&self, errors: &mut [ServerError]) {
        // A list's errors stand at one place, and each look-up reads the document.
        let mut places = HashMap::default();
        for error in errors {
            let given = std::mem::take(&mut error.locations).into_iter();
            let place = |at: Pos| *places.entry(at).or_insert_with(|| placed(at, &self.0));
            error.locations = given.filter_map(place).collect();
            complete_error(error);
        }
    }
}

/// Gives a code to an error that has none.
fn complete_error(error: &mut ServerError) {
    let extensions = error.extensions.as_ref();
    if extensions.is_some_and(|extensions| extensions.get("code").is_some()) {
        return;
    }
    // Nothing of ours: the executor failed at something that the gate should have refused.
    let internal = Error::from(crate::chat::Error::internal(error.message.clone()));
    let internal: async_graphql::Error = internal.into();
    error.message = internal.message;
    error.extensions = internal.extensions;
}

fn complete_fields(
    mut object: IndexMap<Name, Value>,
    fields: &[Field],
) -> Result<Value, NullGoesUp> {
    let mut completed = IndexMap::with_capacity(fields.len());
    for field in fields {
        let value = object.swap_remove(&field.key).unwrap_or(Value::Null);
        let value = complete_value(value, &field.ty, &field.selection)?;
        completed.insert(field.key.clone(), value);
    }
    Ok(Value::Object(completed))
}

fn complete_value(value: Value, ty: &Type, selection: &Selection) -> Result<Value, NullGoesUp> {
    if let Selection::Constant(value) = selection {
        return Ok(value.clone());
    }
    let completed = match (value, ty) {
        (Value::List(items), Type::List(item) | Type::NonNullList(item)) => items
            .into_iter()
            .map(|value| complete_value(value, item, selection))
            .collect::<Result<Vec<_>, _>>()
            .map(Value::List),
        (Value::Object(object), _) => complete_object(object, selection),
        (value, _) => Ok(value),
    }
    .unwrap_or_else(|NullGoesUp| Value::Null);
    if completed == Value::Null && ty.is_non_null() {
        return Err(NullGoesUp);
    }
    Ok(completed)
}

fn complete_object(
    mut object: IndexMap<Name, Value>,
    selection: &Selection,
) -> Result<Value, NullGoesUp> {
    match selection {
        Selection::Leaf | Selection::Constant(_) => Ok(Value::Object(object)),
        Selection::Object(fields) => complete_fields(object, fields),
        Selection::Interface(by_type) => {
            let ty = object.swap_remove(TYPE);
            let fields = match &ty {
                Some(Value::String(ty)) => by_type.get(ty),
                _ => None,
            };
            complete_fields(object, fields.ok_or(NullGoesUp)?)
        }
    }
}
