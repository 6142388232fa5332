//! The outside: one path for GraphQL by POST, GET, WebSocket and event stream, health, and the gate before everything.

mod accept;
mod address;
mod answer;
mod connection;
mod cors;
mod documents;
mod events;
pub(crate) mod fuzz;
mod gate;
mod headers;
mod health;
mod origin;
mod page;
mod params;
mod permits;
mod phase;
mod rates;
mod request;
mod run;
mod socket;
mod watch;

use std::{any::Any, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{
        Extensions, HeaderMap, HeaderValue, Method, StatusCode,
        header::{ALLOW, ORIGIN},
    },
    middleware::{self, Next},
    response::Response,
    routing,
};
use tokio::{sync::Mutex, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use self::{
    accept::{Accepts, MediaType},
    address::Address,
    documents::Documents,
    gate::{Gate, HeavyFields, Limits, Prepared, Refusal},
    origin::AllowedOrigins,
    params::Asked,
    permits::{Permit, Permits},
    rates::{Paid, Rates},
    watch::{Arrived, RequestId, Watch},
};
pub(crate) use self::{connection::serve, documents::ManifestError};
use crate::{
    auth::Verifier,
    chat::{self, Standing},
    config::{Bounds, Pages, Serve, TrustedDocuments},
    graphql::{self, Api, Caller},
    observe::{Limit, Metrics},
};

/// How often full buckets of the rate limits are forgotten.
const FORGET: Duration = Duration::from_mins(1);

/// Characters of a content that cost 1. A page of 100 messages with everything under `nodes` and `edges` is within the limit.
const CHARACTERS: usize = 250;

fn heavy_fields(content_limit: usize) -> HeavyFields {
    HeavyFields {
        fields: ("Message", &["content", "formatted"]),
        cost: content_limit.div_ceil(CHARACTERS) as u64,
    }
}

fn gate(settings: &Serve) -> Gate {
    let limits = Limits {
        prices: settings.prices.clone(),
        argument_bytes: settings.bounds.body_limit,
        introspection: settings.introspection || settings.pages.has_graphiql(),
        heavy: heavy_fields(settings.bounds.content_limit),
    };
    let sdl = if settings.federation {
        graphql::executable_subgraph_sdl()
    } else {
        graphql::sdl()
    };
    Gate::new(&sdl, limits)
}

/// Why the manifests of trusted documents cannot be used: each of them by itself, or else all of them together.
pub(crate) fn check_manifests(settings: &Serve) -> Vec<ManifestError> {
    if settings.documents.files.is_empty() {
        return Vec::new();
    }
    let gate = gate(settings);
    let check = |files: &[PathBuf]| {
        let settings = TrustedDocuments {
            files: files.to_vec(),
            exempt_service: false,
        };
        Documents::trusted(&settings, &gate).err()
    };
    let each = settings.documents.files.chunks(1).filter_map(check);
    let mut errors: Vec<_> = each.collect();
    if errors.is_empty() && settings.documents.files.len() > 1 {
        errors.extend(check(&settings.documents.files));
    }
    errors
}

/// What every request shares.
pub(crate) struct Server {
    api: Api,
    verifier: Verifier,
    documents: Documents,
    gate: Gate,
    rates: Rates,
    metrics: Metrics,
    /// Whether each operation is logged when it ends.
    request_log: bool,
    /// How the database was last, and when that was asked for.
    standing: Mutex<Option<(Instant, Result<Standing, chat::Error>)>>,
    permits: Permits,
    subscriptions: Permits,
    allowed_origins: AllowedOrigins,
    bounds: Bounds,
    /// How many proxies of the operator's own stand before this server.
    proxies: usize,
    /// Sockets, and mutations whose client may hang up: awaited at shutdown.
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Server {
    /// # Errors
    /// Where the manifests of trusted documents cannot be used.
    pub(crate) fn new(
        api: Api,
        verifier: Verifier,
        settings: &Serve,
        metrics: Metrics,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Result<Self, ManifestError> {
        let gate = gate(settings);
        let documents = if settings.documents.files.is_empty() {
            Documents::open(settings.bounds.persisted_queries)
        } else {
            Documents::trusted(&settings.documents, &gate)?
        };
        Ok(Self {
            api,
            standing: Mutex::default(),
            verifier,
            documents,
            gate,
            rates: Rates::new(&settings.rates, &metrics),
            permits: Permits::new(
                settings.bounds.sockets.sockets_per_user,
                "sockets and event streams",
                Limit::Open,
                &metrics,
            ),
            subscriptions: Permits::new(
                settings.bounds.sockets.subscriptions_per_user,
                "subscriptions",
                Limit::Subscriptions,
                &metrics,
            ),
            metrics,
            request_log: settings.observing.request_log,
            allowed_origins: AllowedOrigins::new(settings.bounds.sockets.allowed_origins.clone()),
            bounds: settings.bounds.clone(),
            proxies: settings.rates.trusted_proxies,
            tasks,
            shutdown,
        })
    }

    /// Makes what a request sent ready to run, or says why it is refused: for what it asks, or because its caller asks for
    /// too much.
    async fn prepare(
        &self,
        asked: Asked,
        caller: &Caller,
        address: Address,
        paid: Paid,
        watch: &mut Watch,
    ) -> Result<Prepared, Refusal> {
        let name = asked.document.clone();
        let found = self.documents.find(asked, caller);
        let bytes = found.as_ref().map_or(0, |params| params.query.len());
        // A document that was checked before is only looked up.
        let is_new = found
            .as_ref()
            .is_ok_and(|params| !self.gate.knows(&params.query));
        let paid = self
            .rates
            .admit_document(caller, address, bytes, is_new, paid)?;
        let params = found?;
        let prepared = self.gate.prepare(&params).await?;
        if let Some(name) = name {
            self.documents.keep(&name, &params.query);
        }
        watch.runs(&prepared, self.documents.bind(caller));
        self.rates.admit(caller, &prepared, paid)?;
        Ok(prepared)
    }

    /// Lets one more subscription of the caller's run, for as long as the permit is held.
    fn admit_subscription(&self, caller: &Caller) -> Result<Option<Permit>, Refusal> {
        self.subscriptions.acquire(caller)
    }

    /// Lets one more connection of the caller's stay open, for as long as the permit is held.
    fn connect(&self, caller: &Caller) -> Result<Option<Permit>, Refusal> {
        self.rates.connect(caller)?;
        self.stay(caller)
    }

    /// The same, of a connection that was counted when it was opened.
    fn stay(&self, caller: &Caller) -> Result<Option<Permit>, Refusal> {
        self.permits.acquire(caller)
    }

    /// Where a request comes from.
    fn address_of(&self, extensions: &Extensions, headers: &HeaderMap) -> Address {
        Address::of(extensions, headers, self.proxies)
    }

    /// Keeps the rate limits small, until it is dropped.
    pub(crate) async fn tidy(self: Arc<Self>) {
        loop {
            tokio::time::sleep(FORGET).await;
            self.rates.forget_full();
            self.api.forget_full_budgets();
        }
    }

    /// When one of those who listen is to leave, now that the server stops: each at a moment of its own.
    fn leaving(&self) -> Instant {
        let sockets = &self.bounds.sockets;
        // The rest of the time is for saying good bye.
        let spread = sockets.shutdown_spread.min(sockets.shutdown_timeout / 2);
        Instant::now() + spread.mul_f64(fastrand::f64())
    }
}

/// Every path, with the pages for people where they are asked for.
pub(crate) fn router(server: Arc<Server>, pages: Pages) -> Router {
    let mut router = Router::new()
        .route(
            "/graphql",
            routing::get(request::get)
                .post(request::post)
                .options(request::options),
        )
        .route("/health/live", routing::get(health::live))
        .route("/health/ready", routing::get(health::ready));
    if pages.demo_page {
        router = router.route("/", page::chat());
    }
    if pages.has_graphiql() {
        router = router.route("/graphiql", page::graphiql());
    }
    let origins = server.bounds.sockets.allowed_origins.clone();
    let mut paths = router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(server.clone());
    if !origins.is_empty() {
        paths = paths
            .clone()
            .layer(cors::layer(&origins))
            .layer(middleware::from_fn_with_state(paths, plain_options));
    }
    paths.layer(middleware::from_fn_with_state(server, watch::identify))
}

/// Takes an OPTIONS request that is no browser's preflight past the layer that would take it for one.
async fn plain_options(State(paths): State<Router>, request: Request, next: Next) -> Response {
    if request.method() == Method::OPTIONS && !request.headers().contains_key(ORIGIN) {
        let Ok(response) = paths.oneshot(request).await;
        return response;
    }
    next.run(request).await
}

async fn method_not_allowed(State(server): State<Arc<Server>>, request: Request) -> Response {
    let path = request.uri().path();
    let methods = if path == "/graphql" {
        request::METHODS
    } else {
        "GET, HEAD"
    };
    let message = format!(
        "{} is not allowed at {path}: it takes {methods}",
        request.method()
    );
    let mut response = refused(&server, request, StatusCode::METHOD_NOT_ALLOWED, message).await;
    let allow = HeaderValue::from_static(methods);
    response.headers_mut().insert(ALLOW, allow);
    response
}

async fn not_found(State(server): State<Arc<Server>>, request: Request) -> Response {
    let message = format!(
        "there is nothing at {}: GraphQL is at /graphql",
        request.uri().path()
    );
    refused(&server, request, StatusCode::NOT_FOUND, message).await
}

async fn refused(
    server: &Arc<Server>,
    request: Request,
    status: StatusCode,
    message: String,
) -> Response {
    let (head, body) = request.into_parts();
    let received = request::receive(server, &head.headers, body).await;
    let refusal = received.err();
    let refusal = refusal.unwrap_or_else(|| request::bad_request(status, message));
    let mut watch = Watch::new(server, Arrived::of(&head.extensions));
    watch.refused(refusal.code);
    let accepts = Accepts::of(&head.headers);
    let response = answer::refused(accepts.answer_or_json(), &refusal);
    watch.answered(&response);
    response
}

/// The answer to whoever met a defect.
#[expect(clippy::needless_pass_by_value, reason = "a caught panic is owned")]
fn panicked(panic: Box<dyn Any + Send + 'static>, id: &RequestId) -> Response {
    let message = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => (*message).to_owned(),
        (None, Some(message)) => message.clone(),
        (None, None) => "a panic".to_owned(),
    };
    let error = graphql::Error::from(crate::chat::Error::internal(message));
    answer::refused(MediaType::Json, &Refusal::from(error).known_as(id))
}
