//! From a checked document to the one operation that runs: `CollectFields` of the specification, done before execution.

use apollo_compiler::{
    ExecutableDocument, Name, Node,
    ast::{self, OperationType, Type},
    collections::{HashMap, IndexMap},
    executable::{self, Operation, Selection, SelectionSet},
    schema::ExtendedType,
};
use async_graphql::{
    Name as GraphqlName, Pos, Positioned, Value,
    parser::types::{self, DocumentOperations, OperationDefinition},
};

use super::{Prepared, Refusal, check::Checker, place, price::Price, shape, values::Values};
use crate::graphql::{self, ConversationArguments, ErrorCode};

/// Asks an object for its type: where only that tells which fields apply, and where nothing else is selected (an object
/// without fields would come back as null). No document of a client's can hold this name twice with another meaning: names
/// with two underscores belong to GraphQL itself.
pub(super) const TYPE: &str = "__dm_type";

/// Spreads one operation out. Its size is bounded by then: by what [`super::measure`] counted, and by its price.
///
/// # Errors
/// `GRAPHQL_VALIDATION_FAILED` where one key is selected with lists of different lengths as arguments.
pub(super) fn expand(
    checker: &Checker,
    document: &ExecutableDocument,
    operation: &Operation,
    values: Values<'_>,
    price: &Price,
) -> Result<Prepared, Refusal> {
    let mut expansion = Expansion {
        checker,
        document,
        values,
        refused: Vec::new(),
        signal_cursor: false,
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
        name: operation.name.as_ref().map(ToString::to_string),
        operation: graphql::Operation {
            document: types::ExecutableDocument {
                operations: DocumentOperations::Single(unplaced(definition)),
                fragments: std::collections::HashMap::new(),
            },
            signal_cursor: expansion.signal_cursor,
            marks: expansion.marks,
        },
        shape: shape::Shape::new(selection, expansion.refused, document.sources.clone()),
        price: price.total,
        sends: price.sends,
    })
}

struct Expansion<'a> {
    checker: &'a Checker,
    document: &'a ExecutableDocument,
    values: Values<'a>,
    /// Root fields whose arguments cannot be, as in null for one that is never null: they fail without being run.
    refused: Vec<async_graphql::ServerError>,
    signal_cursor: bool,
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
        let mut fields = Fields::default();
        for set in sets {
            self.collect(set, object, &mut fields);
        }
        let mut shapes = Vec::with_capacity(fields.len());
        let mut items = Vec::with_capacity(fields.len());
        for (key, same) in fields {
            let (shape, item) = self.field(object, &key, &same, depth)?;
            shapes.push(shape);
            items.extend(item);
        }
        if items.is_empty() && depth > 0 {
            items.push(ask_type());
        }
        Ok((shapes, items))
    }

    fn collect(&self, set: &'a SelectionSet, object: &Name, fields: &mut Fields<'a>) {
        let document = self.document;
        for selection in &set.selections {
            if !self.values.included(selection.directives()) {
                continue;
            }
            match selection {
                Selection::Field(field) => {
                    let key = field.response_key().clone();
                    fields.entry(key).or_default().push(field);
                }
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.type_condition.as_ref();
                    if condition.is_none_or(|condition| self.applies(condition, object)) {
                        self.collect(&fragment.selection_set, object, fields);
                    }
                }
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) = document.fragments.get(&spread.fragment_name)
                        && self.applies(fragment.type_condition(), object)
                    {
                        self.collect(&fragment.selection_set, object, fields);
                    }
                }
            }
        }
    }

    fn applies(&self, condition: &Name, object: &Name) -> bool {
        condition == object
            || self
                .checker
                .implementers
                .get(condition)
                .is_some_and(|objects| objects.contains(object))
    }

    /// One field of an object type and, unless its arguments are refused or its value is known, what runs for it.
    fn field(
        &mut self,
        object: &Name,
        key: &Name,
        same: &[&'a Node<executable::Field>],
        depth: usize,
    ) -> Result<(shape::Field, Option<Positioned<types::Selection>>), Refusal> {
        let field = same[0];
        let offset = field.location().map_or(0, |at| at.offset());
        if let Some(other) = same.iter().find(|other| !lists_agree(field, other)) {
            let at = other.location();
            return Err(Refusal::at(
                ErrorCode::GraphqlValidationFailed,
                format!(
                    "Fields \"{key}\" conflict because they have differing arguments. Use different aliases on the fields \
                     to fetch both if this was intentional."
                ),
                at.and_then(|at| place::of(&self.document.sources, at.offset())),
            ));
        }
        if let Some(value) = constant(object, &field.name) {
            let shape = shape::Field {
                key: GraphqlName::new(key.as_str()),
                ty: field.definition.ty.clone(),
                selection: shape::Selection::Constant(value),
            };
            return Ok((shape, None));
        }
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
        match self.checker.schema.types.get(ty) {
            Some(ExtendedType::Object(_)) => {
                let (fields, items) = self.object(sets, ty, depth)?;
                Ok((shape::Selection::Object(fields), items))
            }
            Some(ExtendedType::Interface(_) | ExtendedType::Union(_)) => {
                let mut by_type = HashMap::default();
                let mut items = vec![ask_type()];
                let objects = self.checker.implementers.get(ty);
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
            let Some(definition) = field.definition.argument_by_name(&argument.name) else {
                continue;
            };
            let schema = &self.checker.schema;
            let Some(value) = self.values.of(schema, &argument.value, &definition.ty) else {
                continue;
            };
            // Null means the default.
            if value == Value::Null
                && definition.default_value.is_some()
                && !definition.ty.is_non_null()
            {
                continue;
            }
            self.no_null(&value, &definition.ty, &argument.name)?;
            arguments.push((argument.name.to_string(), value));
        }
        Ok(arguments)
    }

    /// A variable's null may stand where its type lets it, and only now meets a place that is never null.
    fn no_null(&self, value: &Value, ty: &Type, place: &str) -> Result<(), String> {
        match value {
            Value::Null if ty.is_non_null() => Err(format!("{place} may not be null")),
            Value::List(items) if ty.is_list() => items
                .iter()
                .try_for_each(|item| self.no_null(item, ty.item_type(), place)),
            Value::Object(given) => {
                let input = self.checker.schema.types.get(ty.inner_named_type());
                let Some(ExtendedType::InputObject(input)) = input else {
                    return Ok(());
                };
                input.fields.values().try_for_each(|field| {
                    let place = format!("{place}.{}", field.name);
                    match given.get(field.name.as_str()) {
                        Some(value) => self.no_null(value, &field.ty, &place),
                        None if field.is_required() => Err(format!("{place} is needed")),
                        None => Ok(()),
                    }
                })
            }
            _ => Ok(()),
        }
    }

    fn refuse(&mut self, key: &Name, offset: usize, message: String) {
        let mut error = async_graphql::ServerError::new(message, Some(offset_pos(offset)));
        error.path = vec![async_graphql::PathSegment::Field(key.to_string())];
        let mut extensions = async_graphql::ErrorExtensionValues::default();
        extensions.set("code", ErrorCode::BadUserInput.name());
        error.extensions = Some(extensions);
        self.refused.push(error);
    }
}

/// What introspection answers where async-graphql 7.2 has no such field: no directive of this schema is deprecated.
fn constant(object: &Name, field: &Name) -> Option<Value> {
    match (object.as_str(), field.as_str()) {
        ("__Directive", "isDeprecated") => Some(Value::Boolean(false)),
        ("__Directive", "deprecationReason") => Some(Value::Null),
        _ => None,
    }
}

/// Whether the lists in two fields' arguments are of one length: all else about them was compared by validation.
fn lists_agree(left: &executable::Field, right: &executable::Field) -> bool {
    left.arguments.iter().all(|argument| {
        let other = right.specified_argument_by_name(&argument.name);
        other.is_none_or(|other| values_agree(&argument.value, other))
    })
}

fn values_agree(left: &ast::Value, right: &ast::Value) -> bool {
    match (left, right) {
        (ast::Value::List(left), ast::Value::List(right)) => {
            let mut pairs = left.iter().zip(right);
            left.len() == right.len() && pairs.all(|(left, right)| values_agree(left, right))
        }
        (ast::Value::Object(left), ast::Value::Object(right)) => {
            left.iter().all(|(name, value)| {
                let other = right.iter().find(|(other, _)| other == name);
                other.is_none_or(|(_, other)| values_agree(value, other))
            })
        }
        _ => true,
    }
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
        place::of(sources, pos.column)
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
