//! A client that fetches the lists once, together with `signalCursor`, and from then on knows only what signals tell.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::{socket::Listener, user::User};

/// A value that came with a cursor: the one of the greatest cursor stays.
#[derive(Clone, Debug, Default)]
struct Latest<T> {
    cursor: String,
    value: T,
}

impl<T> Latest<T> {
    fn keep(&mut self, cursor: &str, value: T) {
        if cursor > self.cursor.as_str() {
            *self = Self {
                cursor: cursor.to_owned(),
                value,
            };
        }
    }
}

/// What a client shows of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    sequence: i64,
    id: String,
    content: String,
    unread: bool,
}

pub(crate) struct Follower {
    user: User,
    people: Vec<User>,
    sent: Listener,
    read: Listener,
    /// By partner, then by number.
    conversations: BTreeMap<String, BTreeMap<i64, Shown>>,
    /// Which messages are known to be read: that never changes back.
    known_read: BTreeSet<String>,
    /// The unread messages' ids, oldest first.
    unread: Vec<String>,
    /// The partners, latest first.
    order: Vec<String>,
    sides: BTreeMap<String, Latest<(i64, String)>>,
    inbox: Latest<i64>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn side(partner: &Value) -> (i64, String) {
    (
        partner["unreadCount"].as_i64().unwrap(),
        text(&partner["lastMessage"]["id"]),
    )
}

impl Follower {
    pub(crate) async fn start(user: &User, people: &[User]) -> Self {
        let people: Vec<User> = people
            .iter()
            .filter(|person| person.id != user.id)
            .cloned()
            .collect();
        let conversations = people.iter().enumerate().map(|(place, partner)| {
            format!(
                "c{place}: conversation(partnerId: {:?}, limit: 100) {{ nodes {{ id sequence content unread }} }}\n",
                partner.id
            )
        });
        let query = format!(
            "{{ {} inbox {{ unreadCount }} conversationPartners(first: 100) {{ nodes {{ user {{ id }} unreadCount \
             lastMessage {{ id }} }} }} unreadMessages(first: 100) {{ nodes {{ id }} }} signalCursor }}",
            conversations.collect::<String>()
        );
        let data = user.data(&query, json!({})).await;
        let cursor = text(&data["signalCursor"]);
        let partners = data["conversationPartners"]["nodes"].as_array().unwrap();
        let sides = partners.iter().map(|partner| {
            let value = side(partner);
            (
                text(&partner["user"]["id"]),
                Latest {
                    cursor: cursor.clone(),
                    value,
                },
            )
        });
        let unread = data["unreadMessages"]["nodes"].as_array().unwrap().iter();
        let mut follower = Self {
            sent: user.listen("messageSent", Some(&cursor)).await,
            read: user.listen("messageRead", Some(&cursor)).await,
            conversations: BTreeMap::new(),
            known_read: BTreeSet::new(),
            unread: unread.map(|message| text(&message["id"])).collect(),
            order: partners
                .iter()
                .map(|partner| text(&partner["user"]["id"]))
                .collect(),
            sides: sides.collect(),
            inbox: Latest {
                cursor: cursor.clone(),
                value: data["inbox"]["unreadCount"].as_i64().unwrap(),
            },
            user: user.clone(),
            people,
        };
        for (place, partner) in follower.people.clone().iter().enumerate() {
            for message in data[format!("c{place}")]["nodes"].as_array().unwrap() {
                follower.show(&partner.id, message);
            }
        }
        follower
    }

    fn show(&mut self, partner: &str, message: &Value) {
        let id = text(&message["id"]);
        if message["unread"] == false {
            self.known_read.insert(id.clone());
        }
        let sequence = message["sequence"].as_i64().unwrap();
        let shown = Shown {
            sequence,
            content: text(&message["content"]),
            unread: !self.known_read.contains(&id),
            id,
        };
        self.conversations
            .entry(partner.to_owned())
            .or_default()
            .insert(sequence, shown);
    }

    /// Hears everything up to these messages, which are all that there were, and compares with what a client sees that
    /// asks again.
    pub(crate) async fn catch_up(mut self, sent: &[&str], read: &[&str], sent_first: bool) {
        for sends in [sent_first, !sent_first] {
            let all = if sends { sent } else { read };
            let mut heard = Vec::new();
            while heard.last().map(String::as_str) != all.last().copied() {
                let listener = if sends {
                    &mut self.sent
                } else {
                    &mut self.read
                };
                let event = listener.next().await;
                heard.push(text(&event["message"]["id"]));
                self.apply(&event, sends);
            }
            assert!(!heard.is_empty());
            let after = &all[all.len().saturating_sub(heard.len())..];
            assert_eq!(
                heard, after,
                "{} hears each signal once, in order",
                self.user.id
            );
        }
        self.compare().await;
    }

    fn apply(&mut self, event: &Value, is_sent: bool) {
        let (cursor, message) = (text(&event["cursor"]), &event["message"]);
        let [sender, recipient] = ["sender", "recipient"].map(|person| text(&event[person]["id"]));
        let is_own = sender == self.user.id;
        let partner = if is_own { &recipient } else { &sender };
        assert_eq!(
            event["conversationPartner"]["user"]["id"], *partner,
            "{event}"
        );
        self.show(partner, message);
        self.inbox
            .keep(&cursor, event["inbox"]["unreadCount"].as_i64().unwrap());
        self.sides
            .entry(partner.clone())
            .or_default()
            .keep(&cursor, side(&event["conversationPartner"]));
        let id = text(&message["id"]);
        if is_sent {
            self.order.retain(|before| before != partner);
            self.order.insert(0, partner.clone());
            if !is_own && !self.unread.contains(&id) {
                self.unread.push(id);
            }
        } else {
            assert_eq!(message["unread"], false, "{event}");
        }
        self.unread.retain(|id| !self.known_read.contains(id));
    }

    async fn compare(&self) {
        let name = &self.user.id;
        for partner in &self.people {
            let list = self.user.conversation(partner, 100, false).await;
            let asked: Vec<Shown> = list
                .iter()
                .map(|message| Shown {
                    sequence: message["sequence"].as_i64().unwrap(),
                    id: text(&message["id"]),
                    content: text(&message["content"]),
                    unread: message["unread"] == true,
                })
                .collect();
            let known = self
                .conversations
                .get(&partner.id)
                .cloned()
                .unwrap_or_default();
            assert_eq!(
                known.into_values().collect::<Vec<_>>(),
                asked,
                "{name} with {}",
                partner.id
            );
        }
        let unread: Vec<String> = self
            .user
            .unread(100)
            .await
            .iter()
            .map(|m| text(&m["id"]))
            .collect();
        assert_eq!(self.unread, unread, "{name}");
        assert_eq!(self.inbox.value, self.user.unread_count().await, "{name}");
        let partners = self.user.partners(100).await;
        let asked: Vec<(String, (i64, String))> = partners
            .iter()
            .map(|partner| (text(&partner["user"]["id"]), side(partner)))
            .collect();
        let known: Vec<(String, (i64, String))> = self
            .order
            .iter()
            .map(|partner| (partner.clone(), self.sides[partner].value.clone()))
            .collect();
        assert_eq!(known, asked, "{name}'s partners");
    }
}
