//! A client of graphql-transport-ws, as plain as the protocol.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest as _},
};

use super::{user::User, within};

pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The protocol that the server chose.
    pub(crate) protocol: String,
    /// Whether pings are answered.
    pub(crate) answers: bool,
    /// Why the server closed, in its words.
    pub(crate) reason: String,
}

/// What a server tells.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    Message(Value),
    Closed(u16),
}

impl Socket {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let offers = [("sec-websocket-protocol", "graphql-transport-ws")];
        Self::open_with(address, &offers).await.unwrap()
    }

    /// With these headers and no others.
    pub(crate) async fn open_with(
        address: SocketAddr,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, tungstenite::Error> {
        let mut request = format!("ws://{address}/graphql").into_client_request()?;
        for (name, _) in headers {
            request.headers_mut().remove(*name);
        }
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let (stream, response) = within("the socket to open", connect_async(request)).await?;
        let protocol = response.headers().get("sec-websocket-protocol");
        let protocol = protocol.map_or("", |protocol| protocol.to_str().unwrap());
        Ok(Self {
            stream,
            protocol: protocol.to_owned(),
            answers: true,
            reason: String::new(),
        })
    }

    /// A socket that speaks for a user.
    pub(crate) async fn of(user: &User) -> Self {
        match Self::try_of(user).await {
            Ok(socket) => socket,
            Err(socket) => panic!("the socket was closed: {}", socket.reason),
        }
    }

    /// A socket that speaks for a user, or one that was closed instead.
    pub(crate) async fn try_of(user: &User) -> Result<Self, Self> {
        let mut socket = Self::open(user.address).await;
        let token = user.token.as_deref().unwrap_or_default();
        let authorization = format!("Bearer {token}");
        match socket.init(json!({ "authorization": authorization })).await {
            Heard::Message(message) => {
                assert_eq!(message, json!({ "type": "connection_ack" }));
                Ok(socket)
            }
            Heard::Closed(_) => Err(socket),
        }
    }

    pub(crate) async fn init(&mut self, payload: Value) -> Heard {
        self.send(json!({ "type": "connection_init", "payload": payload }))
            .await;
        self.hear().await
    }

    pub(crate) async fn subscribe(&mut self, id: &str, query: &str, variables: Value) {
        let payload = json!({ "query": query, "variables": variables });
        self.send(json!({ "type": "subscribe", "id": id, "payload": payload }))
            .await;
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        self.send_frame(Message::binary(bytes.to_vec())).await;
    }

    /// Sends as much of a frame as the server takes.
    pub(crate) async fn send_frame(&mut self, frame: Message) {
        let _ = self.stream.send(frame).await;
    }

    /// The next message or the end, whatever comes first. Pings are answered, and told too.
    pub(crate) async fn hear_all(&mut self) -> Heard {
        loop {
            let frame = within("the server to speak", self.stream.next()).await;
            match frame {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if message["type"] == "ping" && self.answers {
                        let pong = json!({ "type": "pong" }).to_string();
                        let _ = self.stream.send(Message::text(pong)).await;
                    }
                    return Heard::Message(message);
                }
                Some(Ok(Message::Close(frame))) => {
                    let Some(frame) = frame else {
                        return Heard::Closed(1005);
                    };
                    frame.reason.as_str().clone_into(&mut self.reason);
                    return Heard::Closed(frame.code.into());
                }
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return Heard::Closed(1006),
            }
        }
    }

    /// The next message but a ping, or the end. Pings do not make the wait any longer.
    pub(crate) async fn hear(&mut self) -> Heard {
        let heard = async {
            loop {
                match self.hear_all().await {
                    Heard::Message(message) if message["type"] == "ping" => {}
                    heard => return heard,
                }
            }
        };
        within("the server to say something new", heard).await
    }

    /// The next message but a ping, which has to come.
    pub(crate) async fn message(&mut self) -> Value {
        match self.hear().await {
            Heard::Message(message) => message,
            Heard::Closed(code) => panic!("the socket was closed with {code}"),
        }
    }

    /// The errors of a subscription that failed: `message` is its last result, and `complete` follows.
    pub(crate) async fn failed(&mut self, message: &Value) -> Value {
        assert_eq!(message["type"], "next", "{message}");
        let payload = message["payload"].as_object().unwrap();
        assert!(!payload.contains_key("data"), "{message}");
        let end = self.message().await;
        assert_eq!(end, json!({ "type": "complete", "id": message["id"] }));
        payload["errors"].clone()
    }

    /// The code with which the server closes, after whatever else it tells.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            if let Heard::Closed(code) = self.hear().await {
                return code;
            }
        }
    }

    /// Waits until the server has taken everything that was sent before.
    pub(crate) async fn settle(&mut self) {
        self.send(json!({ "type": "ping" })).await;
        let pong = self.message().await;
        assert_eq!(pong["type"], "pong", "{pong}");
    }
}

/// One subscription on a socket of its own.
pub(crate) struct Listener {
    pub(crate) socket: Socket,
    field: String,
}

/// The document of a subscription.
pub(crate) fn subscription(field: &str) -> String {
    format!(
        "subscription ($after: String, $partner: ID) {{ {field}(after: $after, partnerId: $partner) {{ cursor \
         message {{ id sequence content unread readAt }} sender {{ id }} recipient {{ id }} \
         conversationPartner {{ user {{ id }} unreadCount lastMessage {{ id }} }} inbox {{ unreadCount }} }} }}"
    )
}

impl Listener {
    /// From a cursor on; from now on where there is none.
    pub(crate) async fn start(
        user: &User,
        field: &str,
        after: Option<&str>,
        partner: Option<&str>,
    ) -> Self {
        let now;
        let after = if let Some(after) = after {
            after
        } else {
            now = user.signal_cursor().await;
            &now
        };
        let mut socket = Socket::of(user).await;
        let variables = json!({ "after": after, "partner": partner });
        socket.subscribe("1", &subscription(field), variables).await;
        Self {
            socket,
            field: field.to_owned(),
        }
    }

    /// The next event.
    pub(crate) async fn next(&mut self) -> Value {
        let message = self.socket.message().await;
        assert_eq!(message["type"], "next", "{message}");
        assert!(message["payload"].get("errors").is_none(), "{message}");
        message["payload"]["data"][&self.field].clone()
    }

    /// Some events.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<Value> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            events.push(self.next().await);
        }
        events
    }

    /// The contents of all events up to and with the one whose content this is.
    pub(crate) async fn contents_until(&mut self, marker: &str) -> Vec<String> {
        let mut contents = Vec::new();
        while contents.last().is_none_or(|last| last != marker) {
            let event = self.next().await;
            contents.push(event["message"]["content"].as_str().unwrap().to_owned());
        }
        contents
    }

    /// The code of the one error with which the subscription ends.
    pub(crate) async fn refusal(&mut self) -> String {
        let message = self.socket.message().await;
        let code = code(&self.socket.failed(&message).await);
        code.unwrap_or_else(|| panic!("no code in {message}"))
    }

    /// The same, after all events before it.
    pub(crate) async fn last_refusal(&mut self) -> String {
        loop {
            let message = self.socket.message().await;
            if message["payload"].get("errors").is_some() {
                let code = code(&self.socket.failed(&message).await);
                return code.unwrap_or_else(|| panic!("no code in {message}"));
            }
        }
    }
}

/// The code of the only error.
fn code(errors: &Value) -> Option<String> {
    match errors.as_array()?.as_slice() {
        [error] => error["extensions"]["code"].as_str().map(str::to_owned),
        _ => None,
    }
}
