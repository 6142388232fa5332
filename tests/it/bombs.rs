//! Hostile documents and variables are refused, and nobody else notices.

use futures_util::future::join_all;
use serde_json::json;

use crate::{
    harness::{Fixture as _, database::Kind, server::TestServer, socket::Socket, user::MESSAGE},
    price::told,
    support::bombs::bombs,
};

#[tokio::test(flavor = "multi_thread")]
async fn bombs_are_refused_while_others_go_on() {
    let server = TestServer::with(Kind::Sqlite, &["--introspection", "--federation"]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    ann.send(&ben, "hello").await;
    let exploding = join_all(bombs().into_iter().map(async |bomb| {
        let variables = serde_json::from_str(&bomb.variables).unwrap();
        let answer = ann.ask(&bomb.document, variables).await;
        match bomb.code {
            "" => assert!(
                answer.body.get("data").is_some(),
                "{}: {}",
                bomb.name,
                answer.body
            ),
            code => drop(told(&answer, code)),
        }
    }));
    let going_on = async {
        for size in 1..=50 {
            // Each a document of its own, so that none is known from before.
            let document =
                format!("{{ unreadMessages(first: {size}) {{ nodes {{ {MESSAGE} }} }} }}");
            let data = ben.data(&document, json!({})).await;
            assert_eq!(data["unreadMessages"]["nodes"][0]["content"], "hello");
        }
    };
    tokio::join!(exploding, going_on);

    let mut socket = Socket::of(&ann).await;
    let bombs = bombs();
    let bomb = bombs
        .iter()
        .find(|bomb| bomb.document.starts_with("subscription"));
    socket
        .subscribe("1", &bomb.unwrap().document, json!({}))
        .await;
    let error = socket.message().await;
    assert_eq!(error["type"], "error");
    assert_eq!(
        error["payload"][0]["extensions"]["code"], "QUERY_TOO_COMPLEX",
        "{error}"
    );

    let nested = format!(
        "{{\"query\": \"{{ viewer {{ id }} }}\", \"variables\": {{\"v\": {}",
        "[".repeat(100_000)
    );
    let url = format!("http://{}/graphql", server.address);
    let request = server
        .http
        .post(&url)
        .bearer_auth(ann.token.as_ref().unwrap());
    let request = request
        .header("content-type", "application/json")
        .body(nested);
    assert_eq!(request.send().await.unwrap().status(), 400);
    server.finish().await;

    // Megabytes, where somebody lets them in.
    let server = TestServer::with(Kind::Sqlite, &["--body-limit=12000000"]).await;
    let ann = server.user("ann").await;
    let comment = format!("{{ viewer {{ id }} }} # {}", "x".repeat(5_000_000));
    assert_eq!(ann.data(&comment, json!({})).await["viewer"]["id"], "ann");
    server.finish().await;
}
