//! Requests by HTTP: from bytes to a GraphQL request, with a clear error for whatever is none.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use apollo_compiler::ast::OperationType;
use axum::{
    body::{Body, Bytes},
    extract::{FromRequestParts, Request, State, WebSocketUpgrade},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{ALLOW, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, UPGRADE},
        request::Parts,
    },
    response::Response,
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{
    Server,
    accept::Accepts,
    address::Address,
    answer, events,
    gate::Refusal,
    headers::{X_ACT_AS, check_single},
    params::Asked,
    socket,
    watch::{Arrived, Watch},
};
use crate::{
    auth::{Identity, Invalid},
    graphql::{Caller, Error, ErrorCode},
};

/// The methods of `/graphql`.
pub(super) const METHODS: &str = "GET, HEAD, OPTIONS, POST";

/// How long, and how many times the limit, what is too long is read on.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_TIMES: usize = 8;

/// POST: queries and mutations, as JSON.
pub(super) async fn post(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = read_body(&server, &head.headers, body).await;
    respond(&server, &head, body.map(Sent::Body)).await
}

/// GET: queries without side effects in the URL, and upgrades to a socket.
pub(super) async fn get(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (mut head, _) = request.into_parts();
    if wants_socket(&head.headers) {
        let accepts = Accepts::of(&head.headers);
        return match WebSocketUpgrade::from_request_parts(&mut head, &server).await {
            Ok(upgrade) => {
                let mut response = socket::open(server, &head, upgrade).await;
                // hyper then spells the names of headers as the request did. They may be written in any case, but not
                // every client reads them so: Python's gql finds the protocol only under `Sec-WebSocket-Protocol`.
                response.extensions_mut().extend(head.extensions);
                response
            }
            Err(rejection) => {
                let refusal = bad_request(rejection.status(), rejection.to_string());
                answer::refused(accepts.answer_or_json(), &refusal)
            }
        };
    }
    let query = head.uri.query().unwrap_or_default().to_owned();
    respond(&server, &head, Ok(Sent::Url(query))).await
}

/// The parameters of a request, before they are parsed.
enum Sent {
    /// By POST.
    Body(Bytes),
    /// By GET.
    Url(String),
}

impl Sent {
    fn bytes(&self) -> usize {
        match self {
            Self::Body(body) => body.len(),
            Self::Url(query) => query.len(),
        }
    }

    fn parse(&self) -> Result<Asked, Refusal> {
        let parsed = match self {
            Self::Body(body) => Asked::from_body(body),
            Self::Url(query) => Asked::from_url(query),
        };
        parsed.map_err(|message| bad_request(StatusCode::BAD_REQUEST, message))
    }
}

/// Other upgrades, such as to HTTP/2, are offers that a server may pass over.
fn wants_socket(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(UPGRADE);
    upgrade.is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// OPTIONS: what this path takes.
pub(super) async fn options() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(METHODS));
    response
}

async fn respond(server: &Arc<Server>, head: &Parts, sent: Result<Sent, Refusal>) -> Response {
    let accepts = Accepts::of(&head.headers);
    let arrived = Arrived::of(&head.extensions);
    let id = arrived.id.clone();
    let mut watch = Watch::new(server, arrived);
    let answered = run(server, head, accepts, sent, &mut watch).await;
    let response = answered.unwrap_or_else(|refusal| {
        watch.refused(refusal.code);
        answer::refused(accepts.answer_or_json(), &refusal.known_as(&id))
    });
    watch.answered(&response);
    response
}

async fn run(
    server: &Arc<Server>,
    head: &Parts,
    accepts: Accepts,
    sent: Result<Sent, Refusal>,
    watch: &mut Watch,
) -> Result<Response, Refusal> {
    let address = server.address_of(&head.extensions, &head.headers);
    let sent = if accepts.answer.is_none() && !accepts.events {
        Err(bad_request(
            StatusCode::NOT_ACCEPTABLE,
            "Accept: this server answers with application/graphql-response+json, application/json or text/event-stream",
        ))
    } else {
        check_single(&head.headers).and(sent)
    };
    // What is no GraphQL request speaks for nobody.
    if sent.is_err() {
        server.rates.anonymous(address)?;
    }
    let sent = sent?;
    let identity = identity(server, &head.headers, address).await?;
    let caller = arrive(server, &head.headers, identity.as_ref()).await?;
    watch.by(&caller);
    let paid = server.rates.admit_bytes(&caller, address, sent.bytes())?;
    let by_post = matches!(sent, Sent::Body(_));
    let asked = sent.parse()?;
    let prepared = match server.prepare(asked, &caller, address, paid, watch).await {
        Ok(prepared) => prepared,
        // As the protocol of event streams has it, but for what a client may try again.
        Err(refusal) if accepts.events_first && refusal.code != ErrorCode::RateLimited => {
            watch.refused(refusal.code);
            return Ok(events::single(
                &refusal.known_as(&watch.id).body().to_string(),
            ));
        }
        Err(refusal) => return Err(refusal),
    };
    let has_side_effects = prepared.has_side_effects();
    if has_side_effects && !by_post {
        return Err(Refusal::new(
            ErrorCode::SideEffectRequiresPost,
            "mutations, and queries that mark messages as read, are sent by POST",
        ));
    }
    if prepared.kind != OperationType::Subscription {
        let span = watch.span();
        return Ok(if accepts.events_first {
            let body = server.answer(prepared, caller, watch).instrument(span);
            let body = String::from_utf8(body.await).expect("JSON is UTF-8");
            events::single(&body)
        } else {
            let body = server
                .answer(prepared, caller, watch)
                .instrument(span)
                .await;
            answer::ran(accepts.answer_or_json(), body, has_side_effects)
        });
    }
    if accepts.events {
        return events::subscribe(
            server,
            &head.headers,
            identity.as_ref(),
            caller,
            prepared,
            watch,
        );
    }
    Err(Refusal::new(
        ErrorCode::BadRequest,
        "subscriptions run over a WebSocket at this address, by the protocol graphql-transport-ws, or as text/event-stream",
    ))
}

/// Whoever a token speaks for, or whom the host application acts for.
async fn arrive(
    server: &Server,
    headers: &HeaderMap,
    identity: Option<&Identity>,
) -> Result<Caller, Refusal> {
    let act_as = match headers.get(X_ACT_AS) {
        Some(value) => Some(decode_act_as(value.as_bytes())?),
        None => None,
    };
    match (identity, act_as) {
        (Some(identity), act_as) => {
            Ok(Caller::arrive(server.api.chat(), identity, act_as.as_deref()).await?)
        }
        (None, None) => Ok(Caller::Nobody),
        (None, Some(_)) => Err(Error::new(
            ErrorCode::Forbidden,
            "X-Act-As goes with a service token: send it as Authorization: Bearer <token>",
        )
        .into()),
    }
}

/// Whom the `Authorization` header speaks for; nobody where there is none. Whoever speaks for nobody, or with a token
/// that is not believed, is held to the rate of an address.
pub(super) async fn identity(
    server: &Server,
    headers: &HeaderMap,
    address: Address,
) -> Result<Option<Identity>, Refusal> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        return server.rates.anonymous(address).map(|()| None);
    };
    let identity = bearer(server, header.to_str().unwrap_or_default()).await;
    if identity.is_err() {
        server.rates.anonymous(address)?;
    }
    identity.map(Some)
}

/// Whom a `Bearer <token>` speaks for.
pub(super) async fn bearer(server: &Server, authorization: &str) -> Result<Identity, Refusal> {
    let unauthenticated = |message: String| Refusal::new(ErrorCode::Unauthenticated, message);
    let token = match authorization.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => {
            let message = "the authorization is not of the form Bearer <token>";
            return Err(unauthenticated(message.to_owned()));
        }
    };
    let identity = server.verifier.verify(token).await;
    identity.map_err(|invalid| match invalid {
        Invalid::KeysAway => Refusal::new(ErrorCode::Unavailable, invalid.to_string()),
        invalid => unauthenticated(invalid.to_string()),
    })
}

/// When a token ends, and with it whatever listens by it.
pub(super) fn expiry(identity: &Identity) -> Instant {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = u64::try_from(identity.expires_at).unwrap_or(0);
    // A token may be good for longer than a timer counts.
    let left = Duration::from_secs(seconds).saturating_sub(now);
    Instant::now() + left.min(Duration::from_hours(24 * 365))
}

pub(super) fn decode_act_as(bytes: &[u8]) -> Result<String, Refusal> {
    let bad = |_| {
        Refusal::new(
            ErrorCode::BadUserInput,
            "X-Act-As: give a user's id, percent-encoded UTF-8",
        )
    };
    let text = std::str::from_utf8(bytes).map_err(bad)?;
    let text = percent_decode_str(text).decode_utf8().map_err(bad)?;
    Ok(text.into_owned())
}

async fn read_body(server: &Server, headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    // Also what is refused for its type is read before: a client that still writes would not hear the answer.
    let body = receive(server, headers, body).await?;
    if !is_json(headers) {
        return Err(bad_request(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type: send the operation as application/json, in UTF-8",
        ));
    }
    Ok(body)
}

/// The bytes of a body, as many as may be.
pub(super) async fn receive(
    server: &Server,
    headers: &HeaderMap,
    mut body: Body,
) -> Result<Bytes, Refusal> {
    let limit = server.bounds.body_limit;
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let reading = async {
        if length.is_some_and(|length| length > limit as u64) {
            return Err(Unread::TooLong);
        }
        let read = Limited::new(&mut body, limit).collect().await;
        let read = read.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Unread::TooLong
            } else {
                Unread::BrokenOff
            }
        })?;
        Ok(read.to_bytes())
    };
    let read = tokio::time::timeout(server.bounds.body_timeout, reading).await;
    match read {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(Unread::TooLong)) => {
            if !headers.contains_key(EXPECT) {
                let _ = tokio::time::timeout(LINGER, discard(body, LINGER_TIMES * limit)).await;
            }
            let message = format!("the body is longer than {limit} bytes: send less at a time");
            Err(bad_request(StatusCode::PAYLOAD_TOO_LARGE, message))
        }
        Ok(Err(Unread::BrokenOff)) => Err(bad_request(
            StatusCode::BAD_REQUEST,
            "the body broke off: send it again",
        )),
        Err(_) => {
            let seconds = server.bounds.body_timeout.as_secs_f64();
            let message = format!("the body did not come within {seconds} seconds: send it again");
            Err(bad_request(StatusCode::REQUEST_TIMEOUT, message))
        }
    }
}

/// Why a body was not read.
enum Unread {
    TooLong,
    BrokenOff,
}

/// Reads on past a limit, so that a client that still writes hears the answer; one that waits to be asked is not.
async fn discard(mut body: Body, most: usize) {
    let mut seen = 0;
    while let Some(Ok(frame)) = body.frame().await {
        seen += frame.data_ref().map_or(0, Bytes::len);
        if seen > most {
            return;
        }
    }
}

pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let Some(content_type) = content_type else {
        return false;
    };
    let mut parts = content_type.split(';').map(str::trim);
    let json = parts
        .next()
        .is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"));
    json && parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    })
}

/// A request that is no GraphQL request.
pub(super) fn bad_request(status: StatusCode, message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::BadRequest, message).with_status(status)
}
