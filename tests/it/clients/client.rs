use std::{env, error::Error, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use graphql_client::{GraphQLQuery, Response};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{ClientRequestBuilder, Message},
};

type Failure = Box<dyn Error + Send + Sync>;
type DateTime = String;

const SILENCE: Duration = Duration::from_secs(45);

macro_rules! operations {
    ($($name:ident),*) => {$(
        #[derive(GraphQLQuery)]
        #[graphql(schema_path = "schema.graphql", query_path = "tests/it/clients/client.graphql")]
        struct $name;
    )*};
}
operations!(Start, Sent, ReadConversation, SendMessage);

struct Client {
    server: String,
    token_url: String,
    token: String,
    http: reqwest::Client,
}

impl Client {
    async fn refresh(&mut self) -> Result<(), Failure> {
        let answer = self.http.get(&self.token_url).send().await?;
        self.token = answer.error_for_status()?.text().await?;
        Ok(())
    }

    /// The data. A token that has ended is worth another; no answer, 429 and 503 a few more tries with the same.
    async fn ask<Q: GraphQLQuery>(&mut self, of: Q::Variables) -> Result<Q::ResponseData, Failure> {
        let body = serde_json::to_value(Q::build_query(of))?;
        let url = format!("{}/graphql", self.server);
        let (mut tries, mut refused) = (0, false);
        let response = loop {
            let post = self.http.post(&url).bearer_auth(&self.token);
            let sent = post.json(&body).send().await;
            let status = sent.as_ref().map_or(503, |answer| answer.status().as_u16());
            if status == 401 && !refused {
                refused = true;
                self.refresh().await?;
                continue;
            }
            if !matches!(status, 429 | 503) || tries == 5 {
                break sent?;
            }
            let after = sent.ok().and_then(|answer| {
                let after = answer.headers().get("retry-after")?.to_str().ok()?;
                after.parse().ok()
            });
            tokio::time::sleep(Duration::from_secs(after.unwrap_or(1 << tries))).await;
            tries += 1;
        };
        let answer: Response<Q::ResponseData> = response.json().await?;
        match (answer.data, answer.errors) {
            (Some(data), None) => Ok(data),
            (_, errors) => Err(format!("{errors:?}").into()),
        }
    }

    /// The lists, and the cursor from which to listen.
    async fn begin(
        &mut self,
        partner: &str,
        say: &impl Fn(&str),
    ) -> Result<Option<String>, Failure> {
        let partner = partner.to_owned();
        let start = self.ask::<Start>(start::Variables { partner }).await?;
        let unread = start.inbox.map_or(0, |inbox| inbox.unread_count);
        let messages = start.conversation.map_or(0, |page| page.nodes.len());
        say(&format!("{unread} unread, {messages} messages"));
        Ok(start.signal_cursor)
    }

    /// Listens on one connection until it ends, and moves the cursor with every event.
    async fn listen(
        &mut self,
        after: &mut Option<String>,
        heard: &impl Fn(&str),
    ) -> Result<(), Failure> {
        self.refresh().await?;
        let url = format!("{}/graphql", self.server.replacen("http", "ws", 1));
        let request =
            ClientRequestBuilder::new(url.parse()?).with_sub_protocol("graphql-transport-ws");
        let (mut socket, _) = connect_async(request).await?;
        let token = format!("Bearer {}", self.token);
        let hello = json!({ "type": "connection_init", "payload": { "authorization": token } });
        socket.send(Message::text(hello.to_string())).await?;
        // The server says something every 20 seconds: a connection that is silent for longer is dead.
        while let Some(message) = timeout(SILENCE, socket.next()).await? {
            let Message::Text(text) = message? else {
                continue;
            };
            let mut message: Value = serde_json::from_str(&text)?;
            let answer = match message["type"].as_str() {
                Some("connection_ack") => {
                    let variables = sent::Variables {
                        after: after.clone(),
                    };
                    let payload = Sent::build_query(variables);
                    json!({ "type": "subscribe", "id": "1", "payload": payload })
                }
                Some("ping") => json!({ "type": "pong" }),
                // A result with errors is the last one. CURSOR_EXPIRED means: start again.
                Some("next") if message["payload"].get("errors").is_some() => {
                    return Err(message["payload"]["errors"].to_string().into());
                }
                Some("next") => {
                    let data = message["payload"]["data"].take();
                    let event = serde_json::from_value::<sent::ResponseData>(data)?.message_sent;
                    *after = Some(event.cursor);
                    heard(&event.message.formatted);
                    continue;
                }
                // The subscription was rejected before it was executed.
                Some("error") => return Err(message["payload"].to_string().into()),
                _ => continue,
            };
            socket.send(Message::text(answer.to_string())).await?;
        }
        Ok(())
    }
}

pub(crate) async fn chat(
    server: String,
    token_url: String,
    partner: String,
    say: impl Fn(&str),
) -> Result<(), Failure> {
    let http = reqwest::Client::new();
    let mut client = Client {
        server,
        token_url,
        token: String::new(),
        http,
    };
    client.refresh().await?;
    let mut after = client.begin(&partner, &say).await?;

    let input = read_conversation::ReadConversationInput {
        partner_id: partner.clone(),
        up_to: None,
    };
    let read = client
        .ask::<ReadConversation>(read_conversation::Variables { input })
        .await?;
    let count = read.read_conversation.map_or(0, |read| read.read_count);
    say(&format!("{count} read"));

    let input = send_message::SendMessageInput {
        recipient_id: partner.clone(),
        content: "Hello".to_owned(),
        client_message_id: Some(uuid::Uuid::new_v4().to_string()),
    };
    client
        .ask::<SendMessage>(send_message::Variables { input })
        .await?;

    loop {
        match client.listen(&mut after, &say).await {
            Err(error) if error.to_string().contains("\"code\":\"CURSOR_EXPIRED\"") => {
                after = client.begin(&partner, &say).await?;
            }
            // Cut off, or the token has ended (4403): on from the last cursor.
            Err(error) => eprintln!("{error}"),
            Ok(()) => {}
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let setting = |name| env::var(name).map_err(|_| format!("{name} is not set"));
    let (server, tokens) = (setting("SERVER_URL")?, setting("TOKEN_URL")?);
    chat(server, tokens, setting("PARTNER")?, |line| {
        println!("{line}");
    })
    .await
}
