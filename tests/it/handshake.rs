//! Who may open a socket, and how many: tokens, protocols, origins.

use directmessages::{auth::Tokens, chat::Clock};
use serde_json::json;
use tokio_tungstenite::tungstenite;

use crate::harness::{
    Fixture as _,
    database::{Kind, TestDatabase},
    proxy::Proxy,
    server::{TestServer, tokens},
    socket::{Heard, Socket},
};

const VIEWER: &str = "{ viewer { id } }";
const OURS: (&str, &str) = ("sec-websocket-protocol", "graphql-transport-ws");

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
async fn our_protocol_is_chosen_wherever_it_is_offered() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let token = server.user("ann").await.token.unwrap();
    for offers in [
        "graphql-transport-ws",
        "graphql-ws, graphql-transport-ws",
        "graphql-transport-ws,graphql-ws",
    ] {
        let headers = [("sec-websocket-protocol", offers)];
        let mut socket = Socket::open_with(server.address, &headers).await.unwrap();
        assert_eq!(socket.protocol, "graphql-transport-ws", "{offers}");
        let payload = json!({ "authorization": format!("Bearer {token}") });
        assert_eq!(socket.init(payload).await, acknowledged());
    }
    // What was offered is agreed to, so that the client hears why it is sent away.
    for (offers, agreed) in [
        (None, ""),
        (Some("graphql-ws"), "graphql-ws"),
        (Some("mqtt"), "mqtt"),
    ] {
        let headers: Vec<_> = offers
            .map(|offers| ("sec-websocket-protocol", offers))
            .into_iter()
            .collect();
        let mut socket = Socket::open_with(server.address, &headers).await.unwrap();
        assert_eq!(socket.protocol, agreed);
        assert_eq!(socket.closed().await, 4406, "{offers:?}");
        assert!(socket.reason.contains("graphql-transport-ws"));
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_open_no_socket() {
    let listed = "https://app.example, http://localhost:3000,https://Other.example:443";
    let own = TestServer::with(Kind::Sqlite, &[]).await;
    let some = TestServer::with(Kind::Sqlite, &["--allowed-origins", listed]).await;
    let any = TestServer::with(Kind::Sqlite, &["--allowed-origins", "*"]).await;
    for (origin, of_own, of_some) in [
        (None, true, true),
        (Some("http://{host}"), true, true),
        // TLS may end before the server.
        (Some("https://{host}"), true, true),
        (Some("http://127.0.0.1"), false, false),
        (Some("https://app.example"), false, true),
        (Some("http://localhost:3000"), false, true),
        (Some("https://other.example"), false, true),
        (Some("http://app.example"), false, false),
        (Some("https://app.example:8443"), false, false),
        (Some("https://app.example.evil.example"), false, false),
        (
            Some("https://evil.example/https://app.example"),
            false,
            false,
        ),
        (Some("null"), false, false),
        (Some(""), false, false),
    ] {
        for (server, opens) in [(&own, of_own), (&some, of_some), (&any, true)] {
            let origin = origin.map(|o| o.replace("{host}", &server.address.to_string()));
            let headers: Vec<_> = [OURS]
                .into_iter()
                .chain(origin.as_deref().map(|origin| ("origin", origin)))
                .collect();
            match Socket::open_with(server.address, &headers).await {
                Ok(_) => assert!(opens, "{origin:?} opened a socket"),
                Err(tungstenite::Error::Http(response)) => {
                    assert!(!opens, "{origin:?} opened none");
                    assert_eq!(response.status().as_u16(), 403);
                    let body = response.body().as_deref().unwrap();
                    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
                    assert_eq!(body["errors"][0]["extensions"]["code"], "FORBIDDEN");
                    let message = body["errors"][0]["message"].as_str().unwrap();
                    assert!(message.contains("ALLOWED_ORIGINS"), "{message}");
                }
                Err(error) => panic!("{origin:?}: {error}"),
            }
        }
    }
    for server in [own, some, any] {
        server.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_port_of_an_origin_counts_as_none() {
    let own = TestServer::with(Kind::Sqlite, &[]).await;
    let listed = "https://app.example";
    let some = TestServer::with(Kind::Sqlite, &["--allowed-origins", listed]).await;
    for (origin, host, opens) in [
        ("wss://chat.example:443", "chat.example", true),
        ("wss://chat.example", "chat.example:443", true),
        ("https://chat.example:443", "chat.example", true),
        ("ws://chat.example:80", "chat.example", true),
        ("http://chat.example", "chat.example:80", true),
        ("https://app.example:443", "chat.example", true),
        ("ws://chat.example:443", "chat.example", false),
        ("wss://chat.example:80", "chat.example", false),
        ("wss://chat.example:8443", "chat.example", false),
    ] {
        let server = if origin.contains("app") { &some } else { &own };
        let headers = [OURS, ("origin", origin), ("host", host)];
        let opened = Socket::open_with(server.address, &headers).await;
        assert_eq!(opened.is_ok(), opens, "{origin} at {host}");
    }
    for server in [own, some] {
        server.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_only_so_many_sockets() {
    let server = TestServer::with(Kind::Sqlite, &["--sockets-per-user", "2"]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let service = tokens().mint("host", None, true, 60).unwrap();
    let first = Socket::of(&ann).await;
    // Whoever acts for a user takes of the user's.
    let mut second = Socket::open(server.address).await;
    let authorization = format!("Bearer {service}");
    let acting = json!({ "authorization": authorization, "actAs": "ann" });
    assert_eq!(second.init(acting).await, acknowledged());
    let mut third = Socket::open(server.address).await;
    let token = ann.token.as_deref().unwrap();
    let payload = json!({ "authorization": format!("Bearer {token}") });
    // Not 4429, which graphql-ws takes for the end: this client is to come again, later.
    assert_eq!(third.init(payload).await, Heard::Closed(1013));
    assert!(
        third.reason.starts_with("RATE_LIMITED: at most 2"),
        "{}",
        third.reason
    );
    drop(Socket::of(&ben).await);
    drop(first);
    crate::harness::until("there is room again", async || {
        Socket::try_of(&ann).await.is_ok()
    })
    .await;
    drop(second);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_a_newcomer_is_asked_to_come_again() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let proxy = Proxy::start().await;
    let flags = ["--connect-timeout", "0.3"];
    let server = TestServer::at(&proxy.url(&database), &flags, Clock::system()).await;
    server.user("ben").await;
    proxy.close();
    let stranger = tokens().mint("ann", None, false, 60).unwrap();
    let mut socket = Socket::open(server.address).await;
    let payload = json!({ "authorization": format!("Bearer {stranger}") });
    assert_eq!(socket.init(payload).await, Heard::Closed(1013));
    assert!(
        socket.reason.starts_with("UNAVAILABLE"),
        "{}",
        socket.reason
    );
    proxy.open();
    server.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_given_twice_opens_no_socket() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let token = server.user("ann").await.token.unwrap();
    let other = server.user("ben").await.token.unwrap();
    let (first, second) = (format!("Bearer {token}"), format!("Bearer {other}"));
    for (name, values) in [
        ("authorization", [first.as_str(), &second]),
        ("authorization", [&first, &first]),
        ("x-act-as", ["ann", "ben"]),
        ("origin", ["http://{host}", "https://evil.example"]),
    ] {
        let host = server.address.to_string();
        let values = values.map(|value| value.replace("{host}", &host));
        let headers = [OURS, (name, &values[0]), (name, &values[1])];
        let refused = Socket::open_with(server.address, &headers).await.err();
        let Some(tungstenite::Error::Http(response)) = refused else {
            panic!("the upgrade with two {name} is rejected: {refused:?}");
        };
        assert_eq!(response.status().as_u16(), 400);
        let body = response.body().as_deref().unwrap();
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        assert_eq!(body["errors"][0]["extensions"]["code"], "BAD_REQUEST");
        let message = body["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(name), "{message}");
    }
    let service = tokens().mint("host", None, true, 60).unwrap();
    let service = format!("Bearer {service}");
    let headers = [OURS, ("authorization", &service), ("x-act-as", "ann")];
    let refused = Socket::open_with(server.address, &headers).await.err();
    let Some(tungstenite::Error::Http(response)) = refused else {
        panic!("X-Act-As is not ignored: {refused:?}");
    };
    assert_eq!(response.status().as_u16(), 400);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_payload_speaks_for_is_never_guessed() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let ann = server.user("ann").await.token.unwrap();
    let ann = format!("Bearer {ann}");
    let service = tokens().mint("host", None, true, 60).unwrap();
    let service = format!("Bearer {service}");
    for (payload, code, reason) in [
        (
            json!({ "authorization": service, "actAs": 7 }),
            4400,
            "actAs is no string",
        ),
        (
            json!({ "authorization": service, "actAs": null }),
            4400,
            "actAs is no string",
        ),
        (
            json!({ "authorization": service, "actas": "ann" }),
            4400,
            "named by actAs alone",
        ),
        (
            json!({ "authorization": service, "act_as": "ann" }),
            4400,
            "named by actAs alone",
        ),
        (
            json!({ "authorization": service, "Act-As": "ann" }),
            4400,
            "named by actAs alone",
        ),
        (
            json!({ "authorization": service, "X-Act-As": "ann" }),
            4400,
            "named by actAs alone",
        ),
        (
            json!({ "authorization": service, "actAs": "ann", "ACT_AS": "ben" }),
            4400,
            "named by actAs alone",
        ),
        (
            json!({ "authorization": ann, "Authorization": ann }),
            4400,
            "authorization is given twice",
        ),
        (
            json!({ "authorization": 7 }),
            4403,
            "authorization is no string",
        ),
        (
            json!({ "Authorization": null }),
            4403,
            "authorization is no string",
        ),
        (
            json!({ "authorization": [ann] }),
            4403,
            "authorization is no string",
        ),
    ] {
        let mut socket = Socket::open(server.address).await;
        assert_eq!(
            socket.init(payload.clone()).await,
            Heard::Closed(code),
            "{payload}"
        );
        assert!(
            socket.reason.contains(reason),
            "{payload}: {}",
            socket.reason
        );
    }
    // A value that is no string is no reason to take the upgrade's token.
    let headers = [OURS, ("authorization", ann.as_str())];
    let mut socket = Socket::open_with(server.address, &headers).await.unwrap();
    assert_eq!(
        socket.init(json!({ "authorization": null })).await,
        Heard::Closed(4403)
    );
    // Other keys are ignored.
    let mut socket = Socket::open(server.address).await;
    let payload = json!({ "authorization": ann, "acting": "ben", "headers": { "X-Act-As": "ben" }, "tokens": 7 });
    assert_eq!(socket.init(payload).await, acknowledged());
    drop(socket);
    server.finish().await;
}
