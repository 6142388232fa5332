//! The server as a subgraph, as a gateway asks it; tests/node/federation.test.mjs asks by a real one. Who may see what is in
//! `access`.

use serde_json::{Value, json};

use crate::{
    harness::{Fixture as _, database::Kind, server::TestServer, user::User},
    price::told,
    statements::{Log, logged},
    support::bombs::many,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_directmessages");
const ENTITIES: &str = "query ($of: [_Any!]!) { _entities(representations: $of) {
  __typename ... on User { id username } ... on Message { id content } } }";

fn schema(flags: &[&str]) -> String {
    let mut program = std::process::Command::new(PROGRAM);
    let output = program.arg("schema").args(flags).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Why an id is rejected that JSON may have changed.
const BEYOND: &str = "its id is a number beyond 9007199254740991, which not every JSON writer keeps exactly: send ids as strings";

/// The entities of these representations, which all have to be good.
async fn entities(user: &User, of: Value) -> Value {
    let answer = user.ask(ENTITIES, json!({ "of": of })).await;
    answer.data()["_entities"].clone()
}

fn user(id: &str) -> Value {
    json!({ "__typename": "User", "id": id })
}

/// Names in introspection that are a gateway's.
async fn names_of_a_gateway(server: &TestServer) -> Vec<String> {
    let ann = server.user("ann").await;
    let query = "{ __schema { types { name fields { name } } directives { name } } }";
    let schema = ann.ask(query, json!({})).await.data()["__schema"].clone();
    let all = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let types = all(&schema["types"]);
    let fields = types.iter().flat_map(|ty| all(&ty["fields"]));
    let mut names: Vec<String> = types
        .iter()
        .cloned()
        .chain(fields)
        .chain(all(&schema["directives"]))
        .map(|named| named["name"].as_str().unwrap().to_owned())
        .filter(|name| {
            let own = name.starts_with('_') && !name.starts_with("__");
            own || ["key", "link", "shareable"].contains(&name.as_str())
        })
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_nothing_of_it_exists() {
    let server = TestServer::with(Kind::Sqlite, &["--introspection"]).await;
    assert_eq!(names_of_a_gateway(&server).await, [""; 0]);
    let host = server.service();
    for (unknown, document) in [
        ("_service", "{ _service { sdl } }"),
        (
            "_entities",
            "{ _entities(representations: []) { __typename } }",
        ),
        ("_Any", "query ($of: _Any) { viewer { id } }"),
        ("_Entity", "{ viewer { ... on _Entity { __typename } } }"),
        ("_Service", "{ viewer { ... on _Service { sdl } } }"),
        ("key", "{ viewer @key(fields: \"id\") { id } }"),
    ] {
        // A name that nobody ever gave anything is told of in the same words.
        let (ours, other) = (document, document.replacen(unknown, "unknown", 1));
        let ours = host.ask(ours, json!({})).await;
        let other = host.ask(&other, json!({})).await;
        assert_eq!((ours.status, other.status), (400, 400), "{}", ours.body);
        let ours = told(&ours, "GRAPHQL_VALIDATION_FAILED");
        let ours: Vec<_> = ours
            .iter()
            .map(|it| it.replace(unknown, "unknown"))
            .collect();
        assert_eq!(ours, told(&other, "GRAPHQL_VALIDATION_FAILED"));
    }
    for name in [
        "_service",
        "_entities",
        "_Any",
        "_Entity",
        "_Service",
        "@key",
        "@link",
    ] {
        assert!(!schema(&[]).contains(name), "{name}");
    }
    server.finish().await;

    let server = TestServer::with(Kind::Sqlite, &["--introspection", "--federation"]).await;
    let expected = ["_Any", "_Entity", "_Service", "_entities", "_service"];
    assert_eq!(names_of_a_gateway(&server).await, expected);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subgraph_tells_its_schema_to_the_host_application_only() {
    let server = TestServer::with(Kind::Sqlite, &["--federation"]).await;
    let ann = server.user("ann").await;
    let query = "{ _service { sdl } }";
    let answer = server.service().ask(query, json!({})).await;
    assert_eq!(answer.data()["_service"]["sdl"], schema(&["--federation"]));
    let answer = ann.ask(query, json!({})).await;
    assert_eq!(answer.errors(), [("FORBIDDEN".into(), "_service".into())]);
    assert_eq!(answer.body["data"], Value::Null);
    let closed = ann.ask("{ __schema { types { name } } }", json!({})).await;
    assert_eq!(closed.status, 400, "introspection stays closed");
    server.finish().await;
}

#[test]
fn the_printed_subgraph_is_the_contract_with_its_entities() {
    let subgraph = schema(&["--federation"]);
    for head in [
        "type Message implements Node @key(fields: \"id\") {",
        "type PageInfo @shareable {",
        "type User implements Node @key(fields: \"id\") {",
    ] {
        assert_eq!(subgraph.matches(head).count(), 1, "{head}");
    }
    let (link, rest) = subgraph.split_once("\n\n").unwrap();
    assert!(link.starts_with("extend schema @link("), "{link}");
    let plain = rest.replace(" @key(fields: \"id\")", "");
    assert_eq!(plain.replace(" @shareable", ""), schema(&[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn entities_come_in_the_order_of_their_names() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let server = TestServer::with(kind, &["--federation"]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let eve = server.user("eve").await;
        let message = ann.send(&ben, "Hello Ben").await;
        let pinned =
            json!({ "__typename": "Message", "id": message["id"], "pinnedBy": { "id": "x" } });
        let of = json!([
            user("ben"),
            pinned,
            user("nobody"),
            user("ann"),
            user("ben"),
            user("dm_x")
        ]);
        let (shown_ann, shown_ben) = (
            json!({ "__typename": "User", "id": "ann", "username": "ann" }),
            json!({ "__typename": "User", "id": "ben", "username": "ben" }),
        );
        let shown = json!({ "__typename": "Message", "id": message["id"], "content": "Hello Ben" });
        let expected = json!([shown_ben, shown, null, shown_ann, shown_ben, null]);
        assert_eq!(entities(&ben, of.clone()).await, expected);
        let hidden = json!([shown_ben, null, null, shown_ann, shown_ben, null]);
        assert_eq!(entities(&eve, of).await, hidden);
        assert_eq!(entities(&eve, json!([])).await, json!([]));
        assert_eq!(
            entities(&eve, user("ann")).await,
            json!([shown_ann]),
            "one stands for a list of one"
        );
        server.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_entities_are_asked_for_at_once() {
    let database = logged().await;
    let server = TestServer::on(&database, &["--federation", "--name-life", "0"]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let mut of = vec![user("ann"), user("ben")];
    for number in 0..20 {
        let message = ann.send(&ben, &format!("message {number}")).await;
        of.push(json!({ "__typename": "Message", "id": message["id"] }));
    }
    let log = Log {
        database: &database.name,
    };
    let before = log.asked().len();
    let found = entities(&ben, json!(of)).await;
    let asked = log.asked().split_off(before);
    assert_eq!(found[21]["content"], "message 19");
    assert_eq!(
        asked.len(),
        3,
        "the users, the messages, and who wrote them: {asked:#?}"
    );
    server.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_refused_messages_and_not_the_users_beside_them() {
    let server = TestServer::with(Kind::Sqlite, &["--federation"]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let message = ann.send(&ben, "for Ben alone").await;
    let of = json!([user("ann"), { "__typename": "Message", "id": message["id"] }, user("ben")]);
    let answer = server.service().ask(ENTITIES, json!({ "of": of })).await;
    assert_eq!(
        answer.errors(),
        [("FORBIDDEN".to_owned(), "_entities.1".to_owned())]
    );
    let found = &answer.body["data"]["_entities"];
    assert_eq!((&found[0]["id"], &found[1]), (&json!("ann"), &Value::Null));
    assert_eq!(found[2]["id"], "ben");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_may_be_a_number_and_stand_in_the_document() {
    let server = TestServer::with(Kind::Sqlite, &["--federation"]).await;
    let number = server.user("7").await;
    assert_eq!(
        entities(&number, json!([{ "__typename": "User", "id": 7 }])).await[0]["id"],
        "7"
    );
    let query =
        "query ($id: ID!) { _entities(representations: [{ __typename: \"User\", id: $id }]) {
      ... on _Entity { ... on Node { id } } } }";
    let answer = number.ask(query, json!({ "id": "7" })).await;
    assert_eq!(answer.data(), &json!({ "_entities": [{ "id": "7" }] }));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_told_and_the_others_stand() {
    let server = TestServer::with(Kind::Sqlite, &["--federation"]).await;
    let ann = server.user("ann").await;
    let garbage = [
        (json!(7), "give an object with __typename and id"),
        (json!("ann"), "give an object with __typename and id"),
        (
            json!([user("ann")]),
            "give an object with __typename and id",
        ),
        (json!({}), "give its __typename, \"User\" or \"Message\""),
        (
            json!({ "id": "ann" }),
            "give its __typename, \"User\" or \"Message\"",
        ),
        (
            json!({ "__typename": "Inbox", "id": "ann" }),
            "__typename is \"User\" or \"Message\" here",
        ),
        (
            json!({ "__typename": ["User"], "id": "ann" }),
            "__typename is \"User\" or \"Message\" here",
        ),
        (json!({ "__typename": "User" }), "give its id"),
        (
            json!({ "__typename": "User", "id": null }),
            "its id is a string",
        ),
        (
            json!({ "__typename": "Message", "id": { "is": 1 } }),
            "its id is a string",
        ),
        (
            json!({ "__typename": "User", "id": 1.5 }),
            "its id is a string",
        ),
        (
            json!({ "__typename": "User", "id": 9_007_199_254_740_992_u64 }),
            BEYOND,
        ),
        (json!({ "__typename": "Message", "id": u64::MAX }), BEYOND),
        (
            json!({ "__typename": "User", "id": -9_007_199_254_740_992_i64 }),
            BEYOND,
        ),
    ];
    for (bad, why) in garbage {
        let of = json!([user("ann"), bad, user("ann")]);
        let answer = ann.ask(ENTITIES, json!({ "of": of })).await;
        let at = "_entities.1".to_owned();
        assert_eq!(answer.errors(), [("BAD_USER_INPUT".to_owned(), at)]);
        let message = format!("representations[1]: {why}");
        assert_eq!(answer.body["errors"][0]["message"], message, "{bad}");
        let found = &answer.body["data"]["_entities"];
        assert_eq!(found[0]["id"], "ann", "{found}");
        assert_eq!((&found[1], &found[2]), (&Value::Null, &found[0]));
    }
    // A document's own number is its text.
    server.user("9007199254740993").await;
    let query = "{ _entities(representations: [{ __typename: \"User\", id: 9007199254740993 }]) { ... on User { id } } }";
    let data = ann.data(query, json!({})).await;
    assert_eq!(data["_entities"][0]["id"], "9007199254740993");
    for of in [
        r#"{ __typename: "User", id: "ann", id: "ben" }"#,
        r#"{ __typename: "User", id: $unknown }"#,
    ] {
        let query = format!("{{ _entities(representations: [{of}]) {{ __typename }} }}");
        told(
            &ann.ask(&query, json!({})).await,
            "GRAPHQL_VALIDATION_FAILED",
        );
    }
    for of in [Value::Null, json!([null])] {
        let answer = ann.ask(ENTITIES, json!({ "of": of })).await;
        assert_eq!(answer.code(), "BAD_USER_INPUT");
        assert_eq!(answer.body.get("data"), None);
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entity_costs_what_a_root_field_does_and_they_are_bounded() {
    let flags = ["--federation", "--entity-limit=3", "--complexity-limit=100"];
    let server = TestServer::with(Kind::Sqlite, &flags).await;
    let ann = server.user("ann").await;
    let some = |count: usize| json!({ "of": vec![user("ann"); count] });
    let cheap = "query ($of: [_Any!]!) { _entities(representations: $of) { ... on User { id } } }";
    assert_eq!(ann.ask(cheap, some(3)).await.errors(), []);
    let over = told(&ann.ask(cheap, some(4)).await, "QUERY_TOO_COMPLEX");
    assert_eq!(
        over,
        [
            "this operation asks for 4 entities and the limit is 3: ask for them in several operations"
        ]
    );
    let twice = "query ($of: [_Any!]!) { a: _entities(representations: $of) { __typename }
      b: _entities(representations: $of) { __typename } }";
    assert_eq!(ann.ask(twice, some(2)).await.code(), "QUERY_TOO_COMPLEX");
    // 10, and for each of three entities 10 and its fields.
    let costly = |fields: usize| {
        let fields = many(0..fields, |at| format!("a{at}: id "));
        format!(
            "query ($of: [_Any!]!) {{ _entities(representations: $of) {{ ... on User {{ {fields} }} }} }}"
        )
    };
    assert_eq!(ann.ask(&costly(20), some(3)).await.errors(), []);
    let dear = told(&ann.ask(&costly(21), some(3)).await, "QUERY_TOO_COMPLEX");
    assert!(
        dear[0].starts_with("this operation costs 103 and the limit is 100"),
        "{dear:?}"
    );
    server.finish().await;
}
