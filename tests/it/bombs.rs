//! Documents and variables that cost much more than they look, where nothing stops them.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    harness::{Fixture as _, database::Kind, server::TestServer, socket::Socket, user::MESSAGE},
    price::told,
};

fn chain(count: usize, on: &str, last: &str, link: impl Fn(usize) -> String) -> String {
    let links = (0..count).map(|at| format!("fragment F{at} on {on} {{ {} }} ", link(at + 1)));
    format!(
        "{} fragment F{count} on {on} {{ {last} }}",
        links.collect::<String>()
    )
}

/// Fragments as the states of an automaton, so that the sets of fields to be merged are as many as its subsets.
fn automaton(layers: usize, width: usize) -> String {
    let mut text = format!(
        "{{ __type(name: \"User\") {{ {} }} }}",
        (0..width)
            .map(|at| format!("...F0_{at} "))
            .collect::<String>()
    );
    for layer in 0..layers {
        for at in 0..width {
            let next = |at: usize| format!("...F{}_{}", layer + 1, at % width);
            let (a, b) = if layer + 1 == layers {
                ("name".to_owned(), "name".to_owned())
            } else {
                (
                    next(at),
                    next(at + 1) + &if at == 0 { next(0) } else { String::new() },
                )
            };
            text += &format!(
                "fragment F{layer}_{at} on __Type {{ a: ofType {{ {a} }} b: ofType {{ {b} }} }}"
            );
        }
    }
    text
}

/// Documents and variables that cost much more than they look, where nothing stops them, and the code that each gets; nothing
/// for those that are answered.
fn bombs() -> Vec<(&'static str, String, Value, &'static str)> {
    let twice = |at: usize| format!("...F{at} ...F{at}");
    let nested = |open: &str, count: usize| open.repeat(count);
    let users = vec![json!({ "id": "x", "username": "y" }); 5_000];
    let long = "x".repeat(200_000);
    vec![
        ("deep", format!("{{ ...F0 }} {}", chain(60, "Query", "viewer { id }", twice)), json!({}), "QUERY_TOO_COMPLEX"),
        ("deeper", format!("{{ ...F0 }} {}", chain(99, "Query", "viewer { id }", |at| format!("...F{at}"))), json!({}), "QUERY_TOO_COMPLEX"),
        ("wide", format!("{{ ...F0 }} {}", chain(30, "Query", "viewer { id }", |at| (at..=30).map(|at| format!("...F{at} ")).collect())), json!({}), "QUERY_TOO_COMPLEX"),
        ("cyclic", format!("{{ ...F0 }} {}", chain(25, "Query", "...F0", |_| (0..25).map(|at| format!("...F{at} ")).collect())), json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("without a field", format!("{{ viewer {{ id }} ...F0 }} {}", chain(60, "Query", "... @skip(if: true) { viewer { id } }", twice)), json!({}), "QUERY_TOO_COMPLEX"),
        ("in introspection", format!("{{ __type(name: \"User\") {{ ...F0 }} }} {}", chain(60, "__Type", "name", |at| format!("a: ofType {{ ...F{at} }} b: ofType {{ ...F{at} }}"))), json!({}), "QUERY_TOO_COMPLEX"),
        ("of type lists", format!("{{ __schema {{ types {{ {}name{} }} }} }}", "fields { type { ".repeat(3), " } }".repeat(3)), json!({}), "QUERY_TOO_COMPLEX"),
        ("an automaton", automaton(8, 10), json!({}), "QUERY_TOO_COMPLEX"),
        ("operations", format!("{} fragment F on Query {{ viewer {{ {} }} }}", (0..90).map(|at| format!("query Q{at} {{ ...F }} ")).collect::<String>(), "id ".repeat(60)), json!({}), "QUERY_TOO_COMPLEX"),
        ("fields in conflict", format!("{{ {} }}", (0..150).map(|at| format!("user(id: {at}) {{ id }} ")).collect::<String>()), json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("the same field", format!("{{ {} }}", "viewer { id } ".repeat(10_000)), json!({}), "QUERY_TOO_COMPLEX"),
        ("braces", nested("{", 100_000), json!({}), "QUERY_TOO_COMPLEX"),
        ("braces with fields", nested("{a", 100_000), json!({}), "QUERY_TOO_COMPLEX"),
        ("brackets in a value", format!("{{ user(id: {}", nested("[", 100_000)), json!({}), "QUERY_TOO_COMPLEX"),
        ("braces in a value", format!("{{ user(id: {}", nested("{a:", 50_000)), json!({}), "QUERY_TOO_COMPLEX"),
        ("brackets in a type", format!("query ($v: {}", nested("[", 100_000)), json!({}), "QUERY_TOO_COMPLEX"),
        ("some brackets in a type", format!("query ($v: {}Int{}) {{ viewer {{ id }} }}", nested("[", 300), nested("]", 300)), json!({}), "QUERY_TOO_COMPLEX"),
        ("some brackets in a value", format!("{{ user(id: {}1{}) {{ id }} }}", nested("[", 300), nested("]", 300)), json!({}), "QUERY_TOO_COMPLEX"),
        ("inline fragments", format!("{{ {} viewer {{ id }} {} }}", nested("... { ", 300), nested("}", 300)), json!({}), "QUERY_TOO_COMPLEX"),
        ("a comment", format!("{{ viewer {{ id }} }} # {long}"), json!({}), ""),
        ("comments", format!("{{ viewer {{ id }} }} {}", "#\n".repeat(50_000)), json!({}), "QUERY_TOO_COMPLEX"),
        ("a string", format!("{{ user(id: \"{long}\") {{ id }} }}"), json!({}), ""),
        ("a block string", format!("{{ user(id: \"\"\"{}\"\"\") {{ id }} }}", "x\n".repeat(50_000)), json!({}), ""),
        ("no GraphQL", "?".repeat(100_000), json!({}), "QUERY_TOO_COMPLEX"),
        ("variables", format!("query ({}) {{ viewer {{ id }} }}", (0..10_000).map(|at| format!("$v{at}: Int ")).collect::<String>()), json!({}), "QUERY_TOO_COMPLEX"),
        ("unused variables", format!("query ({}) {{ viewer {{ id }} }}", (0..700).map(|at| format!("$v{at}: Int ")).collect::<String>()), json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("a list", "mutation ($u: [UserInput!]!) { upsertUsers(input: { users: $u }) { users { id username a: id b: id } } }".to_owned(), json!({ "u": users }), "QUERY_TOO_COMPLEX"),
        ("nested lists", "query ($v: ID!) { user(id: $v) { id } }".to_owned(), serde_json::from_str(&format!("{{\"v\": {}{}}}", nested("[", 100), nested("]", 100))).unwrap(), "BAD_USER_INPUT"),
        (
            "one variable again and again",
            format!("mutation ($u: UserInput!) {{ upsertUsers(input: {{ users: [{}] }}) {{ users {{ id }} }} }}", "$u ".repeat(1_000)),
            json!({ "u": { "id": "x", "username": long } }),
            "QUERY_TOO_COMPLEX",
        ),
        ("other names", "query ($v: ID!) { user(id: $v) { id } }".to_owned(), Value::Object((0..10_000).map(|at| (format!("n{at}"), json!(at))).chain([("v".to_owned(), json!("x"))]).collect()), ""),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_are_refused_while_others_go_on() {
    let server = TestServer::with(Kind::Sqlite, &["--introspection"]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    ann.send(&ben, "hello").await;
    let exploding = async {
        join_all(
            bombs()
                .into_iter()
                .map(|(name, document, variables, code)| {
                    let ann = &ann;
                    async move {
                        let answer = ann.ask(&document, variables).await;
                        if code.is_empty() {
                            assert!(answer.body["data"].is_object(), "{name}: {}", answer.body);
                        } else {
                            told(&answer, code);
                        }
                    }
                }),
        )
        .await
    };
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
    let twice = |at: usize| format!("...F{at} ...F{at}");
    let document = format!(
        "subscription {{ messageSent {{ ...F0 }} }} {}",
        chain(60, "MessageSent", "cursor", twice)
    );
    socket.subscribe("1", &document, json!({})).await;
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
