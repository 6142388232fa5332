//! Random operations by several users, against a plain model; and clients that know only what the signals told them,
//! against clients that ask again.

use std::collections::HashMap;

use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use crate::{
    follower::Follower,
    harness::{
        chance::Chance,
        server::TestServer,
        user::{Answer, MESSAGE, User, ids},
    },
};

const NAMES: [&str; 5] = ["ann", "ben", "chloe", "dan", "eva"];
const BATCHES: usize = 12;
const OPERATIONS: usize = 20;

/// One message, as plain as can be.
#[derive(Clone, Debug)]
struct Sent {
    id: String,
    from: usize,
    to: usize,
    content: String,
    client_id: Option<String>,
    read: bool,
}

/// Everything that happened, in order.
#[derive(Debug, Default)]
struct Model {
    messages: Vec<Sent>,
    /// The messages by their places, in the order in which they turned read.
    read: Vec<usize>,
}

impl Model {
    fn is_between(&self, place: usize, one: usize, other: usize) -> bool {
        let Sent { from, to, .. } = self.messages[place];
        (from, to) == (one, other) || (to, from) == (one, other)
    }

    /// The places of a conversation's messages.
    fn conversation(&self, one: usize, other: usize) -> Vec<usize> {
        (0..self.messages.len())
            .filter(|place| self.is_between(*place, one, other))
            .collect()
    }

    /// Marks those of these messages that were sent to the viewer, and tells how many turned read.
    fn mark(&mut self, viewer: usize, places: &[usize]) -> usize {
        let mut places = places.to_vec();
        places.sort_unstable();
        places.retain(|place| self.messages[*place].to == viewer && !self.messages[*place].read);
        for place in &places {
            self.messages[*place].read = true;
        }
        self.read.extend(&places);
        places.len()
    }

    fn unread(&self, viewer: usize) -> impl Iterator<Item = &Sent> {
        self.messages
            .iter()
            .filter(move |message| message.to == viewer && !message.read)
    }

    /// Partners with their unread count and latest message, latest first.
    fn partners(&self, viewer: usize) -> Vec<(&str, usize, &str)> {
        let mut partners: Vec<(&str, usize, &str)> = Vec::new();
        for message in self.messages.iter().rev() {
            let partner = match *message {
                Sent { from, to, .. } if from == viewer => to,
                Sent { from, to, .. } if to == viewer => from,
                _ => continue,
            };
            if partners.iter().all(|(name, ..)| *name != NAMES[partner]) {
                let unread = self
                    .unread(viewer)
                    .filter(|message| message.from == partner)
                    .count();
                partners.push((NAMES[partner], unread, &message.id));
            }
        }
        partners
    }
}

struct World {
    people: Vec<User>,
    model: Model,
    chance: Chance,
}

on_both_databases! {
    async fn whatever_happens_is_what_the_model_says(server: &TestServer) {
        let people = join_all(NAMES.map(|name| server.user(name))).await;
        let mut world = World { people: people.clone(), model: Model::default(), chance: Chance::fresh() };
        world.operate(OPERATIONS).await;
        // They ask while others write.
        let starting = join_all(people.iter().map(|person| Follower::start(person, &people)));
        let (followers, ()) = join(starting, world.operate(OPERATIONS)).await;
        for _ in 0..BATCHES {
            world.operate(OPERATIONS).await;
            world.compare().await;
        }
        // So that everyone has heard and read something at the end.
        for place in 0..people.len() {
            world.send_new(place, (place + 1) % people.len(), None).await;
            world.read_some(place + 1, place).await;
        }
        world.compare().await;
        for (place, follower) in followers.into_iter().enumerate() {
            let model = &world.model;
            let of = |message: &&Sent| message.from == place || message.to == place;
            let sent: Vec<&str> = model.messages.iter().filter(of).map(|m| m.id.as_str()).collect();
            let read = model.read.iter().map(|place| &model.messages[*place]);
            let read: Vec<&str> = read.filter(of).map(|m| m.id.as_str()).collect();
            follower.catch_up(&sent, &read, world.chance.below(2) == 0).await;
        }
    }
}

impl World {
    async fn operate(&mut self, count: usize) {
        for _ in 0..count {
            let one = self.chance.below(NAMES.len());
            let other = (one + 1 + self.chance.below(NAMES.len() - 1)) % NAMES.len();
            match self.chance.below(20) {
                0..=5 => self.send_new(one, other, None).await,
                6 | 7 => {
                    let client_id = format!("client {}", self.model.messages.len());
                    self.send_new(one, other, Some(client_id)).await;
                }
                8 | 9 => self.send_again().await,
                10..=12 => self.read_one(one).await,
                13 | 14 => self.read_some(one, other).await,
                15..=17 => self.look_and_mark(one, other).await,
                _ => self.be_refused(one, other).await,
            }
        }
    }

    async fn send_new(&mut self, from: usize, to: usize, client_id: Option<String>) {
        let content = format!("{} says {}", NAMES[from], self.model.messages.len());
        let answer = self.people[from]
            .sending(NAMES[to], &content, client_id.as_deref())
            .await;
        let payload = &answer.data()["sendMessage"];
        let id = payload["message"]["id"].as_str().unwrap().to_owned();
        self.model.messages.push(Sent {
            id,
            from,
            to,
            content,
            client_id,
            read: false,
        });
        self.check_sides(from, to, payload);
    }

    /// The viewer's side of the conversation, and the inbox, as a payload tells them.
    fn check_sides(&self, viewer: usize, partner: usize, payload: &Value) {
        let from_partner = self
            .model
            .unread(viewer)
            .filter(|message| message.from == partner)
            .count();
        assert_eq!(
            payload["conversationPartner"]["unreadCount"], from_partner,
            "{payload}"
        );
        assert_eq!(
            payload["inbox"]["unreadCount"],
            self.model.unread(viewer).count(),
            "{payload}"
        );
    }

    /// A retry finds the first message; another content is refused.
    async fn send_again(&mut self) {
        let known: Vec<Sent> = self
            .model
            .messages
            .iter()
            .filter(|m| m.client_id.is_some())
            .cloned()
            .collect();
        if known.is_empty() {
            return;
        }
        let first = &known[self.chance.below(known.len())];
        let (sender, recipient) = (&self.people[first.from], &self.people[first.to]);
        let client_id = first.client_id.as_deref().unwrap();
        let again = sender
            .send_as(recipient, &first.content, client_id)
            .await
            .unwrap();
        assert_eq!(again["id"], first.id);
        let reused = sender.send_as(recipient, "another", client_id).await;
        assert_eq!(reused, Err("CLIENT_MESSAGE_ID_REUSED".to_owned()));
    }

    /// Anybody tries to read any message: only its recipient can.
    async fn read_one(&mut self, viewer: usize) {
        if self.model.messages.is_empty() {
            return;
        }
        let place = self.chance.below(self.model.messages.len());
        let message = self.model.messages[place].clone();
        let answer = self.people[viewer].reading(&message.id).await;
        if message.to != viewer {
            assert_eq!(answer.code(), "MESSAGE_NOT_FOUND");
            return;
        }
        self.model.mark(viewer, &[place]);
        let payload = &answer.data()["readMessage"];
        assert_eq!(payload["message"]["unread"], false, "{payload}");
        self.check_sides(viewer, message.from, payload);
    }

    async fn read_some(&mut self, viewer: usize, partner: usize) {
        let viewer = viewer % NAMES.len();
        let mut places = self.model.conversation(viewer, partner);
        let mut up_to = None;
        if !places.is_empty() && self.chance.below(2) == 0 {
            places.truncate(1 + self.chance.below(places.len()));
            up_to = places
                .last()
                .map(|place| self.model.messages[*place].id.clone());
        }
        let count = self.people[viewer]
            .read_conversation(&self.people[partner], up_to.as_deref())
            .await;
        assert_eq!(usize::try_from(count), Ok(self.model.mark(viewer, &places)));
    }

    /// A page of a conversation, which marks what it shows; the answer shows it as read.
    async fn look_and_mark(&mut self, viewer: usize, partner: usize) {
        let reversed = self.chance.below(2) == 0;
        let (skip, limit) = (self.chance.below(4), 1 + self.chance.below(5));
        let query = format!(
            "query ($with: ID!, $limit: Int, $reversed: Boolean!, $after: String, $mark: Boolean!) {{ conversation(partnerId: \
             $with, limit: $limit, reversed: $reversed, after: $after, markRead: $mark) {{ nodes {{ {MESSAGE} }} pageInfo \
             {{ endCursor }} conversationPartner {{ unreadCount }} inbox {{ unreadCount }} }} }}"
        );
        let ask = async |limit: usize, after: &Value, mark: bool| -> Value {
            let variables = json!({ "with": NAMES[partner], "limit": limit, "reversed": reversed, "after": after, "mark": mark });
            self.people[viewer].data(&query, variables).await["conversation"].clone()
        };
        let after = match skip {
            0 => Value::Null,
            _ => ask(skip, &Value::Null, false).await["pageInfo"]["endCursor"].clone(),
        };
        let page = ask(limit, &after, true).await;

        let mut places = self.model.conversation(viewer, partner);
        if reversed {
            places.reverse();
        }
        let skipped = if after.is_null() { 0 } else { skip };
        let shown: Vec<usize> = places.iter().copied().skip(skipped).take(limit).collect();
        self.model.mark(viewer, &shown);
        self.check_messages(page["nodes"].as_array().unwrap(), &shown);
        if !places.is_empty() {
            self.check_sides(viewer, partner, &page);
        }
    }

    async fn be_refused(&mut self, one: usize, other: usize) {
        let person = &self.people[one];
        let refused: [(Answer, &str); 4] = [
            (
                person.sending(NAMES[one], "to myself", None).await,
                "CANNOT_MESSAGE_SELF",
            ),
            (
                person.sending(NAMES[other], " \n", None).await,
                "CONTENT_EMPTY",
            ),
            (
                person.sending("nobody", "hello", None).await,
                "USER_NOT_FOUND",
            ),
            (person.reading("dm_m").await, "MESSAGE_NOT_FOUND"),
        ];
        for (answer, code) in refused {
            assert_eq!(answer.code(), code);
        }
    }

    /// Everybody's lists, page by page, against the model.
    async fn compare(&self) {
        join_all((0..NAMES.len()).map(|viewer| self.compare_lists(viewer))).await;
    }

    async fn compare_lists(&self, viewer: usize) {
        let (person, model) = (&self.people[viewer], &self.model);
        let unread = person.unread(7).await;
        let expected: Vec<&str> = model
            .unread(viewer)
            .map(|message| message.id.as_str())
            .collect();
        assert_eq!(ids(&unread), expected, "{} has not read", person.id);
        assert_eq!(
            usize::try_from(person.unread_count().await),
            Ok(expected.len())
        );

        let partners = person.partners(2).await;
        let found = partners.iter().map(|partner| {
            let unread = usize::try_from(partner["unreadCount"].as_u64().unwrap()).unwrap();
            (
                partner["user"]["id"].as_str().unwrap(),
                unread,
                partner["lastMessage"]["id"].as_str().unwrap(),
            )
        });
        assert_eq!(
            found.collect::<Vec<_>>(),
            model.partners(viewer),
            "{}'s partners",
            person.id
        );

        for partner in (0..NAMES.len()).filter(|partner| *partner != viewer) {
            let mut places = model.conversation(viewer, partner);
            let list = person.conversation(&self.people[partner], 9, false).await;
            self.check_messages(&list, &places);
            places.reverse();
            let list = person.conversation(&self.people[partner], 11, true).await;
            self.check_messages(&list, &places);
        }
    }

    fn check_messages(&self, found: &[Value], places: &[usize]) {
        let expected: Vec<&Sent> = places
            .iter()
            .map(|place| &self.model.messages[*place])
            .collect();
        let expected_ids: Vec<&str> = expected.iter().map(|message| message.id.as_str()).collect();
        assert_eq!(ids(found), expected_ids);
        let mut numbers: HashMap<usize, usize> = HashMap::new();
        if let Some(place) = places.first() {
            let Sent { from, to, .. } = self.model.messages[*place];
            numbers = self
                .model
                .conversation(from, to)
                .into_iter()
                .zip(1..)
                .collect();
        }
        for ((message, expected), place) in found.iter().zip(expected).zip(places) {
            assert_eq!(message["content"], expected.content);
            assert_eq!(
                message["formatted"],
                format!("{}: {}", NAMES[expected.from], expected.content)
            );
            assert_eq!(message["sequence"], numbers[place], "{message}");
            assert_eq!(message["unread"], !expected.read, "{message}");
            assert_eq!(message["readAt"].is_null(), !expected.read, "{message}");
            assert_eq!(message["sender"]["id"], NAMES[expected.from]);
            assert_eq!(message["recipient"]["id"], NAMES[expected.to]);
        }
    }
}
