//! The protocol graphql-transport-ws: what runs on a socket, and how it ends.

use serde_json::json;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use crate::harness::{
    Fixture as _,
    database::Kind,
    server::{TestServer, tokens},
    socket::{Heard, Socket, subscription},
};

const VIEWER: &str = "{ viewer { id } }";

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_protocol_ends_the_socket_with_its_code() {
    let server = TestServer::with(Kind::Sqlite, &["--socket-init-timeout", "0.2"]).await;
    let ann = server.user("ann").await;

    let mut silent = Socket::open(server.address).await;
    assert_eq!(silent.closed().await, 4408);

    let mut hasty = Socket::open(server.address).await;
    hasty.subscribe("1", VIEWER, json!({})).await;
    assert_eq!(hasty.closed().await, 4401);

    let mut twice = Socket::of(&ann).await;
    assert_eq!(twice.init(json!({})).await, Heard::Closed(4429));

    let mut same_id = Socket::of(&ann).await;
    same_id
        .subscribe("1", &subscription("messageSent"), json!({}))
        .await;
    same_id
        .subscribe("1", &subscription("messageRead"), json!({}))
        .await;
    assert_eq!(same_id.closed().await, 4409);

    for text in [
        "rubbish",
        "[]",
        "{}",
        r#"{"type":"unknown"}"#,
        r#"{"type":"subscribe","id":"1"}"#,
        r#"{"type":"subscribe","id":1,"payload":{}}"#,
        r#"{"type":"subscribe","id":"1","payload":{"query":1}}"#,
        r#"{"type":"subscribe","id":"1","payload":[]}"#,
        r#"{"type":"subscribe","id":"","payload":{"query":"{ viewer { id } }"}}"#,
        r#"{"type":"subscribe","payload":{"query":"{ viewer { id } }"}}"#,
        r#"{"type":"complete"}"#,
        r#"{"type":"complete","id":1}"#,
        r#"{"type":"ping","payload":"now"}"#,
        r#"{"type":"pong","payload":[]}"#,
        r#"{"type":"connection_ack"}"#,
        r#"{"type":"next","id":"1","payload":{}}"#,
    ] {
        let mut socket = Socket::of(&ann).await;
        socket.send_text(text).await;
        assert_eq!(socket.closed().await, 4400, "{text}");
    }
    let mut binary = Socket::of(&ann).await;
    binary.send_binary(b"{}").await;
    assert_eq!(binary.closed().await, 4400);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_fits_its_close_frame_whole_characters_only() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let ann = server.user("ann").await;
    for padding in ["", "x", "xx"] {
        let mut socket = Socket::of(&ann).await;
        let unknown = padding.to_owned() + &"→".repeat(100);
        socket.send(json!({ "type": unknown })).await;
        assert_eq!(socket.closed().await, 4400);
        let length = socket.reason.len();
        assert!((121..=123).contains(&length), "{length}: {}", socket.reason);
        assert!(socket.reason.ends_with('→'), "{}", socket.reason);
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_cannot_be_taken_ends_the_socket_with_its_code() {
    let server = TestServer::with(Kind::Sqlite, &["--body-limit", "1000"]).await;
    let ann = server.user("ann").await;
    let not_utf8 = Frame::message(vec![0xff], OpCode::Data(Data::Text), true);
    let reserved = Frame::message(vec![], OpCode::Data(Data::Reserved(3)), true);
    for (frame, code, reason) in [
        (
            Message::text("x".repeat(1_001)),
            1009,
            "Message too long: send at most 1000 bytes",
        ),
        // Far more than stands in any buffer on the way: the client has not sent it all when it is told.
        (
            Message::text("x".repeat(1 << 24)),
            1009,
            "Message too long: send at most 1000 bytes",
        ),
        (Message::Frame(not_utf8), 1007, "The text is not UTF-8"),
        (
            Message::Frame(reserved),
            1002,
            "Encountered invalid opcode: 3",
        ),
    ] {
        let mut socket = Socket::of(&ann).await;
        socket.send_frame(frame).await;
        assert_eq!(socket.closed().await, code);
        assert_eq!(socket.reason, reason);
    }
    let mut socket = Socket::of(&ann).await;
    let ping = json!({ "type": "ping", "payload": { "x": "x".repeat(900) } });
    socket.send(ping.clone()).await;
    assert_eq!(socket.message().await["payload"], ping["payload"]);
    drop(socket);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_used_again_tells_nothing_of_before() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let start = ben.signal_cursor().await;
    for n in 0..30 {
        ann.send(&ben, &n.to_string()).await;
    }
    let named = |name: &str| {
        format!(
            "subscription ($after: String) {{ {name}: messageSent(after: $after) {{ message {{ content }} }} }}"
        )
    };
    let mut socket = Socket::of(&ben).await;
    for round in 0..20 {
        let (old, new) = (format!("old{round}"), format!("new{round}"));
        let variables = json!({ "after": start });
        socket.subscribe("1", &named(&old), variables.clone()).await;
        // The first is told, and others are on their way.
        while socket.message().await["payload"]["data"]
            .get(&old)
            .is_none()
        {}
        socket.send(json!({ "type": "complete", "id": "1" })).await;
        socket.subscribe("1", &named(&new), variables).await;
        let mut heard = 0;
        while heard < 30 {
            let message = socket.message().await;
            assert_eq!(
                (&message["type"], &message["id"]),
                (&json!("next"), &json!("1"))
            );
            let data = &message["payload"]["data"];
            assert!(heard == 0 || data.get(&old).is_none(), "{message}");
            if let Some(event) = data.get(&new) {
                assert_eq!(event["message"]["content"], heard.to_string());
                heard += 1;
            }
        }
        socket.send(json!({ "type": "complete", "id": "1" })).await;
    }
    drop(socket);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_is_not_echoed_and_may_come_at_any_time() {
    let server = TestServer::with(Kind::Sqlite, &["--socket-operations", "1"]).await;
    let ann = server.user("ann").await;
    let mut socket = Socket::of(&ann).await;
    let complete = json!({ "type": "complete", "id": "1" });
    socket.send(complete.clone()).await;
    socket.settle().await;
    for _ in 0..5 {
        let query = subscription("messageSent");
        socket.subscribe("1", &query, json!({})).await;
        socket.send(complete.clone()).await;
        socket.send(complete.clone()).await;
        // Nothing stands between: no echo, and no refusal, as there was room again.
        socket.settle().await;
    }
    // The server has completed it already: nothing to do for the client's own.
    socket.subscribe("1", VIEWER, json!({})).await;
    assert_eq!(socket.message().await["type"], "next");
    assert_eq!(socket.message().await, complete);
    socket.send(complete).await;
    socket.settle().await;
    drop(socket);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_has_one_root_field() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let mut socket = Socket::of(&server.user("ann").await).await;
    for query in [
        "subscription { messageSent { cursor } messageRead { cursor } }",
        "subscription { messageSent { cursor } again: messageSent { cursor } }",
        "subscription { messageSent { cursor } ...More } fragment More on Subscription { messageRead { cursor } }",
        "subscription { __typename }",
    ] {
        socket.subscribe("1", query, json!({})).await;
        let refused = socket.message().await;
        assert_eq!(refused["type"], "error", "{query}: {refused}");
        let code = &refused["payload"][0]["extensions"]["code"];
        assert_eq!(code, "GRAPHQL_VALIDATION_FAILED", "{query}: {refused}");
    }
    drop(socket);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_that_answers_pings_stays() {
    let server = TestServer::with(Kind::Sqlite, &["--keep-alive", "0.3"]).await;
    let ann = server.user("ann").await;
    let mut socket = Socket::of(&ann).await;
    for _ in 0..5 {
        let Heard::Message(ping) = socket.hear_all().await else {
            panic!("it was closed: {}", socket.reason);
        };
        assert_eq!(ping, json!({ "type": "ping" }));
    }
    socket.subscribe("1", VIEWER, json!({})).await;
    assert_eq!(socket.message().await["type"], "next");
    drop(socket);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_takes_its_socket_along() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let mut ann = server.user("ann").await;
    ann.token = Some(tokens().mint("ann", None, false, 2).unwrap());
    let mut listener = ann.listen("messageSent", None).await;
    assert_eq!(listener.socket.closed().await, 4403);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_ends_a_subscription_and_frees_its_id() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let start = ben.signal_cursor().await;
    let mut listener = ben.listen("messageSent", Some(&start)).await;
    listener
        .socket
        .send(json!({ "type": "complete", "id": "1" }))
        .await;
    listener.socket.settle().await;
    ann.send(&ben, "hello").await;
    let read = subscription("messageRead");
    listener
        .socket
        .subscribe("1", &read, json!({ "after": start }))
        .await;
    let message = ann.send(&ben, "marker").await;
    ben.read(&message).await;
    let event = listener.socket.message().await;
    assert_eq!(
        event["payload"]["data"]["messageRead"]["message"]["content"], "marker",
        "{event}"
    );
    drop(listener);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_and_mutations_run_on_a_socket_too() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let mut socket = Socket::of(&ann).await;
    let query = crate::harness::user::send_mutation();
    let variables = crate::harness::user::send_variables("ben", "hello", None);
    socket.subscribe("send", &query, variables).await;
    let sent = socket.message().await;
    assert_eq!(
        sent["payload"]["data"]["sendMessage"]["message"]["content"], "hello",
        "{sent}"
    );
    assert_eq!(
        socket.message().await,
        json!({ "type": "complete", "id": "send" })
    );
    assert_eq!(ben.unread_count().await, 1);
    socket.subscribe("bad", "{ nothing }", json!({})).await;
    let refused = socket.message().await;
    assert_eq!(refused["type"], "error", "{refused}");
    assert_eq!(
        refused["payload"][0]["extensions"]["code"],
        "GRAPHQL_VALIDATION_FAILED"
    );
    drop(socket);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_takes_only_so_many_operations() {
    let server = TestServer::with(Kind::Sqlite, &["--socket-operations", "2"]).await;
    let ann = server.user("ann").await;
    let mut socket = Socket::of(&ann).await;
    for id in ["1", "2", "3"] {
        socket
            .subscribe(id, &subscription("messageSent"), json!({}))
            .await;
    }
    let refused = socket.message().await;
    assert_eq!(
        (&refused["type"], &refused["id"]),
        (&json!("error"), &json!("3"))
    );
    assert_eq!(refused["payload"][0]["extensions"]["code"], "RATE_LIMITED");
    drop(socket);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_answers_no_ping_is_dropped() {
    let server = TestServer::with(Kind::Sqlite, &["--keep-alive", "0.1"]).await;
    let mut socket = Socket::of(&server.user("ann").await).await;
    socket.settle().await;
    socket.answers = false;
    assert_eq!(
        socket.closed().await,
        1006,
        "no word of farewell to who is gone"
    );
    server.finish().await;
}
