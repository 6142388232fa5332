//! The targets of [`crate::fuzz`] for what comes by HTTP and over a socket.

mod selection;

use apollo_compiler::{Schema, response::JsonMap, validation::Valid};
use async_graphql::{
    Positioned, Response,
    parser::types::{self, DocumentOperations},
};
use axum::http::{
    Extensions, HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT, CONTENT_TYPE, HOST, ORIGIN},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use self::selection::Selections;
use super::{
    accept::{Accepts, MediaType},
    address::Address,
    documents::Documents,
    gate::{Gate, Limits, Params, Prepared, Refusal},
    origin::AllowedOrigins,
    params::Asked,
    request, socket,
};
use crate::{
    config::{Bounds, Prices},
    graphql::{Caller, ErrorCode, sdl},
};

/// Documents named by their hash that are kept here.
const KEPT: usize = 16;
/// The most errors that one refusal tells.
const MOST_ERRORS: usize = 10;

/// What of a reason a close frame takes.
const REASON_BYTES: usize = 123;

/// What these targets need, made once.
pub(crate) struct Http {
    gate: Gate,
    schema: Valid<Schema>,
    documents: Documents,
    /// Long documents are checked on a thread of their own.
    runtime: Runtime,
}

impl Http {
    pub(crate) fn new() -> Self {
        let bounds = Bounds::default();
        let limits = Limits {
            prices: Prices::default(),
            argument_bytes: bounds.body_limit,
            introspection: true,
            heavy: super::heavy_fields(bounds.content_limit),
        };
        let runtime = Builder::new_current_thread().build();
        let schema = Schema::parse_and_validate(sdl(), "schema.graphql");
        Self {
            gate: Gate::new(&sdl(), limits),
            schema: schema.expect("our own schema is valid"),
            documents: Documents::open(KEPT),
            runtime: runtime.expect("a runtime that waits for nothing"),
        }
    }

    fn prepare(&self, params: &Params) -> Result<Prepared, Refusal> {
        self.runtime.block_on(self.gate.prepare(params))
    }

    /// A body: its parameters read back as they were, and are judged.
    pub(crate) fn request(&self, data: &[u8]) {
        match Asked::from_body(data) {
            Ok(sent) => self.sent(sent),
            Err(message) => assert!(!message.is_empty()),
        }
    }

    /// What follows the `?` of a URL, likewise.
    pub(crate) fn url(&self, query: &str) {
        match Asked::from_url(query) {
            Ok(sent) => self.sent(sent),
            Err(message) => assert!(!message.is_empty()),
        }
    }

    /// A document without variables.
    pub(crate) fn document(&self, text: &str) {
        self.judge(&Params {
            query: text.to_owned(),
            ..Params::default()
        });
    }

    /// Choices, of which a document is built that fits the schema: nothing but its price may be held against it.
    pub(crate) fn selection(&self, choices: &[u8]) {
        let (query, variables) = Selections::document(&self.schema, choices);
        let params = Params {
            query,
            operation_name: None,
            variables,
        };
        if let Some(refusal) = self.judge(&params) {
            let body = refusal.body();
            assert_eq!(
                refusal.code,
                ErrorCode::QueryTooComplex,
                "{body} {params:?}"
            );
        }
    }

    /// A message on a socket, and a request in it.
    pub(crate) fn socket_message(&self, text: &str) {
        if let Some(reason) = socket::refusal_of(text) {
            assert!((1..=REASON_BYTES).contains(&reason.len()), "{reason}");
            return;
        }
        // What the message is not asked for may be a number that nothing holds.
        let Ok(message) = serde_json::from_str::<Value>(text) else {
            return;
        };
        if message["type"] != "subscribe" {
            return;
        }
        match Asked::from_json(message["payload"].clone()) {
            Ok(sent) => self.sent(sent),
            Err(reason) => assert!(!reason.is_empty()),
        }
    }

    /// Headers, a line each: `accept: text/html`.
    pub(crate) fn headers(data: &[u8]) {
        let mut headers = HeaderMap::new();
        for line in data.split(|byte| *byte == b'\n') {
            let mut parts = line.splitn(2, |byte| *byte == b':');
            let name = parts
                .next()
                .and_then(|name| HeaderName::from_bytes(name).ok());
            let value = parts
                .next()
                .and_then(|value| HeaderValue::from_bytes(value).ok());
            if let (Some(name), Some(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        accepts(&headers);
        if request::is_json(&headers) {
            let first = headers[CONTENT_TYPE].as_bytes().to_ascii_lowercase();
            assert!(first.trim_ascii_start().starts_with(b"application/json"));
        }
        if let Some(value) = headers.get("x-act-as") {
            match request::decode_act_as(value.as_bytes()) {
                Ok(id) => {
                    let encoded = utf8_percent_encode(&id, NON_ALPHANUMERIC).to_string();
                    assert_eq!(request::decode_act_as(encoded.as_bytes()).ok(), Some(id));
                }
                Err(refusal) => told(&refusal, ""),
            }
        }
        // Where no origin is allowed, a page is the server's own, and calls it by its name.
        if headers.contains_key(ORIGIN) && AllowedOrigins::new(Vec::new()).allow(&headers) {
            let text = |name| headers[name].to_str().expect("an origin is text");
            let host = text(HOST)
                .split(':')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase();
            assert!(
                text(ORIGIN)
                    .to_ascii_lowercase()
                    .contains(&format!("://{host}"))
            );
        }
        let address =
            |headers: &HeaderMap, proxies| Address::of(&Extensions::new(), headers, proxies);
        assert_eq!(address(&headers, 0), address(&HeaderMap::new(), 0));
        assert_eq!(address(&headers, 2), address(&headers, 2));
    }

    fn sent(&self, sent: Asked) {
        reads_back(&sent);
        match self.documents.find(sent, &Caller::Nobody) {
            Ok(params) => {
                self.judge(&params);
            }
            Err(refusal) => told(&refusal, ""),
        }
    }

    /// The verdict, twice the same: why it is refused; or nothing, and its price is not below what it selects.
    fn judge(&self, params: &Params) -> Option<Refusal> {
        match (self.prepare(params), self.prepare(params)) {
            (Ok(prepared), Ok(again)) => {
                assert_eq!(
                    (prepared.kind, prepared.price, prepared.sends),
                    (again.kind, again.price, again.sends)
                );
                assert_eq!(prepared.operation.marks, again.operation.marks);
                assert_eq!(
                    prepared.operation.signal_cursor,
                    again.operation.signal_cursor
                );
                let DocumentOperations::Single(operation) = &prepared.operation.document.operations
                else {
                    panic!("one operation runs");
                };
                // A list may be of none, and introspection's lists count by what the schema has.
                let of_any_length = ["upsertUsers", "__schema", "__type("];
                if !of_any_length.iter().any(|name| params.query.contains(name)) {
                    let fields = fields_of(&operation.node.selection_set);
                    assert!(prepared.price >= fields, "{} for {fields}", prepared.price);
                }
                prepared.shape.complete(&mut Response::default());
                None
            }
            (Err(refusal), Err(again)) => {
                assert_eq!(refusal.body(), again.body());
                told(&refusal, &params.query);
                assert_ne!(refusal.code, ErrorCode::Internal, "{}", refusal.body());
                Some(refusal)
            }
            (Ok(_), Err(refusal)) | (Err(refusal), Ok(_)) => {
                panic!("refused once of two times: {}", refusal.body())
            }
        }
    }
}

/// How many fields an answer has at most, of one item of each list.
fn fields_of(set: &Positioned<types::SelectionSet>) -> u64 {
    let (mut fields, mut of_types) = (0, 0);
    for item in &set.node.items {
        match &item.node {
            types::Selection::Field(field) => {
                let asks_type = field.node.name.node == "__typename";
                fields += u64::from(!asks_type) + fields_of(&field.node.selection_set);
            }
            types::Selection::InlineFragment(fragment) => {
                of_types = fields_of(&fragment.node.selection_set).max(of_types);
            }
            types::Selection::FragmentSpread(_) => panic!("fragments are spread out"),
        }
    }
    fields + of_types
}

/// A few errors, each with a message, the code, and a place that is in the document.
fn told(refusal: &Refusal, document: &str) {
    let errors = refusal.errors();
    let errors = errors.as_array().expect("errors are a list");
    assert!((1..=MOST_ERRORS).contains(&errors.len()));
    assert!(!refusal.first_message().is_empty());
    let lines = document.split(['\n', '\r']).count() as u64;
    for error in errors {
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty())
        );
        assert_eq!(error["extensions"]["code"], refusal.code.name());
        for place in error["locations"].as_array().into_iter().flatten() {
            let at = |name: &str| place[name].as_u64().unwrap_or(0);
            assert!(
                (1..=lines).contains(&at("line")) && at("column") >= 1,
                "{error}"
            );
        }
    }
}

/// However the ranges are spread over lines, they come to the same.
fn accepts(headers: &HeaderMap) {
    let accepts = Accepts::of(headers);
    assert!(accepts.events || !accepts.events_first);
    if !headers.contains_key(ACCEPT) {
        assert_eq!(accepts.answer, Some(MediaType::Json));
        return;
    }
    let lines: Vec<&[u8]> = headers
        .get_all(ACCEPT)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let visible = |line: &&[u8]| line.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    if lines.iter().all(visible) {
        let mut joined = HeaderMap::new();
        let line = HeaderValue::from_bytes(&lines.join(b",".as_slice()));
        joined.insert(ACCEPT, line.expect("its parts are values"));
        assert_eq!(Accepts::of(&joined), accepts);
    }
}

/// The same parameters come by a body, and by a URL.
fn reads_back(sent: &Asked) {
    if sent.variables.values().any(has_float) {
        return;
    }
    let body = json!({
        "query": sent.query,
        "documentId": sent.document,
        "operationName": sent.operation_name,
        "variables": sent.variables,
    });
    assert_eq!(
        Asked::from_body(body.to_string().as_bytes()).as_ref(),
        Ok(sent)
    );
    // By URL, an empty parameter is none.
    if [&sent.document, &sent.operation_name]
        .into_iter()
        .flatten()
        .any(String::is_empty)
    {
        return;
    }
    let mut url = format!("variables={}", encoded(&json!(sent.variables).to_string()));
    for (name, value) in [
        ("query", &sent.query),
        ("documentId", &sent.document),
        ("operationName", &sent.operation_name),
    ] {
        if let Some(value) = value {
            url.extend(["&", name, "=", &encoded(value)]);
        }
    }
    assert_eq!(Asked::from_url(&url).as_ref(), Ok(sent));
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Numbers with a fraction are read to the nearest but one, and the API takes none.
fn has_float(value: &apollo_compiler::response::JsonValue) -> bool {
    use apollo_compiler::response::JsonValue as Json;
    match value {
        Json::Number(number) => number.is_f64(),
        Json::Array(values) => values.iter().any(has_float),
        Json::Object(fields) => any_float(fields),
        Json::Null | Json::Bool(_) | Json::String(_) => false,
    }
}

fn any_float(fields: &JsonMap) -> bool {
    fields.values().any(has_float)
}
