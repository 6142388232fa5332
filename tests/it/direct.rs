//! Pages that are written straight to JSON, beside the same operations through the schema: what comes by a request, and what
//! comes by a socket, is the same to the byte.

use fastrand::Rng;
use serde_json::json;

use crate::harness::{server::TestServer, socket::Socket, user::User};

/// How many documents are tried on each database.
const DOCUMENTS: usize = 300;
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
            let query = Document { random: &mut random, cursors: &cursors }.query();
            socket.subscribe("1", &query, json!({})).await;
            let through_the_schema = socket.message().await["payload"].clone();
            assert_eq!(socket.message().await["type"], "complete");
            let written = ann.ask(&query, json!({})).await.body;
            // As text: their keys are in one order, too.
            assert_eq!(written.to_string(), through_the_schema.to_string(), "{query}");
            failures += usize::from(written.get("errors").is_some());
            pages += usize::from(written.get("errors").is_none());
            let cursor = written["data"].as_object().into_iter().flatten();
            let cursor = cursor.filter_map(|(_, page)| page["end"]["endCursor"].as_str());
            cursors.extend(cursor.map(str::to_owned));
        }
        assert!(pages > DOCUMENTS / 4 && failures > DOCUMENTS / 20, "{pages} pages, {failures} failures");
        assert!(cursors.len() > DOCUMENTS / 20, "{} cursors", cursors.len());
    }
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

/// A document for a page or two, with arguments of which some are refused.
struct Document<'a> {
    random: &'a mut Rng,
    cursors: &'a [String],
}

impl Document<'_> {
    fn query(&mut self) -> String {
        let count = if self.random.u8(..8) == 0 { 2 } else { 1 };
        let pages: Vec<String> = (0..count).map(|number| self.page(number)).collect();
        format!("{{ {} }}", pages.join(" "))
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
                arguments.push(format!("limit: {}", self.one_of(&["1", "5", "null", "0"])));
            }
        }
        if self.random.bool() {
            let first = self.one_of(&["1", "2", "100", "101", "-1"]);
            arguments.push(format!("first: {first}"));
        }
        if self.random.u8(..3) == 0 {
            let place = self.random.usize(..self.cursors.len());
            arguments.push(format!("after: \"{}\"", self.cursors[place]));
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
            1 => format!("... @include(if: true) {{ {selected} }}"),
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
