//! Requests by HTTP: from bytes to a GraphQL request, with a clear error for whatever is none.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use apollo_compiler::{ast::OperationType, response::JsonMap};
use axum::{
    body::Body,
    extract::{FromRequestParts, Request, State, WebSocketUpgrade},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, UPGRADE},
    },
    response::Response,
};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    Server,
    answer::{self, MediaType},
    events,
    gate::{Params, Refusal},
    socket,
};
use crate::{
    auth::Identity,
    graphql::{Caller, Error, ErrorCode},
};

/// A request that is refused before it is a GraphQL request.
type Refused = (StatusCode, Refusal);

/// POST: queries and mutations, as JSON.
pub(super) async fn post(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let params = match read_body(&server, &parts.headers, body).await {
        Ok(params) => params,
        Err((status, refusal)) => return answer::refused(status, &refusal),
    };
    respond(&server, &parts.headers, params, true).await
}

/// GET: queries without side effects in the URL, and upgrades to a socket.
pub(super) async fn get(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    if parts.headers.contains_key(UPGRADE) {
        return match WebSocketUpgrade::from_request_parts(&mut parts, &server).await {
            Ok(upgrade) => socket::open(server, &parts.headers, upgrade),
            Err(rejection) => {
                let refusal = Refusal::new(ErrorCode::BadRequest, rejection.to_string());
                answer::refused(rejection.status(), &refusal)
            }
        };
    }
    match read_url(parts.uri.query().unwrap_or_default()) {
        Ok(params) => respond(&server, &parts.headers, params, false).await,
        Err((status, refusal)) => answer::refused(status, &refusal),
    }
}

async fn respond(
    server: &Arc<Server>,
    headers: &HeaderMap,
    params: Params,
    by_post: bool,
) -> Response {
    if events::are_wanted(headers) {
        return events::open(server, headers, params, by_post).await;
    }
    let Some(media_type) = MediaType::accepted(headers) else {
        let refusal = Refusal::new(
            ErrorCode::BadRequest,
            "Accept: this server answers with application/graphql-response+json or application/json",
        );
        return answer::refused(StatusCode::NOT_ACCEPTABLE, &refusal);
    };
    let caller = match caller(server, headers).await {
        Ok(caller) => caller,
        Err(refusal) if refusal.code == ErrorCode::Unauthenticated => {
            return answer::refused(StatusCode::UNAUTHORIZED, &refusal);
        }
        Err(refusal) => return answer::not_run(media_type, &refusal),
    };
    let prepared = match server.gate.prepare(&params) {
        Ok(prepared) => prepared,
        Err(refusal) => return answer::not_run(media_type, &refusal),
    };
    if prepared.kind == OperationType::Subscription {
        let refusal = Refusal::new(
            ErrorCode::BadRequest,
            "subscriptions run over a WebSocket at this address, by the protocol graphql-transport-ws, or as text/event-stream",
        );
        return answer::not_run(media_type, &refusal);
    }
    let has_side_effects = prepared.has_side_effects();
    if has_side_effects && !by_post {
        return side_effect_by_get();
    }
    let response = server.run(prepared, caller).await;
    let mut response = answer::json(StatusCode::OK, media_type, &response);
    if has_side_effects {
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

pub(super) fn side_effect_by_get() -> Response {
    let refusal = Refusal::new(
        ErrorCode::SideEffectRequiresPost,
        "mutations, and queries that mark messages as read, are sent by POST",
    );
    let mut response = answer::refused(StatusCode::METHOD_NOT_ALLOWED, &refusal);
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

/// Who a request is from: by its token, and by whom the host application acts for.
pub(super) async fn caller(server: &Server, headers: &HeaderMap) -> Result<Caller, Refusal> {
    arrive(server, identity(server, headers)?.as_ref(), headers).await
}

/// Whoever a token speaks for, or whom the host application acts for.
pub(super) async fn arrive(
    server: &Server,
    identity: Option<&Identity>,
    headers: &HeaderMap,
) -> Result<Caller, Refusal> {
    let act_as = match headers.get("x-act-as") {
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

/// Whom the `Authorization` header speaks for; nobody where there is none.
pub(super) fn identity(server: &Server, headers: &HeaderMap) -> Result<Option<Identity>, Refusal> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let token = header.to_str().unwrap_or_default();
    bearer(server, token).map(Some)
}

/// Whom a `Bearer <token>` speaks for.
pub(super) fn bearer(server: &Server, authorization: &str) -> Result<Identity, Refusal> {
    let unauthenticated = |message: String| Refusal::new(ErrorCode::Unauthenticated, message);
    let token = match authorization.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => {
            let message = "the authorization is not of the form Bearer <token>";
            return Err(unauthenticated(message.to_owned()));
        }
    };
    let identity = server.tokens.verify(token);
    identity.map_err(|invalid| unauthenticated(invalid.to_string()))
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

fn decode_act_as(bytes: &[u8]) -> Result<String, Refusal> {
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

/// The parameters of a request, as GraphQL over HTTP names them; what else stands beside them is ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonParams {
    query: String,
    operation_name: Option<String>,
    variables: Option<JsonMap>,
    /// Typed as the specification says, and not used.
    #[serde(rename = "extensions")]
    _extensions: Option<JsonMap>,
}

impl JsonParams {
    fn parse(json: &[u8]) -> Result<Params, String> {
        let value: serde_json::Value = serde_json::from_slice(json)
            .map_err(|error| format!("the body is not JSON: {error}"))?;
        if value.is_array() {
            return Err("batches are not taken: send one operation at a time".to_owned());
        }
        let params: Self = serde_json::from_value(value).map_err(|error| {
            format!(
                "{error}; send {{\"query\": …}}, with operationName, variables and extensions as needed"
            )
        })?;
        Ok(params.into())
    }
}

impl From<JsonParams> for Params {
    fn from(params: JsonParams) -> Self {
        Self {
            query: params.query,
            operation_name: params.operation_name,
            variables: params.variables.unwrap_or_default(),
        }
    }
}

/// The parameters in a `subscribe` message's payload.
pub(super) fn params_of(payload: serde_json::Value) -> Result<Params, String> {
    let params: JsonParams = serde_json::from_value(payload).map_err(|error| error.to_string())?;
    Ok(params.into())
}

async fn read_body(server: &Server, headers: &HeaderMap, body: Body) -> Result<Params, Refused> {
    let refuse = |status, message: String| (status, Refusal::new(ErrorCode::BadRequest, message));
    if !is_json(headers) {
        return Err(refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type: send the operation as application/json, in UTF-8".to_owned(),
        ));
    }
    let limit = server.bounds.body_limit;
    let body = axum::body::to_bytes(body, limit).await.map_err(|_| {
        let message = format!("the body is longer than {limit} bytes, or broke off");
        refuse(StatusCode::PAYLOAD_TOO_LARGE, message)
    })?;
    JsonParams::parse(&body).map_err(|message| refuse(StatusCode::BAD_REQUEST, message))
}

fn is_json(headers: &HeaderMap) -> bool {
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

fn read_url(query: &str) -> Result<Params, Refused> {
    let refuse = |message: String| {
        (
            StatusCode::BAD_REQUEST,
            Refusal::new(ErrorCode::BadRequest, message),
        )
    };
    let mut params = Params::default();
    let mut found = false;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value)
            .decode_utf8()
            .map_err(|_| refuse(format!("{name}: this is not percent-encoded UTF-8")))?;
        match name {
            "query" => {
                found = true;
                params.query = value.into_owned();
            }
            "operationName" if !value.is_empty() => {
                params.operation_name = Some(value.into_owned());
            }
            "variables" if !value.is_empty() => {
                params.variables = serde_json::from_str::<Option<JsonMap>>(&value)
                    .map_err(|error| refuse(format!("variables: this is no JSON object: {error}")))?
                    .unwrap_or_default();
            }
            "extensions" if !value.is_empty() => {
                serde_json::from_str::<Option<JsonMap>>(&value).map_err(|error| {
                    refuse(format!("extensions: this is no JSON object: {error}"))
                })?;
            }
            _ => {}
        }
    }
    if found {
        return Ok(params);
    }
    Err(refuse(
        "query is missing: send ?query=… by GET, or {\"query\": …} by POST".to_owned(),
    ))
}
