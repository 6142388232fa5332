//! What a browser is told of pages on other origins that call this server (the Fetch standard's CORS protocol).

use std::time::Duration;

use axum::http::{
    HeaderValue, Method,
    header::{ALLOW, RETRY_AFTER},
};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::config::Origin;

/// How long a browser may remember what it was told: two hours, the most that any of them takes.
const REMEMBERED: Duration = Duration::from_hours(2);

/// Lets pages of these origins read answers. Tokens are sent by the page itself and no cookie counts, so credentials are
/// not allowed for, and any header may be sent.
pub(super) fn layer(origins: &[Origin]) -> CorsLayer {
    let named = origins.iter().filter_map(|origin| match origin {
        Origin::Any => None,
        Origin::One(origin) => HeaderValue::from_str(origin).ok(),
    });
    let allowed = if origins.contains(&Origin::Any) {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(named)
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([ALLOW, RETRY_AFTER, super::watch::X_REQUEST_ID])
        .max_age(REMEMBERED)
}
