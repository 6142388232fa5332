//! Lists, to their end, while others write; and that lists and signals together are complete.

use std::collections::{BTreeMap, HashSet};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{
    load::id,
    server::TestServer,
    user::{MESSAGE, User, contents, ids},
};

fn sequences(messages: &[Value]) -> Vec<i64> {
    messages
        .iter()
        .map(|message| message["sequence"].as_i64().unwrap())
        .collect()
}

/// Writes from one to the other while something else goes on.
async fn while_writing<T>(
    from: &User,
    to: &User,
    count: usize,
    other: impl Future<Output = T>,
) -> T {
    let writing = async {
        for n in 0..count {
            from.send(to, &format!("meanwhile {n}")).await;
        }
    };
    tokio::join!(writing, other).1
}

on_both_databases! {
    async fn a_conversation_has_no_gap_and_no_repeat_while_others_write(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        for n in 0..60 {
            if n % 3 == 0 { ann.send(&ben, "to").await } else { ben.send(&ann, "fro").await };
        }
        let forwards = while_writing(&ann, &ben, 60, ben.conversation(&ann, 7, false)).await;
        let read = i64::try_from(forwards.len()).unwrap();
        assert!(read >= 60);
        assert_eq!(sequences(&forwards), (1..=read).collect::<Vec<_>>());
        let backwards = while_writing(&ann, &ben, 60, ben.conversation(&ann, 7, true)).await;
        let newest = sequences(&backwards)[0];
        assert!(newest >= 120);
        assert_eq!(sequences(&backwards), (1..=newest).rev().collect::<Vec<_>>());
    }

    async fn unread_messages_have_no_gap_and_no_repeat_while_others_write(server: &TestServer) {
        let (ann, ben, cid) = (server.user("ann").await, server.user("ben").await, server.user("cid").await);
        let mut sent = Vec::new();
        for n in 0..40 {
            let from = if n % 2 == 0 { &ann } else { &cid };
            sent.push(id(&from.send(&ben, &format!("{n}")).await));
        }
        let listed = while_writing(&ann, &ben, 40, ben.unread(6)).await;
        assert!(listed.len() >= 40);
        assert_eq!(ids(&listed)[..40], sent);
        let all = ben.unread(100).await;
        assert_eq!(listed, all[..listed.len()], "a page's end is the next one's beginning");
        assert_eq!(ids(&all).into_iter().collect::<HashSet<_>>().len(), 80);
        // Whatever is read on the way is missing in later pages, and nothing else.
        let query = format!("query ($after: String) {{ unreadMessages(first: 10, after: $after) {{ nodes {{ {MESSAGE} }} pageInfo {{ endCursor hasPreviousPage }} totalCount }} }}");
        let first = ben.data(&query, json!({})).await["unreadMessages"].clone();
        assert_eq!((&first["totalCount"], &first["pageInfo"]["hasPreviousPage"]), (&json!(80), &json!(false)));
        for n in [0, 9, 10, 12] {
            ben.read(&all[n]).await;
        }
        let after = first["pageInfo"]["endCursor"].clone();
        let second = ben.data(&query, json!({ "after": after })).await["unreadMessages"].clone();
        assert_eq!((&second["totalCount"], &second["pageInfo"]["hasPreviousPage"]), (&json!(76), &json!(true)));
        let expected: Vec<&str> = ids(&all[10..22]).into_iter().filter(|id| *id != all[10]["id"] && *id != all[12]["id"]).collect();
        assert_eq!(ids(second["nodes"].as_array().unwrap()), expected);
    }

    async fn partners_come_once_and_latest_first(server: &TestServer) {
        let ann = server.user("ann").await;
        let others = join_all((0..20).map(|n| async move { server.user(&format!("user {n:02}")).await })).await;
        for other in &others {
            other.send(&ann, "hello").await;
        }
        let answered = ann.send(&others[3], "answer").await;
        let message = ann.unread(1).await.remove(0);
        ann.read(&message).await;
        let listed = ann.partners(3).await;
        let names: Vec<&str> = listed.iter().map(|partner| partner["user"]["id"].as_str().unwrap()).collect();
        let mut expected: Vec<&str> = (0..20).rev().filter(|n| *n != 3).map(|n| others[n].id.as_str()).collect();
        expected.insert(0, &others[3].id);
        assert_eq!(names, expected, "whoever was written to last stands first, and reading moves nobody");
        assert_eq!(listed[0]["lastMessage"]["id"], answered["id"]);
        let unread: i64 = listed.iter().map(|partner| partner["unreadCount"].as_i64().unwrap()).sum();
        assert_eq!(unread, 19);
    }

    async fn whoever_becomes_active_meanwhile_comes_by_signal_and_nobody_twice(server: &TestServer) {
        let ann = server.user("ann").await;
        let others = join_all((0..24).map(|n| async move { server.user(&format!("user {n:02}")).await })).await;
        for other in &others[..20] {
            other.send(&ann, "hello").await;
        }
        let start = ann.signal_cursor().await;
        let active = async {
            // Old ones move to the front, and new ones appear there.
            for other in others[..4].iter().chain(&others[20..]) {
                other.send(&ann, "again").await;
            }
        };
        let (listed, ()) = tokio::join!(ann.partners(2), active);
        let names: Vec<&str> = listed.iter().map(|partner| partner["user"]["id"].as_str().unwrap()).collect();
        let mut known: HashSet<&str> = names.iter().copied().collect();
        assert_eq!(known.len(), names.len(), "a partner was listed twice: {names:?}");
        let mut listener = ann.listen("messageSent", Some(&start)).await;
        let events = listener.take(8).await;
        known.extend(events.iter().map(|event| event["sender"]["id"].as_str().unwrap()));
        assert_eq!(known.len(), 24, "lists and signals together are complete");
    }

    async fn mark_read_marks_what_it_returns_to_the_viewer_and_signals_each_once(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let mut sent = Vec::new();
        for (n, text) in ["a1", "b2", "a3", "a4", "b5", "a6"].iter().enumerate() {
            let (from, to) = if text.starts_with('a') { (&ann, &ben) } else { (&ben, &ann) };
            sent.push(from.send(to, text).await);
            assert_eq!(sent[n]["sequence"].as_u64().unwrap(), n as u64 + 1);
        }
        let mut listener = ann.listen("messageRead", None).await;
        let query = format!(
            "query ($limit: Int!) {{ \
             before: inbox {{ unreadCount }} \
             one: conversation(partnerId: \"ann\", limit: $limit, markRead: true) {{ nodes {{ {MESSAGE} }} conversationPartner {{ unreadCount }} inbox {{ unreadCount }} }} \
             two: conversation(partnerId: \"ann\", limit: $limit, markRead: true) {{ nodes {{ id unread }} }} \
             unreadMessages {{ nodes {{ content }} totalCount }} \
             conversationPartners {{ nodes {{ unreadCount lastMessage {{ unread }} }} }} \
             signalCursor }}"
        );
        let data = ben.data(&query, json!({ "limit": 3 })).await;
        let page = data["one"]["nodes"].as_array().unwrap();
        assert_eq!(contents(page), ["a1", "b2", "a3"]);
        let unread: Vec<bool> = page.iter().map(|message| message["unread"].as_bool().unwrap()).collect();
        assert_eq!(unread, [false, true, false], "the viewer's own message is not the viewer's to mark");
        assert!(page[0]["readAt"].is_string() && page[1]["readAt"].is_null());
        assert_eq!(data["two"]["nodes"][0]["unread"], false);
        for (what, count) in [("/before/unreadCount", 2), ("/one/conversationPartner/unreadCount", 2), ("/one/inbox/unreadCount", 2), ("/unreadMessages/totalCount", 2), ("/conversationPartners/nodes/0/unreadCount", 2)] {
            assert_eq!(data.pointer(what).unwrap(), count, "{what} stands as it is after marking");
        }
        assert_eq!(contents(data["unreadMessages"]["nodes"].as_array().unwrap()), ["a4", "a6"]);
        assert_eq!(ann.unread_count().await, 2, "ann's own unread messages stay");
        // The cursor was read before the marking: what was marked comes after it.
        let after = data["signalCursor"].as_str().unwrap();
        let mut late = ben.listen("messageRead", Some(after)).await;
        let events = late.take(2).await;
        assert_eq!(contents(&events.iter().map(|event| event["message"].clone()).collect::<Vec<_>>()), ["a1", "a3"]);
        // Again, and backwards over everything.
        ben.data(&query, json!({ "limit": 3 })).await;
        let backwards = "{ conversation(partnerId: \"ann\", limit: 2, reversed: true, markRead: true) { nodes { content unread } inbox { unreadCount } } }";
        let data = ben.data(backwards, json!({})).await;
        assert_eq!(data["conversation"]["nodes"], json!([{ "content": "a6", "unread": false }, { "content": "b5", "unread": true }]));
        assert_eq!(data["conversation"]["inbox"]["unreadCount"], 1);
        let marker = ann.send(&ben, "marker").await;
        ben.read(&marker).await;
        assert_eq!(listener.contents_until("marker").await, ["a1", "a3", "a6", "marker"]);
    }

    async fn a_page_to_be_marked_is_the_page_that_was_returned(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        for n in 0..120 {
            ann.send(&ben, &format!("{n}")).await;
        }
        let query = "query ($after: String) { list: conversation(partnerId: \"ann\", limit: 50, markRead: true, after: $after) \
            { nodes { content unread } pageInfo { hasNextPage endCursor } } }";
        let marked = while_writing(&ann, &ben, 40, ben.pages(query, json!({}))).await;
        assert!(marked.len() >= 120);
        assert!(marked.iter().all(|message| message["unread"] == false));
        let unread = usize::try_from(ben.unread_count().await).unwrap();
        assert_eq!(unread, 160 - marked.len(), "exactly what was returned is read");
    }

    async fn a_client_that_knows_only_signals_ends_with_the_same_state(server: &TestServer) {
        let people = join_all((0..4).map(|n| async move { server.user(&format!("user {n}")).await })).await;
        for person in &people[1..] {
            person.send(&people[0], "before").await;
            people[0].send(person, "before").await;
        }
        let ann = people[0].clone();
        let client = async {
            let mut client = Client::load(&ann).await;
            client.follow(&ann).await;
            client
        };
        let (client, ()) = tokio::join!(client, async {
            crate::harness::load::chatter(std::slice::from_ref(&people), 40).await;
            let last = people[1].send(&people[0], "the end").await;
            people[0].read(&last).await;
        });
        let fresh = Client::load(&ann).await;
        assert_eq!((client.inbox, client.partners, client.unread), (fresh.inbox, fresh.partners, fresh.unread));
    }
}

/// What an application holds: lists, kept up to date by signals alone.
struct Client {
    cursor: String,
    /// The unread count, with the cursor of the event that told it.
    inbox: i64,
    counted: String,
    /// Each partner's unread count and last message.
    partners: BTreeMap<String, (i64, String)>,
    partner_counted: BTreeMap<String, String>,
    unread: BTreeMap<String, String>,
    /// What was told to be read: an older event cannot make it unread again.
    read: HashSet<String>,
}

impl Client {
    async fn load(user: &User) -> Self {
        let query = "{ signalCursor inbox { unreadCount } \
            conversationPartners(first: 100) { nodes { user { id } unreadCount lastMessage { id } } } \
            unreadMessages(first: 100) { nodes { id content } pageInfo { hasNextPage endCursor } } }";
        let data = user.data(query, json!({})).await;
        let cursor = data["signalCursor"].as_str().unwrap().to_owned();
        let mut client = Self {
            counted: cursor.clone(),
            inbox: data["inbox"]["unreadCount"].as_i64().unwrap(),
            partners: BTreeMap::new(),
            partner_counted: BTreeMap::new(),
            unread: BTreeMap::new(),
            read: HashSet::new(),
            cursor,
        };
        for partner in data["conversationPartners"]["nodes"].as_array().unwrap() {
            client.take_partner(partner);
        }
        assert_eq!(data["unreadMessages"]["pageInfo"]["hasNextPage"], false);
        for message in data["unreadMessages"]["nodes"].as_array().unwrap() {
            client
                .unread
                .insert(id(message), message["content"].to_string());
        }
        client
    }

    fn take_partner(&mut self, partner: &Value) {
        let count = partner["unreadCount"].as_i64().unwrap();
        let who = partner["user"]["id"].as_str().unwrap().to_owned();
        self.partners
            .insert(who, (count, id(&partner["lastMessage"])));
    }

    /// Follows both subscriptions, until the message that is sent and read last.
    async fn follow(&mut self, user: &User) {
        let mut sent = user.listen("messageSent", Some(&self.cursor)).await;
        let mut read = user.listen("messageRead", Some(&self.cursor)).await;
        let (mut all_sent, mut all_read) = (false, false);
        while !(all_sent && all_read) {
            let event = tokio::select! {
                event = sent.next(), if !all_sent => { all_sent = is_last(&event); event }
                event = read.next(), if !all_read => { all_read = is_last(&event); event }
            };
            self.apply(user, &event);
        }
    }

    fn apply(&mut self, user: &User, event: &Value) {
        let cursor = event["cursor"].as_str().unwrap().to_owned();
        if cursor >= self.counted {
            self.inbox = event["inbox"]["unreadCount"].as_i64().unwrap();
            self.counted.clone_from(&cursor);
        }
        let side = &event["conversationPartner"];
        let who = side["user"]["id"].as_str().unwrap().to_owned();
        let counted = self.partner_counted.entry(who).or_default();
        if cursor >= *counted {
            *counted = cursor;
            self.take_partner(side);
        }
        let message = &event["message"];
        if message["unread"] == false {
            self.read.insert(id(message));
            self.unread.remove(&id(message));
        } else if event["recipient"]["id"] == user.id && !self.read.contains(&id(message)) {
            self.unread
                .insert(id(message), message["content"].to_string());
        }
    }
}

fn is_last(event: &Value) -> bool {
    event["message"]["content"] == "the end"
}
