//! Rate limits: what one user, and one address, may ask for in a minute.

use serde_json::{Value, json};

use crate::harness::{Fixture as _, database::Kind, server::TestServer, socket::Socket};

const VIEWER: &str = r#"{"query": "{ viewer { id } }"}"#;

fn retry_after(response: &reqwest::Response) -> u64 {
    let header = &response.headers()["retry-after"];
    header.to_str().unwrap().parse().unwrap()
}

async fn body(response: reqwest::Response) -> Value {
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

fn post(server: &TestServer, token: Option<&str>, json: &str) -> reqwest::RequestBuilder {
    let url = format!("http://{}/graphql", server.address);
    let request = server
        .http
        .post(url)
        .header("content-type", "application/json");
    let request = request.body(json.to_owned());
    match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sends_no_more_than_the_rate_and_others_go_on() {
    let server = TestServer::with(Kind::Sqlite, &["--send-rate", "3"]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    for text in ["1", "2", "3"] {
        ann.sending("ben", text, None).await.data();
    }
    let fourth = ann.sending("ben", "4", None).await;
    assert_eq!(
        (fourth.status, fourth.code().as_str()),
        (429, "RATE_LIMITED")
    );
    assert_eq!(fourth.body.get("data"), None, "nothing was run");
    let send = json!({ "query": "mutation { sendMessage(input: { recipientId: \"ben\", content: \"5\" }) { message { id } } }" });
    let fifth = post(&server, ann.token.as_deref(), &send.to_string())
        .send()
        .await
        .unwrap();
    let seconds = retry_after(&fifth);
    assert!(
        (1..=20).contains(&seconds),
        "one of three a minute comes in 20 seconds, not {seconds}"
    );
    assert_eq!(
        body(fifth).await["errors"][0]["extensions"]["retryAfter"],
        seconds
    );

    ben.sending("ann", "mine is another bucket", None)
        .await
        .data();
    assert_eq!(
        ann.data("{ inbox { unreadCount } }", json!({})).await["inbox"]["unreadCount"],
        1,
        "reading is not sending"
    );
    assert_eq!(
        ben.data("{ inbox { unreadCount } }", json!({})).await["inbox"]["unreadCount"],
        3,
        "no refused send was stored"
    );
    server
        .service()
        .acting_for("ann")
        .sending("ben", "by the application", None)
        .await
        .data();
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_send_of_one_operation_counts() {
    let server = TestServer::with(Kind::Sqlite, &["--send-rate", "3"]).await;
    let ann = server.user("ann").await;
    server.user("ben").await;
    let send = |key| {
        format!(
            "{key}: sendMessage(input: {{ recipientId: \"ben\", content: \"{key}\" }}) {{ message {{ id }} }}"
        )
    };
    let four: String = ["a", "b", "c", "d"].map(send).concat();
    let answer = ann.ask(&format!("mutation {{ {four} }}"), json!({})).await;
    assert_eq!(answer.code(), "RATE_LIMITED");
    let three: String = ["a", "b", "c"].map(send).concat();
    ann.ask(&format!("mutation {{ {three} }}"), json!({}))
        .await
        .data();
    assert_eq!(ann.sending("ben", "e", None).await.code(), "RATE_LIMITED");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn costly_operations_use_a_user_s_budget_up_sooner() {
    let server = TestServer::with(Kind::Sqlite, &["--cost-rate", "5000"]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let page = |size: u32| {
        format!(
            "{{ unreadMessages(first: {size}) {{ nodes {{ id content sender {{ id username }} recipient {{ id username }} }} }} }}"
        )
    };
    let count = async |size: u32| {
        let mut count = 0;
        loop {
            let user = if size == 1 { &ann } else { &ben };
            let answer = user.ask(&page(size), json!({})).await;
            if answer.status == 429 {
                assert_eq!(answer.code(), "RATE_LIMITED");
                return count;
            }
            answer.data();
            count += 1;
        }
    };
    let (small, large) = (count(1).await, count(100).await);
    assert!(
        large >= 1 && small > 10 * large,
        "{small} small pages and {large} large ones"
    );
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_a_good_token_is_held_back_and_its_users_are_not() {
    let server = TestServer::with(
        Kind::Sqlite,
        &["--address-rate", "4", "--trusted-proxies", "1"],
    )
    .await;
    let from = |request: reqwest::RequestBuilder, address: &str| {
        request.header("x-forwarded-for", address.to_owned())
    };
    let ask = async |token: Option<&str>, address: &str| {
        let response = from(post(&server, token, VIEWER), address)
            .send()
            .await
            .unwrap();
        response.status().as_u16()
    };
    assert_eq!(ask(None, "1.1.1.1").await, 200);
    assert_eq!(ask(Some("rubbish"), "6.6.6.6, 1.1.1.1").await, 401);
    assert_eq!(ask(Some("rubbish"), "1.1.1.1").await, 401);
    assert_eq!(ask(None, "1.1.1.1").await, 200);
    let refused = from(post(&server, None, VIEWER), "1.1.1.1")
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status().as_u16(), 429);
    assert!(retry_after(&refused) <= 15);
    assert_eq!(
        body(refused).await["errors"][0]["extensions"]["code"],
        "RATE_LIMITED"
    );
    assert_eq!(
        ask(Some("rubbish"), "1.1.1.1").await,
        429,
        "nor may it guess at tokens"
    );
    assert_eq!(
        ask(None, "2.2.2.2").await,
        200,
        "another address has a bucket of its own"
    );
    let ann = server.user("ann").await;
    assert_eq!(
        ask(ann.token.as_deref(), "1.1.1.1").await,
        200,
        "a good token is asked by its user"
    );

    let headers = [
        ("sec-websocket-protocol", "graphql-transport-ws"),
        ("x-forwarded-for", "1.1.1.1"),
    ];
    let refused = Socket::open_with(server.address, &headers).await.err();
    let Some(tokio_tungstenite::tungstenite::Error::Http(response)) = refused else {
        panic!("the upgrade is refused: {refused:?}");
    };
    assert_eq!(response.status().as_u16(), 429);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_and_sockets_not_begun_count_for_their_address() {
    let flags = ["--address-rate", "3", "--trusted-proxies", "1"];
    let server = TestServer::with(Kind::Sqlite, &flags).await;
    let ann = server.user("ann").await;
    let token = ann.token.as_deref();
    let status = async |token: Option<&str>, json: &str| {
        let request = post(&server, token, json).header("x-forwarded-for", "1.1.1.1");
        request.send().await.unwrap().status().as_u16()
    };
    // Past the limit nothing is parsed.
    for expected in [400, 400, 400, 429] {
        assert_eq!(status(None, "{").await, expected);
    }
    assert_eq!(status(token, "{").await, 400, "who is known pays for it");
    assert_eq!(status(token, VIEWER).await, 200, "and goes on");

    let authorization = format!("Bearer {}", token.unwrap());
    let nobody = [
        ("sec-websocket-protocol", "graphql-transport-ws"),
        ("x-forwarded-for", "2.2.2.2"),
    ];
    let hers = [nobody[0], nobody[1], ("authorization", &authorization)];
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(Socket::open_with(server.address, &nobody).await.unwrap());
    }
    let refused = Socket::open_with(server.address, &nobody).await;
    assert!(refused.is_err(), "as a socket whose token comes later");
    open.push(Socket::open_with(server.address, &hers).await.unwrap());
    drop(open);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_are_refused_cost_their_user_too() {
    // Arriving costs 11; a point comes back in half a second.
    let server = TestServer::with(Kind::Sqlite, &["--cost-rate", "111"]).await;
    let ann = server.user("ann").await;
    let mut refused = 0;
    loop {
        let answer = ann.ask(&format!("{{ nothing{refused} }}"), json!({})).await;
        match answer.code().as_str() {
            "GRAPHQL_VALIDATION_FAILED" => refused += 1,
            code => {
                assert_eq!(code, "RATE_LIMITED");
                break;
            }
        }
    }
    assert!((10..20).contains(&refused), "a root field each: {refused}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_on_sockets_count_too() {
    let server = TestServer::with(Kind::Sqlite, &["--send-rate", "2"]).await;
    let ann = server.user("ann").await;
    server.user("ben").await;
    let mut socket = Socket::of(&ann).await;
    let send = "mutation { sendMessage(input: { recipientId: \"ben\", content: \"hello\" }) { message { sequence } } }";
    for id in ["1", "2"] {
        socket.subscribe(id, send, json!({})).await;
        assert_eq!(socket.message().await["type"], "next");
        assert_eq!(socket.message().await["type"], "complete");
    }
    socket.subscribe("3", send, json!({})).await;
    let refused = socket.message().await;
    assert_eq!(refused["type"], "error");
    let extensions = &refused["payload"][0]["extensions"];
    assert_eq!(extensions["code"], "RATE_LIMITED");
    assert!(extensions["retryAfter"].as_u64().unwrap() >= 1);
    drop(socket);
    server.finish().await;
}
