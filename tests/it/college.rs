//! Ten thousand real messages, sent through the API by many clients at one time, against a plain model of what must
//! come of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::{StreamExt as _, future::join_all, stream};
use serde_json::{Value, json};

use crate::harness::{
    database::TestDatabase,
    server::{TestServer, tokens},
    user::User,
};

/// How many clients send at one time; each pair's messages come from one of them, in order.
const CLIENTS: usize = 48;
/// How many rows of the file are sent.
const ROWS: usize = 10_000;
/// How many conversations are asked for in one operation.
const TOGETHER: usize = 20;
/// The longest page.
const PAGE: usize = 100;
const SEND: &str =
    "mutation ($input: SendMessageInput!) { sendMessage(input: $input) { message { sequence } } }";
const PARTNERS: &str = "query ($after: String) { list: conversationPartners(first: 100, after: $after) \
    { nodes { user { id } unreadCount lastMessage { content } } pageInfo { hasNextPage endCursor } } }";
const FRAGMENT: &str = "fragment Page on MessageConnection { nodes { sequence content unread sender { id } } \
    pageInfo { hasNextPage endCursor } }";
/// After every so many rows, the recipient reads the conversation.
const READ_EVERY: usize = 7;

/// One row of the file.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) sender: String,
    pub(crate) recipient: String,
    pub(crate) sent_at: i64,
}

pub(crate) const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../shared/data/college-msg.csv"
);

/// Every row of the real messages, in the order of the file.
pub(crate) fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(FILE).unwrap_or_else(|error| {
        panic!("the real messages are missing at {FILE} ({error}): shared/data has to stand beside the project")
    });
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("sender,recipient,sent_at"));
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let [sender, recipient, sent_at] = fields[..] else {
            panic!("three fields are expected: {line}")
        };
        Row {
            sender: sender.to_owned(),
            recipient: recipient.to_owned(),
            sent_at: sent_at.parse().unwrap(),
        }
    };
    lines.map(row).collect()
}

/// Two users, the same from both sides.
pub(crate) fn pair(one: &str, other: &str) -> (String, String) {
    let (one, other) = if one < other {
        (one, other)
    } else {
        (other, one)
    };
    (one.to_owned(), other.to_owned())
}

/// What a message is, once it was sent.
#[derive(Clone, Debug)]
struct Sent {
    sender: String,
    recipient: String,
    content: String,
    read: bool,
    /// When it began and was acknowledged, by a clock that counts events.
    began: usize,
    ended: usize,
}

impl Sent {
    fn as_node(&self, sequence: usize) -> Value {
        let Self {
            sender,
            content,
            read,
            ..
        } = self;
        json!({ "sequence": sequence, "content": content, "unread": !read, "sender": { "id": sender } })
    }
}

/// Everyone of some rows, known to the server.
async fn arrive(server: &TestServer, rows: &[Row]) -> BTreeMap<String, User> {
    let ids: BTreeSet<&str> = rows
        .iter()
        .flat_map(|row| [row.sender.as_str(), &row.recipient])
        .collect();
    let named: Vec<Value> = ids
        .iter()
        .map(|id| json!({ "id": id, "username": format!("student {id}") }))
        .collect();
    let upsert = "mutation ($users: [UserInput!]!) { upsertUsers(input: { users: $users }) { users { id } } }";
    for some in named.chunks(1_000) {
        server
            .service()
            .data(upsert, json!({ "users": some }))
            .await;
    }
    let user = |id: &str| {
        let token = tokens().mint(id, None, false, 3_600).unwrap();
        User::of(server.address, server.http.clone(), id, Some(token))
    };
    ids.into_iter()
        .map(|id| (id.to_owned(), user(id)))
        .collect()
}

/// Sends the rows and reads now and then: what every conversation must hold afterwards.
async fn send_all(
    rows: &[Row],
    users: &BTreeMap<String, User>,
) -> BTreeMap<(String, String), Vec<Sent>> {
    let mut by_pair: BTreeMap<(String, String), Vec<(usize, &Row)>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        by_pair
            .entry(pair(&row.sender, &row.recipient))
            .or_default()
            .push((index, row));
    }
    let clock = AtomicUsize::new(0);
    let tick = || clock.fetch_add(1, Ordering::SeqCst);
    let conversations = stream::iter(by_pair).map(async |(pair, rows)| {
        let mut sent: Vec<Sent> = Vec::new();
        for (index, row) in rows {
            let (sender, recipient) = (&users[&row.sender], &users[&row.recipient]);
            let content = format!("number {index}, é🙈");
            let began = tick();
            let input = json!({ "recipientId": recipient.id, "content": content });
            let payload = sender.data(SEND, json!({ "input": input })).await;
            let ended = tick();
            let sequence = &payload["sendMessage"]["message"]["sequence"];
            assert_eq!(*sequence, sent.len() + 1, "{payload}");
            let (sender_id, recipient_id) = (row.sender.clone(), row.recipient.clone());
            sent.push(Sent {
                sender: sender_id,
                recipient: recipient_id,
                content,
                read: false,
                began,
                ended,
            });
            if index % READ_EVERY == 0 {
                let unread = sent
                    .iter_mut()
                    .filter(|m| !m.read && m.recipient == row.recipient);
                let turned = unread.map(|message| message.read = true).count();
                let count = recipient.read_conversation(sender, None).await;
                assert_eq!(usize::try_from(count), Ok(turned));
            }
        }
        (pair, sent)
    });
    conversations.buffer_unordered(CLIENTS).collect().await
}

on_both_databases! {
    async fn real_messages_come_out_as_they_went_in(database: &TestDatabase) {
        // A machine that builds something beside this is slow, not away.
        let flags = ["--connect-timeout", "60", "--write-timeout", "60", "--complexity-limit", "1000000"];
        let server = TestServer::on(database, &flags).await;
        let rows = rows();
        let rows = &rows[..ROWS];
        let users = arrive(&server, rows).await;
        let listeners: Vec<&User> = ["9", "103", "638"].iter().filter_map(|id| users.get(*id)).collect();
        assert_eq!(listeners.len(), 3, "they are among the first {ROWS} rows");
        let starts = join_all(listeners.iter().map(|user| user.signal_cursor())).await;

        let conversations = send_all(rows, &users).await;

        let checks = stream::iter(users.values()).map(async |user| {
            let own = own(user, &conversations);
            check_conversations(user, &own).await;
            check_lists(user, &own).await;
        });
        checks.buffer_unordered(CLIENTS).collect::<()>().await;
        for (user, start) in listeners.into_iter().zip(starts) {
            check_signals(user, &start, &own(user, &conversations)).await;
        }
        server.stop().await;
    }
}

/// What one user's conversations must be, by partner.
type Own<'a> = BTreeMap<&'a str, &'a Vec<Sent>>;

fn own<'a>(user: &User, conversations: &'a BTreeMap<(String, String), Vec<Sent>>) -> Own<'a> {
    let own = conversations
        .iter()
        .filter_map(|((one, other), sent)| match &user.id {
            id if id == one => Some((other.as_str(), sent)),
            id if id == other => Some((one.as_str(), sent)),
            _ => None,
        });
    own.collect()
}

/// The conversations hold what was sent, in order, with what was read. Each is asked for by one of the two.
async fn check_conversations(user: &User, own: &Own<'_>) {
    let mine: Vec<_> = own
        .iter()
        .filter(|(partner, _)| user.id.as_str() < **partner)
        .collect();
    for some in mine.chunks(TOGETHER) {
        let fields = some.iter().enumerate().map(|(place, (partner, _))| {
            format!(
                "c{place}: conversation(partnerId: \"{partner}\", limit: {PAGE}) {{ ...Page }}\n"
            )
        });
        let query = format!("{{ {} }} {FRAGMENT}", fields.collect::<String>());
        let data = user.data(&query, json!({})).await;
        for (place, (partner, sent)) in some.iter().enumerate() {
            let page = &data[format!("c{place}")];
            assert_eq!(page["pageInfo"]["hasNextPage"], sent.len() > PAGE);
            let expected: Vec<Value> = (1..)
                .zip(sent.iter())
                .map(|(sequence, m)| m.as_node(sequence))
                .collect();
            let mut found = page["nodes"].as_array().unwrap().clone();
            if sent.len() > PAGE {
                let query = format!(
                    "query ($size: Int!, $after: String) {{ list: conversation(partnerId: \"{partner}\", limit: $size, \
                     after: $after) {{ ...Page }} }} {FRAGMENT}"
                );
                let after = &page["pageInfo"]["endCursor"];
                found.extend(
                    user.pages(&query, json!({ "size": PAGE, "after": after }))
                        .await,
                );
            }
            assert_eq!(found, expected, "{} and {partner}", user.id);
        }
    }
}

/// Partners, latest first, and unread counts.
async fn check_lists(user: &User, own: &Own<'_>) {
    let unread = |sent: &[Sent]| {
        sent.iter()
            .filter(|m| m.recipient == user.id && !m.read)
            .count()
    };
    let partners = user.pages(PARTNERS, json!({})).await;
    let found: BTreeMap<&str, (&str, usize)> = partners
        .iter()
        .map(|partner| {
            let count = usize::try_from(partner["unreadCount"].as_u64().unwrap()).unwrap();
            let last = partner["lastMessage"]["content"].as_str().unwrap();
            (partner["user"]["id"].as_str().unwrap(), (last, count))
        })
        .collect();
    let expected: BTreeMap<&str, (&str, usize)> = own
        .iter()
        .map(|(partner, sent)| {
            (
                *partner,
                (sent.last().unwrap().content.as_str(), unread(sent)),
            )
        })
        .collect();
    assert_eq!(
        partners.len(),
        expected.len(),
        "nobody stands twice: {}",
        user.id
    );
    assert_eq!(found, expected, "{}", user.id);

    // Of two messages that overlapped either may be the later one, but not if one ended before the other began.
    let mut earliest = usize::MAX;
    for partner in &partners {
        let last = own[partner["user"]["id"].as_str().unwrap()].last().unwrap();
        assert!(
            last.began < earliest,
            "the partners of {} are out of order",
            user.id
        );
        earliest = earliest.min(last.ended);
    }

    let total: usize = own.values().map(|sent| unread(sent)).sum();
    assert_eq!(
        usize::try_from(user.unread_count().await),
        Ok(total),
        "{}",
        user.id
    );
}

/// Each message once, each conversation in its order, in the order of the partners' list.
async fn check_signals(user: &User, start: &str, own: &Own<'_>) {
    let all = || own.values().flat_map(|sent| sent.iter());
    let mut sent = user.listen("messageSent", Some(start)).await;
    let sent = sent.take(all().count()).await;
    let mut latest: Vec<&str> = Vec::new();
    let mut told: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for event in &sent {
        let (from, to) = (
            event["sender"]["id"].as_str().unwrap(),
            event["recipient"]["id"].as_str().unwrap(),
        );
        let partner = if from == user.id { to } else { from };
        told.entry(partner)
            .or_default()
            .push(event["message"]["content"].as_str().unwrap());
        latest.retain(|before| *before != partner);
        latest.insert(0, partner);
    }
    let contents = |sent: &'_ [Sent]| sent.iter().map(|m| m.content.clone()).collect::<Vec<_>>();
    for (partner, sent) in own {
        assert_eq!(told[partner], contents(sent), "{} and {partner}", user.id);
    }
    let partners = user.pages(PARTNERS, json!({})).await;
    let listed: Vec<&str> = partners
        .iter()
        .map(|partner| partner["user"]["id"].as_str().unwrap())
        .collect();
    assert_eq!(
        latest, listed,
        "the order of {}'s partners is that of the signals",
        user.id
    );

    let read: BTreeSet<&str> = all()
        .filter(|m| m.read)
        .map(|m| m.content.as_str())
        .collect();
    let mut listener = user.listen("messageRead", Some(start)).await;
    let events = listener.take(read.len()).await;
    let told: BTreeSet<&str> = events
        .iter()
        .map(|e| e["message"]["content"].as_str().unwrap())
        .collect();
    assert_eq!(told, read);
    let cursors: Vec<&str> = events
        .iter()
        .map(|event| event["cursor"].as_str().unwrap())
        .collect();
    assert!(cursors.is_sorted_by(|a, b| a < b), "cursors rise");
}
