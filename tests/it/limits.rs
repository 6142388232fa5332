//! The limits that a document keeps, and what it is told where it does not.

use serde_json::{Value, json};

use crate::{
    harness::{Fixture as _, database::Kind, server::TestServer},
    price::told,
    support::bombs::many,
};

const MANIFEST: &str = env!("CARGO_MANIFEST_DIR");

/// For each limit of the test below: a document just under it, one just over it, and what is told of that.
fn brinks() -> Vec<(String, String, &'static str)> {
    // Six tokens, the end, and commas.
    let tokens = |count: usize| format!("{{{}viewer{{id}}}}", ",".repeat(count - 7));
    let fragments = |count: usize| {
        let spreads = many(0..count, |at| format!("...F{at} "));
        let definitions = many(0..count, |at| {
            format!("fragment F{at} on Query {{ viewer {{ id }} }} ")
        });
        format!("{{ {spreads} }} {definitions}")
    };
    let aliases = |count: usize| {
        let fields = many(0..count, |at| format!("a{at}: id "));
        format!("{{ viewer {{ {fields} }} }}")
    };
    let directives = |count: usize| {
        format!(
            "{{ viewer {{ {} }} }}",
            "id @skip(if: false) ".repeat(count)
        )
    };
    let fields = |count: usize| format!("{{ viewer {{ {} }} }}", "id ".repeat(count - 1));
    let spread = |count: usize| {
        // Two spreads, each of a field and what is below it.
        let below = "id ".repeat((count - 4) / 2);
        format!("{{ ...F ...F }} fragment F on Query {{ viewer {{ {below} }} }}")
    };
    let deep = |count: usize| {
        match count {
        5 => r#"{ conversation(partnerId: "b", limit: 1) { edges { node { sender { id } } } } }"#.to_owned(),
        _ => "{ conversationPartners(first: 1) { edges { node { lastMessage { sender { id } } } } } }".to_owned(),
    }
    };
    let roots = |count: usize| {
        [
            "viewer { id } ",
            "inbox { id } ",
            "signalCursor ",
            "__typename ",
        ][..count]
            .concat()
    };
    let roots = |count: usize| format!("{{ {} }}", roots(count));
    let cost = |count: usize| {
        format!(
            "{{ unreadMessages(first: {}) {{ nodes {{ id }} }} }}",
            count - 11
        )
    };
    vec![
        (
            tokens(150),
            tokens(151),
            "this document has more than 150 tokens",
        ),
        (
            fragments(2),
            fragments(3),
            "this document has 3 fragments and the limit is 2",
        ),
        (
            aliases(2),
            aliases(3),
            "this document has 3 aliases and the limit is 2",
        ),
        (
            directives(2),
            directives(3),
            "this document has 3 directives and the limit is 2",
        ),
        (
            fields(20),
            fields(21),
            "this document spreads to 21 fields and fragments, and the limit is 20",
        ),
        (
            spread(20),
            spread(22),
            "this document spreads to 22 fields and fragments, and the limit is 20",
        ),
        (
            deep(5),
            deep(6),
            "this operation nests 6 levels deep and the limit is 5",
        ),
        (
            roots(3),
            roots(4),
            "this operation has 4 root fields and the limit is 3",
        ),
        (cost(51), cost(52), "this operation costs"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_limit_is_a_setting_and_says_what_is_over_it() {
    let limits = [
        "--token-limit=150",
        "--fragment-limit=2",
        "--alias-limit=2",
        "--directive-limit=2",
        "--field-limit=20",
        "--depth-limit=5",
        "--root-field-limit=3",
        "--complexity-limit=51",
        "--body-limit=2000",
    ];
    let server = TestServer::with(Kind::Sqlite, &limits).await;
    let ann = server.user("ann").await;
    for (under, over, message) in brinks() {
        let answer = ann.ask(&under, json!({})).await;
        assert!(
            answer.body.get("data").is_some(),
            "{under}: {}",
            answer.body
        );
        let answer = ann.ask(&over, json!({})).await;
        let messages = told(&answer, "QUERY_TOO_COMPLEX");
        assert_eq!(messages.len(), 1, "{over}: {messages:?}");
        assert!(messages[0].starts_with(message), "{over}: {messages:?}");
    }
    server.finish().await;
}

/// What GraphiQL and graphql-js ask, an application's operations, and the largest pages that make sense: they cost less than the
/// defaults allow. (tests/node asks the documents of real clients.)
#[tokio::test(flavor = "multi_thread")]
async fn what_applications_ask_is_affordable() {
    let server = TestServer::with(Kind::Sqlite, &["--introspection"]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let message = ann.send(&ben, "hello").await;
    let path = format!("{MANIFEST}/tests/node/operations.graphql");
    let application = std::fs::read_to_string(path).unwrap();
    let everything = "fragment M on Message { id sequence content sentAt readAt unread formatted clientMessageId \
        sender { id username } recipient { id username } }";
    let page = "nodes { ...M } edges { cursor node { ...M } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }";
    let partners = "nodes { id user { id username } unreadCount lastMessage { ...M } } \
        edges { cursor node { id user { id username } unreadCount lastMessage { ...M } } }";
    let start = format!(
        "query ($with: ID!) {{ signalCursor viewer {{ id username }} inbox {{ id unreadCount }} \
         conversation(partnerId: $with, limit: 100) {{ {page} conversationPartner {{ id unreadCount }} inbox {{ id }} }} \
         unreadMessages(first: 100) {{ totalCount {page} }} \
         conversationPartners(first: 100) {{ {partners} }} }} {everything}"
    );
    let data = ann.data(&start, json!({ "with": "ben" })).await;
    assert_eq!(data["conversation"]["nodes"][0]["id"], message["id"]);
    let arguments = [
        ("Start", json!({ "partners": 100 })),
        ("Unread", json!({ "first": 100 })),
        ("Conversation", json!({ "partnerId": "ben", "limit": 100 })),
        ("Lookups", json!({ "id": message["id"] })),
    ];
    for (name, variables) in arguments {
        let url = format!("http://{}/graphql", server.address);
        let body = json!({ "query": application, "operationName": name, "variables": variables });
        let request = server
            .http
            .post(url)
            .bearer_auth(ann.token.as_ref().unwrap());
        let answer = request.json(&body).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        assert!(answer.get("data").is_some(), "{name}: {answer}");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_is_told_only_where_it_was_asked_for() {
    let documents = [
        "{ __schema { queryType { name } } }",
        r#"{ __type(name: "User") { name } }"#,
        "{ viewer { id } ...S } fragment S on Query { ... { a: __schema { types { name } } } }",
    ];
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let ann = server.user("ann").await;
    for document in documents {
        let answer = ann.ask(document, json!({})).await;
        let messages = told(&answer, "GRAPHQL_VALIDATION_FAILED");
        assert!(
            messages[0].starts_with("introspection is off"),
            "{messages:?}"
        );
    }
    let data = ann
        .data("{ __typename viewer { __typename } }", json!({}))
        .await;
    assert_eq!(
        data,
        json!({ "__typename": "Query", "viewer": { "__typename": "User" } })
    );
    server.finish().await;
    for flag in ["--introspection", "--graphiql"] {
        let server = TestServer::with(Kind::Sqlite, &[flag]).await;
        let ann = server.user("ann").await;
        for document in documents {
            let answer = ann.ask(document, json!({})).await;
            assert!(answer.body["data"].is_object(), "{flag}: {}", answer.body);
        }
        server.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_where_and_are_at_most_ten() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let ann = server.user("ann").await;
    let document = format!("{{\n  viewer {{ id }}\r\n{} }}", "  nothing\r\n".repeat(12));
    let answer = ann.ask(&document, json!({})).await;
    let messages = told(&answer, "GRAPHQL_VALIDATION_FAILED");
    assert_eq!(messages.len(), 10);
    assert_eq!(
        messages[0],
        "Cannot query field \"nothing\" on type \"Query\"."
    );
    assert_eq!(messages[9], "and 3 errors more: mend those above first");
    let places: Vec<&Value> = (0..10)
        .map(|at| &answer.body["errors"][at]["locations"][0])
        .collect();
    assert_eq!(places[0], &json!({ "line": 3, "column": 3 }));
    assert_eq!(places[9], &json!({ "line": 12, "column": 3 }));

    let one = [
        // No hints at what the schema has, no jargon, and no echoes of the same mistake.
        (
            "{ viewer { idd } }",
            "Cannot query field \"idd\" on type \"User\".",
        ),
        (
            "{ viewer }",
            "Field \"viewer\" must have a selection of subfields: \"viewer { ... }\".",
        ),
        (
            "{ viewer { id }",
            "Syntax Error: Expected \"}\", but the document ends",
        ),
        (
            "{ viewer { } }",
            "Syntax Error: Expected a field between the braces",
        ),
        (
            "{ unreadMessages(first: \"ten\") { totalCount } }",
            "Expected value of type \"Int\", found \"ten\".",
        ),
        (
            "{ viewer @skip(unless: true, if: true) { id } }",
            "Unknown argument \"unless\" on directive \"@skip\".",
        ),
        (
            "{ node(id: 1) { ... on User { a: username } ... on Message { a: sequence } } }",
            "Fields \"a\" conflict because they return conflicting types \"String!\" and \"Int!\". Use different aliases on the \
             fields to fetch both if this was intentional.",
        ),
        (
            "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
            "Cannot spread fragment \"A\" within itself via \"B\".",
        ),
    ];
    for (document, expected) in one {
        let answer = ann.ask(document, json!({})).await;
        let code = answer.body["errors"][0]["extensions"]["code"]
            .as_str()
            .unwrap();
        assert_eq!(told(&answer, code), [expected], "{document}");
    }
    let long = format!(
        "{{ unreadMessages(first: \"{}\") {{ totalCount }} }}",
        "x".repeat(10_000)
    );
    let answer = ann.ask(&long, json!({})).await;
    assert!(
        told(&answer, "GRAPHQL_VALIDATION_FAILED")[0].len() < 300,
        "{}",
        answer.body
    );
    let wanted = "query ($users: [UserInput!]!) { viewer @include(if: true) { id } }";
    let answer = ann.ask(wanted, json!({ "users": [] })).await;
    told(&answer, "GRAPHQL_VALIDATION_FAILED");
    server.finish().await;
}
