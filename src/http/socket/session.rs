//! One socket, from its opening to its end.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use apollo_compiler::ast::OperationType;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::AbortHandle,
    stream::{BoxStream, SelectAll, abortable},
};
use serde_json::{Map, Value, json};
use tokio::{
    sync::Semaphore,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use tracing::Instrument as _;

use super::{
    credentials::Credentials,
    protocol::{self, Code, Cursors, Id, Received, Sent},
};
use crate::{
    auth::Identity,
    graphql::{Caller, ErrorCode, Progress},
    http::{
        Arrived, RequestId, Server, Watch,
        address::Address,
        events,
        gate::{Prepared, Refusal},
        params::Asked,
        permits::Permit,
        rates::Paid,
        request,
        run::Told,
    },
    observe::{Limit, Listening, Watched},
};

/// How long a client may take to answer a close frame.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long a client's next message may have to wait for a subscription's position: without a database there is none.
const STARTING: Duration = Duration::from_secs(2);

/// How many of WebSocket's own pings a client may send before its `connection_init`.
const EARLY_PINGS: usize = 8;

/// How many queries and mutations of one socket run at one time: so many responses wait to be sent at most.
const RUNNING: usize = 8;

/// When a client that runs too many operations may try another.
const AFTER_TOO_MANY: Duration = Duration::from_secs(1);

/// Why a socket ends.
#[derive(Debug)]
enum End {
    /// Closed by us, with a reason for whoever reads the client's log.
    Close(Code, String),
    /// Closed by the client.
    Closed,
    /// The client is gone, or does not read.
    Gone,
}

type Step = Result<(), End>;

/// What a socket holds while it is open.
pub(super) struct Session {
    server: Arc<Server>,
    socket: WebSocket,
    /// Whom the upgrade's header speaks for.
    identity: Option<Identity>,
    /// Where the client is.
    address: Address,
    /// The id of the request that opened it.
    connection: RequestId,
    _open: Watched,
    /// Who is asking, once `connection_init` was accepted.
    admitted: Option<Admitted>,
    /// When the socket is closed unless something happens before: `connection_init` at first, then nothing, as the token
    /// has ended.
    until: Instant,
    /// When the socket is closed because the server stops.
    leaving: Option<Instant>,
    /// For the queries and mutations that run.
    permits: Arc<Semaphore>,
    running: SelectAll<BoxStream<'static, (String, Told)>>,
    /// Boxed: most of a small map is room that nothing takes.
    operations: HashMap<String, Box<Running>>,
    /// Whether the client gave a sign of life since the last ping.
    heard: bool,
    /// Until when nothing is read of a client that sends more than its rate.
    slowed_until: Option<Instant>,
    /// Until when nothing is read because a subscription has no position yet: what the client does next is part of it.
    starting_until: Option<Instant>,
    /// How many pings of WebSocket's own came before `connection_init`.
    early_pings: usize,
}

/// A client after its `connection_init`.
struct Admitted {
    caller: Caller,
    /// One of as many as the caller may have.
    _permit: Option<Permit>,
}

/// An operation under way.
struct Running {
    abort: AbortHandle,
    progress: Progress,
    /// Whether it ends with its first result.
    single: bool,
    /// Whether it is a subscription without a position yet.
    starting: bool,
    watch: Watch,
    /// One of as many subscriptions as the caller may have.
    _permit: Option<Permit>,
}

impl Session {
    pub(super) fn new(
        server: Arc<Server>,
        socket: WebSocket,
        identity: Option<Identity>,
        address: Address,
        connection: RequestId,
    ) -> Self {
        Self {
            until: Instant::now() + server.bounds.sockets.socket_init_timeout,
            _open: server.metrics.listening(Listening::Socket),
            server,
            socket,
            identity,
            address,
            connection,
            admitted: None,
            leaving: None,
            permits: Arc::new(Semaphore::new(RUNNING)),
            running: SelectAll::new(),
            operations: HashMap::new(),
            heard: true,
            slowed_until: None,
            starting_until: None,
            early_pings: 0,
        }
    }

    /// Boxed, so that the task that runs it keeps room for it once.
    pub(super) async fn run(mut self: Box<Self>, offers_protocol: bool) {
        let ended = if offers_protocol {
            self.converse().await
        } else {
            close(
                Code::SubprotocolNotAcceptable,
                "Subprotocol not acceptable: offer graphql-transport-ws",
            )
        };
        let _ = timeout(FAREWELL, self.part(ended)).await;
    }

    async fn converse(&mut self) -> Step {
        let shutdown = self.server.shutdown.clone();
        let keep_alive = self.server.bounds.sockets.keep_alive;
        let mut ping = interval_at(Instant::now() + keep_alive, keep_alive);
        // After a long send the client has as long as ever to answer.
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.due();
            let read_from = self.read_from();
            tokio::select! {
                // Boxed, so that a socket on which nothing happens holds nothing of what it does.
                received = self.socket.recv(), if read_from.is_none() && !self.is_leaving() => {
                    Box::pin(self.received(received)).await?;
                }
                Some((id, told)) = self.running.next() => Box::pin(self.tell(id, told)).await?,
                () = tokio::time::sleep_until(due) => return self.close_now(),
                () = events::sleep_until(read_from), if read_from.is_some() => {
                    (self.slowed_until, self.starting_until) = (None, None);
                }
                _ = ping.tick() => Box::pin(self.ping()).await?,
                () = shutdown.cancelled(), if self.leaving.is_none() => {
                    self.leaving = Some(self.server.leaving());
                }
            }
        }
    }

    /// When the socket is to be closed. A server that stops waits for what was asked before.
    fn due(&self) -> Instant {
        match self.leaving {
            Some(leaving) if !self.operations.values().any(|o| o.single) => leaving.min(self.until),
            _ => self.until,
        }
    }

    /// When the client's next message is read; nothing where that is now.
    fn read_from(&mut self) -> Option<Instant> {
        if self.starting_until.is_some() && !self.operations.values().any(|o| o.starting) {
            self.starting_until = None;
        }
        self.slowed_until.max(self.starting_until)
    }

    /// Whether nothing more is taken, because the server stops.
    fn is_leaving(&self) -> bool {
        self.leaving
            .is_some_and(|leaving| leaving <= Instant::now())
    }

    fn close_now(&self) -> Step {
        if self.until > Instant::now() {
            return close(Code::Restart, "The server restarts: connect again");
        }
        match self.admitted {
            None => close(Code::InitTimeout, "Connection initialisation timeout"),
            Some(_) => close(Code::Forbidden, "Forbidden: the token has expired"),
        }
    }

    async fn received(&mut self, received: Option<Result<Message, axum::Error>>) -> Step {
        self.heard = true;
        match received {
            None => Err(End::Gone),
            Some(Err(error)) => Err(broken(error, self.server.bounds.body_limit)),
            Some(Ok(Message::Close(_))) => Err(End::Closed),
            Some(Ok(Message::Text(text))) => {
                let paid = self.pay(text.len())?;
                match protocol::parse(&text) {
                    Ok(message) => self.act(message, paid).await,
                    Err(reason) => close(Code::InvalidMessage, &reason),
                }
            }
            Some(Ok(Message::Binary(_))) => {
                close(Code::InvalidMessage, "Invalid message: send text")
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                self.pay(0)?;
                self.early_pings += usize::from(self.admitted.is_none());
                if self.early_pings > EARLY_PINGS {
                    return close(Code::Unauthorized, NOT_ADMITTED);
                }
                Ok(())
            }
        }
    }

    /// Takes a message of so many bytes from the client's rate. One that is over it is served, and the next is read later.
    ///
    /// Before `connection_init` it is its address that pays, and one that cannot is closed.
    fn pay(&mut self, bytes: usize) -> Result<Paid, End> {
        let Some(Admitted { caller, .. }) = &self.admitted else {
            let rates = &self.server.rates;
            if let Err(refusal) = rates.anonymous_bytes(self.address, bytes) {
                return Err(not_taken(&refusal));
            }
            return Ok(Paid::default());
        };
        let paid = self.server.rates.admit_bytes(caller, self.address, bytes);
        Ok(paid.unwrap_or_else(|refusal| {
            self.slowed_until = refusal.retry_after.map(|wait| Instant::now() + wait);
            Paid::default()
        }))
    }

    async fn act(&mut self, message: Received, paid: Paid) -> Step {
        match message {
            Received::ConnectionInit { .. } if self.admitted.is_some() => {
                close(Code::TooManyInits, "Too many initialisation requests")
            }
            Received::ConnectionInit { payload } => self.init(payload.unwrap_or_default()).await,
            _ if self.admitted.is_none() => close(Code::Unauthorized, NOT_ADMITTED),
            Received::Subscribe { id, payload } => self.subscribe(id, payload, paid).await,
            Received::Complete { id } => {
                // Aborted, it tells nothing more, also not under the next operation with this id.
                if let Some(operation) = self.operations.remove(&id) {
                    operation.abort.abort();
                }
                Ok(())
            }
            Received::Ping { payload } => self.send(&Sent::Pong { payload }).await,
            Received::Pong { .. } => Ok(()),
        }
    }

    async fn init(&mut self, payload: Map<String, Value>) -> Step {
        let credentials = Credentials::of(payload);
        let credentials = credentials.map_err(|(code, reason)| End::Close(code, reason))?;
        let (identity, is_counted) = match credentials.authorization {
            Some(token) => {
                let identity = request::bearer(&self.server, &token).await;
                (identity.map_err(|refusal| not_taken(&refusal))?, false)
            }
            None => match self.identity.take() {
                // It was counted when the socket was opened.
                Some(identity) => (identity, true),
                None => return close(Code::Forbidden, "Forbidden: send a token as authorization"),
            },
        };
        let act_as = credentials.act_as;
        let chat = self.server.api.chat();
        let caller = Caller::arrive(chat, &identity, act_as.as_deref()).await;
        let caller = caller.map_err(|error| not_taken(&error.into()))?;
        let permit = if is_counted {
            self.server.stay(&caller)
        } else {
            self.server.connect(&caller)
        };
        self.admitted = Some(Admitted {
            caller,
            _permit: permit.map_err(|refusal| not_taken(&refusal))?,
        });
        self.until = request::expiry(&identity);
        self.send(&Sent::ConnectionAck).await
    }

    async fn subscribe(&mut self, Id(id): Id, payload: Map<String, Value>, paid: Paid) -> Step {
        let asked = match Asked::from_json(payload.into()) {
            Ok(asked) => asked,
            Err(error) => {
                let reason = format!("Invalid message: payload: {error}");
                return close(Code::InvalidMessage, &reason);
            }
        };
        let Some(Admitted { caller, .. }) = &self.admitted else {
            return close(Code::Unauthorized, NOT_ADMITTED);
        };
        let caller = caller.clone();
        let mut watch = Watch::new(&self.server, Arrived::now()).on(&self.connection);
        watch.by(&caller);
        if self.operations.contains_key(&id) {
            watch.refused(ErrorCode::BadRequest);
            let reason = format!("Subscriber for {id} already exists");
            return close(Code::SubscriberAlreadyExists, &reason);
        }
        let most = self.server.bounds.sockets.socket_operations;
        if self.operations.len() >= most {
            let message = format!("at most {most} operations run at one time on one socket");
            self.server.metrics.limited(Limit::Operations);
            let refusal = Refusal::new(ErrorCode::RateLimited, message).after(AFTER_TOO_MANY);
            watch.refused(refusal.code);
            return self.send_error(&id, refusal.errors()).await;
        }
        let span = watch.id.span();
        let server = self.server.clone();
        let preparing = server.prepare(asked, &caller, self.address, paid, &mut watch);
        let prepared = preparing.instrument(span).await.and_then(|prepared| {
            let permit = if prepared.kind == OperationType::Subscription {
                self.server.admit_subscription(&caller)?
            } else {
                None
            };
            Ok((prepared, permit))
        });
        match prepared {
            Ok((prepared, permit)) => {
                self.start(id, prepared, caller, watch, permit);
                Ok(())
            }
            Err(refusal) => {
                watch.refused(refusal.code);
                let refusal = refusal.known_as(&watch.id);
                self.send_error(&id, refusal.errors()).await
            }
        }
    }

    fn start(
        &mut self,
        id: String,
        prepared: Prepared,
        caller: Caller,
        watch: Watch,
        permit: Option<Permit>,
    ) {
        let progress = self.server.api.progress(&caller, None, prepared.price);
        let single = prepared.kind != OperationType::Subscription;
        let permits = self.permits.clone();
        let told = self
            .server
            .tell(prepared, caller, progress.clone(), &watch, permits);
        let (told, abort) = abortable(told);
        let name = id.clone();
        self.running
            .push(told.map(move |told| (name.clone(), told)).boxed());
        let running = Running {
            abort,
            progress,
            single,
            starting: !single,
            watch,
            _permit: permit,
        };
        if !single {
            self.starting_until = Some(Instant::now() + STARTING);
        }
        self.operations.insert(id, Box::new(running));
    }

    async fn tell(&mut self, id: String, told: Told) -> Step {
        match told {
            Told::Started => {
                if let Some(operation) = self.operations.get_mut(&id) {
                    operation.starting = false;
                }
                Ok(())
            }
            Told::Next(result, outcome) => {
                if let Some(operation) = self.operations.get_mut(&id)
                    && operation.single
                {
                    operation.watch.ended(outcome);
                }
                self.send_text(protocol::next(&id, &result)).await
            }
            Told::Error(errors) => {
                if let Some(mut operation) = self.operations.remove(&id) {
                    operation.watch.failed(&errors);
                }
                // As graphql-ws' own server: a message `error` means that nothing was executed.
                let payload = json!({ "errors": errors }).to_string();
                self.send_text(protocol::next(&id, &payload)).await?;
                self.send(&Sent::Complete { id: &id }).await
            }
            Told::Complete => {
                if let Some(mut operation) = self.operations.remove(&id)
                    && !operation.single
                {
                    operation.watch.ended_well();
                }
                self.send(&Sent::Complete { id: &id }).await
            }
        }
    }

    /// A ping, with the cursors of quiet listeners that moved over what they were not told of.
    async fn ping(&mut self) -> Step {
        // What a client sends is not read for a while where it sends too much.
        let is_read = self.read_from().is_none();
        if !std::mem::take(&mut self.heard) && is_read {
            return Err(End::Gone);
        }
        let moved = self.operations.iter().filter_map(|(id, operation)| {
            Some((id.clone(), Value::String(operation.progress.take()?)))
        });
        let cursors: Map<String, Value> = moved.collect();
        let payload = (!cursors.is_empty()).then_some(Cursors { cursors });
        self.send(&Sent::Ping { payload }).await
    }

    async fn send_error(&mut self, id: &str, errors: Value) -> Step {
        let payload = errors;
        self.send(&Sent::Error { id, payload }).await
    }

    async fn send(&mut self, message: &Sent<'_>) -> Step {
        let text = serde_json::to_string(message).expect("messages are JSON");
        self.send_text(text).await
    }

    /// Sends, or ends: a client that does not read is dropped, with its cursor intact, rather than buffered for.
    async fn send_text(&mut self, text: String) -> Step {
        let mut sending = pin!(self.socket.send(Message::Text(text.into())));
        let sent = if let Some(sent) = sending.as_mut().now_or_never() {
            sent
        } else {
            let patience = self.server.bounds.sockets.keep_alive;
            let sent = timeout(patience, sending).await;
            // There was no room, and now there is: the client reads, though its answer to a ping may be long in coming.
            self.heard = true;
            sent.map_err(|_| End::Gone)?
        };
        sent.map_err(|_| End::Gone)
    }

    /// Says why the socket ends, to whoever is still there, and waits for the answer.
    async fn part(&mut self, ended: Step) {
        // Their rest is not read, so that closing the connection would take our own frame from the client, unread.
        let mut unread = false;
        match ended {
            Err(End::Gone) => return,
            Ok(()) | Err(End::Closed) => {}
            Err(End::Close(code, reason)) => {
                unread = matches!(code, Code::BrokenFrame | Code::NotUtf8 | Code::TooLong);
                let frame = CloseFrame {
                    code: code as u16,
                    reason: Utf8Bytes::from(protocol::cut(&reason)),
                };
                if self.socket.send(Message::Close(Some(frame))).await.is_err() {
                    return;
                }
            }
        }
        // Reading on sends our own close frame, or waits for the client's: then it ends in order.
        while let Some(Ok(_)) = self.socket.recv().await {}
        if unread {
            std::future::pending::<()>().await;
        }
    }
}

/// Nothing else is served before `connection_init`.
const NOT_ADMITTED: &str = "Unauthorized: send connection_init first, and wait for connection_ack";

fn close(code: Code, reason: &str) -> Step {
    Err(End::Close(code, reason.to_owned()))
}

/// A `connection_init` that is refused.
fn not_taken(refusal: &Refusal) -> End {
    let (code, word) = match refusal.code {
        ErrorCode::Unavailable => (Code::TryAgainLater, "UNAVAILABLE"),
        ErrorCode::RateLimited => (Code::TryAgainLater, "RATE_LIMITED"),
        ErrorCode::Internal => (Code::InternalError, "INTERNAL"),
        _ => (Code::Forbidden, "Forbidden"),
    };
    End::Close(code, format!("{word}: {}", refusal.first_message()))
}

/// Why nothing more can be read.
fn broken(error: axum::Error, limit: usize) -> End {
    use tungstenite::{Error, error::ProtocolError};
    let Ok(error) = error.into_inner().downcast::<Error>() else {
        return End::Gone;
    };
    match *error {
        Error::Capacity(_) => {
            let reason = format!("Message too long: send at most {limit} bytes");
            End::Close(Code::TooLong, reason)
        }
        Error::Utf8(_) => End::Close(Code::NotUtf8, "The text is not UTF-8".to_owned()),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Gone,
        Error::Protocol(error) => End::Close(Code::BrokenFrame, error.to_string()),
        _ => End::Gone,
    }
}
