//! Headers of which only one can hold.

use axum::http::{
    HeaderMap, HeaderName, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN},
};

use super::{gate::Refusal, request::bad_request};

/// Whom the application acts for.
pub(super) const X_ACT_AS: HeaderName = HeaderName::from_static("x-act-as");
/// The cursor of the event that an event stream's client received last.
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

const SINGLE: [HeaderName; 6] = [
    AUTHORIZATION,
    X_ACT_AS,
    CONTENT_TYPE,
    LAST_EVENT_ID,
    ORIGIN,
    HOST,
];

/// Rejects a request that has a header twice of which this server, or a proxy before it, would believe only one.
///
/// # Errors
/// `BAD_REQUEST`, with the header's name.
pub(super) fn check_single(headers: &HeaderMap) -> Result<(), Refusal> {
    let repeated = |name: &&HeaderName| headers.get_all(*name).iter().nth(1).is_some();
    match SINGLE.iter().find(repeated) {
        None => Ok(()),
        Some(name) => {
            let message = format!("the header {name} is given more than once: send it once");
            Err(bad_request(StatusCode::BAD_REQUEST, message))
        }
    }
}
