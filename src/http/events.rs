//! The protocol GraphQL over Server-Sent Events, in its distinct connections mode: one operation on one answer, for those
//! who cannot open sockets. <https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>
//!
//! Every event's `id:` is its cursor, whether or not it was selected: a client that comes back with the header
//! `Last-Event-ID` goes on after it. `axum::response::sse` cannot write the empty `data:` without which browsers do not
//! hear of `complete`, so the few lines of the format are written here.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderName, HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::Response,
};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use serde_json::json;
use tokio::{
    sync::Semaphore,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use super::{
    Server, answer,
    gate::{Prepared, Refusal},
    headers::LAST_EVENT_ID,
    permits::Permit,
    request,
    run::Told,
    watch::Watch,
};
use crate::{
    auth::Identity,
    graphql::{Caller, Progress},
    observe::{Listening, Watched},
};

/// nginx, and what follows its example, hold an answer back until it is long enough: not this one.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const COMPLETE: &str = "event: complete\ndata:\n\n";
const COMMENT: &str = ":\n\n";

/// Tells a subscription's events for as long as the client stays, its token lasts and the server runs.
///
/// # Errors
/// `RATE_LIMITED` where the user has as many listeners as may be, or opened too many.
pub(super) fn subscribe(
    server: &Arc<Server>,
    headers: &HeaderMap,
    identity: Option<&Identity>,
    caller: Caller,
    prepared: Prepared,
    watch: &mut Watch,
) -> Result<Response, Refusal> {
    let permit = server.connect(&caller)?;
    let subscribed = server.admit_subscription(&caller)?;
    let last = headers.get(LAST_EVENT_ID);
    // What is no text cannot be a cursor either, and is refused like one.
    let last = last.map(|id| id.to_str().unwrap_or("?").to_owned());
    let last = last.filter(|id| !id.is_empty());
    let progress = server.api.progress(&caller, last, prepared.price);
    let keep_alive = server.bounds.sockets.keep_alive;
    let mut ticks = interval_at(Instant::now() + keep_alive, keep_alive);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = Events {
        told: server.tell(
            prepared,
            caller,
            progress.clone(),
            watch,
            Arc::new(Semaphore::new(1)),
        ),
        watch: watch.hand_over(),
        _open: server.metrics.listening(Listening::Stream),
        server: server.clone(),
        progress,
        ticks,
        until: identity.map(request::expiry),
        leaving: false,
        _permits: [permit, subscribed],
    };
    let events = stream::unfold(Some(events), async |events| {
        let mut events = events?;
        match events.next().await? {
            Block::Event(text) => Some((text, Some(events))),
            Block::Last(text) => Some((text, None)),
        }
    });
    Ok(stream_of(events))
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
    /// Of as many connections, and as many subscriptions, as the caller may have.
    _permits: [Option<Permit>; 2],
    watch: Watch,
    _open: Watched,
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
                told = self.told.next() => return Some(self.block(told?)),
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

    fn block(&mut self, told: Told) -> Block {
        match told {
            // The first comment shows that the stream has its position, before anything happens.
            Told::Started => Block::Event(COMMENT.to_owned()),
            Told::Next(result, _) => {
                let id = self.progress.event();
                Block::Event(next(id.as_deref(), &result))
            }
            // Over for good: a client that took it for a broken connection would come back for the same.
            Told::Error(errors) => {
                self.watch.failed(&errors);
                let errors = next(None, &json!({ "errors": errors }).to_string());
                Block::Last(errors + COMPLETE)
            }
            Told::Complete => {
                self.watch.ended_well();
                Block::Last(COMPLETE.to_owned())
            }
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
fn next(id: Option<&str>, result: &str) -> String {
    match id {
        Some(id) => format!("id: {id}\nevent: next\ndata: {result}\n\n"),
        None => format!("event: next\ndata: {result}\n\n"),
    }
}

/// The only result of an operation, and its end.
pub(super) fn single(result: &str) -> Response {
    stream_of(stream::iter([next(None, result) + COMPLETE]))
}

fn stream_of(blocks: impl futures_util::Stream<Item = String> + Send + 'static) -> Response {
    let body = Body::from_stream(blocks.map(Ok::<_, Infallible>));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let media_type = HeaderValue::from_static("text/event-stream; charset=utf-8");
    headers.insert(CONTENT_TYPE, media_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer::vary(headers);
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// Waits for a moment; without end where there is none.
pub(super) async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
