//! Answers by HTTP: their bytes, status and media type.

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE},
    },
    response::Response,
};
use serde::Serialize;

use super::gate::Refusal;
use crate::graphql::ErrorCode;

/// The two media types of a GraphQL answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    /// `application/graphql-response+json`: the status tells of request errors.
    GraphqlResponse,
    /// `application/json`, as ever: 200 for every well-formed GraphQL request.
    Json,
}

impl MediaType {
    /// The first that the client names; plain JSON where it takes anything.
    pub(super) fn accepted(headers: &HeaderMap) -> Option<Self> {
        let Some(accept) = headers.get(ACCEPT) else {
            return Some(Self::Json);
        };
        let accept = accept.to_str().ok()?.to_ascii_lowercase();
        accept.split(',').find_map(
            |range| match range.split(';').next().unwrap_or(range).trim() {
                "application/graphql-response+json" => Some(Self::GraphqlResponse),
                "application/json" | "application/*" | "*/*" => Some(Self::Json),
                _ => None,
            },
        )
    }

    fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        })
    }
}

/// A body with its media type.
pub(super) fn json(status: StatusCode, media_type: MediaType, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).expect("answers are JSON");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, media_type.header());
    response
}

/// A request that is no GraphQL request, or not from whom it should be.
pub(super) fn refused(status: StatusCode, refusal: &Refusal) -> Response {
    let mut response = json(status, MediaType::Json, &refusal.body());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// A GraphQL request that does not run.
pub(super) fn not_run(media_type: MediaType, refusal: &Refusal) -> Response {
    let status = match (refusal.code, media_type) {
        (ErrorCode::Unauthenticated, _) => StatusCode::UNAUTHORIZED,
        (ErrorCode::Forbidden, _) => StatusCode::FORBIDDEN,
        (ErrorCode::Unavailable, _) => StatusCode::SERVICE_UNAVAILABLE,
        (ErrorCode::Internal, _) => StatusCode::INTERNAL_SERVER_ERROR,
        (_, MediaType::GraphqlResponse) => StatusCode::BAD_REQUEST,
        (_, MediaType::Json) => StatusCode::OK,
    };
    json(status, media_type, &refusal.body())
}
