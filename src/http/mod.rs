//! The outside: one path for GraphQL by POST, GET and WebSocket, health, and the gate before everything.

mod accept;
mod address;
mod answer;
mod documents;
mod gate;
mod health;
mod page;
mod params;
mod rates;
mod request;
mod run;
mod socket;

use std::{any::Any, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Extensions, HeaderMap, StatusCode},
    response::Response,
    routing,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::catch_panic::CatchPanicLayer;

pub(crate) use self::documents::ManifestError;
use self::{
    accept::{Accepts, MediaType},
    address::Address,
    documents::Documents,
    gate::{Gate, Limits, Prepared, Refusal},
    params::Sent,
    rates::Rates,
};
use crate::{
    auth::Verifier,
    config::{Bounds, Serve},
    graphql::{self, Api, sdl},
};

/// How often full buckets of the rate limits are forgotten.
const FORGET: Duration = Duration::from_mins(1);

/// What every request shares.
pub(crate) struct Server {
    api: Api,
    verifier: Verifier,
    documents: Documents,
    gate: Gate,
    rates: Rates,
    bounds: Bounds,
    /// How many proxies of the operator's own stand before this server.
    proxies: usize,
    /// Sockets, and mutations whose client may hang up: awaited at shutdown.
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Server {
    /// # Errors
    /// Where the manifest of trusted documents cannot be used.
    pub(crate) fn new(
        api: Api,
        verifier: Verifier,
        settings: &Serve,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Result<Self, ManifestError> {
        let limits = Limits {
            prices: settings.prices.clone(),
            argument_bytes: settings.bounds.body_limit,
            introspection: settings.introspection || settings.graphiql,
        };
        let gate = Gate::new(&sdl(), limits);
        let documents = match &settings.documents {
            Some(file) => Documents::trusted(file, &gate)?,
            None => Documents::open(settings.bounds.persisted_queries),
        };
        Ok(Self {
            api,
            verifier,
            documents,
            gate,
            rates: Rates::new(&settings.rates),
            bounds: settings.bounds.clone(),
            proxies: settings.rates.trusted_proxies,
            tasks,
            shutdown,
        })
    }

    /// Makes what a request sent ready to run, or says why it is refused.
    async fn prepare(&self, sent: Sent) -> Result<Prepared, Refusal> {
        let name = sent.document.clone();
        let params = self.documents.find(sent)?;
        let prepared = self.gate.prepare(&params).await?;
        if let Some(name) = name {
            self.documents.keep(&name, &params.query);
        }
        Ok(prepared)
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
        }
    }
}

/// Every path, with GraphiQL where it is asked for.
pub(crate) fn router(server: Arc<Server>, graphiql: bool) -> Router {
    let mut router = Router::new()
        .route(
            "/graphql",
            routing::get(request::get)
                .post(request::post)
                .options(request::options),
        )
        .route("/health/live", routing::get(health::live))
        .route("/health/ready", routing::get(health::ready));
    if graphiql {
        router = router.route("/graphiql", routing::get(page::graphiql));
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(server)
}

async fn method_not_allowed(request: Request) -> Response {
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
    let mut response = refused(&request, StatusCode::METHOD_NOT_ALLOWED, message);
    let allow = axum::http::HeaderValue::from_static(methods);
    response
        .headers_mut()
        .insert(axum::http::header::ALLOW, allow);
    response
}

async fn not_found(request: Request) -> Response {
    let message = format!(
        "there is nothing at {}: GraphQL is at /graphql",
        request.uri().path()
    );
    refused(&request, StatusCode::NOT_FOUND, message)
}

fn refused(request: &Request, status: StatusCode, message: String) -> Response {
    let refusal = request::bad_request(status, message);
    let accepts = Accepts::of(request.headers());
    answer::refused(accepts.answer_or_json(), &refusal)
}

/// A defect: told like every other internal error, instead of a connection that breaks off.
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response<Body> {
    let message = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => (*message).to_owned(),
        (None, Some(message)) => message.clone(),
        (None, None) => "a panic".to_owned(),
    };
    let error = graphql::Error::from(crate::chat::Error::internal(message));
    answer::refused(MediaType::Json, &Refusal::from(error))
}
