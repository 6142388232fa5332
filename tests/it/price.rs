//! What documents may cost: every limit, the price of an operation by hand and by chance, and bombs.

use apollo_compiler::{Schema, schema::ExtendedType};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{
    Fixture as _,
    chance::Chance,
    database::Kind,
    server::TestServer,
    socket::Socket,
    user::{Answer, MESSAGE, User},
};

const MANIFEST: &str = env!("CARGO_MANIFEST_DIR");
const UNLIMITED: [&str; 14] = [
    "--token-limit=1000000",
    "--fragment-limit=1000000",
    "--alias-limit=1000000",
    "--directive-limit=1000000",
    "--field-limit=1000000000",
    "--depth-limit=1000000",
    "--root-field-limit=1000000",
    "--introspection",
    "--body-limit=1000000",
    "--upsert-limit=1000",
    "--content-limit=4000",
    "--socket-operations=100",
    "--slow-tick=2",
    "--socket-ping=20",
];

/// A server whose every answer tells the price.
async fn cashier() -> TestServer {
    let flags: Vec<&str> = UNLIMITED
        .into_iter()
        .chain(["--complexity-limit=1"])
        .collect();
    TestServer::with(Kind::Sqlite, &flags).await
}

/// Somebody with a token, to whom no operation is ever affordable.
fn somebody(server: &TestServer) -> User {
    let token = crate::harness::server::tokens();
    server.bearer(Some(token.mint("ann", None, false, 3_600).unwrap()))
}

/// The messages of a refusal, and that every error has a place and this code.
fn told(answer: &Answer, code: &str) -> Vec<String> {
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

async fn price(user: &User, document: &str, variables: Value) -> u64 {
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

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_costs_what_its_fields_and_pages_come_to() {
    let server = cashier().await;
    let user = somebody(&server);
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
            10 + 1 + 4 * 5,
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
        // Fragments cost what they select, wherever they are spread, by the page around them.
        (
            "{ a: unreadMessages(first: 2) { ...P } b: unreadMessages(first: 3) { ...P } } \
             fragment P on UnreadMessageConnection { totalCount nodes { ...M } } fragment M on Message { id ... { content } }",
            json!({}),
            (10 + 1 + 1 + 2 * 2) + (10 + 1 + 1 + 3 * 2),
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
        ("{ errorCodes }", json!({}), 10 + 21),
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
    for (document, variables, expected) in cases {
        assert_eq!(
            price(&user, document, variables.clone()).await,
            expected,
            "{document} {variables}"
        );
    }
    server.finish().await;
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

/// A part of a random document, with all that its price needs.
enum Part {
    Field {
        text: String,
        root: bool,
        /// The size of the pages below it, where it sets one.
        page: Option<u64>,
        is_list: bool,
        below: Vec<Part>,
    },
    Inline(&'static str, bool, Vec<Part>),
    /// The type, and the number of a fragment on it.
    Spread(&'static str, usize, &'static str, bool),
}

const FRAGMENTS: usize = 3;
/// A type's fields: name, type, whether it takes a page size, whether it is a list.
type Fields = &'static [(&'static str, &'static str, bool, bool)];
const TYPES: [(&str, Fields); 5] = [
    (
        "Query",
        &[
            ("viewer", "User", false, false),
            ("unreadMessages", "UnreadMessageConnection", true, false),
        ],
    ),
    (
        "UnreadMessageConnection",
        &[
            ("totalCount", "", false, false),
            ("nodes", "Message", false, true),
            ("edges", "MessageEdge", false, true),
        ],
    ),
    (
        "MessageEdge",
        &[
            ("cursor", "", false, false),
            ("node", "Message", false, false),
        ],
    ),
    (
        "Message",
        &[
            ("content", "", false, false),
            ("sender", "User", false, false),
        ],
    ),
    (
        "User",
        &[("id", "", false, false), ("username", "", false, false)],
    ),
];
/// Directives, and whether they leave in what they stand on.
const DIRECTIVES: [(&str, bool); 5] = [
    ("", true),
    ("", true),
    (" @include(if: $on)", true),
    (" @skip(if: $on)", false),
    (" @include(if: $off)", false),
];
/// Page sizes as arguments, and what they mean with these variables: `n` is 4, `m` is left out and 7 by default, `gone` is left
/// out.
const PAGES: [(&str, u64); 7] = [
    ("", 50),
    ("(first: 3)", 3),
    ("(first: $n)", 4),
    ("(first: $m)", 7),
    ("(first: $gone)", 50),
    ("(first: 1000)", 100),
    ("(first: -1)", 1),
];

struct Author {
    chance: Chance,
    aliases: usize,
}

impl Author {
    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.chance.below(choices.len())]
    }

    /// Some parts of a type, spreading only fragments from `from` on, so that none spreads itself.
    fn parts(&mut self, ty: &'static str, from: usize) -> Vec<Part> {
        let fields = TYPES.iter().find(|(name, _)| *name == ty).unwrap().1;
        let count = 1 + self.chance.below(3);
        let mut parts = Vec::with_capacity(count);
        for _ in 0..count {
            let (directive, included) = self.one_of(&DIRECTIVES);
            let part = match self.chance.below(4) {
                0 if from < FRAGMENTS => {
                    let number = from + self.chance.below(FRAGMENTS - from);
                    Part::Spread(ty, number, directive, included)
                }
                1 => {
                    let below = self.parts(ty, from);
                    Part::Inline(directive, included, below)
                }
                _ => {
                    let (name, of, paged, is_list) = self.one_of(fields);
                    self.aliases += 1;
                    let page = paged.then(|| self.one_of(&PAGES));
                    let arguments = page.map_or("", |(arguments, _)| arguments);
                    let field = Part::Field {
                        text: format!("f{}: {name}{arguments}", self.aliases),
                        root: ty == "Query",
                        page: page.map(|(_, size)| size),
                        is_list,
                        // The fragments of another type are all later than those of this one.
                        below: if of.is_empty() {
                            Vec::new()
                        } else {
                            self.parts(of, 0)
                        },
                    };
                    // Directives stand before the selection, so a field's are given by an inline fragment around it.
                    Part::Inline(directive, included, vec![field])
                }
            };
            parts.push(part);
        }
        parts
    }
}

fn text(parts: &[Part]) -> String {
    let parts = parts.iter().map(|part| match part {
        Part::Field {
            text: own, below, ..
        } if below.is_empty() => own.clone(),
        Part::Field {
            text: own, below, ..
        } => format!("{own} {{ {} }}", text(below)),
        Part::Inline(directive, _, below) => format!("...{directive} {{ {} }}", text(below)),
        Part::Spread(ty, number, directive, _) => format!("...{ty}{number}{directive}"),
    });
    parts.collect::<Vec<_>>().join(" ")
}

/// The price as it is defined, every fragment walked wherever it is spread.
fn walked(parts: &[Part], fragments: &[(&str, usize, Vec<Part>)], page: u64) -> u64 {
    let prices = parts.iter().map(|part| match part {
        Part::Field {
            root,
            page: own,
            is_list,
            below,
            ..
        } => {
            let below = walked(below, fragments, own.unwrap_or(page));
            let items = if *is_list { page } else { 1 };
            (if *root { 10 } else { 1 }) + items * below
        }
        Part::Inline(_, false, _) | Part::Spread(_, _, _, false) => 0,
        Part::Inline(_, true, below) => walked(below, fragments, page),
        Part::Spread(ty, number, _, true) => {
            let of = |(of, at, _): &&(&str, usize, Vec<Part>)| of == ty && at == number;
            walked(&fragments.iter().find(of).unwrap().2, fragments, page)
        }
    });
    prices.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_price_of_any_document_is_that_of_walking_all_of_it() {
    let server = cashier().await;
    let user = somebody(&server);
    let mut author = Author {
        chance: Chance::fresh(),
        aliases: 0,
    };
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..150 {
        let mut fragments = Vec::new();
        for (ty, _) in TYPES {
            for number in 0..FRAGMENTS {
                fragments.push((ty, number, author.parts(ty, number + 1)));
            }
        }
        let root = author.parts("Query", 0);
        // Every variable and fragment is used, so that the document is valid.
        let spread = |ty: &str| {
            (0..FRAGMENTS)
                .map(|at| format!(" ...{ty}{at}"))
                .collect::<String>()
        };
        let used = format!(
            "z1: viewer @include(if: $on) @skip(if: $off) {{ id }} z2: unreadMessages(first: $n) {{ totalCount }} \
             z3: unreadMessages(first: $m) {{ totalCount }} z4: unreadMessages(first: $gone) {{ totalCount }} \
             ... @skip(if: $on) {{ {} z5: unreadMessages {{ {} nodes {{ {} sender {{ {} }} }} edges {{ {} }} }} }}",
            spread("Query"),
            spread("UnreadMessageConnection"),
            spread("Message"),
            spread("User"),
            spread("MessageEdge"),
        );
        let definitions = fragments.iter().map(|(ty, number, parts)| {
            format!("fragment {ty}{number} on {ty} {{ {} }}", text(parts))
        });
        let document = format!(
            "query ($on: Boolean!, $off: Boolean!, $n: Int!, $m: Int = 7, $gone: Int) {{ {} {used} }} {}",
            text(&root),
            definitions.collect::<Vec<_>>().join(" ")
        );
        let variables = json!({ "on": true, "off": false, "n": 4 });
        let expected = walked(&root, &fragments, 0) + 4 * 11;
        assert_eq!(
            price(&user, &document, variables).await,
            expected,
            "{document}"
        );
        seen.insert(expected);
    }
    assert!(seen.len() > 20, "the documents are all alike: {seen:?}");
    server.finish().await;
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
    // Six tokens, the end, and commas.
    let tokens = |count: usize| format!("{{{}viewer{{id}}}}", ",".repeat(count - 7));
    let fragments = |count: usize| {
        let spreads: String = (0..count).map(|at| format!("...F{at} ")).collect();
        let definitions: String = (0..count)
            .map(|at| format!("fragment F{at} on Query {{ viewer {{ id }} }} "))
            .collect();
        format!("{{ {spreads} }} {definitions}")
    };
    let aliases = |count: usize| {
        let fields: String = (0..count).map(|at| format!("a{at}: id ")).collect();
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
    let cases = [
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
    ];
    for (under, over, message) in cases {
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
            "Expected value of type \"Int!\", found \"ten\".",
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
