//! The protocol GraphQL over Server-Sent Events, in its distinct connections mode: one operation on one answer, for those
//! who cannot open sockets. <https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>
//!
//! Every event's `id:` is its cursor, whether or not it was selected: a client that comes back with the header
//! `Last-Event-ID` goes on after it. `axum::response::sse` cannot write the empty `data:` without which browsers do not
//! hear of `complete`, so the few lines of the format are written here.

use std::{convert::Infallible, sync::Arc};

use apollo_compiler::ast::OperationType;
use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
    },
    response::Response,
};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{
    Server,
    answer::{self, MediaType},
    gate::Params,
    permits::Permit,
    request,
    run::Told,
};
use crate::graphql::Progress;

const MEDIA_TYPE: &str = "text/event-stream";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// nginx, and what follows its example, hold an answer back until it is long enough: not this one.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// Seconds after which a user who has too many listeners may try again.
const AFTER_TOO_MANY: HeaderValue = HeaderValue::from_static("5");
const COMPLETE: &str = "event: complete\ndata:\n\n";
const COMMENT: &str = ":\n\n";

/// Whether an answer is to be an event stream: where the client names it, and nothing else before it.
pub(super) fn are_wanted(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let mut best = (0.0, false);
    for range in accept.unwrap_or_default().split(',') {
        let mut parts = range.split(';').map(str::trim);
        let events = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case(MEDIA_TYPE));
        let weight = parts.find_map(|parameter| parameter.strip_prefix("q=")?.parse().ok());
        let weight: f64 = weight.unwrap_or(1.0);
        if weight > best.0 {
            best = (weight, events);
        }
    }
    best.1
}

/// Runs an operation, and tells its results as events. What fails before it runs for what it asks is told so too, as the
/// protocol has it; what fails for who asks has a status of its own, so that clients know whether to come back.
pub(super) async fn open(
    server: &Arc<Server>,
    headers: &HeaderMap,
    params: Params,
    by_post: bool,
) -> Response {
    let identity = match request::identity(server, headers) {
        Ok(identity) => identity,
        Err(refusal) => return answer::refused(StatusCode::UNAUTHORIZED, &refusal),
    };
    let caller = match request::arrive(server, identity.as_ref(), headers).await {
        Ok(caller) => caller,
        Err(refusal) => return answer::not_run(MediaType::GraphqlResponse, &refusal),
    };
    let prepared = match server.gate.prepare(&params) {
        Ok(prepared) => prepared,
        Err(refusal) => return single(&refusal.body()),
    };
    if prepared.kind != OperationType::Subscription {
        if prepared.has_side_effects() && !by_post {
            return request::side_effect_by_get();
        }
        return single(&server.run(prepared, caller).await);
    }
    let permit = match server.permits.acquire(&caller) {
        Ok(permit) => permit,
        Err(refusal) => {
            let mut response = answer::refused(StatusCode::TOO_MANY_REQUESTS, &refusal);
            response.headers_mut().insert(RETRY_AFTER, AFTER_TOO_MANY);
            return response;
        }
    };
    let last = headers.get(LAST_EVENT_ID);
    // What is no text cannot be a cursor either, and is refused like one.
    let last = last.map(|id| id.to_str().unwrap_or("?").to_owned());
    let progress = Progress::after(last.filter(|id| !id.is_empty()));
    let keep_alive = server.bounds.sockets.keep_alive;
    let mut ticks = interval_at(Instant::now() + keep_alive, keep_alive);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = Events {
        told: server.tell(prepared, caller, progress.clone()),
        server: server.clone(),
        progress,
        ticks,
        until: identity.as_ref().map(request::expiry),
        leaving: false,
        _permit: permit,
    };
    // The first comment shows that the stream stands, before anything happens.
    let opened = stream::iter([Some(COMMENT.to_owned())]);
    let events = stream::unfold(Some(events), async |events| {
        let mut events = events?;
        match events.next().await? {
            Block::Event(text) => Some((text, Some(events))),
            Block::Last(text) => Some((text, None)),
        }
    });
    stream_of(opened.filter_map(std::future::ready).chain(events))
}

/// A subscription on its way to one client. Dropped when the client hangs up.
struct Events {
    told: BoxStream<'static, Told>,
    server: Arc<Server>,
    progress: Progress,
    /// When a comment is due.
    ticks: Interval,
    /// When the stream ends, as the token does or because the server stops: without `complete`, so that the client comes
    /// back.
    until: Option<Instant>,
    /// Whether the server stops.
    leaving: bool,
    /// One of as many as the caller may have.
    _permit: Option<Permit>,
}

/// A part of the stream.
enum Block {
    Event(String),
    Last(String),
}

impl Events {
    async fn next(&mut self) -> Option<Block> {
        loop {
            let until = self.until;
            tokio::select! {
                told = self.told.next() => return Some(self.event(told?)),
                _ = self.ticks.tick() => return Some(Block::Event(self.comment())),
                () = sleep_until(until) => return None,
                () = self.server.shutdown.cancelled(), if !self.leaving => {
                    let leaving = self.server.leaving();
                    self.leaving = true;
                    self.until = Some(self.until.map_or(leaving, |until| until.min(leaving)));
                }
            }
        }
    }

    fn event(&self, told: Told) -> Block {
        match told {
            Told::Next(response) => {
                let id = self.progress.event();
                Block::Event(next(id.as_deref(), &response))
            }
            // Over for good: a client that took it for a broken connection would come back for the same.
            Told::Error(errors) => {
                let errors = next(None, &json!({ "errors": errors }));
                Block::Last(errors + COMPLETE)
            }
            Told::Complete => Block::Last(COMPLETE.to_owned()),
        }
    }

    /// A sign of life. An `id:` without data is no event, and yet the last one that the client knows.
    fn comment(&self) -> String {
        match self.progress.take() {
            Some(cursor) => format!(":\nid: {cursor}\n\n"),
            None => COMMENT.to_owned(),
        }
    }
}

/// JSON has no line breaks of its own, and neither has a cursor.
fn next(id: Option<&str>, result: &impl Serialize) -> String {
    let data = serde_json::to_string(result).expect("answers are JSON");
    match id {
        Some(id) => format!("id: {id}\nevent: next\ndata: {data}\n\n"),
        None => format!("event: next\ndata: {data}\n\n"),
    }
}

/// The only result of an operation, and its end.
fn single(result: &impl Serialize) -> Response {
    stream_of(stream::iter([next(None, result) + COMPLETE]))
}

fn stream_of(blocks: impl futures_util::Stream<Item = String> + Send + 'static) -> Response {
    let body = Body::from_stream(blocks.map(Ok::<_, Infallible>));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let media_type = HeaderValue::from_static("text/event-stream; charset=utf-8");
    headers.insert(CONTENT_TYPE, media_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
