//! The protocol graphql-transport-ws, over an upgrade handler of our own: small buffers, and the close codes that its
//! clients know. <https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>

mod credentials;
mod protocol;
mod session;

use std::sync::Arc;

use axum::{
    extract::WebSocketUpgrade,
    http::{StatusCode, request::Parts},
    response::Response,
};

use self::session::Session;
use super::{
    Arrived, Server, Watch,
    accept::Accepts,
    answer,
    gate::Refusal,
    headers::{X_ACT_AS, check_single},
    origin::AllowedOrigins,
    request,
};

const PROTOCOL: &str = "graphql-transport-ws";
/// Most of what clients send is shorter, and what is longer is read in several pieces. The library's default of 128 KB for
/// each socket would be most of what a listener takes.
const READ_BUFFER: usize = 512;

/// Why a text is no message of a client's, as a close frame tells it.
pub(super) fn refusal_of(text: &str) -> Option<String> {
    let refused = protocol::parse(text).err();
    refused.map(|reason| protocol::cut(&reason).to_owned())
}

/// Opens a socket, with the token of the upgrade's `Authorization` header where there is one.
pub(super) async fn open(server: Arc<Server>, head: &Parts, upgrade: WebSocketUpgrade) -> Response {
    let arrived = Arrived::of(&head.extensions);
    let connection = arrived.id.clone();
    let refused = |refusal: &Refusal| {
        let mut watch = Watch::new(&server, arrived);
        watch.refused(refusal.code);
        let media_type = Accepts::of(&head.headers).answer_or_json();
        let response = answer::refused(media_type, &refusal.clone().known_as(&connection));
        watch.answered(&response);
        response
    };
    let headers = &head.headers;
    if let Err(refusal) = check_single(headers) {
        return refused(&refusal);
    }
    // A header that is ignored would let the application speak for itself where it means a user.
    if headers.contains_key(X_ACT_AS) {
        let message = "X-Act-As: on a socket, name the user by actAs in connection_init";
        return refused(&request::bad_request(StatusCode::BAD_REQUEST, message));
    }
    if !server.allowed_origins.allow(headers) {
        return refused(&AllowedOrigins::refusal());
    }
    let address = server.address_of(&head.extensions, headers);
    // Without a good token it counts for its address.
    let identity = match request::identity(&server, headers, address).await {
        Ok(identity) => identity,
        Err(refusal) => return refused(&refusal),
    };
    let opened = identity
        .as_ref()
        .map(|identity| server.rates.opened(identity));
    if let Some(Err(refusal)) = opened {
        return refused(&refusal);
    }
    let (upgrade, offers) = agree(upgrade);
    let limit = server.bounds.body_limit;
    let tasks = server.tasks.clone();
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(limit)
        .max_frame_size(limit)
        .on_upgrade(move |socket| {
            let session = Box::new(Session::new(server, socket, identity, address, connection));
            tasks.track_future(session.run(offers))
        })
}

/// Chooses our protocol, and tells whether it was offered. Where it was not, the socket opens all the same, under a
/// protocol that was: a client takes no close code from a socket whose opening it has to refuse.
fn agree(upgrade: WebSocketUpgrade) -> (WebSocketUpgrade, bool) {
    let mut upgrade = upgrade.protocols([PROTOCOL]);
    let offers = upgrade.selected_protocol().is_some();
    let other = upgrade.requested_protocols().next().cloned();
    if let Some(other) = other.filter(|_| !offers) {
        upgrade.set_selected_protocol(other);
    }
    (upgrade, offers)
}
