//! Where variables may stand, and what their values may be.

use serde_json::{Value, json};

use crate::{
    harness::{Fixture as _, database::Kind, server::TestServer, socket::Socket},
    price::told,
};

/// Where apollo-compiler 1.33 is less strict than the specification, or stricter. (tests/node compares many more.)
#[tokio::test(flavor = "multi_thread")]
async fn variables_and_input_fields_stand_only_where_they_may() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let ann = server.user("ann").await;
    let send = |declared: &str, content: &str| {
        format!(
            "mutation ({declared}) {{ sendMessage(input: {{ recipientId: \"ann\", content: {content} }}) {{ message {{ id }} }} }}"
        )
    };
    let upsert = |declared: &str, users: &str| {
        format!(
            "mutation ({declared}) {{ upsertUsers(input: {{ users: {users} }}) {{ users {{ id }} }} }}"
        )
    };
    let user = r#"{ id: "a", username: "a" }"#;
    let two_lengths = format!(
        "mutation {{ upsertUsers(input: {{ users: [{user}] }}) {{ users {{ id }} }} upsertUsers(input: {{ users: [{user}, {user}] }}) {{ users {{ id }} }} }}"
    );
    for refused in [
        send("$c: String", "$c"),
        send("$c: String = null", "$c"),
        send("$c: ID!", "$c"),
        send("$c: String!", "\"x\", content: $c"),
        upsert("$u: UserInput", "[$u]"),
        upsert("$u: UserInput!", "$u"),
        upsert("$u: [UserInput]!", "$u"),
        two_lengths,
        upsert(r#"$u: [UserInput!]! = [{ id: "a", username: "a", id: "b" }]"#, "$u"),
        "query ($n: Int = null) { unreadMessages(first: $n) { totalCount } viewer @include(if: $n) { id } }".to_owned(),
    ] {
        told(&ann.ask(&refused, json!({ "c": "x", "u": [] })).await, "GRAPHQL_VALIDATION_FAILED");
    }
    for (taken, variables) in [
        (send("$c: String!", "$c"), json!({ "c": "x" })),
        (send("$c: String = \"x\"", "$c"), json!({})),
        (
            upsert("$u: UserInput!", "[$u]"),
            json!({ "u": { "id": "a", "username": "a" } }),
        ),
        (upsert("$u: [UserInput!]!", "$u"), json!({ "u": [] })),
    ] {
        let answer = ann.ask(&taken, variables).await;
        assert!(
            answer.body.get("data").is_some(),
            "{taken}: {}",
            answer.body
        );
    }
    // One root field, selected twice, is one.
    let mut socket = Socket::of(&ann).await;
    let twice = "subscription { messageSent { cursor } ...M } fragment M on Subscription { messageSent { message { content } } }";
    socket.subscribe("1", twice, json!({})).await;
    socket.settle().await;
    ann.send(&server.user("ben").await, "hello").await;
    let event = socket.message().await;
    assert_eq!(
        event["payload"]["data"]["messageSent"]["message"]["content"], "hello",
        "{event}"
    );
    let two = "subscription { messageSent { cursor } a: messageSent { cursor } }";
    socket.subscribe("2", two, json!({})).await;
    assert_eq!(socket.message().await["type"], "error");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_are_coerced_as_graphql_js_does() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let ann = server.user("ann").await;
    server.user("7").await;
    server.user("1e+21").await;
    let user = "query ($id: ID!) { user(id: $id) { id } }";
    for (given, id) in [("7", "7"), ("7.0", "7"), ("\"7\"", "7"), ("1e21", "1e+21")] {
        let given: Value = serde_json::from_str(given).unwrap();
        let data = ann.data(user, json!({ "id": given })).await;
        assert_eq!(data["user"]["id"], id, "{given}");
    }
    let data = ann
        .data("query ($id: ID = 7) { user(id: $id) { id } }", json!({}))
        .await;
    assert_eq!(data["user"]["id"], "7");
    for id in ["123456789012345678901234567890", "-0"] {
        let data = ann
            .data(&format!("{{ user(id: {id}) {{ id }} }}"), json!({}))
            .await;
        assert_eq!(data["user"], Value::Null, "{id}");
    }
    let page = "query ($n: Int) { unreadMessages(first: $n) { totalCount } }";
    // A number of the document that means 0 is no page's size, wherever it stands.
    for zero in ["0", "-0"] {
        for list in [
            format!("conversationPartners(first: {zero})"),
            format!("unreadMessages(first: {zero})"),
            format!("conversation(partnerId: \"7\", limit: {zero})"),
            format!("conversation(partnerId: \"7\", limit: {zero}, markRead: true)"),
        ] {
            for beside in ["", "viewer { id }"] {
                let document = format!("{{ {list} {{ nodes {{ id }} }} {beside} }}");
                let code = ann.ask(&document, json!({})).await.code();
                assert_eq!(code, "BAD_USER_INPUT", "{document}");
            }
        }
        let document = page.replace("$n: Int", &format!("$n: Int = {zero}"));
        let code = ann.ask(&document, json!({})).await.code();
        assert_eq!(code, "BAD_USER_INPUT", "{document}");
    }
    assert_eq!(
        ann.data(page, json!({ "n": 1.0 })).await["unreadMessages"]["totalCount"],
        0
    );
    let users = "mutation ($users: [UserInput!]!) { upsertUsers(input: { users: $users }) { users { id } } }";
    let send =
        "mutation ($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }";
    for (document, variables, message) in [
        (
            page,
            json!({ "n": 1.5 }),
            "Variable \"$n\" got invalid value 1.5; Int cannot represent non-integer value.",
        ),
        (
            page,
            json!({ "n": 2_147_483_648_i64 }),
            "Variable \"$n\" got invalid value 2147483648; Int cannot represent non 32-bit signed integer value: 2147483648",
        ),
        (
            user,
            json!({}),
            "Variable \"$id\" of required type \"ID!\" was not provided.",
        ),
        (
            user,
            json!({ "id": null }),
            "Variable \"$id\" of non-null type \"ID!\" must not be null.",
        ),
        (
            users,
            json!({ "users": [{ "id": "a", "username": "a" }, { "id": "b", "username": 3 }, 5] }),
            "Variable \"$users\" got invalid value 3 at \"users[1].username\"; String cannot represent a non string value.",
        ),
        (
            send,
            json!({ "input": { "recipientId": "a", "content": "b", "urgent": true } }),
            "Variable \"$input\" got invalid value {\"recipientId\":\"a\",\"content\":\"b\",\"urgent\":true}; Field \"urgent\" is \
             not defined by type \"SendMessageInput\".",
        ),
    ] {
        let answer = ann.ask(document, variables).await;
        assert_eq!(told(&answer, "BAD_USER_INPUT"), [message]);
    }
    server.finish().await;
}
