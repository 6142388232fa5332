//! What stands before the executor: every document is parsed and validated by the specification's rules, spread out within
//! a budget, and its answer completed to the shape that the specification gives it.
//!
//! async-graphql 7.2 departs from it where it validates (documents that graphql-js refuses, fragments expanded again at
//! every spread), where it takes variables (one left out is null instead of the argument's default), where a field is
//! selected twice (it runs twice) and where a field fails (its key is missing). So it is handed one operation without
//! fragments, directives, variables or repetitions, and [`shape`] puts right what comes back.

mod expand;
mod refusal;
mod shape;

use std::sync::Arc;

use apollo_compiler::{
    ExecutableDocument, Schema,
    ast::OperationType,
    collections::HashMap,
    parser::{Parser, SourceMap},
    request::coerce_variable_values,
    response::JsonMap,
    schema::Name,
    validation::Valid,
};
use quick_cache::{Weighter, sync::Cache};

pub(super) use self::{refusal::Refusal, shape::Shape};
use crate::graphql::{ErrorCode, Operation};

/// How many documents' verdicts are kept, and how many bytes of their text. Clients send the same few again and again; a
/// parsed document takes some twenty times its text.
const DOCUMENTS: usize = 1_024;
const DOCUMENT_BYTES: u64 = 1 << 20;
/// Longer documents are checked anew each time rather than kept.
const LONGEST_KEPT: usize = 16_384;
/// Nested selection sets, in the text of one document.
const NESTING: usize = 128;
/// Tokens of one document.
const TOKENS: usize = 20_000;

/// Checks documents against the schema.
pub(super) struct Gate {
    schema: Valid<Schema>,
    /// From interface to the object types that implement it.
    implementers: HashMap<Name, Vec<Name>>,
    verdicts: Cache<String, Verdict, ByLength>,
    field_limit: usize,
}

/// What a kept verdict takes, by its document's length.
#[derive(Clone)]
struct ByLength;

impl Weighter<String, Verdict> for ByLength {
    fn weight(&self, text: &String, _: &Verdict) -> u64 {
        text.len() as u64
    }
}

type Verdict = Arc<Result<Valid<ExecutableDocument>, Refusal>>;

/// A document that may run, with this request's operation and variables.
pub(super) struct Prepared {
    pub(super) kind: OperationType,
    pub(super) operation: Operation,
    pub(super) shape: Shape,
    pub(super) price: u64,
    pub(super) sends: u64,
}

impl Prepared {
    /// Whether running it changes anything.
    pub(super) fn has_side_effects(&self) -> bool {
        self.kind == OperationType::Mutation || !self.operation.marks.is_empty()
    }
}

/// What a GraphQL request asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Params {
    pub(super) query: String,
    pub(super) operation_name: Option<String>,
    pub(super) variables: JsonMap,
}

impl Gate {
    /// A gate for the API's own schema.
    pub(super) fn new(sdl: &str, field_limit: usize) -> Self {
        let schema = Schema::parse_and_validate(sdl, "schema.graphql")
            .unwrap_or_else(|errors| panic!("our own schema is valid: {}", errors.errors));
        let implementers = schema
            .implementers_map()
            .into_iter()
            .map(|(interface, types)| {
                let mut objects: Vec<Name> = types.objects.into_iter().collect();
                objects.sort();
                (interface, objects)
            })
            .collect();
        Self {
            schema,
            implementers,
            verdicts: Cache::with_weighter(DOCUMENTS, DOCUMENT_BYTES, ByLength),
            field_limit,
        }
    }

    /// Makes one request ready to run, or says why it is refused.
    pub(super) fn prepare(&self, params: &Params) -> Result<Prepared, Refusal> {
        let verdict = self.check(&params.query);
        let document = (*verdict).as_ref().map_err(Clone::clone)?;
        let name = params.operation_name.as_deref();
        let operation = document
            .operations
            .get(name)
            .map_err(|_| Refusal::new(ErrorCode::BadRequest, no_operation(name)))?;
        let variables = coerce_variable_values(&self.schema, operation, &params.variables)
            .map_err(|error| {
                let sources = &document.sources;
                Refusal::at(
                    ErrorCode::BadUserInput,
                    error.message().to_string(),
                    error.location().and_then(|at| at.line_column(sources)),
                )
            })?;
        expand::expand(self, document, operation, &variables)
    }

    /// Why a document could never run here.
    pub(super) fn refusal_of(&self, text: &str) -> Option<Refusal> {
        self.judge(text).err()
    }

    fn check(&self, text: &str) -> Verdict {
        if text.len() > LONGEST_KEPT {
            return Arc::new(self.judge(text));
        }
        if let Some(verdict) = self.verdicts.get(text) {
            return verdict;
        }
        let verdict = Arc::new(self.judge(text));
        self.verdicts.insert(text.to_owned(), verdict.clone());
        verdict
    }

    fn judge(&self, text: &str) -> Result<Valid<ExecutableDocument>, Refusal> {
        let parsed = Parser::new()
            .recursion_limit(NESTING)
            .token_limit(TOKENS)
            .parse_ast(text, "document");
        let parsed = parsed
            .map_err(|bad| Refusal::of_diagnostics(ErrorCode::GraphqlParseFailed, &bad.errors))?;
        if parsed.definitions.is_empty() {
            return Err(Refusal::new(
                ErrorCode::GraphqlParseFailed,
                "the document is empty: give an operation, as in { viewer { id } }",
            ));
        }
        parsed
            .to_executable_validate(&self.schema)
            .map_err(|bad| Refusal::of_diagnostics(ErrorCode::GraphqlValidationFailed, &bad.errors))
    }
}

fn no_operation(name: Option<&str>) -> String {
    match name {
        Some(name) => format!("operationName: the document has no operation {name:?}"),
        None => "operationName: the document has several operations, or none; name the one to run"
            .to_owned(),
    }
}

/// Where something stands in a document, from its byte offset.
fn location(sources: &SourceMap, offset: usize) -> Option<async_graphql::Pos> {
    let source = sources.values().next()?;
    let at = source.get_line_column(offset)?;
    Some(async_graphql::Pos {
        line: at.line,
        column: at.column,
    })
}
