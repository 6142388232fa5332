//! The clients: they send with ids of their own and try again until they are told that it is stored, they read, they look.

use std::{sync::Arc, time::Duration};

use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    record::{Attempt, Look, Outcome, Reading, Recorder, Shown, Target},
    world::World,
};
use crate::harness::{
    chance::Chance,
    server::tokens,
    user::{Answer, MESSAGE, User, send_mutation, send_variables},
};

/// How long a client waits for an answer.
const ANSWER: Duration = Duration::from_secs(3);
/// How long a client tries again after the last fault.
const TRIES: Duration = Duration::from_secs(45);

/// One client of one user's, at one server for a while.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) world: Arc<World>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) me: String,
    /// The user and the client's number.
    pub(super) name: String,
    partners: Arc<[String]>,
    token: String,
    http: reqwest::Client,
    /// Ends the run: what is under way is brought to its end.
    pub(super) stop: CancellationToken,
}

/// What came of a request.
fn outcome(answer: reqwest::Result<Answer>) -> Outcome<Value> {
    let Ok(answer) = answer else {
        return Outcome::Unknown;
    };
    match answer.errors().first() {
        None => Outcome::Done(answer.body["data"].clone()),
        // A send that is answered so may have been stored: its COMMIT may be what got no answer.
        Some((code, _)) if code == "UNAVAILABLE" => Outcome::Unknown,
        Some((code, _)) => Outcome::Refused(code.clone()),
    }
}

impl<T> Outcome<T> {
    fn map<U>(self, with: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Done(value) => Outcome::Done(with(value)),
            Self::Unknown => Outcome::Unknown,
            Self::Refused(code) => Outcome::Refused(code),
        }
    }
}

impl Client {
    pub(super) fn new(
        world: &Arc<World>,
        recorder: &Arc<Recorder>,
        users: &[String],
        me: &str,
        name: &str,
        stop: &CancellationToken,
    ) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER);
        let partners = users.iter().filter(|user| *user != me).cloned();
        Self {
            world: world.clone(),
            recorder: recorder.clone(),
            me: me.to_owned(),
            name: name.to_owned(),
            partners: partners.collect(),
            token: tokens().mint(me, Some(me), false, 2_592_000).unwrap(),
            http: http.build().unwrap(),
            stop: stop.clone(),
        }
    }

    /// The user at a server.
    pub(super) fn at(&self, server: usize) -> User {
        let address = self.world.servers[server].address;
        User::of(
            address,
            self.http.clone(),
            &self.me,
            Some(self.token.clone()),
        )
    }

    pub(super) async fn ask(&self, server: usize, query: &str, variables: Value) -> Outcome<Value> {
        outcome(self.at(server).try_ask(query, variables).await)
    }

    /// Asks at one server after the other until one answers.
    pub(super) async fn ask_surely(&self, query: &str, variables: Value) -> Value {
        let deadline = Instant::now() + TRIES;
        let mut server = 0;
        loop {
            match self.ask(server, query, variables.clone()).await {
                Outcome::Done(data) => return data,
                Outcome::Refused(code) => panic!("{query} was refused with {code}"),
                Outcome::Unknown => {}
            }
            assert!(Instant::now() < deadline, "no server answers {query}");
            server = (server + 1) % self.world.servers.len();
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends, once. Whether that was answered for good.
    async fn attempt(
        &self,
        server: usize,
        to: &str,
        content: &str,
        client_id: Option<&str>,
    ) -> bool {
        let stolen = client_id.is_some_and(|client_id| client_id != content);
        let began = self.recorder.now();
        let variables = send_variables(to, content, client_id);
        let outcome = self.ask(server, &send_mutation(), variables).await;
        let outcome = outcome.map(|data| self.recorder.shown(&data["sendMessage"]["message"]));
        let answered = outcome != Outcome::Unknown;
        let attempt = Attempt {
            from: self.me.clone(),
            to: to.to_owned(),
            content: content.to_owned(),
            client_id: client_id.map(str::to_owned),
            stolen,
            server,
            span: self.recorder.since(began),
            outcome,
        };
        self.recorder.history().attempts.push(attempt);
        answered
    }

    /// Sends until it is acknowledged, at one server after the other.
    pub(super) async fn send_surely(&self, mut server: usize, to: &str, content: &str) {
        let mut deadline = None;
        while !self.attempt(server, to, content, Some(content)).await {
            server = (server + 1) % self.world.servers.len();
            if self.stop.is_cancelled() {
                let deadline = deadline.get_or_insert_with(|| Instant::now() + TRIES);
                if *deadline < Instant::now() {
                    return;
                }
            }
            sleep(Duration::from_millis(30)).await;
        }
    }

    /// Sends, one thing after the other, until the run ends.
    pub(super) async fn keep_sending(self, mut chance: Chance) {
        let servers = self.world.servers.len();
        let mut server = chance.below(servers);
        let mut sent: Vec<(String, String)> = Vec::new();
        let mut count = 0;
        while !self.stop.is_cancelled() {
            let to = self.partners[chance.below(self.partners.len())].clone();
            count += 1;
            let content = format!("{} {count}", self.name);
            let other = (server + 1 + chance.below(servers - 1)) % servers;
            match chance.below(24) {
                // At two servers at one time.
                0..=2 => {
                    let (one, two) = (
                        self.attempt(server, &to, &content, Some(&content)),
                        self.attempt(other, &to, &content, Some(&content)),
                    );
                    if join(one, two).await == (false, false) {
                        self.send_surely(other, &to, &content).await;
                    }
                }
                // Never again, whatever comes of it.
                3 => {
                    self.attempt(server, &to, &content, Some(&content)).await;
                }
                4 => {
                    self.attempt(server, &to, &content, None).await;
                }
                // Without waiting for one before the next.
                5..=7 => {
                    let many: Vec<String> = (0..6).map(|n| format!("{content}.{n}")).collect();
                    let many = many.iter().map(|one| self.send_surely(server, &to, one));
                    join_all(many).await;
                }
                // Under the client id of another message.
                8 if !sent.is_empty() => {
                    let (to, client_id) = &sent[chance.below(sent.len())];
                    let content = format!("{content} stolen");
                    self.attempt(server, to, &content, Some(client_id)).await;
                }
                _ => {
                    self.send_surely(server, &to, &content).await;
                    sent.push((to, content));
                }
            }
            if chance.below(8) == 0 {
                server = other;
            }
            sleep(Duration::from_millis(chance.below(50) as u64)).await;
        }
    }

    /// Reads and looks, until the run ends.
    pub(super) async fn keep_reading(self, mut chance: Chance) {
        let servers = self.world.servers.len();
        let mut server = chance.below(servers);
        while !self.stop.is_cancelled() {
            let partner = self.partners[chance.below(self.partners.len())].clone();
            match chance.below(12) {
                0..=3 => self.read_some_unread(server, &mut chance).await,
                4 => {
                    let target = Target::Conversation(partner.clone(), None);
                    self.read(server, target, None).await;
                }
                5 | 6 => self.read_up_to(server, &partner, &mut chance).await,
                7 => self.look_newest(server, &partner, true).await,
                8 => self.look_through(server, &partner).await,
                _ => self.look_newest(server, &partner, false).await,
            }
            if chance.below(6) == 0 {
                server = chance.below(servers);
            }
            sleep(Duration::from_millis(chance.below(80) as u64)).await;
        }
    }

    async fn look(
        &self,
        server: usize,
        query: &str,
        variables: Value,
        newest_with: Option<&str>,
    ) -> Option<Vec<Arc<Shown>>> {
        let began = self.recorder.now();
        let outcome = self.ask(server, query, variables).await;
        let span = self.recorder.since(began);
        let messages = match outcome {
            Outcome::Done(data) => self.recorder.shown_all(&data["list"]["nodes"]),
            Outcome::Unknown => return None,
            Outcome::Refused(code) => {
                self.recorder
                    .history()
                    .refusals
                    .push((query.to_owned(), code));
                return None;
            }
        };
        let look = Look {
            by: self.me.clone(),
            server,
            span,
            newest_with: newest_with.map(str::to_owned),
            messages: messages.clone(),
        };
        self.recorder.history().looks.push(look);
        Some(messages)
    }

    async fn look_newest(&self, server: usize, partner: &str, mark: bool) {
        let query = format!(
            "query ($with: ID!, $mark: Boolean!) {{ list: conversation(partnerId: $with, limit: 30, reversed: true, \
             markRead: $mark) {{ nodes {{ {MESSAGE} }} }} }}"
        );
        let began = self.recorder.now();
        let variables = json!({ "with": partner, "mark": mark });
        let found = self.look(server, &query, variables, Some(partner)).await;
        if mark {
            let outcome = found.map_or(Outcome::Unknown, |_| Outcome::Done(()));
            let target = Target::Page(partner.to_owned());
            self.note(target, began, outcome);
        }
    }

    /// A few pages from the start, by cursors that other servers gave.
    async fn look_through(&self, mut server: usize, partner: &str) {
        let query = format!(
            "query ($with: ID!, $after: String) {{ list: conversation(partnerId: $with, limit: 10, after: $after) \
             {{ nodes {{ {MESSAGE} }} pageInfo {{ hasNextPage endCursor }} }} }}"
        );
        let mut after = Value::Null;
        for _ in 0..4 {
            let began = self.recorder.now();
            let variables = json!({ "with": partner, "after": after });
            let Outcome::Done(data) = self.ask(server, &query, variables).await else {
                return;
            };
            let look = Look {
                by: self.me.clone(),
                server,
                span: self.recorder.since(began),
                newest_with: None,
                messages: self.recorder.shown_all(&data["list"]["nodes"]),
            };
            self.recorder.history().looks.push(look);
            if data["list"]["pageInfo"]["hasNextPage"] == false {
                return;
            }
            after = data["list"]["pageInfo"]["endCursor"].clone();
            server = (server + 1) % self.world.servers.len();
        }
    }

    async fn read_some_unread(&self, server: usize, chance: &mut Chance) {
        let query = format!("{{ list: unreadMessages(first: 20) {{ nodes {{ {MESSAGE} }} }} }}");
        let unread = self.look(server, &query, json!({}), None).await;
        let unread = unread.unwrap_or_default();
        if unread.is_empty() {
            return;
        }
        let id = unread[chance.below(unread.len())].id.clone();
        // Sometimes twice at one time, at two servers.
        let target = Target::Message(id);
        let here = self.read(server, target.clone(), None);
        if chance.below(3) == 0 {
            let other = (server + 1) % self.world.servers.len();
            join(here, self.read(other, target, None)).await;
        } else {
            here.await;
        }
    }

    async fn read_up_to(&self, server: usize, partner: &str, chance: &mut Chance) {
        let query = format!(
            "query ($with: ID!) {{ list: conversation(partnerId: $with, limit: 10, reversed: true) \
             {{ nodes {{ {MESSAGE} }} }} }}"
        );
        let variables = json!({ "with": partner });
        let newest = self.look(server, &query, variables, Some(partner)).await;
        let newest = newest.unwrap_or_default();
        if newest.is_empty() {
            return;
        }
        let up_to = &newest[chance.below(newest.len())];
        let target = Target::Conversation(partner.to_owned(), Some(up_to.sequence));
        self.read(server, target, Some(&up_to.id)).await;
    }

    /// Marks as read, once.
    pub(super) async fn read(&self, server: usize, target: Target, up_to: Option<&str>) -> bool {
        let (query, variables) = match &target {
            Target::Message(id) => (
                format!("mutation ($id: ID!) {{ readMessage(input: {{ id: $id }}) {{ message {{ {MESSAGE} }} }} }}"),
                json!({ "id": id }),
            ),
            Target::Conversation(partner, _) | Target::Page(partner) => (
                "mutation ($with: ID!, $upTo: ID) { readConversation(input: { partnerId: $with, upTo: $upTo }) \
                 { readCount } }"
                    .to_owned(),
                json!({ "with": partner, "upTo": up_to }),
            ),
        };
        let began = self.recorder.now();
        let outcome = self.ask(server, &query, variables).await;
        if let (Target::Message(_), Outcome::Done(data)) = (&target, &outcome) {
            let look = Look {
                by: self.me.clone(),
                server,
                span: self.recorder.since(began),
                newest_with: None,
                messages: vec![self.recorder.shown(&data["readMessage"]["message"])],
            };
            self.recorder.history().looks.push(look);
        }
        self.note(target, began, outcome.map(|_| ()))
    }

    fn note(&self, target: Target, began: u64, outcome: Outcome<()>) -> bool {
        let done = outcome == Outcome::Done(());
        let reading = Reading {
            by: self.me.clone(),
            target,
            span: self.recorder.since(began),
            outcome,
        };
        self.recorder.history().readings.push(reading);
        done
    }
}
