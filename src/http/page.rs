use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};

/// GraphiQL, one page with everything in it, as `web/build.mjs` makes it.
const GRAPHIQL: &[u8] = include_bytes!("../../web/dist/graphiql.html.gz");

pub(super) async fn graphiql(headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT_ENCODING);
    let accepts = accepts.and_then(|value| value.to_str().ok()).unwrap_or("*");
    if !accepts.contains("gzip") && !accepts.contains('*') {
        let mut response =
            Response::new(Body::from("this page is sent with Content-Encoding: gzip"));
        *response.status_mut() = StatusCode::NOT_ACCEPTABLE;
        return response;
    }
    let mut response = Response::new(Body::from(GRAPHIQL));
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
