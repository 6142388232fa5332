//! Pages and events that are written straight to JSON, beside the same operations through the schema: what comes by a request,
//! and what comes by a socket, is the same to the byte; and an event is, whatever else is asked for beside it.

use entity::message;
use fastrand::Rng;
use sea_orm::{IdenStatic, Iterable};
use serde_json::{Value, json};

use crate::{
    harness::{Fixture as _, server::TestServer, socket::Socket, user::User},
    statements::{Log, logged},
};

/// How many documents are tried on each database.
const DOCUMENTS: usize = 300;
const SUBSCRIPTIONS: usize = 60;
/// How many events of each are compared: as many as every one has.
const EVENTS: usize = 4;
const SEED: u64 = 20_261_122;

const CONTENTS: [&str; 6] = [
    "plain",
    "a \"quoted\" \\ back\\slash / slash",
    "two\nlines\tand \u{1}\u{8}\u{c}\u{1f}\u{7f}\u{2028}",
    "é 🙈 e\u{301}",
    "שלום عليكم",
    "</script><!-- & 'x'",
];

on_both_databases! {
    async fn what_is_written_is_what_the_schema_answers(server: &TestServer) {
        let ann = populated(server).await;
        let mut socket = Socket::of(&ann).await;
        let mut random = Rng::with_seed(SEED);
        let mut cursors = vec!["dm_nonsense".to_owned()];
        let (mut pages, mut failures) = (0, 0);
        for _ in 0..DOCUMENTS {
            let (query, variables) = Document::new(&mut random, &cursors).made();
            socket.subscribe("1", &query, variables.clone()).await;
            let through_the_schema = socket.message().await["payload"].clone();
            assert_eq!(socket.message().await["type"], "complete");
            let written = ann.ask(&query, variables.clone()).await.body;
            // As text: their keys are in one order, too.
            assert_eq!(written.to_string(), through_the_schema.to_string(), "{query} {variables}");
            failures += usize::from(written.get("errors").is_some());
            pages += usize::from(written.get("errors").is_none());
            let cursor = written["data"].as_object().into_iter().flatten();
            let cursor = cursor.filter_map(|(_, page)| page["end"]["endCursor"].as_str());
            cursors.extend(cursor.map(str::to_owned));
        }
        assert!(pages > DOCUMENTS / 4 && failures > DOCUMENTS / 20, "{pages} pages, {failures} failures");
        assert!(cursors.len() > DOCUMENTS / 20, "{} cursors", cursors.len());
    }

    async fn events_are_written_as_the_schema_tells_them(server: &TestServer) {
        let start = server.user("ann").await.signal_cursor().await;
        let ann = populated(server).await;
        let mut random = Rng::with_seed(SEED);
        let cursors = [start.clone(), start.clone(), start, "dm_nonsense".to_owned()];
        let (mut told, mut failed) = (0, 0);
        for _ in 0..SUBSCRIPTIONS {
            let (written, through_the_schema, variables) = Document::new(&mut random, &cursors).subscription();
            let mut socket = Socket::of(&ann).await;
            socket.subscribe("written", &written, variables.clone()).await;
            socket.subscribe("schema", &through_the_schema, variables.clone()).await;
            let (mut by_hand, mut by_schema) = (Vec::new(), Vec::new());
            let has_failed = |told: &[Value]| told.iter().any(|payload| payload.get("errors").is_some());
            let complete = |told: &[Value]| told.len() >= EVENTS || has_failed(told);
            while !complete(&by_hand) || !complete(&by_schema) {
                let mut message = socket.message().await;
                if message["type"] == "complete" {
                    continue;
                }
                let id = message["id"].clone();
                let mut payload = message["payload"].take();
                let data = payload.get_mut("data").and_then(Value::as_object_mut);
                for (_, event) in data.into_iter().flatten() {
                    event.as_object_mut().unwrap().shift_remove(MARK);
                }
                if id == "written" { by_hand.push(payload) } else { by_schema.push(payload) }
            }
            by_hand.truncate(EVENTS);
            by_schema.truncate(EVENTS);
            let text = |told: &[Value]| told.iter().map(Value::to_string).collect::<Vec<_>>();
            // As text: their keys are in one order, too.
            assert_eq!(text(&by_hand), text(&by_schema), "{written} {variables}");
            let was_refused = has_failed(&by_hand);
            failed += usize::from(was_refused);
            told += usize::from(!was_refused);
        }
        assert!(told > SUBSCRIPTIONS / 3 && failed > SUBSCRIPTIONS / 10, "{told} told, {failed} failed");
    }
}

/// The one difference to be seen from outside: a list of partners through the schema always reads their last messages.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_written_and_a_socket_goes_through_the_schema() {
    let database = logged().await;
    let server = TestServer::on(&database, &[]).await;
    let ann = populated(&server).await;
    let log = Log {
        database: &database.name,
    };
    let mut socket = Socket::of(&ann).await;
    let mut reads_messages = async |query: &str, by_socket: bool| {
        let before = log.asked().len();
        if by_socket {
            socket.subscribe("1", query, json!({})).await;
            while socket.message().await["type"] != "complete" {}
        } else {
            ann.data(query, json!({})).await;
        }
        let statements = log.asked().split_off(before);
        assert!(!statements.is_empty());
        statements.iter().any(|sql| sql.contains("JOIN message"))
    };
    let without = "{ conversationPartners { nodes { id user { username } } } }";
    assert!(!reads_messages(without, false).await);
    assert!(reads_messages(without, true).await);
    let with = "{ conversationPartners { nodes { lastMessage { id } } } }";
    assert!(reads_messages(with, false).await);
    let unknown = "{ conversationPartners { nodes { id } } viewer { id } }";
    assert!(reads_messages(unknown, false).await);
    server.stop().await;
    database.finish().await;
}

/// Whole messages are read by the places of their columns.
#[test]
fn columns_stand_in_the_order_in_which_they_are_read() {
    let columns: Vec<&str> = message::Column::iter()
        .map(|column| column.as_str())
        .collect();
    assert_eq!(
        columns,
        [
            "conversation_id",
            "seq",
            "sender_id",
            "recipient_id",
            "content",
            "sent_at",
            "read_at",
            "client_message_id",
            "recipient_position"
        ]
    );
}

/// Somebody with read and unread messages from and to several people, of whom one never wrote.
async fn populated(server: &TestServer) -> User {
    let ann = server.user("ann").await;
    server.user("zoe").await;
    for name in ["ben", "cid", "d\"e"] {
        let other = server.user(name).await;
        for (number, content) in CONTENTS.into_iter().enumerate() {
            let client_id = format!("{name} {number}");
            let client_id = (number % 2 == 0).then_some(client_id.replace('"', ""));
            let to_ann = other.sending("ann", content, client_id.as_deref()).await;
            let from_ann = ann.sending(name, content, client_id.as_deref()).await;
            if number % 3 == 0 {
                ann.read(&to_ann.data()["sendMessage"]["message"]).await;
                other.read(&from_ann.data()["sendMessage"]["message"]).await;
            }
        }
    }
    ann
}

/// What is asked for beside an event to have the schema tell it.
const MARK: &str = "by_the_schema";

/// A document for a page or two, or for a subscription, with arguments of which some are refused.
struct Document<'a> {
    random: &'a mut Rng,
    cursors: &'a [String],
    variables: Value,
}

impl<'a> Document<'a> {
    fn new(random: &'a mut Rng, cursors: &'a [String]) -> Self {
        let variables = json!({});
        Self {
            random,
            cursors,
            variables,
        }
    }

    /// A subscription, the same with [`MARK`], and the variables of both.
    fn subscription(mut self) -> (String, String, Value) {
        let (field, ty) = self.one_of(&[
            ("messageSent", "MessageSent"),
            ("messageRead", "MessageRead"),
        ]);
        let place = self.random.usize(..self.cursors.len());
        let cursor = &self.cursors[place];
        let mut arguments = if self.random.bool() {
            format!("after: \"{cursor}\"")
        } else {
            self.variables["after"] = json!(cursor);
            "after: $after".to_owned()
        };
        if self.random.bool() {
            let partner = self.one_of(&[
                "\"ben\"",
                "\"ben\"",
                "\"d\\\"e\"",
                "\"nobody\"",
                "\"ann\"",
                "null",
            ]);
            arguments = format!("{arguments}, partnerId: {partner}");
        }
        let selection = self.selection(ty);
        let alias = self.one_of(&["", "", "other: "]);
        let made = |beside: &str| {
            let root = format!("{alias}{field}({arguments}) {{ {selection} {beside} }}");
            format!("subscription S{} {{ {root} }}", declared(&root))
        };
        let marked = made(&format!("{MARK}: inbox {{ unreadCount }}"));
        (made(""), marked, self.variables)
    }

    /// The document and its variables.
    fn made(mut self) -> (String, Value) {
        let count = if self.random.u8(..8) == 0 { 2 } else { 1 };
        let pages: Vec<String> = (0..count).map(|number| self.page(number)).collect();
        let pages = pages.join(" ");
        let variables = declared(&pages);
        let in_fragment = self.random.u8(..8) == 0;
        let query = if in_fragment {
            format!("query Q{variables} {{ ...Pages }} fragment Pages on Query {{ {pages} }}")
        } else {
            format!("query Q{variables} {{ {pages} }}")
        };
        (query, self.variables)
    }

    fn page(&mut self, number: usize) -> String {
        let (field, ty) = self.one_of(&[
            ("conversation", "MessageConnection"),
            ("unreadMessages", "UnreadMessageConnection"),
            ("conversationPartners", "ConversationPartnerConnection"),
        ]);
        let arguments = self.arguments(field);
        let selection = self.selection(ty);
        let alias = if self.random.bool() || number > 0 {
            format!("page{number}: ")
        } else {
            String::new()
        };
        let end = if self.random.bool() {
            "end: pageInfo { endCursor }"
        } else {
            ""
        };
        format!("{alias}{field}{arguments} {{ {selection} {end} }}")
    }

    fn arguments(&mut self, field: &str) -> String {
        let mut arguments = Vec::new();
        if field == "conversation" {
            let partner = self.one_of(&["ben", "ben", "cid", "d\\\"e", "zoe", "ann", "nobody"]);
            arguments.push(format!("partnerId: \"{partner}\""));
            if self.random.bool() {
                arguments.push(format!("reversed: {}", self.random.bool()));
            }
            if self.random.u8(..4) == 0 {
                arguments.push(format!(
                    "limit: {}",
                    self.one_of(&["1", "5", "null", "0", "$limit"])
                ));
                self.variables["limit"] = json!(self.one_of(&[None, Some(2), Some(101)]));
            }
        }
        if self.random.bool() {
            let first = self.one_of(&["1", "2", "100", "101", "-1", "$first"]);
            arguments.push(format!("first: {first}"));
            if self.random.bool() {
                self.variables["first"] = json!(self.random.i32(1..6));
            }
        }
        if self.random.u8(..3) == 0 {
            let place = self.random.usize(..self.cursors.len());
            let cursor = &self.cursors[place];
            if self.random.bool() {
                arguments.push(format!("after: \"{cursor}\""));
            } else {
                arguments.push("after: $after".to_owned());
                self.variables["after"] = json!(cursor);
            }
        }
        if arguments.is_empty() {
            return String::new();
        }
        format!("({})", arguments.join(", "))
    }

    /// Some fields of a type, perhaps under other names, twice, in fragments, or left out.
    fn selection(&mut self, ty: &str) -> String {
        let fields: &[(&str, &str)] = match ty {
            "MessageConnection" => &[
                ("nodes", "Message"),
                ("nodes", "Message"),
                ("edges", "MessageEdge"),
                ("pageInfo", "PageInfo"),
                ("inbox", "Inbox"),
            ],
            "UnreadMessageConnection" => &[
                ("nodes", "Message"),
                ("nodes", "Message"),
                ("edges", "MessageEdge"),
                ("pageInfo", "PageInfo"),
                ("totalCount", ""),
            ],
            "ConversationPartnerConnection" => &[
                ("nodes", "ConversationPartner"),
                ("edges", "ConversationPartnerEdge"),
                ("pageInfo", "PageInfo"),
            ],
            "MessageSent" | "MessageRead" => &[
                ("cursor", ""),
                ("message", "Message"),
                ("message", "Message"),
                ("sender", "User"),
                ("recipient", "User"),
                ("inbox", "Inbox"),
            ],
            "MessageEdge" => &[("cursor", ""), ("node", "Message")],
            "ConversationPartnerEdge" => &[("cursor", ""), ("node", "ConversationPartner")],
            "PageInfo" => &[
                ("hasNextPage", ""),
                ("hasPreviousPage", ""),
                ("startCursor", ""),
                ("endCursor", ""),
            ],
            "Inbox" => &[("id", ""), ("unreadCount", "")],
            "ConversationPartner" => &[
                ("id", ""),
                ("user", "User"),
                ("unreadCount", ""),
                ("lastMessage", "Message"),
            ],
            "Message" => &[
                ("id", ""),
                ("sequence", ""),
                ("sender", "User"),
                ("recipient", "User"),
                ("content", ""),
                ("sentAt", ""),
                ("readAt", ""),
                ("unread", ""),
                ("formatted", ""),
                ("clientMessageId", ""),
            ],
            "User" => &[("id", ""), ("username", "")],
            _ => unreachable!("{ty}"),
        };
        let mut selected: Vec<String> = Vec::new();
        for (field, inner) in fields {
            // What is seldom known is seldom asked for.
            let one_in = if ["inbox", "totalCount"].contains(field) {
                8
            } else {
                2
            };
            if self.random.u8(..one_in) == 0 {
                selected.push(self.field(field, inner));
            }
        }
        if self.random.u8(..4) == 0 {
            selected.push("__typename".to_owned());
        }
        if selected.is_empty() {
            let (field, inner) = self.one_of(fields);
            selected.push(self.field(field, inner));
        }
        self.random.shuffle(&mut selected);
        let selected = selected.join(" ");
        match self.random.u8(..6) {
            0 => format!("... on {ty} {{ {selected} }}"),
            1 => format!("... @include(if: $shown) {{ {selected} }}"),
            _ => selected,
        }
    }

    fn field(&mut self, field: &str, inner: &str) -> String {
        let alias = match self.random.u8(..5) {
            0 => format!("other_{field}: "),
            _ => String::new(),
        };
        let skip = match self.random.u8(..12) {
            0 => " @skip(if: true)",
            _ => "",
        };
        if inner.is_empty() {
            return format!("{alias}{field}{skip}");
        }
        let selection = self.selection(inner);
        let again = match self.random.u8(..6) {
            0 => format!(" {alias}{field}{skip} {{ {} }}", self.selection(inner)),
            _ => String::new(),
        };
        format!("{alias}{field}{skip} {{ {selection} }}{again}")
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.usize(..of.len())]
    }
}

/// The declarations of the variables that a text uses.
fn declared(text: &str) -> String {
    let declared = [
        ("$first", "Int! = 50"),
        ("$limit", "Int"),
        ("$after", "String"),
        ("$shown", "Boolean! = true"),
    ];
    let used = declared.iter().filter(|(name, _)| text.contains(name));
    let used: Vec<String> = used.map(|(name, ty)| format!("{name}: {ty}")).collect();
    match used.as_slice() {
        [] => String::new(),
        used => format!("({})", used.join(", ")),
    }
}
