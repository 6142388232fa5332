//! The API's shape: newtypes over rows, thin resolvers, the one mapping of errors. No rule and no query lives here.

mod caller;
mod connection;
mod conversation;
mod direct;
mod error;
mod federation;
mod json;
mod message;
mod mutation;
mod partner;
mod query;
mod scalar;
mod subscription;
mod user;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_graphql::{
    ObjectType, Request, Response, SDLExportOptions, Schema, SchemaBuilder, ServerError,
    ValidationMode, dataloader::DataLoader, parser::types::ExecutableDocument,
};
use futures_util::{FutureExt as _, StreamExt as _, stream::BoxStream};

pub use self::{
    caller::{Caller, Viewer},
    conversation::ConversationArguments,
    error::{Error, ErrorCode},
    scalar::SAFE_INTEGER,
    subscription::Progress,
};
use self::{
    federation::{Federation, SubgraphQuery},
    mutation::Mutation,
    partner::Sides,
    query::Query,
    subscription::{Begun, Signals, Subscription},
};
use crate::chat::{self, Budgets, Chat, Page};

/// The API over a chat. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    schema: Executable,
    chat: Chat,
    /// The most bytes in a response.
    response_limit: usize,
    /// For the bytes of events.
    budgets: Budgets,
}

/// How many bytes of a response a point of its operation's cost stands for at most: 250 characters of a content, each escaped by
/// six.
const BYTES_OF_A_POINT: usize = 1_500;

/// What bounds the API's responses.
#[derive(Clone, Copy, Debug)]
pub struct ResponseLimits {
    /// The most bytes in one.
    pub bytes: usize,
    /// The most bytes of events that one user's subscriptions are sent in a minute; 0 is no limit.
    pub event_bytes: u32,
}

/// The events of a subscription.
pub enum Events {
    /// Each as JSON, or the error that stands in its place because it is too large; up to the error that ends them.
    Written(BoxStream<'static, Result<Result<String, Error>, ServerError>>),
    /// Each as a response to complete; one without data is the last.
    Responses(BoxStream<'static, Response>),
}

/// Whose root of queries there is.
#[derive(Clone)]
enum Executable {
    Alone(Schema<Query, Mutation, Subscription>),
    Subgraph(Schema<SubgraphQuery, Mutation, Subscription>),
}

/// One operation, checked and made ready by the gate: fragments spread, variables filled in, `@skip` and `@include` applied.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The operation alone.
    pub document: ExecutableDocument,
    /// Whether `signalCursor` is among its root fields.
    pub signal_cursor: bool,
    /// Its `conversation` fields that mark.
    pub marks: Vec<ConversationArguments>,
}

/// What one operation has to do before any of its fields is read, in this order: one message has one state in one answer.
#[derive(Debug, Default)]
struct Prologue {
    signal_cursor: Option<Result<String, Error>>,
    marked: Vec<(ConversationArguments, Result<Page<chat::Message>, Error>)>,
}

impl Api {
    /// The API over `chat`, also for a gateway where it is a `subgraph`.
    #[must_use]
    pub fn new(chat: Chat, subgraph: bool, limits: ResponseLimits) -> Self {
        let schema = if subgraph {
            Executable::Subgraph(finish(subgraph_schema()))
        } else {
            Executable::Alone(finish(schema()))
        };
        Self {
            schema,
            chat,
            response_limit: limits.bytes,
            budgets: Budgets::new(limits.event_bytes),
        }
    }

    /// The chat under it.
    #[must_use]
    pub fn chat(&self) -> &Chat {
        &self.chat
    }

    /// Runs a query or a mutation.
    pub async fn execute(&self, operation: Operation, caller: Caller) -> Response {
        let prologue = self.prologue(&operation, &caller).await;
        let request = self.request(operation, caller).data(prologue);
        self.schema.execute(request).await
    }

    /// The whole response to a query for nothing but one page, as JSON, or how that failed; nothing for every other operation.
    ///
    /// # Errors
    /// Where the page cannot be read, the response to complete; `RESPONSE_TOO_LARGE` for the whole of it.
    pub async fn page_as_json(
        &self,
        operation: &Operation,
        caller: &Caller,
    ) -> Option<Result<Result<Vec<u8>, Error>, Response>> {
        let Caller::User(viewer) = caller else {
            return None;
        };
        let page = direct::Page::of(operation)?;
        let written = page.write(&self.chat, viewer, self.response_limit).await;
        Some(written.map(json::JsonWriter::finish))
    }

    /// A response as JSON. One that is too large becomes an error itself.
    pub async fn encode(&self, response: &mut Response) -> String {
        match json::encode(response, self.response_limit).await {
            Ok(text) => text,
            Err(error) => {
                *response = Response::from_errors(vec![error.into()]);
                json::encode_errors(&response.errors)
            }
        }
    }

    /// Errors as a response of their own.
    #[must_use]
    pub fn encode_errors(errors: &[ServerError]) -> String {
        json::encode_errors(errors)
    }

    /// How far a subscription of the caller's comes, which begins after `start`, or where its argument `after` says, and of
    /// which an event costs so much.
    #[must_use]
    pub fn progress(&self, caller: &Caller, start: Option<String>, price: u64) -> Progress {
        let estimate = usize::try_from(price).unwrap_or(usize::MAX);
        let estimate = estimate.saturating_mul(BYTES_OF_A_POINT);
        let budget = self.budgets.of(caller.observer().turn());
        Progress::new(start, budget, estimate.min(self.response_limit))
    }

    /// The most bytes in a response.
    #[must_use]
    pub fn response_limit(&self) -> usize {
        self.response_limit
    }

    /// Begins a subscription: once this returns, everything that happens is part of it. `is_whole` tells whether its events
    /// need no completion.
    ///
    /// # Errors
    /// Where its arguments or its caller are rejected.
    pub async fn subscribe(
        &self,
        operation: Operation,
        caller: Caller,
        progress: Progress,
        is_whole: bool,
    ) -> Result<Events, ServerError> {
        let Some(subscribed) = direct::Subscribed::of(&operation) else {
            let error = chat::Error::internal("a subscription to nothing passed the gate");
            return Err(Error::from(error).into());
        };
        let wanted = subscribed.wanted.clone();
        let form = subscribed.events(self.response_limit);
        let begun = match caller.viewer() {
            Ok(viewer) => Signals::begin(&self.chat, viewer.id, wanted, progress).await,
            Err(error) => Err(error),
        };
        let signals = match (begun, &form) {
            (Ok(signals), _) => signals,
            (Err(error), Ok(form)) => return Err(form.failed(error)),
            (Err(error), Err(root)) => return Err(root.failed(error)),
        };
        Ok(match form {
            Ok(form) if is_whole => {
                let form = Arc::new(form);
                // Boxed, so that a subscription that waits keeps no room for it.
                let events = signals.stream().then(move |signal| {
                    let form = form.clone();
                    let event = async move {
                        match signal {
                            Ok(signal) => Ok(form.write(&signal).await),
                            Err(error) => Err(form.failed(error)),
                        }
                    };
                    event.boxed()
                });
                Events::Written(events.boxed())
            }
            _ => {
                let begun: Begun = Mutex::new(Some(signals));
                let request = self.request(operation, caller).data(begun);
                let request = request.data(Prologue::default());
                Events::Responses(self.schema.execute_stream(request))
            }
        })
    }

    /// Forgets what is kept of users whose event budgets are full.
    pub fn forget_full_budgets(&self) {
        self.budgets.forget_full();
        self.chat.forget_full_budgets();
    }

    fn request(&self, operation: Operation, caller: Caller) -> Request {
        let mut request = Request::new("");
        request.set_parsed_query(operation.document);
        let sides = DataLoader::new(Sides(self.chat.clone()), tokio::spawn).delay(Duration::ZERO);
        request.data(self.chat.clone()).data(caller).data(sides)
    }

    async fn prologue(&self, operation: &Operation, caller: &Caller) -> Prologue {
        let mut prologue = Prologue::default();
        let Caller::User(viewer) = caller else {
            return prologue;
        };
        if operation.signal_cursor {
            prologue.signal_cursor = Some(signal_cursor(&self.chat, viewer).await);
        }
        for arguments in &operation.marks {
            if prologue.marked.iter().any(|(of, _)| of == arguments) {
                continue;
            }
            let page = arguments.read(&self.chat, viewer.id).await;
            prologue.marked.push((arguments.clone(), page));
        }
        prologue
    }
}

impl Executable {
    async fn execute(&self, request: Request) -> Response {
        match self {
            Self::Alone(schema) => schema.execute(request).await,
            Self::Subgraph(schema) => schema.execute(request).await,
        }
    }

    fn execute_stream(&self, request: Request) -> BoxStream<'static, Response> {
        match self {
            Self::Alone(schema) => schema.execute_stream(request).boxed(),
            Self::Subgraph(schema) => schema.execute_stream(request).boxed(),
        }
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Api")
    }
}

async fn signal_cursor(chat: &Chat, viewer: &Viewer) -> Result<String, Error> {
    Ok(chat.signal_cursor(viewer.id).await?.to_string())
}

fn schema() -> SchemaBuilder<Query, Mutation, Subscription> {
    Schema::build(Query, Mutation, Subscription)
}

fn subgraph_schema() -> SchemaBuilder<SubgraphQuery, Mutation, Subscription> {
    Schema::build(SubgraphQuery(Query, Federation), Mutation, Subscription)
}

/// The gate checks documents before this schema sees them, by the rules of the specification.
fn finish<Q: ObjectType + 'static>(
    builder: SchemaBuilder<Q, Mutation, Subscription>,
) -> Schema<Q, Mutation, Subscription> {
    builder
        .validation_mode(ValidationMode::Fast)
        .limit_recursive_depth(usize::MAX)
        .finish()
}

/// The API's schema as SDL, sorted. The sentence by which async-graphql's introspection describes every `schema` is not in it: Rust's
/// `graphql_client` cannot read a described one.
#[must_use]
pub fn sdl() -> String {
    sdl_of(&finish(schema()))
}

/// The same as a subgraph answers it: with what only a gateway asks.
#[must_use]
pub fn executable_subgraph_sdl() -> String {
    sdl_of(&finish(subgraph_schema()))
}

/// The link that makes a schema one of Federation 2, and what is used of it.
const LINK: &str = r#"extend schema @link(url: "https://specs.apollo.dev/federation/v2.4", import: ["@key", "@shareable"])"#;

/// What the types are to other subgraphs: entities, or the same wherever they stand.
const ROLES: [(&str, &str); 3] = [
    ("type Message implements Node {", r#"@key(fields: "id")"#),
    ("type PageInfo {", "@shareable"),
    ("type User implements Node {", r#"@key(fields: "id")"#),
];

/// The subgraph's schema as composition takes it.
#[must_use]
pub fn subgraph_sdl() -> String {
    let sdl = ROLES.iter().fold(sdl(), |sdl, (head, role)| {
        let with_role = head.replace('{', &format!("{role} {{"));
        sdl.replace(&format!("\n{head}\n"), &format!("\n{with_role}\n"))
    });
    format!("{LINK}\n\n{sdl}")
}

/// The directive by which clients that handle errors get types without null.
/// <https://specs.apollo.dev/nullability/v0.4/>
const SEMANTIC_NON_NULL: &str =
    "directive @semanticNonNull(levels: [Int] = [0]) on FIELD_DEFINITION";

/// Root fields that are null on error only. The others may be null by themselves: `conversationPartner` before the first message,
/// `message`, `node` and `user` for an id that is nobody's.
const NULL_ON_ERROR: [(&str, &[&str]); 2] = [
    (
        "type Query {",
        &[
            "conversation",
            "conversationPartners",
            "errorCodes",
            "inbox",
            "signalCursor",
            "unreadMessages",
            "viewer",
        ],
    ),
    (
        "type Mutation {",
        &[
            "readConversation",
            "readMessage",
            "sendMessage",
            "upsertUsers",
        ],
    ),
];

/// The API's schema with `@semanticNonNull` at each field that is null on error only.
#[must_use]
pub fn semantic_sdl() -> String {
    let (mut marked, mut field): (&[&str], _) = (&[], "");
    let sdl = sdl();
    let lines = sdl.lines().map(|line| {
        if !line.starts_with([' ', '"']) {
            let root = NULL_ON_ERROR.iter().find(|(head, _)| *head == line);
            marked = root.map_or(&[], |(_, fields)| fields);
        }
        // A field stands two columns in, its arguments four, and its type beside it or after their bracket.
        let member = line.strip_prefix("  ").unwrap_or_default();
        let name = member.split(['(', ':']).next().unwrap_or_default();
        if !name.is_empty() && name.chars().all(char::is_alphanumeric) {
            field = name;
        }
        let has_type = member.starts_with("): ") || member.starts_with(&format!("{field}: "));
        if has_type && marked.contains(&field) {
            format!("{line} @semanticNonNull")
        } else {
            line.to_owned()
        }
    });
    let lines: Vec<String> = lines.collect();
    format!("{SEMANTIC_NON_NULL}\n\n{}\n", lines.join("\n"))
}

fn sdl_of<Q: ObjectType + 'static>(schema: &Schema<Q, Mutation, Subscription>) -> String {
    let options = SDLExportOptions::new()
        .sorted_fields()
        .sorted_arguments()
        .sorted_enum_items()
        .include_specified_by()
        .use_space_ident()
        .indent_width(2);
    let sdl = schema.sdl_with_options(options);
    let lines: Vec<&str> = sdl.lines().map(str::trim_end).collect();
    format!("{}\n", lines.join("\n").trim())
}
