use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use serde_json::json;

use super::{Server, accept::MediaType, answer};

/// The process answers.
pub(super) async fn live() -> Response {
    answer::json(StatusCode::OK, MediaType::Json, &json!({ "status": "ok" }))
}

/// The database answers too. A server whose bus is away serves on, and says so: a balancer that took it away would take
/// away all of them at once.
pub(super) async fn ready(State(server): State<Arc<Server>>) -> Response {
    let chat = server.api.chat();
    match chat.ping().await {
        Ok(()) if chat.is_alone() => answer::json(
            StatusCode::OK,
            MediaType::Json,
            &json!({
                "status": "degraded",
                "reason": "hints between servers do not come through: signals of other servers come by the slow tick",
            }),
        ),
        Ok(()) => live().await,
        Err(error) => answer::json(
            StatusCode::SERVICE_UNAVAILABLE,
            MediaType::Json,
            &json!({ "status": "unavailable", "reason": error.to_string() }),
        ),
    }
}
