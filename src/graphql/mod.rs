//! The API's shape: newtypes over rows, thin resolvers, the one mapping of errors. No rule and no query lives here.

mod caller;
mod connection;
mod conversation;
mod direct;
mod error;
mod federation;
mod message;
mod mutation;
mod partner;
mod query;
mod scalar;
mod subscription;
mod user;

use std::time::Duration;

use async_graphql::{
    ObjectType, Request, Response, SDLExportOptions, Schema, SchemaBuilder, ServerError,
    ValidationMode, dataloader::DataLoader, parser::types::ExecutableDocument,
};
use futures_util::{Stream, StreamExt as _, stream::BoxStream};

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
    subscription::Subscription,
};
use crate::chat::{self, Chat, Page};

/// The API over a chat. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    schema: Executable,
    chat: Chat,
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
    pub fn new(chat: Chat, subgraph: bool) -> Self {
        let schema = if subgraph {
            Executable::Subgraph(finish(subgraph_schema()))
        } else {
            Executable::Alone(finish(schema()))
        };
        Self { schema, chat }
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

    /// The whole answer to a query for nothing but one page, as JSON, or how that failed; nothing for everything else.
    pub async fn page_as_json(
        &self,
        operation: &Operation,
        caller: &Caller,
    ) -> Option<Result<Vec<u8>, Response>> {
        let Caller::User(viewer) = caller else {
            return None;
        };
        let page = direct::Page::of(operation)?;
        Some(page.write(&self.chat, viewer).await)
    }

    /// What a subscription tells of nothing but its events, each as JSON, up to the error that ends it; nothing for every
    /// other one.
    #[must_use]
    pub fn events_as_json(
        &self,
        operation: &Operation,
        caller: &Caller,
        progress: &Progress,
    ) -> Option<impl Stream<Item = Result<String, ServerError>> + Send + 'static> {
        let Caller::User(viewer) = caller else {
            return None;
        };
        let events = direct::Events::of(operation)?;
        Some(events.tell(self.chat.clone(), viewer, progress.clone()))
    }

    /// Runs a subscription; the first response tells where it was refused.
    pub fn subscribe(
        &self,
        operation: Operation,
        caller: Caller,
        progress: Progress,
    ) -> impl Stream<Item = Response> + Send + 'static {
        let request = self.request(operation, caller).data(progress);
        self.schema
            .execute_stream(request.data(Prologue::default()))
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
