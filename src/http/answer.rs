//! Answers by HTTP: their bytes, status and headers.

use std::time::Duration;

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, VARY, WWW_AUTHENTICATE},
    },
    response::Response,
};
use serde::Serialize;

use super::{accept::MediaType, gate::Refusal};
use crate::graphql::ErrorCode;

/// How long a client may wait before it asks a server again whose database is away.
const AWAY: Duration = Duration::from_secs(1);

impl MediaType {
    fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        })
    }
}

pub(super) fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("answers are JSON")
}

/// A body with its media type.
pub(super) fn json(status: StatusCode, media_type: MediaType, body: &impl Serialize) -> Response {
    written(status, media_type, to_json(body))
}

fn written(status: StatusCode, media_type: MediaType, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, media_type.header());
    response
}

/// The answer to a request that was run.
pub(super) fn ran(media_type: MediaType, body: Vec<u8>, has_side_effects: bool) -> Response {
    let mut response = written(StatusCode::OK, media_type, body);
    // What one person reads is for no shared cache, and what marked something is not to be taken from any.
    let cached = if has_side_effects {
        "no-store"
    } else {
        "private, no-cache"
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cached));
    vary(headers);
    response
}

/// The answer to a request that is not run.
pub(super) fn refused(media_type: MediaType, refusal: &Refusal) -> Response {
    let status = status(media_type, refusal);
    let mut response = json(status, media_type, &refusal.body());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    vary(headers);
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if refusal.code == ErrorCode::SideEffectRequiresPost {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    let retry_after = match refusal.code {
        ErrorCode::Unavailable => Some(AWAY),
        _ => refusal.retry_after,
    };
    if let Some(wait) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
    }
    response
}

/// A wait as `Retry-After` tells it: never too short, never none.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_millis()
        .div_ceil(1_000)
        .max(1)
        .try_into()
        .unwrap_or(u64::MAX)
}

fn status(media_type: MediaType, refusal: &Refusal) -> StatusCode {
    if let Some(status) = refusal.status {
        return status;
    }
    match (refusal.code, media_type) {
        (ErrorCode::Unauthenticated, _) => StatusCode::UNAUTHORIZED,
        (ErrorCode::Forbidden, _) => StatusCode::FORBIDDEN,
        (ErrorCode::SideEffectRequiresPost, _) => StatusCode::METHOD_NOT_ALLOWED,
        (ErrorCode::RateLimited, _) => StatusCode::TOO_MANY_REQUESTS,
        (ErrorCode::Unavailable, _) => StatusCode::SERVICE_UNAVAILABLE,
        (ErrorCode::Internal, _) => StatusCode::INTERNAL_SERVER_ERROR,
        (_, MediaType::GraphqlResponse) => StatusCode::BAD_REQUEST,
        (_, MediaType::Json) => StatusCode::OK,
    }
}

/// The same address answers differently by these, so that no cache may give one's answer to another.
pub(super) fn vary(headers: &mut HeaderMap) {
    let by = HeaderValue::from_static("accept, authorization, x-act-as");
    headers.append(VARY, by);
}
