//! The listeners: they hear what comes, leave in the middle, and go on at another server from a cursor.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    record::{Ending, Event, Kind, Session, position},
    workload::Client,
};
use crate::harness::{
    chance::Chance,
    socket::{Heard, Socket},
    user::{MESSAGE, User},
};

/// How long a server may take to open a socket.
const OPENING: Duration = Duration::from_secs(2);
/// How long a listener waits for the next signal before the last one.
const END: Duration = Duration::from_secs(40);
/// From how many cursors of the latest a listener chooses where it goes back to.
const KEPT: usize = 300;

/// The id of the message that each one is told of last, once that is known.
pub(super) type Ends = Option<Arc<HashMap<(String, Kind), String>>>;

pub(super) struct Listener {
    pub(super) client: Client,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) ends: watch::Receiver<Ends>,
    /// Where it stands: the last one, and those before it to which it may go back.
    pub(super) cursors: Vec<String>,
    /// The message with which the last cursor came.
    pub(super) newest: String,
}

impl Listener {
    /// Hears until the end, with many breaks.
    pub(super) async fn keep_listening(mut self, mut chance: Chance) {
        let servers = self.client.world.servers.len();
        let mut deadline = None;
        loop {
            let ending = self.ends.borrow().is_some();
            if self.end().as_ref() == Some(&self.newest) {
                return;
            }
            let last = self.cursors.len() - 1;
            let from = if ending || chance.below(5) > 0 {
                last
            } else {
                chance.below(last + 1)
            };
            let leave = Duration::from_millis(100 + chance.below(2_500) as u64);
            let (leave, at_leaving) = if ending {
                (
                    *deadline.get_or_insert_with(|| Instant::now() + END),
                    Ending::Waiting,
                )
            } else {
                (Instant::now() + leave, Ending::Dropped)
            };
            let after = self.cursors[from].clone();
            let ended = self
                .hear(chance.below(servers), &after, leave, at_leaving)
                .await;
            match ended {
                Some(Ending::Complete | Ending::Waiting) => return,
                Some(Ending::Refused(code)) if code == "CURSOR_EXPIRED" => {
                    self.begin_anew().await;
                    if ending {
                        return;
                    }
                }
                Some(_) | None => {}
            }
            if deadline.is_some_and(|deadline| deadline < Instant::now()) {
                return;
            }
            sleep(Duration::from_millis(chance.below(60) as u64)).await;
        }
    }

    /// Hears everything after a cursor up to the last signal of all.
    pub(super) async fn hear_all(mut self) {
        let after = self.cursors[0].clone();
        let deadline = Instant::now() + END;
        let mut server = 0;
        while Instant::now() < deadline {
            let ended = self.hear(server, &after, deadline, Ending::Waiting).await;
            if matches!(
                ended,
                Some(Ending::Complete | Ending::Waiting | Ending::Refused(_))
            ) {
                return;
            }
            server = (server + 1) % self.client.world.servers.len();
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// As documented: a cursor first, then the lists, then on from that cursor.
    async fn begin_anew(&mut self) {
        let query =
            format!("{{ signalCursor unreadMessages(first: 20) {{ nodes {{ {MESSAGE} }} }} }}");
        let data = self.client.ask_surely(&query, json!({})).await;
        self.cursors = vec![data["signalCursor"].as_str().unwrap().to_owned()];
    }

    /// One session. None where the server did not even open a socket.
    async fn hear(
        &mut self,
        server: usize,
        after: &str,
        mut leave: Instant,
        at_leaving: Ending,
    ) -> Option<Ending> {
        let recorder = self.client.recorder.clone();
        let began = recorder.now();
        let user = self.client.at(server);
        let mut socket = timeout(OPENING, open(&user)).await.ok()??;
        let field = self.kind.field();
        let query = format!(
            "subscription ($after: String) {{ {field}(after: $after) {{ cursor message {{ {MESSAGE} }} }} }}"
        );
        let payload = json!({ "query": query, "variables": { "after": after } });
        let subscribe = json!({ "type": "subscribe", "id": "1", "payload": payload });
        socket
            .send_frame(tokio_tungstenite::tungstenite::Message::text(
                subscribe.to_string(),
            ))
            .await;
        let (mut events, mut disorder, mut last) = (Vec::new(), None, after.to_owned());
        let ending = loop {
            self.ends.mark_unchanged();
            let end = self.end();
            let is_end = |event: &Event| Some(&event.message.id) == end.as_ref();
            if events.last().is_some_and(is_end) {
                break Ending::Complete;
            }
            let heard = tokio::select! {
                heard = socket.hear() => heard,
                _ = self.ends.changed() => continue,
                () = sleep_until(leave) => break at_leaving,
            };
            if at_leaving == Ending::Waiting {
                leave = Instant::now() + END;
            }
            let event = match told(&heard, field) {
                Ok(event) => event,
                Err(ending) => break ending,
            };
            let cursor = event["cursor"].as_str().unwrap().to_owned();
            if cursor <= last && disorder.is_none() {
                disorder = Some((last, cursor.clone()));
            }
            events.push(Event {
                position: position(&cursor),
                message: recorder.shown(&event["message"]),
                at: recorder.now(),
            });
            last = cursor;
            self.keep(&last, event["message"]["id"].as_str().unwrap());
        };
        let session = Session {
            listener: self.name.clone(),
            user: self.client.me.clone(),
            kind: self.kind,
            server,
            after: position(after),
            span: recorder.since(began),
            events,
            disorder,
            ending: ending.clone(),
        };
        recorder.history().sessions.push(session);
        Some(ending)
    }

    /// The message that it hears last of all, once that is known.
    fn end(&self) -> Option<String> {
        let ends = self.ends.borrow();
        let of = (self.client.me.clone(), self.kind);
        ends.as_ref().and_then(|ends| ends.get(&of).cloned())
    }

    /// The newest stays at the end, also where the listener has gone back and hears old ones again.
    fn keep(&mut self, cursor: &str, id: &str) {
        if self
            .cursors
            .last()
            .is_none_or(|last| last.as_str() < cursor)
        {
            self.cursors.push(cursor.to_owned());
            id.clone_into(&mut self.newest);
        }
        if self.cursors.len() > KEPT * 2 {
            self.cursors.drain(..KEPT);
        }
    }
}

async fn open(user: &User) -> Option<Socket> {
    let protocol = [("sec-websocket-protocol", "graphql-transport-ws")];
    let mut socket = Socket::open_with(user.address, &protocol).await.ok()?;
    let token = user.token.as_deref().unwrap_or_default();
    let payload = json!({ "authorization": format!("Bearer {token}") });
    let init = json!({ "type": "connection_init", "payload": payload });
    socket
        .send_frame(tokio_tungstenite::tungstenite::Message::text(
            init.to_string(),
        ))
        .await;
    match socket.hear().await {
        Heard::Message(message) if message["type"] == "connection_ack" => Some(socket),
        Heard::Message(_) | Heard::Closed(_) => None,
    }
}

/// The event in what was heard, or how the session ends by it.
fn told(heard: &Heard, field: &str) -> Result<Value, Ending> {
    let code = |errors: &Value| {
        errors[0]["extensions"]["code"]
            .as_str()
            .unwrap_or("none")
            .to_owned()
    };
    match heard {
        Heard::Message(message) if message["type"] == "next" => {
            let payload = &message["payload"];
            match payload.get("errors") {
                None => Ok(payload["data"][field].clone()),
                Some(errors) => Err(Ending::Refused(code(errors))),
            }
        }
        Heard::Message(message) if message["type"] == "error" => {
            Err(Ending::Refused(code(&message["payload"])))
        }
        // The codes are those with which a client comes back: see the README's table.
        Heard::Message(_) | Heard::Closed(1000 | 1001 | 1005 | 1006 | 1012 | 1013) => {
            Err(Ending::Dropped)
        }
        Heard::Closed(code) => Err(Ending::Refused(code.to_string())),
    }
}
