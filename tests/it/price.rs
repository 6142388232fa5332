//! What an operation costs, told by hand, and for every list of the schema.

use apollo_compiler::{Schema, schema::ExtendedType};
use serde_json::{Value, json};

use crate::harness::{
    Fixture as _,
    database::Kind,
    server::TestServer,
    user::{Answer, User},
};

const MANIFEST: &str = env!("CARGO_MANIFEST_DIR");
const UNLIMITED: [&str; 9] = [
    "--token-limit=1000000",
    "--fragment-limit=1000000",
    "--alias-limit=1000000",
    "--directive-limit=1000000",
    "--field-limit=1000000000",
    "--depth-limit=1000000",
    "--root-field-limit=1000000",
    "--introspection",
    "--body-limit=1000000",
];

/// What a content costs, of 4,000 characters at most.
pub(crate) const CONTENT: u64 = 16;

/// A server whose every answer tells the price.
pub(crate) async fn cashier() -> TestServer {
    let flags: Vec<&str> = UNLIMITED
        .into_iter()
        .chain(["--complexity-limit=1"])
        .collect();
    TestServer::with(Kind::Sqlite, &flags).await
}

/// Somebody with a token, to whom no operation is ever affordable.
pub(crate) fn somebody(server: &TestServer) -> User {
    let token = crate::harness::server::tokens();
    server.bearer(Some(token.mint("ann", None, false, 3_600).unwrap()))
}

/// The messages of a refusal, and that every error has a place and this code.
pub(crate) fn told(answer: &Answer, code: &str) -> Vec<String> {
    assert!(answer.body.get("data").is_none(), "{}", answer.body);
    let errors = answer.body["errors"].as_array().unwrap();
    let messages = errors.iter().map(|error| {
        assert_eq!(error["extensions"]["code"], code, "{error}");
        assert!(error["locations"][0]["line"].as_u64() >= Some(1), "{error}");
        assert!(
            error["locations"][0]["column"].as_u64() >= Some(1),
            "{error}"
        );
        error["message"].as_str().unwrap().to_owned()
    });
    messages.collect()
}

pub(crate) async fn price(user: &User, document: &str, variables: Value) -> u64 {
    let answer = user.ask(document, variables).await;
    let messages = told(&answer, "QUERY_TOO_COMPLEX");
    let price = messages
        .iter()
        .find_map(|message| message.strip_prefix("this operation costs "));
    let price = price.unwrap_or_else(|| panic!("no price: {messages:?}: {document}"));
    let (price, rest) = price.split_once(' ').unwrap();
    assert_eq!(
        rest,
        "and the limit is 1: ask for smaller pages or fewer fields"
    );
    price.replace(',', "").parse().unwrap()
}

/// Each document with its variables costs this much.
async fn costs(cases: &[(&str, Value, u64)]) {
    let server = cashier().await;
    let user = somebody(&server);
    for (document, variables, expected) in cases {
        assert_eq!(
            price(&user, document, variables.clone()).await,
            *expected,
            "{document} {variables}"
        );
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_costs_what_its_fields_and_pages_come_to() {
    let cases = [
        ("{ viewer { id } }", json!({}), 11),
        (
            "{ viewer { id username } inbox { unreadCount } }",
            json!({}),
            12 + 11,
        ),
        ("{ __typename a: __typename }", json!({}), 2),
        // A page: 10, and 50 or as many as are asked for.
        (
            "{ unreadMessages { nodes { id } } }",
            json!({}),
            10 + 1 + 50,
        ),
        (
            "{ unreadMessages(first: null) { nodes { id } } }",
            json!({}),
            10 + 1 + 50,
        ),
        (
            "query ($n: Int = 7) { unreadMessages(first: $n) { nodes { id } } }",
            json!({ "n": null }),
            10 + 1 + 50,
        ),
        (
            "{ unreadMessages(first: 7) { nodes { id } } }",
            json!({}),
            10 + 1 + 7,
        ),
        (
            r#"{ conversation(partnerId: "b") { nodes { id } } }"#,
            json!({}),
            10 + 1 + 50,
        ),
        (
            r#"{ conversation(partnerId: "b", limit: 20) { nodes { id } } }"#,
            json!({}),
            10 + 1 + 20,
        ),
        (
            r#"{ conversation(partnerId: "b", first: 20) { nodes { id } } }"#,
            json!({}),
            10 + 1 + 20,
        ),
        (
            r#"{ conversation(partnerId: "b", limit: null) { nodes { id } } }"#,
            json!({}),
            10 + 1 + 50,
        ),
        (
            r#"{ conversation(partnerId: "b", limit: 3, first: 20) { nodes { id } } }"#,
            json!({}),
            10 + 1 + 20,
        ),
        // Out of range is refused later, and priced as the nearest that is not.
        (
            "{ unreadMessages(first: 0) { nodes { id } } }",
            json!({}),
            10 + 1 + 1,
        ),
        (
            "{ unreadMessages(first: 2147483647) { nodes { id } } }",
            json!({}),
            10 + 1 + 100,
        ),
        // What is beside the lists counts once.
        (
            "{ unreadMessages(first: 9) { totalCount pageInfo { endCursor } nodes { id sender { id } } edges { cursor node { id } } } }",
            json!({}),
            10 + 1 + 2 + (1 + 9 * 3) + (1 + 9 * 3),
        ),
        (
            "{ conversationPartners(first: 4) { nodes { user { id } lastMessage { id content } } } }",
            json!({}),
            10 + 1 + 4 * (4 + CONTENT),
        ),
        // Variables, their defaults, and those that were left out.
        (
            "query ($n: Int!) { unreadMessages(first: $n) { nodes { id } } }",
            json!({ "n": 8 }),
            10 + 1 + 8,
        ),
        (
            "query ($n: Int = 6) { unreadMessages(first: $n) { nodes { id } } }",
            json!({}),
            10 + 1 + 6,
        ),
        (
            "query ($n: Int = 6) { unreadMessages(first: $n) { nodes { id } } }",
            json!({ "n": 5 }),
            10 + 1 + 5,
        ),
        (
            "query ($n: Int) { unreadMessages(first: $n) { nodes { id } } }",
            json!({}),
            10 + 1 + 50,
        ),
    ];
    costs(&cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_cost_what_they_select_and_lists_their_length() {
    let cases = [
        // Fragments cost what they select, wherever they are spread, by the page around them.
        (
            "{ a: unreadMessages(first: 2) { ...P } b: unreadMessages(first: 3) { ...P } } \
             fragment P on UnreadMessageConnection { totalCount nodes { ...M } } fragment M on Message { id ... { content } }",
            json!({}),
            (10 + 1 + 1 + 2 * (1 + CONTENT)) + (10 + 1 + 1 + 3 * (1 + CONTENT)),
        ),
        (
            "{ ...V ...V } fragment V on Query { viewer { id } }",
            json!({}),
            22,
        ),
        // What is left out costs nothing.
        (
            "{ viewer @skip(if: true) { id } inbox { id @include(if: false) unreadCount } }",
            json!({}),
            11,
        ),
        (
            "query ($yes: Boolean!) { ...V @include(if: $yes) ... @skip(if: $yes) { inbox { id } } } fragment V on Query { viewer { id username } }",
            json!({ "yes": true }),
            12,
        ),
        (
            "query ($yes: Boolean!) { ...V @include(if: $yes) ... @skip(if: $yes) { inbox { id } } } fragment V on Query { viewer { id username } }",
            json!({ "yes": false }),
            11,
        ),
        // An interface counts every type's fields that are named.
        (
            r#"{ node(id: "x") { id ... on User { username } ... on Inbox { unreadCount } } }"#,
            json!({}),
            13,
        ),
        // An enum's values, and as many users as were given.
        ("{ errorCodes }", json!({}), 10 + 22),
        (
            r#"mutation { upsertUsers(input: { users: [{ id: "a", username: "a" }, { id: "b", username: "b" }] }) { users { id username } } }"#,
            json!({}),
            10 + 1 + 2 * 2,
        ),
        (
            r#"mutation { upsertUsers(input: { users: { id: "a", username: "a" } }) { users { id } } }"#,
            json!({}),
            10 + 1 + 1,
        ),
        (
            "mutation ($users: [UserInput!]!) { upsertUsers(input: { users: $users }) { users { id } } }",
            json!({ "users": vec![json!({ "id": "a", "username": "a" }); 30] }),
            10 + 1 + 30,
        ),
        (
            "mutation ($input: UpsertUsersInput!) { upsertUsers(input: $input) { users { id } } }",
            json!({ "input": { "users": vec![json!({ "id": "a", "username": "a" }); 3] } }),
            10 + 1 + 3,
        ),
        (
            r#"mutation { a: sendMessage(input: { recipientId: "b", content: "c" }) { message { id } } b: readMessage(input: { id: "x" }) { inbox { id } } }"#,
            json!({}),
            12 + 12,
        ),
    ];
    costs(&cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_of_the_schema_is_priced_by_its_length() {
    let text = std::fs::read_to_string(format!("{MANIFEST}/schema.graphql")).unwrap();
    let schema = Schema::parse_and_validate(text, "schema.graphql").unwrap();
    let mut lists = Vec::new();
    for (name, ty) in &schema.types {
        let fields = match ty {
            ExtendedType::Object(object) => &object.fields,
            ExtendedType::Interface(interface) => &interface.fields,
            _ => continue,
        };
        let found = fields.iter().filter(|(_, field)| field.ty.is_list());
        lists.extend(
            found
                .filter(|_| !name.starts_with("__"))
                .map(|(field, _)| format!("{name}.{field}")),
        );
    }
    lists.sort();
    // Each with a document that asks for N items of it, and what one item costs there.
    let known = [
        (
            "ConversationPartnerConnection.edges",
            "{ conversationPartners(first: N) { edges { cursor } } }",
        ),
        (
            "ConversationPartnerConnection.nodes",
            "{ conversationPartners(first: N) { nodes { id } } }",
        ),
        (
            "MessageConnection.edges",
            r#"{ conversation(partnerId: "b", limit: N) { edges { cursor } } }"#,
        ),
        (
            "MessageConnection.nodes",
            r#"{ conversation(partnerId: "b", limit: N) { nodes { id } } }"#,
        ),
        ("Query.errorCodes", ""),
        (
            "UnreadMessageConnection.edges",
            "{ unreadMessages(first: N) { edges { cursor } } }",
        ),
        (
            "UnreadMessageConnection.nodes",
            "{ unreadMessages(first: N) { nodes { id } } }",
        ),
        (
            "UpsertUsersPayload.users",
            "mutation { upsertUsers(input: { users: [USERS] }) { users { id } } }",
        ),
    ];
    assert_eq!(
        lists,
        known.map(|(list, _)| list),
        "a list has no document here that shows its price"
    );
    let server = cashier().await;
    let user = somebody(&server);
    for (list, document) in known
        .into_iter()
        .filter(|(_, document)| !document.is_empty())
    {
        for size in [1, 13, 100] {
            let users = r#"{ id: "a", username: "a" } "#.repeat(size);
            let document = document
                .replace('N', &size.to_string())
                .replace("USERS", &users);
            let price = price(&user, &document, json!({})).await;
            assert_eq!(price, 10 + 1 + size as u64, "{list}: {document}");
        }
    }
    server.finish().await;
}
