//! The people whom every cell of the table is about: Ann wrote to Ben, Fay wrote to Eve, and Eve would like to know what
//! Ann wrote.

use std::sync::atomic::{AtomicUsize, Ordering};

use directmessages::chat::{
    List, MessageId, NodeId, PageCursor, SignalCursor, Stream, conversation_id, user_id,
};
use serde_json::{Value, json};

use crate::harness::{
    server::{TestServer, tokens},
    user::User,
};

/// Who asks: the table's columns, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Caller {
    /// Without a token.
    Nobody,
    /// Ann, by a token whose time is over.
    Expired,
    /// Eve.
    Stranger,
    /// Ann.
    Sender,
    /// Ben.
    Recipient,
    /// The host application itself.
    Service,
    /// The host application, acting for Ann.
    ForSender,
}

impl Caller {
    pub(super) const ALL: [Self; 7] = [
        Self::Nobody,
        Self::Expired,
        Self::Stranger,
        Self::Sender,
        Self::Recipient,
        Self::Service,
        Self::ForSender,
    ];
}

pub(super) const PEOPLE: [&str; 4] = ["Ann", "Ben", "Eve", "Fay"];
/// Ann's own id for her message.
const ANNS_CLIENT_ID: &str = "anns";
/// Nobody is called so.
const NOBODY: &str = "nobody";

/// Four people of their own, with two messages. A message's content is the names of the two whom it concerns, so that a
/// text alone tells whose it is.
pub(super) struct World {
    people: [User; 4],
    service: User,
    http: reqwest::Client,
    /// Ann's to Ben, unread.
    pub(super) message: MessageId,
    /// Fay's to Eve, unread.
    hers: MessageId,
    epoch: i64,
    /// Each one's stream as it stands at the beginning.
    now: Vec<String>,
}

impl World {
    pub(super) async fn new(server: &TestServer) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let person = async |name: &str| {
            let id = format!("{}.{number}", name.to_lowercase());
            server.named(&id, name).await
        };
        let people = [
            person("Ann").await,
            person("Ben").await,
            person("Eve").await,
            person("Fay").await,
        ];
        let [ann, ben, eve, fay] = &people;
        let message = ann.send_as(ben, "ann-ben", ANNS_CLIENT_ID).await.unwrap();
        let hers = fay.send_as(eve, "eve-fay", "fays").await.unwrap();
        let id = |message: &Value| message["id"].as_str().unwrap().parse().unwrap();
        let mut now = Vec::new();
        for each in &people {
            now.push(each.signal_cursor().await);
        }
        let anns = SignalCursor::parse(&now[0], user_id(&ann.id), Stream::ANY).unwrap();
        Self {
            message: id(&message),
            hers: id(&hers),
            epoch: anns.epoch,
            now,
            service: server.service(),
            http: server.http.clone(),
            people,
        }
    }

    /// Something for every listener to hear: Ann to Ben, then Ann and Ben to Eve, each read at once.
    pub(super) async fn go_on(&self) {
        let [ann, ben, eve, _] = &self.people;
        for (sender, recipient, content) in [
            (ann, ben, "ann-ben"),
            (ann, eve, "ann-eve"),
            (ben, eve, "ben-eve"),
        ] {
            sender.send(recipient, content).await;
            recipient.read_conversation(sender, None).await;
        }
    }

    pub(super) fn user(&self, caller: Caller) -> User {
        let [ann, ben, eve, _] = &self.people;
        match caller {
            Caller::Nobody => User::of(ann.address, self.http.clone(), "", None),
            Caller::Expired => {
                let token = tokens().mint(&ann.id, Some("Ann"), false, 0).unwrap();
                User::of(ann.address, self.http.clone(), &ann.id, Some(token))
            }
            Caller::Stranger => eve.clone(),
            Caller::Sender => ann.clone(),
            Caller::Recipient => ben.clone(),
            Caller::Service => self.service.clone(),
            Caller::ForSender => self.service.acting_for(&ann.id),
        }
    }

    /// Which of the people a caller is; Ann for those who are none, so that they try what she may.
    fn index(caller: Caller) -> usize {
        match caller {
            Caller::Stranger => 2,
            Caller::Recipient => 1,
            Caller::Nobody
            | Caller::Expired
            | Caller::Sender
            | Caller::Service
            | Caller::ForSender => 0,
        }
    }

    /// A call of the table's with its words replaced by what they stand for.
    pub(super) fn fill(&self, call: &str, caller: Caller) -> String {
        let mut words = self.words(caller);
        // The longest first: one may begin like another.
        words.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
        let mut filled = call.to_owned();
        for (word, value) in words {
            filled = filled.replace(&format!("${word}"), &json!(value).to_string());
        }
        assert!(!filled.contains('$'), "an unknown word: {filled}");
        filled
    }

    fn words(&self, caller: Caller) -> Vec<(&'static str, String)> {
        let [ann, ben, _, fay] = &self.people;
        let id = |index: usize| user_id(&self.people[index].id);
        let me = Self::index(caller);
        // Everybody aims at Ann; she herself at Ben.
        let other = usize::from(me == 0);
        let pair = pair_of(me, other);
        let side = |user, partner| NodeId::ConversationPartner { user, partner }.to_string();
        let page = |list, key, place| PageCursor { list, key, place }.to_string();
        let absent = MessageId {
            seq: 99,
            ..self.message
        };
        vec![
            ("me", self.people[me].id.clone()),
            ("other", self.people[other].id.clone()),
            ("ann", ann.id.clone()),
            ("ben", ben.id.clone()),
            ("fay", fay.id.clone()),
            ("nobody", NOBODY.to_owned()),
            ("pair", pair.clone()),
            ("differently", format!("{pair} ")),
            ("annsClientId", ANNS_CLIENT_ID.to_owned()),
            ("message", NodeId::Message(self.message).to_string()),
            ("hers", NodeId::Message(self.hers).to_string()),
            ("absentMessage", NodeId::Message(absent).to_string()),
            ("annsInbox", NodeId::Inbox(id(0)).to_string()),
            ("bensInbox", NodeId::Inbox(id(1)).to_string()),
            ("nobodysInbox", NodeId::Inbox(user_id(NOBODY)).to_string()),
            ("annsSide", side(id(0), id(1))),
            ("bensSide", side(id(1), id(0))),
            ("noSide", side(id(0), id(3))),
            ("bensUnread", page(List::Unread, id(1), 0)),
            ("bensPartners", page(List::Partners, id(1), i64::MAX)),
            (
                "theirPage",
                page(List::Conversation, self.message.conversation, 0),
            ),
            ("start", self.stream_at(me, 0)),
            ("beyond", self.stream_at(me, i64::MAX)),
            ("before", self.stream_at(me, i64::MIN)),
            ("bensStart", self.stream_at(1, 0)),
            ("least", page(List::Partners, id(me), i64::MIN)),
            ("greatest", page(List::Unread, id(me), i64::MAX)),
            ("now", self.now[me].clone()),
        ]
    }

    fn stream_at(&self, index: usize, position: i64) -> String {
        let start = SignalCursor {
            epoch: self.epoch,
            user: user_id(&self.people[index].id),
            position,
            stream: Stream::ANY,
        };
        start.to_string()
    }

    /// A text of an answer by whose it is: ids and cursors of ours by the people whose they are, an id of a user's by the
    /// name.
    pub(super) fn tell(&self, text: &str) -> String {
        let person = |text: &str| {
            let mut people = PEOPLE.iter().zip(&self.people);
            let found = people.find(|(_, person)| person.id == text);
            found.map(|(name, _)| name.to_lowercase())
        };
        if text.starts_with("dm_") {
            return self.owner(text);
        }
        let told = person(text).unwrap_or_else(|| text.trim().replace(": ", ":"));
        assert!(!told.contains(' '), "the table has no word for {text:?}");
        told
    }

    fn owner(&self, text: &str) -> String {
        let ids: Vec<_> = self
            .people
            .iter()
            .map(|person| user_id(&person.id))
            .collect();
        let keys = (0..4).map(|one| (PEOPLE[one].to_lowercase(), ids[one]));
        let pairs = (0..4).flat_map(|one| (one + 1..4).map(move |other| (one, other)));
        let pairs = pairs.map(|(one, other)| {
            let id = conversation_id(ids[one], ids[other]);
            (pair_of(one, other), id)
        });
        let keys: Vec<_> = keys.chain(pairs).collect();
        let name = |id| {
            keys.iter()
                .find(|(_, key)| *key == id)
                .map(|(name, _)| name.clone())
        };
        let of_node = match text.parse() {
            Ok(NodeId::Message(id)) => name(id.conversation),
            Ok(NodeId::Inbox(user)) => name(user),
            Ok(NodeId::ConversationPartner { user, partner }) => name(user)
                .zip(name(partner))
                .map(|(user, partner)| format!("{user}/{partner}")),
            Ok(NodeId::User(_)) | Err(_) => None,
        };
        let of_cursor = || {
            let lists = [List::Conversation, List::Unread, List::Partners];
            let fits = |key| {
                let page = lists
                    .iter()
                    .any(|list| PageCursor::parse(text, *list, key).is_ok());
                page || streams(&ids).any(|of| SignalCursor::parse(text, key, of).is_ok())
            };
            let found = keys.iter().find(|(_, key)| fits(*key));
            found.map(|(name, _)| name.clone())
        };
        of_node
            .or_else(of_cursor)
            .unwrap_or_else(|| panic!("this is nobody's: {text}"))
    }
}

/// Every stream that a cursor may be of.
fn streams(partners: &[uuid::Uuid]) -> impl Iterator<Item = Stream> {
    use entity::signal::Kind;
    let partners = partners.iter().copied().map(Some).chain([None]);
    partners.flat_map(|partner| {
        [Kind::Sent, Kind::Read].map(|kind| Stream {
            kind: Some(kind),
            partner,
        })
    })
}

fn pair_of(one: usize, other: usize) -> String {
    let (first, second) = (one.min(other), one.max(other));
    format!("{}-{}", PEOPLE[first], PEOPLE[second]).to_lowercase()
}
