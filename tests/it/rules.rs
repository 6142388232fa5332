//! Bad input: a clear error with a code of the contract, in the right place of the answer, and nothing half done.

use serde_json::{Value, json};

use crate::harness::{
    database::TestDatabase,
    server::TestServer,
    user::{User, contents},
};

/// One sentence for each argument that was tried, where its code is not the one expected.
async fn expect_codes(user: &User, field: &str, cases: &[(Value, &str)]) {
    let (query, variables): (String, fn(&Value) -> Value) = match field {
        "sendMessage" => (
            "mutation ($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }".to_owned(),
            |input| json!({ "input": input }),
        ),
        "readMessage" => (
            "mutation ($input: ReadMessageInput!) { readMessage(input: $input) { message { id } } }".to_owned(),
            |input| json!({ "input": input }),
        ),
        "readConversation" => (
            "mutation ($input: ReadConversationInput!) { readConversation(input: $input) { readCount } }".to_owned(),
            |input| json!({ "input": input }),
        ),
        "conversation" => (
            "query ($partnerId: ID!, $limit: Int, $first: Int, $after: String) { conversation(partnerId: $partnerId, \
             limit: $limit, first: $first, after: $after) { nodes { id } } }"
                .to_owned(),
            Clone::clone,
        ),
        list => (
            format!("query ($first: Int!, $after: String) {{ {list}(first: $first, after: $after) {{ nodes {{ __typename }} }} }}"),
            Clone::clone,
        ),
    };
    for (input, code) in cases {
        let answer = user.ask(&query, variables(input)).await;
        let expected = vec![((*code).to_owned(), field.to_owned())];
        assert_eq!(
            answer.errors(),
            expected,
            "{field} with {input}: {}",
            answer.body
        );
        assert_eq!(
            answer.body["data"],
            json!({ field: null }),
            "{field} with {input}"
        );
        assert_eq!(
            answer.status, 200,
            "a field's failure is an answer: {}",
            answer.body
        );
    }
}

on_both_databases! {
    async fn what_cannot_be_sent_is_refused_with_its_code(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        ann.send_as(&ben, "first", "used").await.unwrap();
        let long = "é".repeat(4_001);
        let id_of = |length| "x".repeat(length);
        expect_codes(&ann, "sendMessage", &[
            (json!({ "recipientId": "nobody", "content": "hello" }), "USER_NOT_FOUND"),
            (json!({ "recipientId": "", "content": "hello" }), "USER_NOT_FOUND"),
            (json!({ "recipientId": "Ben", "content": "hello" }), "USER_NOT_FOUND"),
            (json!({ "recipientId": "be\u{0}n", "content": "hello" }), "USER_NOT_FOUND"),
            (json!({ "recipientId": "dm_mAAAA", "content": "hello" }), "USER_NOT_FOUND"),
            (json!({ "recipientId": "ann", "content": "hello" }), "CANNOT_MESSAGE_SELF"),
            (json!({ "recipientId": "ben", "content": "" }), "CONTENT_EMPTY"),
            (json!({ "recipientId": "ben", "content": " \t\n\u{a0}\u{3000}" }), "CONTENT_EMPTY"),
            (json!({ "recipientId": "ben", "content": long }), "CONTENT_TOO_LONG"),
            (json!({ "recipientId": "ben", "content": "he\u{0}llo" }), "BAD_USER_INPUT"),
            (json!({ "recipientId": "ben", "content": "hello", "clientMessageId": "" }), "BAD_USER_INPUT"),
            (json!({ "recipientId": "ben", "content": "hello", "clientMessageId": id_of(65) }), "BAD_USER_INPUT"),
            (json!({ "recipientId": "ben", "content": "hello", "clientMessageId": "a\u{0}b" }), "BAD_USER_INPUT"),
            (json!({ "recipientId": "ben", "content": "hello", "clientMessageId": "é" }), "BAD_USER_INPUT"),
            (json!({ "recipientId": "ben", "content": "other", "clientMessageId": "used" }), "CLIENT_MESSAGE_ID_REUSED"),
        ]).await;
        assert_eq!(contents(&ann.conversation(&ben, 10, false).await), ["first"], "nothing of it was stored");
        let longest = "é".repeat(4_000);
        assert_eq!(ann.send_as(&ben, &longest, &id_of(64)).await.unwrap()["content"], longest);
    }

    async fn the_longest_content_is_a_setting(database: &TestDatabase) {
        let server = TestServer::on(database, &["--content-limit", "5"]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        assert_eq!(ann.sending("ben", "🙈🙈🙈🙈🙈🙈", None).await.code(), "CONTENT_TOO_LONG");
        assert_eq!(ann.send(&ben, "🙈🙈🙈🙈🙈").await["sequence"], 1);
        server.stop().await;
    }

    async fn a_client_id_returns_the_first_message(server: &TestServer) {
        let (ann, ben, cid) = (server.user("ann").await, server.user("ben").await, server.user("cid").await);
        let first = ann.send_as(&ben, "hello", "mine").await.unwrap();
        ben.read(&first).await;
        let again = ann.send_as(&ben, "hello", "mine").await.unwrap();
        assert_eq!((&again["id"], &again["unread"]), (&first["id"], &json!(false)));
        assert_eq!(again["clientMessageId"], "mine");
        // It is unique per sender and recipient only.
        assert_eq!(ben.send_as(&ann, "hello", "mine").await.unwrap()["sequence"], 2);
        assert_eq!(ann.send_as(&cid, "other", "mine").await.unwrap()["sequence"], 1);
        let listed = ben.conversation(&ann, 10, false).await;
        assert_eq!((&listed[0]["clientMessageId"], &listed[1]["clientMessageId"]), (&json!(null), &json!("mine")), "for the sender's own clients");
        assert_eq!(ann.send(&ben, "without").await["clientMessageId"], json!(null));
    }

    async fn what_cannot_be_listed_is_refused_with_its_code(server: &TestServer) {
        let (ann, ben, cid) = (server.user("ann").await, server.user("ben").await, server.user("cid").await);
        ann.send(&ben, "hello").await;
        ben.send(&ann, "hello").await;
        cid.send(&ann, "hello").await;
        let cursors = "{ unreadMessages { edges { cursor } } conversationPartners { edges { cursor } } \
            conversation(partnerId: \"ann\") { edges { cursor } } signalCursor }";
        let of = |data: &Value, list: &str| data[list]["edges"][0]["cursor"].clone();
        let bens = ben.data(cursors, json!({})).await;
        let anns = ann.data(&cursors.replace("ann", "ben"), json!({})).await;
        let mut cases = vec![
            (json!({ "partnerId": "nobody" }), "USER_NOT_FOUND"),
            (json!({ "partnerId": "no\u{0}body" }), "USER_NOT_FOUND"),
            (json!({ "partnerId": "ann" }), "CANNOT_MESSAGE_SELF"),
            (json!({ "partnerId": "ben", "limit": 10, "first": 10 }), "BAD_USER_INPUT"),
            (json!({ "partnerId": "cid", "after": of(&anns, "conversation") }), "BAD_USER_INPUT"),
        ];
        for size in [0, 101, -1, i32::MIN, i32::MAX] {
            cases.push((json!({ "partnerId": "ben", "limit": size }), "BAD_USER_INPUT"));
            cases.push((json!({ "partnerId": "ben", "first": size }), "BAD_USER_INPUT"));
            for list in ["unreadMessages", "conversationPartners"] {
                expect_codes(&ann, list, &[(json!({ "first": size }), "BAD_USER_INPUT")]).await;
            }
        }
        let cut = of(&anns, "unreadMessages").as_str().unwrap()[..20].to_owned();
        let garbage = [json!(""), json!("garbage"), json!("dm_"), json!("a\u{0}"), json!(cut), anns["signalCursor"].clone()];
        for after in &garbage {
            cases.push((json!({ "partnerId": "ben", "after": after }), "BAD_USER_INPUT"));
        }
        for other in ["unreadMessages", "conversationPartners"] {
            cases.push((json!({ "partnerId": "ben", "after": of(&anns, other) }), "BAD_USER_INPUT"));
        }
        expect_codes(&ann, "conversation", &cases).await;
        for list in ["unreadMessages", "conversationPartners"] {
            for after in &garbage {
                expect_codes(&ann, list, &[(json!({ "first": 5, "after": after }), "BAD_USER_INPUT")]).await;
            }
            for other in ["unreadMessages", "conversationPartners", "conversation"] {
                if other != list {
                    let after = of(&anns, other);
                    expect_codes(&ann, list, &[(json!({ "first": 5, "after": after }), "BAD_USER_INPUT")]).await;
                }
            }
            let after = of(&bens, list);
            expect_codes(&ann, list, &[(json!({ "first": 5, "after": after }), "BAD_USER_INPUT")]).await;
        }
        let fits = ann.ask("query ($after: String) { conversation(partnerId: \"ben\", first: 100, after: $after) { nodes { id } } }", json!({ "after": of(&anns, "conversation") })).await;
        assert_eq!(fits.data()["conversation"]["nodes"].as_array().unwrap().len(), 1);
    }

    async fn only_the_recipient_reads_a_message(server: &TestServer) {
        let (ann, ben, eve) = (server.user("ann").await, server.user("ben").await, server.user("eve").await);
        let message = ann.send(&ben, "hello").await;
        let other = ann.send(&eve, "hello").await;
        let (id, elsewhere) = (message["id"].as_str().unwrap(), other["id"].as_str().unwrap());
        for stranger in [&ann, &eve] {
            expect_codes(stranger, "readMessage", &[(json!({ "id": id }), "MESSAGE_NOT_FOUND")]).await;
        }
        let unknown = directmessages::chat::NodeId::Message(directmessages::chat::MessageId {
            seq: 99,
            ..id.parse().unwrap()
        }).to_string();
        let mut cases = Vec::new();
        for id in ["", "ann", "rubbish", "dm_m", "dm_mAAAA", "a\u{0}", &unknown, &id[..id.len() - 1]] {
            cases.push((json!({ "id": id }), "MESSAGE_NOT_FOUND"));
        }
        expect_codes(&ben, "readMessage", &cases).await;
        expect_codes(&ben, "readConversation", &[
            (json!({ "partnerId": "nobody" }), "USER_NOT_FOUND"),
            (json!({ "partnerId": "ben" }), "CANNOT_MESSAGE_SELF"),
            (json!({ "partnerId": "ann", "upTo": elsewhere }), "MESSAGE_NOT_FOUND"),
            (json!({ "partnerId": "ann", "upTo": unknown }), "MESSAGE_NOT_FOUND"),
            (json!({ "partnerId": "ann", "upTo": "rubbish" }), "MESSAGE_NOT_FOUND"),
            (json!({ "partnerId": "eve", "upTo": id }), "MESSAGE_NOT_FOUND"),
        ]).await;
        assert_eq!(ben.unread_count().await, 1, "nothing was read by all that");
        assert_eq!(ben.read_conversation(&eve, None).await, 0, "never written to");
        assert_eq!(ben.read_conversation(&ann, Some(id)).await, 1);
    }

    async fn a_stranger_sees_nothing(server: &TestServer) {
        let (ann, ben, eve) = (server.user("ann").await, server.user("ben").await, server.user("eve").await);
        let message = ann.send(&ben, "secret").await;
        let nodes = "{ inbox { id } conversationPartners { nodes { id } } }";
        let nodes = ann.data(nodes, json!({})).await;
        let query = "query ($message: ID!, $partner: ID!, $inbox: ID!) { message(id: $message) { id } asNode: node(id: $message) { id } \
            partner: node(id: $partner) { id } inbox: node(id: $inbox) { id } user: node(id: \"ann\") { id } nobody: node(id: \"nobody\") { id } \
            broken: node(id: \"dm_x\") { id } noMessage: message(id: \"ann\") { id } noUser: user(id: \"nobody\") { id } }";
        let variables = json!({ "message": message["id"], "inbox": nodes["inbox"]["id"], "partner": nodes["conversationPartners"]["nodes"][0]["id"] });
        let mut expected = json!({
            "message": null, "asNode": null, "partner": null, "inbox": null, "user": { "id": "ann" },
            "nobody": null, "broken": null, "noMessage": null, "noUser": null,
        });
        assert_eq!(eve.data(query, variables.clone()).await, expected);
        expected["message"] = json!({ "id": message["id"] });
        expected["asNode"] = expected["message"].clone();
        assert_eq!(ben.data(query, variables.clone()).await, expected);
        expected["partner"] = json!({ "id": variables["partner"] });
        expected["inbox"] = json!({ "id": variables["inbox"] });
        assert_eq!(ann.data(query, variables).await, expected);
        assert!(eve.conversation(&ann, 10, false).await.is_empty());
        assert!(eve.partners(10).await.is_empty() && eve.unread(10).await.is_empty());
    }

    async fn an_error_stands_in_its_place_and_the_others_stand(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        ben.send(&ann, "hello").await;
        let query = "{ before: viewer { id } bad: conversation(partnerId: \"nobody\") { nodes { id } } \
            worse: unreadMessages(first: 0) { totalCount } after: inbox { unreadCount } }";
        let answer = ann.ask(query, json!({})).await;
        let pair = |code: &str, path: &str| (code.to_owned(), path.to_owned());
        let mut errors = answer.errors();
        errors.sort();
        assert_eq!(errors, [pair("BAD_USER_INPUT", "worse"), pair("USER_NOT_FOUND", "bad")]);
        let data = json!({ "before": { "id": "ann" }, "bad": null, "worse": null, "after": { "unreadCount": 1 } });
        assert_eq!(answer.body["data"].to_string(), data.to_string(), "in the document's order");
        let two = "mutation { one: sendMessage(input: { recipientId: \"ben\", content: \"one\" }) { message { content } } \
            two: sendMessage(input: { recipientId: \"nobody\", content: \"two\" }) { message { content } } \
            three: sendMessage(input: { recipientId: \"ben\", content: \"three\" }) { message { content } } }";
        let answer = ann.ask(two, json!({})).await;
        assert_eq!(answer.errors(), [pair("USER_NOT_FOUND", "two")]);
        assert_eq!(contents(&ben.unread(10).await), ["one", "three"]);
    }

    async fn what_changes_something_is_refused_by_get(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        ann.send(&ben, "hello").await;
        for query in [
            "mutation { sendMessage(input: { recipientId: \"ann\", content: \"hello\" }) { message { id } } }",
            "{ conversation(partnerId: \"ann\", markRead: true) { nodes { id } } }",
        ] {
            let answer = ben.ask_by_get(query).await;
            assert_eq!((answer.status, answer.code().as_str()), (405, "SIDE_EFFECT_REQUIRES_POST"), "{query}");
        }
        assert_eq!(ben.ask_by_get("{ inbox { unreadCount } }").await.data()["inbox"]["unreadCount"], 1);
    }
}
