//! Where variables may stand, and what their values may be.

use serde_json::{Value, json};

use crate::{
    harness::{Fixture as _, database::Kind, server::TestServer, socket::Socket, user::User},
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
    let user = "query ($id: ID!) { user(id: $id) { id } }";
    for (given, id) in [("7", "7"), ("7.0", "7"), ("\"7\"", "7")] {
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

/// One text, as it stands and with a second root field beside it, which takes another path through the server.
async fn both_ways(user: &User, list: &str, variables: Value) -> Vec<Value> {
    let mut data = Vec::new();
    for beside in ["", "viewer { id }"] {
        let document = format!(
            "query ($n: Int, $on: Boolean) {{ list: {list} {beside} ... @skip(if: true) {{ \
             a: unreadMessages(first: $n) {{ totalCount }} b: conversation(partnerId: \"ben\", reversed: $on) {{ nodes {{ id }} }} }} }}"
        );
        data.push(user.data(&document, variables.clone()).await["list"].clone());
    }
    data
}

#[tokio::test(flavor = "multi_thread")]
async fn null_for_an_argument_with_a_default_means_the_default() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    for n in 0..60 {
        ben.send(&ann, &n.to_string()).await;
    }
    for (list, left_out) in [
        ("unreadMessages(first: null)", "unreadMessages"),
        ("unreadMessages(first: $n)", "unreadMessages"),
        ("conversationPartners(first: null)", "conversationPartners"),
        ("conversationPartners(first: $n)", "conversationPartners"),
        (
            "conversation(partnerId: \"ben\", reversed: null, markRead: null)",
            "conversation(partnerId: \"ben\")",
        ),
        (
            "conversation(partnerId: \"ben\", reversed: $on, markRead: $on, first: $n)",
            "conversation(partnerId: \"ben\")",
        ),
    ] {
        let select = |list: &str| format!("{list} {{ nodes {{ id }} pageInfo {{ hasNextPage }} }}");
        let nulls = json!({ "n": null, "on": null });
        let expected = both_ways(&ann, &select(left_out), json!({})).await;
        assert_eq!(
            both_ways(&ann, &select(list), nulls).await,
            expected,
            "{list}"
        );
        if list.starts_with("unread") {
            assert_eq!(expected[0]["nodes"].as_array().unwrap().len(), 50);
        }
    }
    assert_eq!(ann.unread_count().await, 60, "null marks nothing as read");
    // The variable's null, and not its default, is what the argument is given.
    let page = "query ($n: Int = 3) { unreadMessages(first: $n) { nodes { id } } }";
    let data = ann.data(page, json!({ "n": null })).await;
    assert_eq!(
        data["unreadMessages"]["nodes"].as_array().unwrap().len(),
        50
    );
    server.finish().await;
}

/// JavaScript writes 9007199254740993 as 9007199254740992, which may be another user's id.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_a_number_which_json_may_change_is_rejected() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let (ann, host) = (server.user("ann").await, server.service());
    let exact = ["9007199254740991", "-9007199254740991", "9007199254740993"];
    for id in exact {
        server.user(id).await;
    }
    let user = "query ($id: ID!) { user(id: $id) { id } }";
    for (given, id) in [
        ("9007199254740991", exact[0]),
        ("9007199254740991.0", exact[0]),
        ("-9007199254740991", exact[1]),
        ("\"9007199254740993\"", exact[2]),
    ] {
        let given: Value = serde_json::from_str(given).unwrap();
        let data = ann.data(user, json!({ "id": given })).await;
        assert_eq!(data["user"]["id"], id, "{given}");
    }
    // A document's own number is its text.
    for document in [
        "{ user(id: 9007199254740993) { id } }",
        "query ($id: ID = 9007199254740993) { user(id: $id) { id } }",
    ] {
        let data = ann.data(document, json!({})).await;
        assert_eq!(data["user"]["id"], exact[2], "{document}");
    }
    let send = "mutation ($i: SendMessageInput!) { sendMessage(input: $i) { message { id } } }";
    let read =
        "mutation ($i: ReadConversationInput!) { readConversation(input: $i) { readCount } }";
    let upsert = "mutation ($i: UpsertUsersInput!) { upsertUsers(input: $i) { users { id } } }";
    for id in [
        "9007199254740992",
        "9007199254740993",
        "-9007199254740992",
        "18446744073709551615",
        "9007199254740992.0",
        "1e21",
        "123456789012345678901234567890",
    ] {
        let id: Value = serde_json::from_str(id).unwrap();
        for (caller, document, variables) in [
            (&ann, user, json!({ "id": id })),
            (
                &ann,
                send,
                json!({ "i": { "recipientId": id, "content": "hello" } }),
            ),
            (
                &ann,
                read,
                json!({ "i": { "partnerId": "ann", "upTo": id } }),
            ),
            (
                &host,
                upsert,
                json!({ "i": { "users": [{ "id": "a", "username": "a" }, { "id": id, "username": "b" }] } }),
            ),
        ] {
            let answer = caller.ask(document, variables).await;
            let messages = told(&answer, "BAD_USER_INPUT");
            assert!(
                messages
                    .iter()
                    .all(|message| message.ends_with("send ids as strings")),
                "{messages:?}"
            );
        }
    }
    server.finish().await;
}
