use std::future::ready;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
    routing::{self, MethodRouter},
};
use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};

use super::{accept::MediaType, answer, request::bad_request};

pub(super) fn chat<S: Clone + Send + Sync + 'static>() -> MethodRouter<S> {
    page(include_bytes!("../../web/dist/chat.html.gz"))
}

pub(super) fn graphiql<S: Clone + Send + Sync + 'static>() -> MethodRouter<S> {
    page(include_bytes!("../../web/dist/graphiql.html.gz"))
}

fn page<S: Clone + Send + Sync + 'static>(compressed: &'static [u8]) -> MethodRouter<S> {
    let page = Page::of(compressed);
    routing::get(move |headers: HeaderMap| ready(page.answer(&headers)))
}

/// One page with everything in it, as `web/build.mjs` makes it.
#[derive(Clone)]
struct Page {
    compressed: &'static [u8],
    /// Of its content: a browser that has it already is not sent it again.
    tag: String,
}

impl Page {
    fn of(compressed: &'static [u8]) -> Self {
        let hash = HEXLOWER.encode(digest(&SHA256, compressed).as_ref());
        let tag = format!("\"{hash}\"");
        Self { compressed, tag }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let mut response = self.response(headers);
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
        response
    }

    fn response(&self, headers: &HeaderMap) -> Response {
        let accepts = text(headers, header::ACCEPT_ENCODING).unwrap_or("*");
        if !accepts.split(',').any(takes_gzip) {
            let message = "Accept-Encoding: this page is sent as gzip";
            let refusal = bad_request(StatusCode::NOT_ACCEPTABLE, message);
            return answer::refused(MediaType::Json, &refusal);
        }
        let known = text(headers, header::IF_NONE_MATCH).unwrap_or_default();
        let mut response = if known.split(',').any(|tag| self.is(tag)) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            Response::new(Body::from(self.compressed))
        };
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
        if let Ok(tag) = HeaderValue::from_str(&self.tag) {
            headers.insert(header::ETAG, tag);
        }
        response
    }

    /// Whether a tag of `If-None-Match`, which a proxy may have made a weak one, is this page's.
    fn is(&self, tag: &str) -> bool {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.tag
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn takes_gzip(coding: &str) -> bool {
    let mut parts = coding.split(';').map(str::trim);
    let is_gzip = parts
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
    let refused = |weight: &str| weight.parse() == Ok(0.0_f32);
    is_gzip && !parts.any(|part| part.strip_prefix("q=").is_some_and(refused))
}
