//! Documents and variables that cost much more than they look, where nothing stops them.

use serde_json::json;

/// One of them.
pub(crate) struct Bomb {
    pub(crate) name: &'static str,
    pub(crate) document: String,
    /// As JSON.
    pub(crate) variables: String,
    /// The code that it is refused with; nothing where it is answered.
    pub(crate) code: &'static str,
}

const COMPLEX: &str = "QUERY_TOO_COMPLEX";
const INVALID: &str = "GRAPHQL_VALIDATION_FAILED";
const INPUT: &str = "BAD_USER_INPUT";
const ANSWERED: &str = "";

/// Every kind, each within the default limit of a request's bytes.
pub(crate) fn bombs() -> Vec<Bomb> {
    let documents = fragments().into_iter().chain(fields()).chain(texts());
    let bombs = documents.map(|(name, document, code)| Bomb {
        name,
        document,
        variables: "{}".to_owned(),
        code,
    });
    bombs.chain(values()).collect()
}

type Document = (&'static str, String, &'static str);

fn fragments() -> Vec<Document> {
    let query = |count, link: &dyn Fn(usize) -> String| {
        format!(
            "{{ ...F0 }} {}",
            chain(count, "Query", "viewer { id }", link)
        )
    };
    let twice = |at| format!("...F{at} ...F{at} ");
    let types = |at| format!("a: ofType {{ ...F{at} }} b: ofType {{ ...F{at} }}");
    let types = chain(60, "__Type", "name", types);
    let events = chain(60, "MessageSent", "cursor", twice);
    let cycles = chain(25, "Query", "...F0", |_| {
        many(0..25, |at| format!("...F{at} "))
    });
    let empty = chain(60, "Query", "... @skip(if: true) { viewer { id } }", twice);
    let operations = many(0..90, |at| format!("query Q{at} {{ ...F }} "));
    let ids = "id ".repeat(60);
    vec![
        ("fragments: deep", query(60, &twice), COMPLEX),
        (
            "fragments: deeper",
            query(99, &|at| format!("...F{at}")),
            COMPLEX,
        ),
        (
            "fragments: deep, the deepest first",
            format!(
                "{} {{ ...F30 }}",
                many(0..31, |at| {
                    let inner = match at {
                        0 => "viewer { id }".to_owned(),
                        _ => format!("...F{}", at - 1),
                    };
                    let (open, close) = ("... { ".repeat(30), "} ".repeat(30));
                    format!("fragment F{at} on Query {{ {open}{inner} {close}}} ")
                })
            ),
            COMPLEX,
        ),
        (
            "fragments: wide",
            query(30, &|at| many(at..31, |at| format!("...F{at} "))),
            COMPLEX,
        ),
        (
            "fragments: cyclic",
            format!("{{ ...F0 }} {cycles}"),
            INVALID,
        ),
        (
            "fragments: without a field",
            format!("{{ viewer {{ id }} ...F0 }} {empty}"),
            COMPLEX,
        ),
        (
            "fragments: in introspection",
            format!("{{ __type(name: \"User\") {{ ...F0 }} }} {types}"),
            COMPLEX,
        ),
        (
            "fragments: in a subscription",
            format!("subscription {{ messageSent {{ ...F0 }} }} {events}"),
            COMPLEX,
        ),
        ("fragments: an automaton", automaton(8, 10), COMPLEX),
        (
            "fragments: in 90 operations",
            format!("{operations} fragment F on Query {{ viewer {{ {ids} }} }}"),
            COMPLEX,
        ),
    ]
}

fn fields() -> Vec<Document> {
    let type_lists = format!("{}name{}", "fields { type { ".repeat(3), " } }".repeat(3));
    let conflicts = many(0..150, |at| format!("user(id: {at}) {{ id }} "));
    let pages = many(0..20, |at| {
        format!("a{at}: unreadMessages(first: 10) {{ nodes {{ ...F }} }} ")
    });
    let ids = many(0..75, |at| format!("i{at}: id "));
    vec![
        (
            "introspection: nested lists",
            format!("{{ __schema {{ types {{ {type_lists} }} }} }}"),
            COMPLEX,
        ),
        ("fields: in conflict", format!("{{ {conflicts} }}"), INVALID),
        (
            "fields: unknown",
            format!("{{ {} }}", "nothing ".repeat(1_900)),
            INVALID,
        ),
        (
            "fields: one 10,000 times",
            format!("{{ {} }}", "viewer { id } ".repeat(10_000)),
            COMPLEX,
        ),
        (
            "fields: just under the limits",
            format!("{{ {pages} }} fragment F on Message {{ {ids} }}"),
            ANSWERED,
        ),
    ]
}

fn texts() -> Vec<Document> {
    let (open, close) = ("[".repeat(300), "]".repeat(300));
    let inline = format!(
        "{}viewer {{ id }}{}",
        "... { ".repeat(300),
        " }".repeat(300)
    );
    let long = "x".repeat(200_000);
    let lines = "x\n".repeat(60_000);
    let variables = |count| {
        let declared = many(0..count, |at| format!("$v{at}: Int "));
        format!("query ({declared}) {{ viewer {{ id }} }}")
    };
    vec![
        ("100,000 braces", "{".repeat(100_000), COMPLEX),
        ("100,000 braces and fields", "{a".repeat(100_000), COMPLEX),
        (
            "100,000 brackets in a value",
            format!("{{ user(id: {}", "[".repeat(100_000)),
            COMPLEX,
        ),
        (
            "100,000 brackets in a type",
            format!("query ($v: {}", "[".repeat(100_000)),
            COMPLEX,
        ),
        (
            "50,000 braces in a value",
            format!("{{ user(id: {}", "{a:".repeat(50_000)),
            COMPLEX,
        ),
        (
            "300 brackets in a value",
            format!("{{ user(id: {open}1{close}) {{ id }} }}"),
            COMPLEX,
        ),
        (
            "300 brackets in a type",
            format!("query ($v: {open}Int{close}) {{ viewer {{ id }} }}"),
            COMPLEX,
        ),
        ("300 inline fragments", format!("{{ {inline} }}"), COMPLEX),
        ("100,000 question marks", "?".repeat(100_000), COMPLEX),
        (
            "50,000 comments",
            format!("{{ viewer {{ id }} }} {}", "#\n".repeat(50_000)),
            COMPLEX,
        ),
        ("10,000 variables", variables(10_000), COMPLEX),
        ("700 unused variables", variables(700), INVALID),
        (
            "a comment of 200 KB",
            format!("{{ viewer {{ id }} }} # {long}"),
            ANSWERED,
        ),
        (
            "a string of 200 KB",
            format!("{{ user(id: \"{long}\") {{ id }} }}"),
            ANSWERED,
        ),
        (
            "a block string of 120 KB",
            format!("{{ user(id: \"\"\"{lines}\"\"\") {{ id }} }}"),
            ANSWERED,
        ),
    ]
}

fn values() -> Vec<Bomb> {
    let user = "query ($v: ID!) { user(id: $v) { id } }";
    let upsert = |users: &str| {
        format!(
            "upsertUsers(input: {{ users: {users} }}) {{ users {{ id username a: id b: id }} }}"
        )
    };
    let again = format!("[{}]", "$u ".repeat(1_000));
    let again = format!("mutation ($u: UserInput!) {{ {} }}", upsert(&again));
    let list = format!("mutation ($u: [UserInput!]!) {{ {} }}", upsert("$u"));
    let users = vec![json!({ "id": "x", "username": "y" }); 8_000];
    let long = json!({ "id": "x", "username": "x".repeat(200_000) });
    // Each is told of, with its place behind the comment.
    let entities = format!(
        "query ($of: [_Any!]!) {{ # {}\n _entities(representations: $of) {{ __typename }} }}",
        "x".repeat(150_000)
    );
    let nested = format!("{{\"v\": {}{}}}", "[".repeat(100), "]".repeat(100));
    let others = many(0..10_000, |at| format!("\"n{at}\": {at}, "));
    let bomb = |name, document: &str, variables, code| Bomb {
        name,
        document: document.to_owned(),
        variables,
        code,
    };
    vec![
        bomb(
            "a list of 8,000",
            &list,
            json!({ "u": users }).to_string(),
            COMPLEX,
        ),
        bomb(
            "a long variable 1,000 times",
            &again,
            json!({ "u": long }).to_string(),
            COMPLEX,
        ),
        bomb(
            "50,000 strings for one",
            user,
            json!({ "v": vec!["x"; 50_000] }).to_string(),
            INPUT,
        ),
        bomb("100 lists for one string", user, nested, INPUT),
        bomb(
            "1,000 entities that are none",
            &entities,
            json!({ "of": vec![7; 1_000] }).to_string(),
            ANSWERED,
        ),
        bomb(
            "10,000 variables of no use",
            user,
            format!("{{{others} \"v\": \"x\"}}"),
            ANSWERED,
        ),
    ]
}

/// What each number makes, one after the other.
pub(crate) fn many(of: std::ops::Range<usize>, each: impl Fn(usize) -> String) -> String {
    of.map(each).collect::<Vec<_>>().concat()
}

/// Fragments that each lead to the next, and the last to a field.
fn chain(count: usize, on: &str, last: &str, link: impl Fn(usize) -> String) -> String {
    let links = many(0..count, |at| {
        format!("fragment F{at} on {on} {{ {} }} ", link(at + 1))
    });
    format!("{links} fragment F{count} on {on} {{ {last} }}")
}

/// Fragments as the states of an automaton: the sets of fields to be merged are as many as its subsets.
fn automaton(layers: usize, width: usize) -> String {
    let first = many(0..width, |at| format!("...F0_{at} "));
    let layers = many(0..layers, |layer| {
        let next = |at: usize| format!("...F{}_{} ", layer + 1, at % width);
        many(0..width, |at| {
            let (a, b) = match (layer + 1 == layers, at) {
                (true, _) => ("name".to_owned(), "name".to_owned()),
                (false, 0) => (next(0), next(1) + &next(0)),
                (false, at) => (next(at), next(at + 1)),
            };
            format!(
                "fragment F{layer}_{at} on __Type {{ a: ofType {{ {a} }} b: ofType {{ {b} }} }} "
            )
        })
    });
    format!("{{ __type(name: \"User\") {{ {first} }} }} {layers}")
}
