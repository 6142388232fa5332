//! The protocol graphql-transport-ws, over an upgrade handler of our own: small buffers, and the close codes that its
//! clients know. <https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use apollo_compiler::ast::OperationType;
use axum::{
    extract::{
        WebSocketUpgrade,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket},
    },
    http::{HeaderMap, StatusCode, header::SEC_WEBSOCKET_PROTOCOL},
    response::Response,
};
use futures_util::{
    FutureExt as _, Stream, StreamExt as _,
    future::AbortHandle,
    stream::{self, BoxStream, SelectAll, abortable},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, interval_at, timeout};

use super::{Server, answer, gate::Refusal, request, run::is_refused};
use crate::{
    auth::Identity,
    graphql::{Caller, ErrorCode, Progress},
};

const PROTOCOL: &str = "graphql-transport-ws";
/// The library's default of 128 KB for each socket would be most of what a listener takes.
const READ_BUFFER: usize = 2_048;
/// A close frame's payload takes 125 bytes, two of them the code.
const REASON_BYTES: usize = 123;

/// Opens a socket, with the token of the upgrade's `Authorization` header where there is one.
pub(super) fn open(
    server: Arc<Server>,
    headers: &HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let identity = match request::identity(&server, headers) {
        Ok(identity) => identity,
        Err(refusal) => return answer::refused(StatusCode::UNAUTHORIZED, &refusal),
    };
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let offers = offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|protocol| protocol.trim() == PROTOCOL);
    let limit = server.bounds.body_limit;
    let tasks = server.tasks.clone();
    upgrade
        .protocols([PROTOCOL])
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(limit)
        .max_frame_size(limit)
        .on_upgrade(move |socket| {
            tasks.track_future(Session::new(server, socket, identity).run(offers))
        })
}

/// Why a socket ends.
#[derive(Debug)]
enum End {
    /// Closed by us, with a code of the protocol and a reason.
    Close(u16, String),
    /// Closed by the client.
    Closed,
    /// The client is gone, or does not read.
    Gone,
}

type Step = Result<(), End>;

/// A socket from its opening to its end.
struct Session {
    server: Arc<Server>,
    socket: WebSocket,
    /// Whom the upgrade's header speaks for.
    identity: Option<Identity>,
    /// Who is asking, once `connection_init` was accepted.
    caller: Option<Caller>,
    /// When the token ends, and with it the socket.
    expiry: Option<Instant>,
    running: SelectAll<BoxStream<'static, (String, Told)>>,
    operations: HashMap<String, Running>,
    /// Whether the client gave a sign of life since the last ping.
    heard: bool,
}

/// An operation under way.
struct Running {
    abort: AbortHandle,
    progress: Progress,
}

/// What an operation tells.
#[derive(Debug)]
enum Told {
    Next(async_graphql::Response),
    /// What failed before execution, or a subscription that was refused or broke.
    Error(Value),
    Complete,
}

/// What a client may send.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Received {
    ConnectionInit { payload: Option<Value> },
    Subscribe { id: String, payload: Value },
    Complete { id: String },
    Ping { payload: Option<Value> },
    Pong {},
}

impl Session {
    fn new(server: Arc<Server>, socket: WebSocket, identity: Option<Identity>) -> Self {
        Self {
            server,
            socket,
            identity,
            caller: None,
            expiry: None,
            running: SelectAll::new(),
            operations: HashMap::new(),
            heard: true,
        }
    }

    async fn run(mut self, offers_protocol: bool) {
        let ended = if offers_protocol {
            self.converse().await
        } else {
            close(
                4406,
                "Subprotocol not acceptable: offer graphql-transport-ws",
            )
        };
        let farewell = match ended {
            Ok(()) | Err(End::Closed) => None,
            Err(End::Gone) => return,
            Err(End::Close(code, reason)) => {
                let frame = CloseFrame {
                    code,
                    reason: Utf8Bytes::from(cut(&reason)),
                };
                Some(Message::Close(Some(frame)))
            }
        };
        let closing = async {
            if let Some(frame) = farewell
                && self.socket.send(frame).await.is_err()
            {
                return;
            }
            // Reading on sends our own close frame, or waits for the client's: then it ends in order.
            while let Some(Ok(_)) = self.socket.recv().await {}
        };
        let _ = timeout(Duration::from_secs(2), closing).await;
    }

    async fn converse(&mut self) -> Step {
        let shutdown = self.server.shutdown.clone();
        let bounds = self.server.bounds.clone();
        let opened = Instant::now();
        let mut ping = interval_at(opened + bounds.socket_ping, bounds.socket_ping);
        loop {
            let expiry = self.expiry;
            tokio::select! {
                // Boxed, so that a socket on which nothing happens holds nothing of what it does.
                received = self.socket.recv() => Box::pin(self.received(received)).await?,
                Some((id, told)) = self.running.next() => Box::pin(self.tell(id, told)).await?,
                () = tokio::time::sleep_until(opened + bounds.socket_init_timeout), if self.caller.is_none() => {
                    return close(4408, "Connection initialisation timeout");
                }
                () = sleep_until(expiry) => return close(4403, "The token has expired"),
                _ = ping.tick() => Box::pin(self.ping()).await?,
                () = shutdown.cancelled() => return close(1012, "The server restarts: connect again"),
            }
        }
    }

    async fn received(&mut self, received: Option<Result<Message, axum::Error>>) -> Step {
        self.heard = true;
        match received {
            None | Some(Err(_)) => Err(End::Gone),
            Some(Ok(Message::Close(_))) => Err(End::Closed),
            Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                Ok(message) => self.act(message).await,
                Err(error) => close(4400, &format!("Invalid message: {error}")),
            },
            Some(Ok(Message::Binary(_))) => close(4400, "Invalid message: send text"),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
        }
    }

    async fn act(&mut self, message: Received) -> Step {
        match message {
            Received::ConnectionInit { .. } if self.caller.is_some() => {
                close(4429, "Too many initialisation requests")
            }
            Received::ConnectionInit { payload } => self.init(payload.unwrap_or_default()).await,
            Received::Subscribe { id, payload } => self.subscribe(id, payload).await,
            Received::Complete { id } => {
                if let Some(operation) = self.operations.remove(&id) {
                    operation.abort.abort();
                }
                Ok(())
            }
            Received::Ping { payload } => {
                let mut pong = json!({ "type": "pong" });
                if let Some(payload) = payload {
                    pong["payload"] = payload;
                }
                self.send(&pong).await
            }
            Received::Pong {} => Ok(()),
        }
    }

    async fn init(&mut self, payload: Value) -> Step {
        let forbidden = |refusal: Refusal| {
            let reason = format!("Forbidden: {}", refusal.first_message());
            End::Close(4403, reason)
        };
        let named = |name: &str| {
            let fields = payload.as_object().into_iter().flatten();
            let mut named = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name));
            named.find_map(|(_, value)| value.as_str().map(str::to_owned))
        };
        let identity = match named("authorization") {
            Some(token) => request::bearer(&self.server, &token).map_err(forbidden)?,
            None => match self.identity.take() {
                Some(identity) => identity,
                None => return close(4403, "Forbidden: send a token as authorization"),
            },
        };
        let act_as = named("actAs");
        let chat = self.server.api.chat();
        let caller = Caller::arrive(chat, &identity, act_as.as_deref()).await;
        self.caller = Some(caller.map_err(|error| forbidden(error.into()))?);
        self.expiry = Some(expiry_of(&identity));
        self.send(&json!({ "type": "connection_ack" })).await
    }

    async fn subscribe(&mut self, id: String, payload: Value) -> Step {
        let Some(caller) = self.caller.clone() else {
            return close(4401, "Unauthorized");
        };
        if self.operations.contains_key(&id) {
            return close(4409, &format!("Subscriber for {id} already exists"));
        }
        if self.operations.len() >= self.server.bounds.socket_operations {
            let most = self.server.bounds.socket_operations;
            let message = format!("at most {most} operations run at one time on one socket");
            let refusal = Refusal::new(ErrorCode::RateLimited, message);
            return self.send_error(&id, refusal.errors()).await;
        }
        let params = match request::params_of(payload) {
            Ok(params) => params,
            Err(error) => return close(4400, &format!("Invalid message: payload: {error}")),
        };
        let progress = Progress::default();
        let told = operation(self.server.clone(), params, caller, progress.clone());
        let (told, abort) = abortable(told);
        let name = id.clone();
        self.running
            .push(told.map(move |told| (name.clone(), told)).boxed());
        self.operations.insert(id, Running { abort, progress });
        Ok(())
    }

    async fn tell(&mut self, id: String, told: Told) -> Step {
        match told {
            Told::Next(response) => {
                let next = json!({ "type": "next", "id": id, "payload": response });
                self.send(&next).await
            }
            Told::Error(errors) => {
                self.operations.remove(&id);
                self.send_error(&id, errors).await
            }
            Told::Complete => {
                self.operations.remove(&id);
                self.send(&json!({ "type": "complete", "id": id })).await
            }
        }
    }

    /// A ping, with the cursors of quiet listeners that moved over what they were not told of.
    async fn ping(&mut self) -> Step {
        if !std::mem::take(&mut self.heard) {
            return Err(End::Gone);
        }
        let moved = self.operations.iter().filter_map(|(id, operation)| {
            Some((id.clone(), Value::String(operation.progress.take()?)))
        });
        let cursors: serde_json::Map<String, Value> = moved.collect();
        let ping = if cursors.is_empty() {
            json!({ "type": "ping" })
        } else {
            json!({ "type": "ping", "payload": { "cursors": cursors } })
        };
        self.send(&ping).await
    }

    async fn send_error(&mut self, id: &str, errors: Value) -> Step {
        let error = json!({ "type": "error", "id": id, "payload": errors });
        self.send(&error).await
    }

    /// Sends, or ends: a client that does not read is dropped, with its cursor intact, rather than buffered for.
    async fn send(&mut self, message: &Value) -> Step {
        let sending = self.socket.send(Message::Text(message.to_string().into()));
        match timeout(self.server.bounds.socket_ping, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }
}

/// What one operation tells, to its end.
fn operation(
    server: Arc<Server>,
    params: super::gate::Params,
    caller: Caller,
    progress: Progress,
) -> impl Stream<Item = Told> + Send + 'static {
    // Boxed, so that what starts an operation is given back once it has started: listeners are many, and live long.
    let start = async move {
        let prepared = match server.gate.prepare(&params).await {
            Ok(prepared) => prepared,
            Err(refusal) => return stream::iter([Told::Error(refusal.errors())]).boxed(),
        };
        if prepared.kind != OperationType::Subscription {
            let response = server.run(prepared, caller).await;
            return stream::iter([Told::Next(response), Told::Complete]).boxed();
        }
        let events = server.api.subscribe(prepared.operation, caller, progress);
        let shape = prepared.shape;
        events
            .map(Some)
            .chain(stream::iter([None]))
            .scan(false, move |over, event| {
                let told = match event {
                    _ if *over => None,
                    None => Some(Told::Complete),
                    Some(mut event) => {
                        shape.complete(&mut event);
                        if is_refused(&event) {
                            *over = true;
                            Some(Told::Error(json!(event.errors)))
                        } else {
                            Some(Told::Next(event))
                        }
                    }
                };
                std::future::ready(told)
            })
            .boxed()
    };
    stream::once(start.boxed()).flatten()
}

fn close(code: u16, reason: &str) -> Step {
    Err(End::Close(code, reason.to_owned()))
}

/// As much of a reason as a close frame takes.
fn cut(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES)]
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn expiry_of(identity: &Identity) -> Instant {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = u64::try_from(identity.expires_at).unwrap_or(0);
    // A token may be good for longer than a timer counts.
    let left = Duration::from_secs(seconds).saturating_sub(now);
    Instant::now() + left.min(Duration::from_hours(24 * 365))
}
