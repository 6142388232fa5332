//! Who may learn that somebody exists (`USER_LOOKUP`).

use serde_json::{Value, json};

use crate::harness::{
    Fixture as _,
    database::{Kind, TestDatabase},
    server::TestServer,
    socket::Socket,
    user::User,
};

/// What anybody may ask of somebody, by the id.
const QUESTIONS: &str = "query ($id: ID!) { user(id: $id) { id username } node(id: $id) { id } conversationPartner(partnerId: $id) { id } \
    conversation(partnerId: $id) { nodes { id } edges { cursor } pageInfo { hasNextPage endCursor } conversationPartner { id } } }";
const READ: &str = "mutation ($id: ID!, $upTo: ID) { readConversation(input: { partnerId: $id, upTo: $upTo }) \
    { readCount conversationPartner { id } inbox { unreadCount } } }";

/// Every answer about somebody, without the errors' messages, which name the id that was asked for.
async fn answers(user: &User, id: &str) -> Vec<(u16, Value, Vec<(String, String)>)> {
    let mut answers = Vec::new();
    for (query, variables) in [
        (QUESTIONS, json!({ "id": id })),
        (READ, json!({ "id": id })),
        (READ, json!({ "id": id, "upTo": "dm_nothing" })),
    ] {
        let answer = user.ask(query, variables).await;
        answers.push((answer.status, answer.body["data"].clone(), answer.errors()));
    }
    answers
}

on_both_databases! {
    async fn strangers_and_nobody_are_one_answer(database: &TestDatabase) {
        let server = TestServer::on(database, &["--user-lookup", "partners"]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        server.user("stranger").await;
        let strangers = answers(&ann, "stranger").await;
        assert_eq!(strangers, answers(&ann, "nobody").await);
        let (_, data, errors) = &strangers[0];
        assert_eq!(*errors, []);
        assert_eq!((&data["user"], &data["node"]), (&Value::Null, &Value::Null));
        assert_eq!(data["conversation"]["nodes"], json!([]));

        ann.send(&ben, "hello").await;
        for (one, other) in [(&ann, "ben"), (&ben, "ann"), (&ann, "ann")] {
            let data = one.data("query ($id: ID!) { user(id: $id) { id } }", json!({ "id": other })).await;
            assert_eq!(data["user"]["id"], other);
        }
        let service = server.service();
        let look_up = "{ user(id: \"stranger\") { id } }";
        for asks in [&service, &service.acting_for("ann")] {
            assert_eq!(asks.data(look_up, json!({})).await["user"]["id"], "stranger");
        }
        server.stop().await;
    }

    async fn anyone_may_be_looked_up_unless_it_is_set_otherwise(server: &TestServer) {
        let ann = server.user("ann").await;
        server.user("stranger").await;
        let data = ann.data("{ user(id: \"stranger\") { id } }", json!({})).await;
        assert_eq!(data["user"]["id"], "stranger");
        let (_, _, mut errors) = answers(&ann, "nobody").await.swap_remove(0);
        // The fields of a query run side by side.
        errors.sort_unstable();
        let unknown = |path: &str| ("USER_NOT_FOUND".to_owned(), path.to_owned());
        assert_eq!(errors, [unknown("conversation"), unknown("conversationPartner")]);
    }

    async fn sends_to_nobody_have_a_rate_of_their_own(database: &TestDatabase) {
        let flags = ["--user-lookup", "partners", "--miss-rate", "3"];
        let server = TestServer::on(database, &flags).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        server.user("stranger").await;
        ann.send(&ben, "hello").await;
        for place in 0..4 {
            let answer = ann.sending(&format!("nobody {place}"), "hello", None).await;
            assert_eq!(answer.code(), "USER_NOT_FOUND", "{place}");
        }
        for id in ["nobody", "stranger"] {
            let answer = ann.sending(id, "hello", None).await;
            assert_eq!(answer.code(), "RATE_LIMITED", "{id}");
            let wait = &answer.body["errors"][0]["extensions"]["retryAfter"];
            assert!(wait.as_u64() >= Some(1), "{wait}");
        }
        ann.send(&ben, "partners go on").await;
        ben.sending("stranger", "so do others", None).await.data();
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_to_a_stranger_begins_as_one_to_nobody() {
    let server = TestServer::with(Kind::Sqlite, &["--user-lookup", "partners"]).await;
    let (ann, stranger) = (server.user("ann").await, server.user("stranger").await);
    let document = "subscription ($id: ID) { messageSent(partnerId: $id) { sender { id } } }";
    let mut socket = Socket::of(&ann).await;
    socket
        .subscribe("1", document, json!({ "id": "nobody" }))
        .await;
    socket.settle().await;
    socket
        .subscribe("2", document, json!({ "id": "stranger" }))
        .await;
    socket.settle().await;
    stranger.send(&ann, "hello").await;
    let event = socket.message().await;
    assert_eq!(event["id"], "2", "{event}");
    server.finish().await;
}
