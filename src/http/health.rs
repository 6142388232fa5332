use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use serde_json::json;

use super::{Server, accept::MediaType, answer};

/// The process answers.
pub(super) async fn live() -> Response {
    answer::json(StatusCode::OK, MediaType::Json, &json!({ "status": "ok" }))
}

/// The database answers too.
pub(super) async fn ready(State(server): State<Arc<Server>>) -> Response {
    match server.api.chat().ping().await {
        Ok(()) => live().await,
        Err(error) => answer::json(
            StatusCode::SERVICE_UNAVAILABLE,
            MediaType::Json,
            &json!({ "status": "unavailable", "reason": error.to_string() }),
        ),
    }
}
