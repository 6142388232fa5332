//! What stands before the executor: every document is measured, validated by the specification's rules, priced and spread
//! out, and its answer completed to the shape that the specification gives it.
//!
//! async-graphql 7.2 departs from it where it validates (documents that graphql-js refuses, fragments expanded again at
//! every spread), where it takes variables (one left out is null instead of the argument's default), where a field is
//! selected twice (it runs twice) and where a field fails (its key is missing). So it is handed one operation without
//! fragments, directives, variables or repetitions, and [`shape`] puts right what comes back. (A page that `graphql` writes by
//! itself is right as it is.)
//!
//! In this order, so that each step bounds the work of the next: [`check`] parses within a limit of tokens, [`measure`] counts
//! what the document spreads to, then it is validated; its verdict is kept. For each request the variables are coerced
//! ([`variables`]), the operation is priced ([`price`]), and only then spread out ([`expand`]).

mod check;
mod expand;
mod lists;
mod measure;
mod message;
mod place;
mod price;
mod refusal;
mod shape;
mod syntax;
mod usage;
mod values;
mod variables;

use std::sync::Arc;

use apollo_compiler::{
    ExecutableDocument, ast::OperationType, response::JsonMap, validation::Valid,
};
use quick_cache::{Weighter, sync::Cache};
use tokio::sync::Semaphore;

use self::check::Checker;
pub(super) use self::{
    check::{HeavyFields, Limits},
    price::ROOT_FIELD,
    refusal::Refusal,
    shape::Shape,
};
use crate::graphql::{self, Operation};

/// How many documents' verdicts are kept, and how many bytes of their text. Clients send the same few again and again; a
/// parsed document takes some twenty times its text. A flood of documents that come once does not push out those that
/// come again: the cache resists scans.
const DOCUMENTS: usize = 1_024;
const DOCUMENT_BYTES: u64 = 1 << 20;
/// Longer documents are checked anew each time rather than kept.
const LONGEST_KEPT: usize = 16_384;
/// Documents up to this many bytes are checked where they arrive, in less than 2 ms at worst; longer ones beside the
/// workers, which answer others meanwhile.
const AT_ONCE: usize = 2_048;

/// Checks documents against the schema and the limits, and keeps its verdicts.
pub(super) struct Gate {
    checker: Arc<Checker>,
    verdicts: Cache<String, Verdict, ByLength>,
    /// How many long documents are checked at one time: half of the processors, so that the others serve.
    aside: Arc<Semaphore>,
}

/// What a kept verdict takes: its document's length, and no less than would fill the cache with [`DOCUMENTS`]. The cache
/// itself counts nothing but weight.
#[derive(Clone)]
struct ByLength;

impl Weighter<String, Verdict> for ByLength {
    fn weight(&self, text: &String, _: &Verdict) -> u64 {
        (text.len() as u64).max(DOCUMENT_BYTES / DOCUMENTS as u64)
    }
}

type Verdict = Arc<Result<Valid<ExecutableDocument>, Refusal>>;

/// A document that may run, with this request's operation and variables.
pub(super) struct Prepared {
    pub(super) kind: OperationType,
    /// As its document calls it.
    pub(super) name: Option<String>,
    pub(super) operation: Operation,
    pub(super) shape: Shape,
    /// What running it costs, as [`price`] counts; of a subscription, what one event costs.
    pub(super) price: u64,
    /// How many messages it sends.
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
    pub(super) fn new(sdl: &str, limits: Limits) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            checker: Arc::new(Checker::new(sdl, limits)),
            verdicts: Cache::with_weighter(DOCUMENTS, DOCUMENT_BYTES, ByLength),
            aside: Arc::new(Semaphore::new((processors / 2).max(1))),
        }
    }

    /// Makes one request ready to run, or says why it is refused.
    pub(super) async fn prepare(&self, params: &Params) -> Result<Prepared, Refusal> {
        let verdict = self.verdict(&params.query).await?;
        let document = (*verdict).as_ref().map_err(Clone::clone)?;
        self.checker.ready(document, params)
    }

    /// Why a document could never run here.
    pub(super) fn refusal_of(&self, text: &str) -> Option<Refusal> {
        self.checker.check(text).err()
    }

    /// Whether a document was checked before.
    pub(super) fn knows(&self, text: &str) -> bool {
        self.verdicts.peek(text).is_some()
    }

    async fn verdict(&self, text: &str) -> Result<Verdict, Refusal> {
        if let Some(verdict) = self.verdicts.get(text) {
            return Ok(verdict);
        }
        let verdict = if text.len() <= AT_ONCE {
            Arc::new(self.checker.check(text))
        } else {
            self.check_aside(text.to_owned()).await?
        };
        if text.len() <= LONGEST_KEPT {
            self.verdicts.insert(text.to_owned(), verdict.clone());
        }
        Ok(verdict)
    }

    /// Checks a long document on a thread of its own. Its place is held until it ends, also where the client is gone by
    /// then.
    async fn check_aside(&self, text: String) -> Result<Verdict, Refusal> {
        let place = self.aside.clone().acquire_owned().await;
        let checker = self.checker.clone();
        let checking = tokio::task::spawn_blocking(move || {
            let _place = place;
            Arc::new(checker.check(&text))
        });
        checking.await.map_err(|error| {
            let error = crate::chat::Error::internal(error.to_string());
            Refusal::from(graphql::Error::from(error))
        })
    }
}
