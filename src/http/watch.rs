//! Each request gets an id, and each operation is counted, and logged where that is asked for, when it ends.

use std::{borrow::Cow, fmt, panic::AssertUnwindSafe, sync::Arc};

use apollo_compiler::ast::OperationType;
use async_graphql::{
    ServerError, Value,
    parser::types::{DocumentOperations, Selection},
};
use axum::{
    extract::{Request, State},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode},
    middleware::Next,
    response::Response,
};
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use tokio::time::Instant;
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use super::{Server, gate::Prepared};
use crate::{
    graphql::{Caller, ErrorCode},
    observe::{self, Outcome},
};

/// By which a proxy may name a request, and an answer always does.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id of a proxy's that is kept, and the longest name of an operation's that is logged.
const LONGEST_ID: usize = 64;
const LONGEST_NAME: usize = 100;

/// Names one request, or one operation on a socket, in the log and to its client.
#[derive(Clone, Debug)]
pub(super) struct RequestId(Arc<str>);

impl RequestId {
    pub(super) fn draw() -> Self {
        Self(Uuid::new_v4().to_string().into())
    }

    /// The id that a proxy of the operator's gave, where it can be one.
    fn of(headers: &HeaderMap, proxies: usize) -> Self {
        let given = headers.get(X_REQUEST_ID).filter(|_| proxies > 0);
        let given = given.and_then(|id| id.to_str().ok()).filter(|id| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            (1..=LONGEST_ID).contains(&id.len()) && id.chars().all(plain)
        });
        given.map_or_else(Self::draw, |id| Self(id.into()))
    }

    /// What is logged within it carries this id.
    pub(super) fn span(&self) -> Span {
        tracing::error_span!("request", request_id = %self)
    }

    /// Tells it with each internal error, under which that was logged.
    pub(super) fn stamp(&self, errors: &mut [ServerError]) {
        for error in errors {
            let extensions = error.extensions.get_or_insert_default();
            if extensions.get("code") == Some(&Value::from(ErrorCode::Internal.name())) {
                extensions.set("requestId", self.to_string());
            }
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which request this is, and since when.
#[derive(Clone, Debug)]
pub(super) struct Arrived {
    pub(super) id: RequestId,
    at: Instant,
}

impl Arrived {
    /// Of a request that [`identify`] saw.
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_else(Self::now)
    }

    pub(super) fn now() -> Self {
        Self {
            id: RequestId::draw(),
            at: Instant::now(),
        }
    }
}

/// Gives a request its id, tells it in the answer, and takes a panic for what it is: a defect, told like every other
/// internal error instead of a connection that breaks off.
pub(super) async fn identify(
    State(server): State<Arc<Server>>,
    mut request: Request,
    next: Next,
) -> Response {
    let arrived = Arrived {
        id: RequestId::of(request.headers(), server.proxies),
        at: Instant::now(),
    };
    let id = arrived.id.clone();
    request.extensions_mut().insert(arrived);
    let span = id.span();
    // Within the other, so that the log finds the id.
    let traced = span.in_scope(|| {
        let (method, path) = (request.method(), request.uri().path());
        observe::request_span(method, path, request.headers(), server.proxies > 0)
    });
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind();
    let answered = async {
        let panicked = |panic| super::panicked(panic, &id);
        answered.await.unwrap_or_else(panicked)
    };
    let answered = answered.instrument(traced.clone()).instrument(span);
    let mut response = answered.await;
    traced.record("http.response.status_code", response.status().as_u16());
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    response
}

/// Polls a stream within a span: tasks that serve several take turns.
pub(super) fn within<T>(
    span: Span,
    mut told: impl Stream<Item = T> + Send + Unpin + 'static,
) -> impl Stream<Item = T> + Send + 'static {
    stream::poll_fn(move |cx| span.in_scope(|| told.poll_next_unpin(cx)))
}

/// One operation, from its arrival to its end, which is when this is dropped. It holds what may be told of an operation,
/// and neither its text nor its variables.
pub(super) struct Watch {
    server: Arc<Server>,
    pub(super) id: RequestId,
    /// The socket that it came over.
    connection: Option<RequestId>,
    began: Instant,
    kind: Option<OperationType>,
    /// Its root field, or its trusted name.
    operation: Cow<'static, str>,
    /// As its client calls it.
    name: Option<String>,
    user: Option<String>,
    price: Option<u64>,
    outcome: Cow<'static, str>,
    status: Option<StatusCode>,
    /// Whether another watch has taken over.
    handed_over: bool,
}

impl Watch {
    pub(super) fn new(server: &Arc<Server>, arrived: Arrived) -> Self {
        Self {
            server: server.clone(),
            id: arrived.id,
            connection: None,
            began: arrived.at,
            kind: None,
            operation: "none".into(),
            name: None,
            user: None,
            price: None,
            // Where nobody waited for the end.
            outcome: "cancelled".into(),
            status: None,
            handed_over: false,
        }
    }

    /// The same, over a socket.
    pub(super) fn on(mut self, connection: &RequestId) -> Self {
        self.connection = Some(connection.clone());
        self
    }

    /// Goes on elsewhere: what is left here tells nothing.
    pub(super) fn hand_over(&mut self) -> Self {
        self.handed_over = true;
        Self {
            server: self.server.clone(),
            id: self.id.clone(),
            connection: self.connection.clone(),
            name: self.name.take(),
            user: self.user.take(),
            operation: std::mem::take(&mut self.operation),
            outcome: self.outcome.clone(),
            began: self.began,
            kind: self.kind,
            price: self.price,
            status: Some(StatusCode::OK),
            handed_over: false,
        }
    }

    pub(super) fn by(&mut self, caller: &Caller) {
        if !self.server.request_log {
            return;
        }
        self.user = match caller {
            Caller::User(viewer) => Some(viewer.subject.clone()),
            Caller::Service => Some("(service)".to_owned()),
            Caller::Nobody => None,
        };
    }

    /// `trusted`: whether the operation is one of an operator's own, so that its name may be a metric's label.
    pub(super) fn runs(&mut self, prepared: &Prepared, trusted: bool) {
        self.kind = Some(prepared.kind);
        self.price = Some(prepared.price);
        self.operation = match &prepared.name {
            Some(name) if trusted => name.clone().into(),
            _ => root_field(prepared).into(),
        };
        if self.server.request_log
            && let Some(name) = &prepared.name
        {
            let end = name.floor_char_boundary(LONGEST_NAME);
            self.name = Some(name[..end].to_owned());
        }
    }

    /// What traces see of its running.
    pub(super) fn span(&self) -> Span {
        let kind = kind_of(self.kind);
        tracing::info_span!(
            target: "traces",
            "operation",
            otel.name = %format_args!("{kind} {}", self.operation),
            graphql.operation.type = kind,
            request_id = %self.id,
        )
    }

    /// The span in which it runs where no request does. Each reading of a subscription is a trace of its own: it may last
    /// for days.
    pub(super) fn own_span(&self) -> Span {
        let span = self.id.span();
        if self.kind == Some(OperationType::Subscription) {
            return span;
        }
        let traced = span.in_scope(|| self.span());
        if traced.is_disabled() { span } else { traced }
    }

    /// It was not run, or broke.
    pub(super) fn refused(&mut self, code: ErrorCode) {
        self.outcome = code.name().into();
    }

    /// What it came to, by its errors: what was sent before may be all there is.
    pub(super) fn failed(&mut self, errors: &[ServerError]) {
        self.outcome = outcome(errors);
    }

    pub(super) fn ended(&mut self, outcome: Cow<'static, str>) {
        self.outcome = outcome;
    }

    pub(super) fn ended_well(&mut self) {
        self.outcome = "ok".into();
    }

    pub(super) fn answered(&mut self, response: &Response) {
        self.status = Some(response.status());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.handed_over {
            return;
        }
        if std::thread::panicking() {
            self.outcome = ErrorCode::Internal.name().into();
            // Over a socket there is none, and a stream's was told when it began.
            if self.connection.is_none() {
                self.status.get_or_insert(StatusCode::INTERNAL_SERVER_ERROR);
            }
        }
        let took = self.began.elapsed();
        let kind = kind_of(self.kind);
        let request = observe::Request {
            kind,
            operation: self.operation.to_string(),
            outcome: Outcome(self.outcome.clone()),
        };
        let listens = self.kind == Some(OperationType::Subscription);
        let metrics = &self.server.metrics;
        metrics.request(&request, (!listens).then_some(took));
        if self.server.request_log {
            tracing::info!(
                target: "directmessages.requests",
                parent: None,
                request_id = %self.id,
                connection_id = self.connection.as_ref().map(tracing::field::display),
                name = self.name.as_deref(),
                kind,
                operation = %self.operation,
                user = self.user.as_deref(),
                price = self.price,
                outcome = %self.outcome,
                status = self.status.map(|status| status.as_u16()),
                duration_ms = took.as_secs_f64() * 1_000.0,
                "ended"
            );
        }
    }
}

/// `ok`, or the first error's code.
pub(super) fn outcome(errors: &[ServerError]) -> Cow<'static, str> {
    let Some(error) = errors.first() else {
        return "ok".into();
    };
    let code = error.extensions.as_ref().and_then(|e| e.get("code"));
    match code {
        Some(Value::String(code)) => code.clone().into(),
        Some(Value::Enum(code)) => code.to_string().into(),
        _ => ErrorCode::Internal.name().into(),
    }
}

fn kind_of(kind: Option<OperationType>) -> &'static str {
    match kind {
        Some(OperationType::Query) => "query",
        Some(OperationType::Mutation) => "mutation",
        Some(OperationType::Subscription) => "subscription",
        None => "none",
    }
}

/// The root field, where there is one.
fn root_field(prepared: &Prepared) -> String {
    let DocumentOperations::Single(definition) = &prepared.operation.document.operations else {
        return "several".to_owned();
    };
    let items = &definition.node.selection_set.node.items;
    let mut fields = items.iter().filter_map(|item| match &item.node {
        Selection::Field(field) => Some(field.node.name.node.as_str()),
        _ => None,
    });
    match fields.next() {
        None => "none".to_owned(),
        Some(first) if fields.all(|other| other == first) => first.to_owned(),
        Some(_) => "several".to_owned(),
    }
}
