//! The outside: one path for GraphQL by POST, GET, WebSocket and event stream, health, and the gate before everything.

mod answer;
mod connection;
mod events;
mod gate;
mod health;
mod origin;
mod page;
mod permits;
mod request;
mod run;
mod socket;

use std::sync::Arc;

use axum::{Router, extract::Request, http::StatusCode, response::Response, routing};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::connection::patient_for;
use self::{
    gate::{Gate, Refusal},
    origin::AllowedOrigins,
    permits::Permits,
};
use crate::{
    auth::Tokens,
    config::Bounds,
    graphql::{Api, ErrorCode, sdl},
};

/// What every request shares.
pub(crate) struct Server {
    api: Api,
    tokens: Tokens,
    gate: Gate,
    bounds: Bounds,
    allowed_origins: AllowedOrigins,
    permits: Permits,
    /// Sockets, and mutations whose client may hang up: awaited at shutdown.
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Server {
    pub(crate) fn new(
        api: Api,
        tokens: Tokens,
        bounds: Bounds,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            gate: Gate::new(&sdl(), bounds.field_limit),
            allowed_origins: AllowedOrigins::new(bounds.sockets.allowed_origins.clone()),
            permits: Permits::new(bounds.sockets.sockets_per_user),
            api,
            tokens,
            bounds,
            tasks,
            shutdown,
        }
    }

    /// When one of those who listen is to leave, now that the server stops: each at a moment of its own.
    fn leaving(&self) -> Instant {
        Instant::now() + self.bounds.sockets.shutdown_spread.mul_f64(fastrand::f64())
    }
}

/// Every path, with GraphiQL where it is asked for.
pub(crate) fn router(server: Arc<Server>, graphiql: bool) -> Router {
    let mut router = Router::new()
        .route(
            "/graphql",
            routing::get(request::get)
                .post(request::post)
                .fallback(only_get_and_post),
        )
        .route("/health/live", routing::get(health::live))
        .route("/health/ready", routing::get(health::ready));
    if graphiql {
        router = router.route("/graphiql", routing::get(page::graphiql));
    }
    router.fallback(not_found).with_state(server)
}

async fn only_get_and_post(request: Request) -> Response {
    let message = format!("{} is not allowed here: send GET or POST", request.method());
    let refusal = Refusal::new(ErrorCode::BadRequest, message);
    let mut response = answer::refused(StatusCode::METHOD_NOT_ALLOWED, &refusal);
    let allow = axum::http::HeaderValue::from_static("GET, POST");
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
    let refusal = Refusal::new(ErrorCode::BadRequest, message);
    answer::refused(StatusCode::NOT_FOUND, &refusal)
}
