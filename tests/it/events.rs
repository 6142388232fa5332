//! Subscriptions as server-sent events, in the distinct connections mode of graphql-sse.

use directmessages::chat::Clock;
use serde_json::{Value, json};

use crate::harness::{
    Fixture as _,
    database::{Kind, TestDatabase},
    events::{Block, EventStream},
    proxy::Proxy,
    server::{TestServer, tokens},
    socket::{Socket, subscription},
    until,
    user::{User, send_mutation, send_variables},
};

/// Of the kind that a browser's own `EventSource` would be given: no cursor is selected.
const CONTENTS: &str =
    "subscription ($after: String) { messageSent(after: $after) { message { content } } }";

/// Comes back as a browser does, with the id that it heard last.
async fn come_back(user: &User, last_event_id: &str, after: &str) -> EventStream {
    let headers = [("last-event-id", last_event_id)];
    let response = user.stream(CONTENTS, json!({ "after": after }), &headers);
    EventStream::of(response.await)
}

/// The only result of a stream, which ends at once.
async fn only_result(response: reqwest::Response) -> Value {
    let mut stream = EventStream::of(response);
    let result = stream.next().await;
    assert!(stream.ends_complete().await, "{result}");
    assert_eq!(
        stream.last_event_id, "",
        "a result alone is no place to go on from"
    );
    result
}

on_both_databases! {
    async fn every_event_has_its_cursor_as_its_id(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let start = ben.signal_cursor().await;
        let mut stream = EventStream::of(ben.stream(CONTENTS, json!({ "after": start }), &[]).await);
        let mut listener = ben.listen("messageSent", Some(&start)).await;
        for text in ["one", "two", "three"] {
            ann.send(&ben, text).await;
            let event = stream.next().await;
            assert_eq!(event, json!({ "data": { "messageSent": { "message": { "content": text } } } }));
            assert_eq!(stream.last_event_id, listener.next().await["cursor"]);
        }
    }

    async fn last_event_id_wins_over_after(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let start = ben.signal_cursor().await;
        let mut stream = EventStream::listen(&ben, "messageSent", &start).await;
        for text in ["one", "two", "three"] {
            ann.send(&ben, text).await;
        }
        assert_eq!(stream.contents_until("messageSent", "two").await, ["one", "two"]);
        let heard = stream.last_event_id.clone();
        drop(stream);
        ann.send(&ben, "four").await;
        let mut again = come_back(&ben, &heard, &start).await;
        assert_eq!(again.contents_until("messageSent", "four").await, ["three", "four"]);
        // An empty id is none.
        let mut anew = come_back(&ben, "", &start).await;
        assert_eq!(anew.contents_until("messageSent", "four").await, ["one", "two", "three", "four"]);
        let without = "subscription { messageSent { message { content } } }";
        let mut later = EventStream::of(ben.stream(without, json!({}), &[("last-event-id", &heard)]).await);
        assert_eq!(later.contents_until("messageSent", "four").await, ["three", "four"]);
    }

    async fn a_subscription_that_is_refused_is_over(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let (start, others) = (ben.signal_cursor().await, ann.signal_cursor().await);
        ann.send(&ben, "one").await;
        server.database().execute("UPDATE inbox SET log_floor = 1").await;
        for (last_event_id, code) in [("rubbish", "BAD_USER_INPUT"), (&others, "BAD_USER_INPUT"), (&start, "CURSOR_EXPIRED")] {
            let now = ben.signal_cursor().await;
            let headers = [("last-event-id", last_event_id)];
            let refused = only_result(ben.stream(CONTENTS, json!({ "after": now }), &headers).await).await;
            assert_eq!(refused["errors"][0]["extensions"]["code"], code, "{refused}");
            assert!(refused.get("data").is_none(), "{refused}");
        }
        let partner = json!({ "partner": "nobody" });
        let refused = only_result(ben.stream(&subscription("messageSent"), partner, &[]).await).await;
        assert_eq!(refused["errors"][0]["extensions"]["code"], "USER_NOT_FOUND");
    }

    async fn comments_tell_a_quiet_listener_how_far_it_is(database: &TestDatabase) {
        let server = TestServer::on(database, &["--keep-alive", "0.2"]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let start = ben.signal_cursor().await;
        let mut stream = EventStream::listen(&ben, "messageRead", &start).await;
        let message = ann.send(&ben, "hello").await;
        let end = ben.signal_cursor().await;
        // The position stands before what tells the streams apart.
        while stream.last_event_id.len() < end.len() || stream.last_event_id[..50] < end[..50] {
            assert_eq!(stream.block().await, Some(Block::Quiet), "nothing was read yet");
        }
        let progress = stream.last_event_id.clone();
        ben.read(&message).await;
        assert_eq!(stream.contents_until("messageRead", "hello").await, ["hello"]);
        let mut again = EventStream::listen(&ben, "messageRead", &progress).await;
        assert_eq!(again.contents_until("messageRead", "hello").await, ["hello"]);
        drop((stream, again));
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_on_the_way_keeps_or_holds_back_a_stream() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let response = server
        .user("ann")
        .await
        .stream(CONTENTS, json!({}), &[])
        .await;
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    drop(response);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_and_mutations_are_one_event_and_the_end() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let variables = send_variables("ben", "hello", None);
    let sent = only_result(ann.stream(&send_mutation(), variables, &[]).await).await;
    let message = &sent["data"]["sendMessage"]["message"];
    assert_eq!(message["content"], "hello", "{sent}");
    let viewer = only_result(ben.stream("{ viewer { id } }", json!({}), &[]).await).await;
    assert_eq!(viewer, json!({ "data": { "viewer": { "id": "ben" } } }));
    let refused = only_result(ben.stream("{ nothing }", json!({}), &[]).await).await;
    let code = &refused["errors"][0]["extensions"]["code"];
    assert_eq!(code, "GRAPHQL_VALIDATION_FAILED", "{refused}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_get_a_stream_listens_and_changes_nothing() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let get = async |query: &str| {
        let url = format!("http://{}/graphql", server.address);
        let mut url = reqwest::Url::parse(&url).unwrap();
        url.query_pairs_mut().append_pair("query", query);
        let request = server
            .http
            .get(url)
            .bearer_auth(ben.token.as_ref().unwrap());
        request
            .header("accept", "text/event-stream")
            .send()
            .await
            .unwrap()
    };
    let start = ben.signal_cursor().await;
    let query =
        format!("subscription {{ messageSent(after: {start:?}) {{ message {{ content }} }} }}");
    let mut stream = EventStream::of(get(&query).await);
    ann.send(&ben, "hello").await;
    assert_eq!(
        stream.contents_until("messageSent", "hello").await,
        ["hello"]
    );
    for query in [
        "mutation { readConversation(input: { partnerId: \"ann\" }) { readCount } }",
        "{ conversation(partnerId: \"ann\", markRead: true) { nodes { id } } }",
    ] {
        let refused = get(query).await;
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()["allow"]),
            (405, &"POST".parse().unwrap())
        );
        let body: Value = refused.json().await.unwrap();
        assert_eq!(
            body["errors"][0]["extensions"]["code"],
            "SIDE_EFFECT_REQUIRES_POST"
        );
    }
    assert_eq!(ben.unread_count().await, 1);
    drop(stream);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_prefers_a_stream_gets_one() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let ann = server.user("ann").await;
    for (accept, streams) in [
        ("text/event-stream", true),
        ("TEXT/EVENT-STREAM; q=0.9, application/json;q=0.8", true),
        ("text/event-stream, application/json", true),
        ("application/json, text/event-stream", false),
        ("application/json, text/event-stream;q=0.9", false),
        ("text/event-stream;q=0, */*;q=0.1", false),
        ("*/*", false),
    ] {
        let url = format!("http://{}/graphql", server.address);
        let request = server.http.post(url).header("accept", accept);
        let request = request.bearer_auth(ann.token.as_ref().unwrap());
        let response = request
            .json(&json!({ "query": "{ viewer { id } }" }))
            .send()
            .await
            .unwrap();
        let media_type = response.headers()["content-type"].to_str().unwrap();
        assert_eq!(
            media_type.starts_with("text/event-stream"),
            streams,
            "{accept}: {media_type}"
        );
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_takes_its_stream_along() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let mut ann = server.user("ann").await;
    ann.token = Some(tokens().mint("ann", None, false, 2).unwrap());
    let start = ann.signal_cursor().await;
    let mut stream = EventStream::listen(&ann, "messageSent", &start).await;
    assert!(!stream.ends_complete().await, "the client is to come back");
    let refused = ann.stream(CONTENTS, json!({}), &[]).await;
    assert_eq!(refused.status().as_u16(), 401);
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_lets_its_streams_come_again() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let server = TestServer::on(&database, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let start = ben.signal_cursor().await;
    let mut stream = EventStream::listen(&ben, "messageSent", &start).await;
    ann.send(&ben, "before").await;
    assert_eq!(
        stream.contents_until("messageSent", "before").await,
        ["before"]
    );
    let (complete, _) = tokio::join!(stream.ends_complete(), server.stop());
    assert!(!complete, "the client is to come back");
    let again = TestServer::on(&database, &[]).await;
    ann.at(again.address).send(&ben, "after").await;
    let mut stream = come_back(&ben.at(again.address), &stream.last_event_id, &start).await;
    assert_eq!(
        stream.contents_until("messageSent", "after").await,
        ["after"]
    );
    drop(stream);
    again.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_hangs_up_makes_room_for_another() {
    let server = TestServer::with(Kind::Sqlite, &["--sockets-per-user", "2"]).await;
    let ann = server.user("ann").await;
    let socket = Socket::of(&ann).await;
    let stream = EventStream::listen(&ann, "messageSent", &ann.signal_cursor().await).await;
    let refused = ann.stream(CONTENTS, json!({}), &[]).await;
    assert_eq!(refused.status().as_u16(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["errors"][0]["extensions"]["code"], "RATE_LIMITED");
    let refused = Socket::try_of(&ann)
        .await
        .err()
        .expect("there are two already");
    assert!(
        refused.reason.starts_with("RATE_LIMITED: at most 2"),
        "{}",
        refused.reason
    );
    let other = server.user("ben").await;
    drop(Socket::of(&other).await);

    drop(stream);
    let mut second = None;
    until("there is room for a socket", async || {
        second = Socket::try_of(&ann).await.ok();
        second.is_some()
    })
    .await;
    drop(socket);
    until("there is room for a stream", async || {
        ann.stream(CONTENTS, json!({}), &[]).await.status().as_u16() == 200
    })
    .await;
    drop(second);
    server.finish().await;
}

/// Two servers of one database: one that reaches it slowly, and another.
async fn slow_and_fast(database: &TestDatabase, proxy: &Proxy) -> (TestServer, TestServer) {
    let slow = TestServer::at(&proxy.url(database), &[], Clock::system()).await;
    (slow, TestServer::on(database, &[]).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_after_the_first_comment_is_delivered() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let proxy = Proxy::start().await;
    let (slow, fast) = slow_and_fast(&database, &proxy).await;
    let (ann, ben) = (fast.user("ann").await, slow.user("ben").await);
    proxy.lag(100);
    let mut stream = EventStream::of(ben.stream(CONTENTS, json!({}), &[]).await);
    assert_eq!(stream.block().await, Some(Block::Quiet));
    ann.send(&ben, "hello").await;
    proxy.heal();
    ann.send(&ben, "again").await;
    assert_eq!(
        stream.contents_until("messageSent", "again").await,
        ["hello", "again"]
    );
    drop(stream);
    slow.stop().await;
    fast.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_after_a_socket_took_the_subscription_is_delivered() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let proxy = Proxy::start().await;
    let (slow, fast) = slow_and_fast(&database, &proxy).await;
    let (ann, ben) = (fast.user("ann").await, slow.user("ben").await);
    let mut socket = Socket::of(&ben).await;
    proxy.lag(100);
    socket.subscribe("1", CONTENTS, json!({})).await;
    socket.settle().await;
    ann.send(&ben, "hello").await;
    proxy.heal();
    let event = socket.message().await;
    let content = &event["payload"]["data"]["messageSent"]["message"]["content"];
    assert_eq!(content, "hello", "{event}");
    drop(socket);
    slow.stop().await;
    fast.stop().await;
    database.finish().await;
}
