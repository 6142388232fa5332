//! Rules of the specification that apollo-compiler 1.33 checks less strictly than graphql-js: where a variable may stand
//! ("All Variable Usages Are Allowed": it looks at arguments, not at what is nested in them, and takes a default of null for
//! a default), and that no input field stands twice in one object.

use std::collections::BTreeMap;

use apollo_compiler::{
    ExecutableDocument, Name, Node, Schema,
    ast::{self, Argument, InputValueDefinition, Type, Value, VariableDefinition},
    collections::{HashMap, HashSet},
    executable::{Operation, Selection, SelectionSet},
};

use super::{Refusal, place, refusal::Errors};
use crate::graphql::ErrorCode;

/// # Errors
/// `GRAPHQL_VALIDATION_FAILED`.
pub(super) fn check(schema: &Schema, document: &ExecutableDocument) -> Result<(), Refusal> {
    // By place, since what several operations spread is met several times.
    let mut faults = BTreeMap::new();
    for operation in document.operations.iter() {
        let mut usage = Usage {
            schema,
            document,
            variables: variables(operation),
            seen: HashSet::default(),
            faults: &mut faults,
        };
        for variable in &operation.variables {
            if let Some(default) = &variable.default_value {
                usage.value(default, &variable.ty, false);
            }
        }
        usage.directives(&operation.directives);
        usage.selections(&operation.selection_set);
    }
    let mut errors = Errors::default();
    for (offset, message) in faults {
        errors.add(|| (message, place::of(&document.sources, offset)));
    }
    errors.refuse_or(ErrorCode::GraphqlValidationFailed, ())
}

fn variables(operation: &Operation) -> HashMap<&Name, &VariableDefinition> {
    let variables = operation.variables.iter();
    variables
        .map(|variable| (&variable.name, &**variable))
        .collect()
}

struct Usage<'a> {
    schema: &'a Schema,
    document: &'a ExecutableDocument,
    variables: HashMap<&'a Name, &'a VariableDefinition>,
    /// Fragments that were walked.
    seen: HashSet<&'a Name>,
    faults: &'a mut BTreeMap<usize, String>,
}

impl<'a> Usage<'a> {
    fn selections(&mut self, set: &'a SelectionSet) {
        for selection in &set.selections {
            self.directives(selection.directives());
            match selection {
                Selection::Field(field) => {
                    self.arguments(&field.arguments, &field.definition.arguments);
                    self.selections(&field.selection_set);
                }
                Selection::InlineFragment(fragment) => self.selections(&fragment.selection_set),
                Selection::FragmentSpread(spread) => {
                    if self.seen.insert(&spread.fragment_name)
                        && let Some(fragment) = self.document.fragments.get(&spread.fragment_name)
                    {
                        self.directives(&fragment.directives);
                        self.selections(&fragment.selection_set);
                    }
                }
            }
        }
    }

    fn directives(&mut self, directives: &ast::DirectiveList) {
        for directive in directives {
            if let Some(definition) = self.schema.directive_definitions.get(&directive.name) {
                self.arguments(&directive.arguments, &definition.arguments);
            }
        }
    }

    fn arguments(
        &mut self,
        arguments: &[Node<Argument>],
        definitions: &[Node<InputValueDefinition>],
    ) {
        for argument in arguments {
            let definition = definitions.iter().find(|of| of.name == argument.name);
            if let Some(definition) = definition {
                self.value(
                    &argument.value,
                    &definition.ty,
                    definition.default_value.is_some(),
                );
            }
        }
    }

    fn value(&mut self, value: &Node<Value>, ty: &Type, has_default: bool) {
        match &**value {
            Value::Variable(name) => {
                if let Some(variable) = self.variables.get(name)
                    && !is_allowed(variable, ty, has_default)
                {
                    let message = format!(
                        "Variable \"${name}\" of type \"{}\" used in position expecting type \"{ty}\".",
                        variable.ty
                    );
                    self.fault(value, message);
                }
            }
            Value::List(items) if ty.is_list() => {
                for item in items {
                    self.value(item, ty.item_type(), false);
                }
            }
            Value::Object(fields) => {
                let Some(object) = self.schema.get_input_object(ty.inner_named_type()) else {
                    self.value_of_scalar(value);
                    return;
                };
                let mut names = HashSet::default();
                for (name, value) in fields {
                    if !names.insert(name) {
                        self.fault(value, named_twice(name));
                    }
                    if let Some(field) = object.fields.get(name) {
                        self.value(value, &field.ty, field.default_value.is_some());
                    }
                }
            }
            _ => {}
        }
    }

    /// A scalar of our own, written as an object: any variable that there is may stand in it.
    fn value_of_scalar(&mut self, value: &Node<Value>) {
        match &**value {
            Value::Variable(name) if !self.variables.contains_key(name) => {
                self.fault(value, format!("Variable \"${name}\" is not defined."));
            }
            Value::List(items) => items.iter().for_each(|item| self.value_of_scalar(item)),
            Value::Object(fields) => {
                let mut names = HashSet::default();
                for (name, value) in fields {
                    if !names.insert(name) {
                        self.fault(value, named_twice(name));
                    }
                    self.value_of_scalar(value);
                }
            }
            _ => {}
        }
    }

    fn fault(&mut self, value: &Node<Value>, message: String) {
        let offset = value.location().map_or(0, |at| at.offset());
        self.faults.insert(offset, message);
    }
}

fn named_twice(name: &Name) -> String {
    format!("There can be only one input field named \"{name}\".")
}

/// `IsVariableUsageAllowed` of the specification.
fn is_allowed(variable: &VariableDefinition, ty: &Type, has_default: bool) -> bool {
    if !ty.is_non_null() || variable.ty.is_non_null() {
        return variable.ty.is_assignable_to(ty);
    }
    let own_default = variable.default_value.as_ref();
    let has_own_default = own_default.is_some_and(|default| !default.is_null());
    (has_own_default || has_default) && variable.ty.is_assignable_to(&ty.clone().nullable())
}
