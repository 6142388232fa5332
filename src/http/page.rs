use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};

use super::{accept::MediaType, answer, request::bad_request};

/// Each is one page with everything in it, as `web/build.mjs` makes it.
const CHAT: &[u8] = include_bytes!("../../web/dist/chat.html.gz");
const GRAPHIQL: &[u8] = include_bytes!("../../web/dist/graphiql.html.gz");

pub(super) async fn chat(headers: HeaderMap) -> Response {
    page(CHAT, &headers)
}

pub(super) async fn graphiql(headers: HeaderMap) -> Response {
    page(GRAPHIQL, &headers)
}

fn page(compressed: &'static [u8], headers: &HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT_ENCODING);
    let accepts = accepts.and_then(|value| value.to_str().ok()).unwrap_or("*");
    if !accepts.split(',').any(takes_gzip) {
        let message = "Accept-Encoding: this page is sent as gzip";
        let refusal = bad_request(StatusCode::NOT_ACCEPTABLE, message);
        return answer::refused(MediaType::Json, &refusal);
    }
    let mut response = Response::new(Body::from(compressed));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_ENCODING, "gzip"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn takes_gzip(coding: &str) -> bool {
    let mut parts = coding.split(';').map(str::trim);
    let is_gzip = parts
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
    let refused = |weight: &str| weight.parse() == Ok(0.0_f32);
    is_gzip && !parts.any(|part| part.strip_prefix("q=").is_some_and(refused))
}
