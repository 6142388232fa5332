//! The protocol graphql-transport-ws: who may open a socket, how it ends, and what runs on it.

use directmessages::auth::Tokens;
use serde_json::json;

use crate::harness::{
    Fixture as _,
    database::Kind,
    server::{TestServer, tokens},
    socket::{Heard, Socket, subscription},
};

const VIEWER: &str = "{ viewer { id } }";

fn acknowledged() -> Heard {
    Heard::Message(json!({ "type": "connection_ack" }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_comes_in_the_upgrade_or_in_the_payload_in_any_case() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let token = server.user("ann").await.token.unwrap();
    for payload in [
        json!({ "authorization": format!("Bearer {token}") }),
        json!({ "Authorization": format!("bearer {token}") }),
        json!({ "AUTHORIZATION": format!("BEARER {token}") }),
    ] {
        let mut socket = Socket::open(server.address).await;
        assert_eq!(socket.init(payload).await, acknowledged());
        socket.subscribe("1", VIEWER, json!({})).await;
        assert_eq!(
            socket.message().await["payload"]["data"]["viewer"]["id"],
            "ann"
        );
    }
    let header = format!("Bearer {token}");
    let headers = [
        ("sec-websocket-protocol", "graphql-transport-ws"),
        ("authorization", header.as_str()),
    ];
    let mut socket = Socket::open_with(server.address, &headers).await.unwrap();
    assert_eq!(socket.init(json!({})).await, acknowledged());
    socket.subscribe("1", VIEWER, json!({})).await;
    assert_eq!(
        socket.message().await["payload"]["data"]["viewer"]["id"],
        "ann"
    );
    drop(socket);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_without_a_good_token_is_forbidden() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let forged = Tokens::hs256(
        "another secret, which this server does not know",
        None,
        None,
    );
    let forged = forged.mint("ann", None, false, 60).unwrap();
    for payload in [
        json!(null),
        json!({}),
        json!({ "authorization": "" }),
        json!({ "authorization": "Bearer rubbish" }),
        json!({ "authorization": format!("Bearer {forged}") }),
    ] {
        let mut socket = Socket::open(server.address).await;
        assert_eq!(
            socket.init(payload.clone()).await,
            Heard::Closed(4403),
            "{payload}"
        );
    }
    let header = format!("Bearer {forged}");
    let headers = [
        ("sec-websocket-protocol", "graphql-transport-ws"),
        ("authorization", header.as_str()),
    ];
    let refused = Socket::open_with(server.address, &headers).await.err();
    let Some(tokio_tungstenite::tungstenite::Error::Http(response)) = refused else {
        panic!("the upgrade is refused: {refused:?}");
    };
    assert_eq!(response.status().as_u16(), 401);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_acts_for_a_user_on_a_socket() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    server.user("ann").await;
    let service = tokens().mint("host", None, true, 60).unwrap();
    let authorization = format!("Bearer {service}");
    let mut socket = Socket::open(server.address).await;
    let payload = json!({ "authorization": authorization, "actAs": "ann" });
    assert_eq!(socket.init(payload).await, acknowledged());
    socket.subscribe("1", VIEWER, json!({})).await;
    assert_eq!(
        socket.message().await["payload"]["data"]["viewer"]["id"],
        "ann"
    );
    let mut socket = Socket::open(server.address).await;
    let payload = json!({ "authorization": authorization, "actAs": "nobody" });
    assert_eq!(socket.init(payload).await, Heard::Closed(4403));
    drop(socket);
    server.finish().await;
}

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
    ] {
        let mut socket = Socket::of(&ann).await;
        socket.send_text(text).await;
        assert_eq!(socket.closed().await, 4400, "{text}");
    }
    let mut binary = Socket::of(&ann).await;
    binary.send_binary(b"{}").await;
    assert_eq!(binary.closed().await, 4400);

    for protocol in [None, Some("graphql-ws")] {
        let headers: Vec<_> = protocol
            .map(|name| ("sec-websocket-protocol", name))
            .into_iter()
            .collect();
        let code = match Socket::open_with(server.address, &headers).await {
            Ok(mut socket) => socket.closed().await,
            // This client itself hangs up where no protocol of its own was chosen.
            Err(tokio_tungstenite::tungstenite::Error::Protocol(_)) => 4406,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(code, 4406);
    }
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
    let server = TestServer::with(Kind::Sqlite, &["--socket-ping", "0.1"]).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_tells_its_listeners_to_come_again() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let ann = server.user("ann").await;
    let mut listener = ann.listen("messageSent", None).await;
    listener.socket.settle().await;
    let (code, database) = tokio::join!(listener.socket.closed(), server.stop());
    assert_eq!(code, 1012);
    database.unwrap().finish().await;
}
