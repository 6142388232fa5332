//! Whose pages may use this server from a browser. Browsers let any page open a socket anywhere, and say only which
//! page it is: by the header `Origin`.

use axum::http::{
    HeaderMap,
    header::{HOST, ORIGIN},
};

use super::gate::Refusal;
use crate::{
    config::{Origin, without_own_port},
    graphql::ErrorCode,
};

/// The origins whose pages may use this server, beside its own.
#[derive(Clone, Debug)]
pub(super) struct AllowedOrigins(Vec<Origin>);

impl AllowedOrigins {
    pub(super) fn new(origins: Vec<Origin>) -> Self {
        Self(origins)
    }

    /// Whether whoever sent these headers may use the server: a page of an allowed origin or of the server's own, or no
    /// page at all, as what is no browser sends no `Origin`.
    pub(super) fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(ORIGIN) else {
            return true;
        };
        let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let origin = match origin.split_once("://") {
            Some((scheme, authority)) => {
                format!("{scheme}://{}", without_own_port(scheme, authority))
            }
            None => origin,
        };
        self.0.iter().any(|allowed| match allowed {
            Origin::Any => true,
            Origin::One(allowed) => *allowed == origin,
        }) || is_own(&origin, headers)
    }

    /// Why a page may not use the server.
    pub(super) fn refusal() -> Refusal {
        Refusal::new(
            ErrorCode::Forbidden,
            "Origin: pages of this origin may not connect here; the server's setting ALLOWED_ORIGINS names those that may",
        )
    }
}

/// Whether a page came from the address that it calls. The schemes may differ: TLS often ends before the server.
fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    host.is_some_and(|host| {
        without_own_port(scheme, authority) == without_own_port(scheme, &host.to_ascii_lowercase())
    })
}
