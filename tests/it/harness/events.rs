//! A reader of event streams, as browsers read them:
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>

use serde_json::Value;

use super::{socket::subscription, user::User, within};

pub(crate) struct EventStream {
    response: reqwest::Response,
    unread: String,
    /// What a browser would send as `Last-Event-ID` when it comes back.
    pub(crate) last_event_id: String,
}

/// What one block of lines comes to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Block {
    /// An event's type and data.
    Event(String, String),
    /// A block without data, of which nobody hears.
    Quiet,
}

impl EventStream {
    /// A stream that the server has opened.
    pub(crate) fn of(response: reqwest::Response) -> Self {
        assert_eq!(response.status(), 200);
        let media_type = response.headers()["content-type"].to_str().unwrap();
        assert_eq!(media_type, "text/event-stream; charset=utf-8");
        Self {
            response,
            unread: String::new(),
            last_event_id: String::new(),
        }
    }

    /// A subscription from a cursor on, which stands when this returns.
    pub(crate) async fn listen(user: &User, field: &str, after: &str) -> Self {
        let variables = serde_json::json!({ "after": after });
        let mut stream = Self::of(user.stream(&subscription(field), variables, &[]).await);
        assert_eq!(stream.block().await, Some(Block::Quiet), "it opens");
        stream
    }

    /// The next block of lines; none at the end of the stream.
    pub(crate) async fn block(&mut self) -> Option<Block> {
        while !self.unread.contains("\n\n") {
            let chunk = within("the stream to go on", self.response.chunk()).await;
            let Ok(Some(chunk)) = chunk else {
                // What breaks off within a block is no event.
                return None;
            };
            // All that is sent here is ASCII: no character is cut.
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        let (block, rest) = self.unread.split_once("\n\n").unwrap();
        let (block, rest) = (block.to_owned(), rest.to_owned());
        self.unread = rest;
        let (mut event, mut data) = (String::new(), String::new());
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut event),
                "data" => data = data + value + "\n",
                "id" => value.clone_into(&mut self.last_event_id),
                "" => {}
                _ => panic!("no field of the format: {line}"),
            }
        }
        if data.is_empty() {
            return Some(Block::Quiet);
        }
        data.pop();
        Some(Block::Event(event, data))
    }

    /// The next event's type and data; none at the end. Quiet blocks do not make the wait any longer.
    pub(crate) async fn event(&mut self) -> Option<(String, String)> {
        let event = async {
            loop {
                match self.block().await? {
                    Block::Event(event, data) => return Some((event, data)),
                    Block::Quiet => {}
                }
            }
        };
        within("an event", event).await
    }

    /// The next result, which has to come.
    pub(crate) async fn next(&mut self) -> Value {
        let (event, data) = self.event().await.expect("the stream goes on");
        assert_eq!(event, "next");
        serde_json::from_str(&data).unwrap()
    }

    /// The contents of all events of a field up to and with the one whose content this is.
    pub(crate) async fn contents_until(&mut self, field: &str, marker: &str) -> Vec<String> {
        let mut contents = Vec::new();
        while contents.last().is_none_or(|last| last != marker) {
            let result = self.next().await;
            let content = &result["data"][field]["message"]["content"];
            contents.push(content.as_str().unwrap().to_owned());
        }
        contents
    }

    /// Whether the stream ends with `complete`, after whatever else it tells.
    pub(crate) async fn ends_complete(&mut self) -> bool {
        let mut last = None;
        while let Some(event) = self.event().await {
            last = Some(event);
        }
        last == Some(("complete".to_owned(), String::new()))
    }
}
