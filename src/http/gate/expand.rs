//! From a checked document to the one operation that runs: `CollectFields` of the specification, done before execution.

use apollo_compiler::{
    ExecutableDocument, Name, Node,
    ast::{self, OperationType},
    collections::{HashMap, IndexMap},
    executable::{self, Operation, Selection, SelectionSet},
    response::{JsonMap, JsonValue},
    schema::ExtendedType,
};
use async_graphql::{
    Name as GraphqlName, Pos, Positioned, Value,
    parser::types::{self, DocumentOperations, OperationDefinition},
};

use super::{Gate, Prepared, Refusal, location, shape};
use crate::graphql::{self, ConversationArguments, ErrorCode};

/// Asks an object for its type: where only that tells which fields apply, and where nothing else is selected (an object
/// without fields would come back as null). No document of a client's can hold this name twice with another meaning: names
/// with two underscores belong to GraphQL itself.
pub(super) const TYPE: &str = "__dm_type";

/// Nested selection sets of one answer.
const DEPTH: usize = 30;

pub(super) fn expand(
    gate: &Gate,
    document: &ExecutableDocument,
    operation: &Operation,
    variables: &JsonMap,
) -> Result<Prepared, Refusal> {
    let mut expansion = Expansion {
        gate,
        document,
        variables,
        fields: 0,
        refused: Vec::new(),
        signal_cursor: false,
        sends: 0,
        marks: Vec::new(),
    };
    let root = &operation.selection_set;
    let (selection, items) = expansion.object(&[root], &root.ty, 0)?;
    let definition = OperationDefinition {
        ty: match operation.operation_type {
            OperationType::Query => types::OperationType::Query,
            OperationType::Mutation => types::OperationType::Mutation,
            OperationType::Subscription => types::OperationType::Subscription,
        },
        variable_definitions: Vec::new(),
        directives: Vec::new(),
        selection_set: unplaced(types::SelectionSet { items }),
    };
    Ok(Prepared {
        kind: operation.operation_type,
        operation: graphql::Operation {
            document: types::ExecutableDocument {
                operations: DocumentOperations::Single(unplaced(definition)),
                fragments: std::collections::HashMap::new(),
            },
            signal_cursor: expansion.signal_cursor,
            marks: expansion.marks,
        },
        price: expansion.fields as u64,
        sends: expansion.sends,
        shape: shape::Shape::new(selection, expansion.refused, document.sources.clone()),
    })
}

struct Expansion<'a> {
    gate: &'a Gate,
    document: &'a ExecutableDocument,
    variables: &'a JsonMap,
    /// Fields met so far.
    fields: usize,
    /// Root fields whose arguments cannot be, as in null for one that is never null: they fail without being run.
    refused: Vec<async_graphql::ServerError>,
    signal_cursor: bool,
    sends: u64,
    marks: Vec<ConversationArguments>,
}

type Items = Vec<Positioned<types::Selection>>;
type Fields<'a> = IndexMap<Name, Vec<&'a Node<executable::Field>>>;

impl<'a> Expansion<'a> {
    /// The fields of one object type, merged by their keys, in the document's order.
    fn object(
        &mut self,
        sets: &[&'a SelectionSet],
        object: &Name,
        depth: usize,
    ) -> Result<(Vec<shape::Field>, Items), Refusal> {
        if depth > DEPTH {
            return Err(Refusal::new(
                ErrorCode::QueryTooComplex,
                format!("the operation nests deeper than {DEPTH} levels: ask for less at a time"),
            ));
        }
        let mut fields = Fields::default();
        for set in sets {
            self.collect(set, object, &mut fields)?;
        }
        let mut shapes = Vec::with_capacity(fields.len());
        let mut items = Vec::with_capacity(fields.len());
        for (key, same) in fields {
            let (shape, item) = self.field(&key, &same, depth)?;
            shapes.push(shape);
            items.extend(item);
        }
        if items.is_empty() && depth > 0 {
            items.push(ask_type());
        }
        Ok((shapes, items))
    }

    fn collect(
        &mut self,
        set: &'a SelectionSet,
        object: &Name,
        fields: &mut Fields<'a>,
    ) -> Result<(), Refusal> {
        let document = self.document;
        for selection in &set.selections {
            if !self.included(selection.directives()) {
                continue;
            }
            // Spreads count too: many that add no field still cost their walk.
            self.fields += 1;
            if self.fields > self.gate.field_limit {
                return Err(Refusal::new(
                    ErrorCode::QueryTooComplex,
                    format!(
                        "the operation spreads to more than {} fields: ask for less at a time",
                        self.gate.field_limit
                    ),
                ));
            }
            match selection {
                Selection::Field(field) => {
                    let key = field.response_key().clone();
                    fields.entry(key).or_default().push(field);
                }
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.type_condition.as_ref();
                    if condition.is_none_or(|condition| self.applies(condition, object)) {
                        self.collect(&fragment.selection_set, object, fields)?;
                    }
                }
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) = document.fragments.get(&spread.fragment_name)
                        && self.applies(fragment.type_condition(), object)
                    {
                        self.collect(&fragment.selection_set, object, fields)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn applies(&self, condition: &Name, object: &Name) -> bool {
        condition == object
            || self
                .gate
                .implementers
                .get(condition)
                .is_some_and(|objects| objects.contains(object))
    }

    fn included(&self, directives: &ast::DirectiveList) -> bool {
        let condition = |name: &str| {
            let argument = directives.get(name)?.specified_argument_by_name("if")?;
            match self.value(argument)? {
                Value::Boolean(condition) => Some(condition),
                _ => None,
            }
        };
        condition("skip") != Some(true) && condition("include") != Some(false)
    }

    /// One field and, unless its arguments are refused, what runs for it.
    fn field(
        &mut self,
        key: &Name,
        same: &[&'a Node<executable::Field>],
        depth: usize,
    ) -> Result<(shape::Field, Option<Positioned<types::Selection>>), Refusal> {
        let field = same[0];
        let offset = field.location().map_or(0, |at| at.offset());
        let arguments = self.arguments(field);
        let sets: Vec<&SelectionSet> = same.iter().map(|field| &field.selection_set).collect();
        let inner = field.definition.ty.inner_named_type();
        let (selection, items) = self.selection(&sets, inner, depth + 1)?;
        let shape = shape::Field {
            key: GraphqlName::new(key.as_str()),
            ty: field.definition.ty.clone(),
            selection,
        };
        let arguments = match arguments {
            Ok(arguments) => arguments,
            Err(message) => {
                self.refuse(key, offset, message);
                return Ok((shape, None));
            }
        };
        if depth == 0 {
            self.note(field, &arguments);
        }
        let name = |name: &str| Positioned::new(GraphqlName::new(name), offset_pos(offset));
        let arguments = arguments.into_iter().map(|(argument, value)| {
            let value = Positioned::new(value.into_value(), offset_pos(offset));
            (name(&argument), value)
        });
        let item = types::Field {
            alias: (key != &field.name).then(|| name(key)),
            name: name(&field.name),
            arguments: arguments.collect(),
            directives: Vec::new(),
            selection_set: unplaced(types::SelectionSet { items }),
        };
        let item = types::Selection::Field(Positioned::new(item, offset_pos(offset)));
        Ok((shape, Some(Positioned::new(item, offset_pos(offset)))))
    }

    fn selection(
        &mut self,
        sets: &[&'a SelectionSet],
        ty: &Name,
        depth: usize,
    ) -> Result<(shape::Selection, Items), Refusal> {
        match self.gate.schema.types.get(ty) {
            Some(ExtendedType::Object(_)) => {
                let (fields, items) = self.object(sets, ty, depth)?;
                Ok((shape::Selection::Object(fields), items))
            }
            Some(ExtendedType::Interface(_)) => {
                let mut by_type = HashMap::default();
                let mut items = vec![ask_type()];
                let objects = self.gate.implementers.get(ty);
                for object in objects.into_iter().flatten() {
                    let (fields, own) = self.object(sets, object, depth)?;
                    by_type.insert(object.to_string(), fields);
                    items.push(on_type(object, own));
                }
                Ok((shape::Selection::Interface(by_type), items))
            }
            _ => Ok((shape::Selection::Leaf, Vec::new())),
        }
    }

    /// What the operation has to do before anything of it is read.
    fn note(&mut self, field: &executable::Field, arguments: &[(String, Value)]) {
        match field.name.as_str() {
            "signalCursor" => self.signal_cursor = true,
            "sendMessage" => self.sends += 1,
            "conversation" => {
                let named: Vec<(GraphqlName, &Value)> = arguments
                    .iter()
                    .map(|(name, value)| (GraphqlName::new(name), value))
                    .collect();
                let named = named.iter().map(|(name, value)| (name, *value));
                let taken = ConversationArguments::of(named);
                if taken.mark_read {
                    self.marks.push(taken);
                }
            }
            _ => {}
        }
    }

    /// The arguments that were given, in this request's variables. One given by a variable that was left out is left out,
    /// so that its default holds.
    fn arguments(&self, field: &executable::Field) -> Result<Vec<(String, Value)>, String> {
        let mut arguments = Vec::with_capacity(field.arguments.len());
        for argument in &field.arguments {
            let Some(value) = self.value(&argument.value) else {
                continue;
            };
            let definition = field.definition.argument_by_name(&argument.name);
            let never_null = definition.is_some_and(|definition| definition.ty.is_non_null());
            if never_null && value == Value::Null {
                return Err(format!("the argument {} may not be null", argument.name));
            }
            arguments.push((argument.name.to_string(), value));
        }
        Ok(arguments)
    }

    fn refuse(&mut self, key: &Name, offset: usize, message: String) {
        let mut error = async_graphql::ServerError::new(message, Some(offset_pos(offset)));
        error.path = vec![async_graphql::PathSegment::Field(key.to_string())];
        let mut extensions = async_graphql::ErrorExtensionValues::default();
        extensions.set("code", ErrorCode::BadUserInput.name());
        error.extensions = Some(extensions);
        self.refused.push(error);
    }

    /// A value with the variables in it replaced; nothing where it is a variable that was left out.
    fn value(&self, value: &ast::Value) -> Option<Value> {
        Some(match value {
            ast::Value::Null => Value::Null,
            ast::Value::Enum(name) => Value::Enum(GraphqlName::new(name.as_str())),
            ast::Value::Variable(name) => from_json(self.variables.get(name.as_str())?),
            ast::Value::String(text) => Value::String(text.clone()),
            ast::Value::Boolean(boolean) => Value::Boolean(*boolean),
            ast::Value::Int(number) => number_of(number.as_str()),
            ast::Value::Float(number) => number_of(number.as_str()),
            ast::Value::List(values) => Value::List(
                values
                    .iter()
                    .map(|value| self.value(value).unwrap_or(Value::Null))
                    .collect(),
            ),
            ast::Value::Object(fields) => Value::Object(
                fields
                    .iter()
                    .filter_map(|(name, value)| {
                        Some((GraphqlName::new(name.as_str()), self.value(value)?))
                    })
                    .collect(),
            ),
        })
    }
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

/// Numbers were checked against the schema's types; one too large even for a float could only stand for an `ID`.
fn number_of(text: &str) -> Value {
    serde_json::from_str(text).map_or_else(|_| Value::String(text.to_owned()), Value::Number)
}

/// A byte offset in place of a line and column, which are worked out only where an error tells them.
fn offset_pos(offset: usize) -> Pos {
    Pos {
        line: 0,
        column: offset,
    }
}

pub(super) fn placed(pos: Pos, sources: &apollo_compiler::parser::SourceMap) -> Option<Pos> {
    if pos.line == 0 {
        location(sources, pos.column)
    } else {
        Some(pos)
    }
}

fn unplaced<T: Clone>(node: T) -> Positioned<T> {
    Positioned::new(node, Pos::default())
}

fn ask_type() -> Positioned<types::Selection> {
    let field = types::Field {
        alias: Some(unplaced(GraphqlName::new(TYPE))),
        name: unplaced(GraphqlName::new("__typename")),
        arguments: Vec::new(),
        directives: Vec::new(),
        selection_set: unplaced(types::SelectionSet { items: Vec::new() }),
    };
    unplaced(types::Selection::Field(unplaced(field)))
}

fn on_type(object: &Name, items: Items) -> Positioned<types::Selection> {
    let condition = types::TypeCondition {
        on: unplaced(GraphqlName::new(object.as_str())),
    };
    let fragment = types::InlineFragment {
        type_condition: Some(unplaced(condition)),
        directives: Vec::new(),
        selection_set: unplaced(types::SelectionSet { items }),
    };
    unplaced(types::Selection::InlineFragment(unplaced(fragment)))
}
