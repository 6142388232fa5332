//! The outside: one path for GraphQL by POST, GET and WebSocket, health, and the gate before everything.

mod answer;
mod gate;
mod health;
mod page;
mod request;
mod run;
mod socket;

use std::sync::Arc;

use axum::{Router, extract::Request, http::StatusCode, response::Response, routing};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::gate::{Gate, Limits, Refusal};
use crate::{
    auth::Tokens,
    config::{Bounds, Prices},
    graphql::{Api, ErrorCode, sdl},
};

/// What every request shares.
pub(crate) struct Server {
    api: Api,
    tokens: Tokens,
    gate: Gate,
    bounds: Bounds,
    /// Sockets, and mutations whose client may hang up: awaited at shutdown.
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Server {
    pub(crate) fn new(
        api: Api,
        tokens: Tokens,
        bounds: Bounds,
        prices: Prices,
        introspection: bool,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let limits = Limits {
            prices,
            argument_bytes: bounds.body_limit,
            introspection,
        };
        Self {
            gate: Gate::new(&sdl(), limits),
            api,
            tokens,
            bounds,
            tasks,
            shutdown,
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
