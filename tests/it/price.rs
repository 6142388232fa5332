//! What an operation costs: by hand, by chance, and for every list of the schema.

use apollo_compiler::{Schema, schema::ExtendedType};
use serde_json::{Value, json};

use crate::harness::{
    Fixture as _,
    chance::Chance,
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
