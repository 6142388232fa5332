use apollo_compiler::{
    ExecutableDocument, Schema,
    ast::{self, OperationType},
    collections::HashMap,
    parser::Parser,
    schema::{ExtendedType, Name},
    validation::Valid,
};
use async_graphql::Pos;

use super::{
    Params, Prepared, Refusal, expand,
    lists::Lists,
    measure, message, place,
    price::{self, root_fields},
    syntax::{self, Unreadable},
    usage,
    values::Values,
    variables,
};
use crate::{config::Prices, graphql::ErrorCode};

/// Nested selection sets, from an operation through the fragments that it spreads, and nested values: what recursion over a
/// document costs of the stack. Answers nest 16 levels at most, where introspection follows types of types.
pub(super) const NESTING: usize = 100;

/// What introspection has beside what apollo-compiler 1.33 knows: `isOneOf` of the specification of September 2025, and the
/// deprecation of directives, which graphql-js asks for on request. It can go where apollo-compiler knows it too.
const YOUNGER_INTROSPECTION: &str = "
    extend type __Type { isOneOf: Boolean }
    extend type __Directive { isDeprecated: Boolean! deprecationReason: String }
";

/// What a document may cost.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The settings.
    pub(crate) prices: Prices,
    /// Bytes that an operation's arguments may hold with the variables in place: no more than a request could have said
    /// without variables.
    pub(crate) argument_bytes: usize,
    /// Whether the schema may be asked for.
    pub(crate) introspection: bool,
    /// Fields that may weigh more than others.
    pub(crate) heavy: HeavyFields,
}

/// Fields whose values may be long, and what each costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeavyFields {
    /// The type, and its fields.
    pub(crate) fields: (&'static str, &'static [&'static str]),
    pub(crate) cost: u64,
}

impl HeavyFields {
    pub(super) fn cost(self, ty: &str, field: &str) -> Option<u64> {
        let (heavy, fields) = self.fields;
        (ty == heavy && fields.contains(&field)).then_some(self.cost)
    }
}

/// Parses, measures, validates and prices: a pure function of the schema, the limits and the request.
pub(super) struct Checker {
    pub(super) schema: Valid<Schema>,
    /// From interface or union to the object types that it may be.
    pub(super) implementers: HashMap<Name, Vec<Name>>,
    pub(super) lists: Lists,
    pub(super) limits: Limits,
}

impl Checker {
    /// A checker for the API's own schema.
    pub(super) fn new(sdl: &str, limits: Limits) -> Self {
        let schema = Schema::builder()
            .parse(sdl, "schema.graphql")
            .parse(YOUNGER_INTROSPECTION, "introspection.graphql")
            .build()
            .unwrap_or_else(|errors| panic!("our own schema is built: {}", errors.errors));
        let schema = with_deprecated_directives(schema)
            .validate()
            .unwrap_or_else(|errors| panic!("our own schema is valid: {}", errors.errors));
        let mut implementers: HashMap<Name, Vec<Name>> = schema
            .implementers_map()
            .into_iter()
            .map(|(interface, types)| {
                let mut objects: Vec<Name> = types.objects.into_iter().collect();
                objects.sort();
                (interface, objects)
            })
            .collect();
        implementers.extend(unions(&schema));
        let lists = Lists::new(&schema, &implementers)
            .unwrap_or_else(|list| panic!("the price does not know how long {list} can be"));
        Self {
            schema,
            implementers,
            lists,
            limits,
        }
    }

    /// The document, where it is GraphQL, fits the schema and keeps the limits that do not depend on variables.
    pub(super) fn check(&self, text: &str) -> Result<Valid<ExecutableDocument>, Refusal> {
        let parsed = self.parse(text)?;
        measure::measure(&parsed, &self.limits)?;
        let valid = match parsed.to_executable_validate(&self.schema) {
            Ok(valid) => valid,
            // One root field that is selected twice is one root field, to graphql-js and to the specification.
            Err(bad) if bad.errors.iter().all(|error| is_of_many_fields(&error)) => {
                if has_many_root_fields(&bad.partial) {
                    return Err(message::of_validation(&bad.errors));
                }
                Valid::assume_valid(bad.partial)
            }
            Err(bad) => return Err(message::of_validation(&bad.errors)),
        };
        usage::check(&self.schema, &valid)?;
        Ok(valid)
    }

    fn parse(&self, text: &str) -> Result<ast::Document, Refusal> {
        let tokens = usize::try_from(self.limits.prices.token_limit).unwrap_or(usize::MAX);
        let text = syntax::readable(text, tokens).map_err(|unreadable| {
            let at = |offset| Some(place::in_text(text, offset));
            match unreadable {
                Unreadable::TooLong(offset) => self.too_long(at(offset)),
                Unreadable::NoColon(offset) => Refusal::at(
                    ErrorCode::GraphqlParseFailed,
                    "Syntax Error: Expected \":\" and a value after the name.",
                    at(offset),
                ),
            }
        })?;
        let mut parser = Parser::new().recursion_limit(NESTING).token_limit(tokens);
        let parsed = parser.parse_ast(text, "document");
        let limit_place = || {
            let bad = parsed.as_ref().err()?;
            message::place_of_limit(&bad.errors)
        };
        if parser.tokens_reached() > tokens {
            return Err(self.too_long(limit_place()));
        }
        if parser.recursion_reached() > NESTING {
            return Err(measure::nests_too_deep(limit_place()));
        }
        let parsed = parsed.map_err(|bad| message::of_syntax(&bad.errors))?;
        if parsed.definitions.is_empty() {
            return Err(Refusal::new(
                ErrorCode::GraphqlParseFailed,
                "the document is empty: give an operation, as in { viewer { id } }",
            ));
        }
        Ok(parsed)
    }

    fn too_long(&self, place: Option<Pos>) -> Refusal {
        let message = format!(
            "this document has more than {} tokens (words, punctuation, blanks and comments), which is the limit: send a \
             shorter one, with long values as variables",
            message::grouped(self.limits.prices.token_limit)
        );
        Refusal::at(ErrorCode::QueryTooComplex, message, place)
    }

    /// The request's operation with its variables, where it keeps the limits.
    pub(super) fn ready(
        &self,
        document: &ExecutableDocument,
        params: &Params,
    ) -> Result<Prepared, Refusal> {
        let name = params.operation_name.as_deref();
        let operation = document
            .operations
            .get(name)
            .map_err(|_| Refusal::new(ErrorCode::BadRequest, no_operation(name)))?;
        let variables = variables::coerce(&self.schema, document, operation, &params.variables)?;
        let values = Values::new(&variables);
        let price = price::price(self, document, operation, &values)?;
        if let Some(variable) = values.null_condition() {
            return Err(Refusal::new(
                ErrorCode::BadUserInput,
                format!(
                    "Variable \"${variable}\" is the condition of @skip or @include, and may not be null there."
                ),
            ));
        }
        expand::expand(self, document, operation, values, &price)
    }
}

/// Lets `__Schema.directives` take `includeDeprecated`, as `__Type.fields` does.
fn with_deprecated_directives(mut schema: Schema) -> Schema {
    let argument = schema.type_field("__Type", "fields").ok();
    let argument = argument.and_then(|field| field.argument_by_name("includeDeprecated").cloned());
    let directives = match schema.types.get_mut("__Schema") {
        Some(ExtendedType::Object(object)) => object.make_mut().fields.get_mut("directives"),
        _ => None,
    };
    if let Some(directives) = directives {
        directives.make_mut().arguments.extend(argument);
    }
    schema
}

fn unions(schema: &Schema) -> impl Iterator<Item = (Name, Vec<Name>)> {
    schema.types.iter().filter_map(|(name, ty)| {
        let members = &ty.as_union()?.members;
        let mut objects: Vec<Name> = members.iter().map(|member| member.name.clone()).collect();
        objects.sort();
        Some((name.clone(), objects))
    })
}

fn is_of_many_fields(
    error: &apollo_compiler::diagnostic::Diagnostic<
        '_,
        apollo_compiler::validation::DiagnosticData,
    >,
) -> bool {
    error.error.unstable_error_name() == Some("SubscriptionUsesMultipleFields")
}

fn has_many_root_fields(document: &ExecutableDocument) -> bool {
    let nothing = variables::Coerced::default();
    let values = Values::new(&nothing);
    let mut subscriptions = document
        .operations
        .iter()
        .filter(|operation| operation.operation_type == OperationType::Subscription);
    subscriptions.any(|operation| root_fields(document, operation, &values).len() > 1)
}

fn no_operation(name: Option<&str>) -> String {
    match name {
        Some(name) => {
            let name = message::cut(name);
            format!("operationName: the document has no operation {name:?}")
        }
        None => "operationName: the document has several operations, or none; name the one to run"
            .to_owned(),
    }
}
