//! How many statements an operation costs, counted in PostgreSQL's own log.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{
    Fixture as _,
    database::{Kind, TestDatabase, postgres},
    server::TestServer,
    user::User,
};

/// How many people write to the viewer, and how many messages one of them writes: more than any page holds.
const MANY: usize = 102;

/// What ran on one database.
pub(crate) struct Log<'a> {
    pub(crate) database: &'a str,
}

impl Log<'_> {
    /// Every statement so far, by its first line.
    pub(crate) fn statements(&self) -> Vec<String> {
        let log = std::fs::read_to_string(postgres().path().join("postgres.log")).unwrap();
        let prefix = format!("{}|LOG:  ", self.database);
        let lines = log.lines().filter_map(|line| line.strip_prefix(&prefix));
        lines
            .filter(|line| line.starts_with("execute ") || line.starts_with("statement: "))
            .filter_map(|line| {
                line.split_once(": ")
                    .map(|(_, statement)| statement.to_owned())
            })
            // Hints go out on a connection of their own, whenever they come to it.
            .filter(|statement| !statement.starts_with("NOTIFY "))
            .collect()
    }

    /// Every statement so far that somebody asked for: the slow tick's comes whenever it comes to it, and a pool asks
    /// each connection that it opens.
    pub(crate) fn asked(&self) -> Vec<String> {
        let unasked = ["FROM (SELECT 1) AS one", "SHOW transaction_read_only"];
        let statements = self.statements().into_iter();
        statements
            .filter(|statement| !unasked.iter().any(|unasked| statement.contains(unasked)))
            .collect()
    }

    /// What one operation runs, and what it answers.
    async fn of(&self, user: &User, query: &str) -> (Vec<String>, Value) {
        let before = self.asked().len();
        let data = user.data(query, json!({})).await;
        (self.asked().split_off(before), data)
    }
}

/// Whether it asks who somebody is, which is remembered: these tests forget at once, so that they do not depend on time.
fn asks_names(statement: &str) -> bool {
    statement.contains("JOIN \"user\" u ON u.id = r.id")
}

fn is_reading(statement: &str) -> bool {
    let statement = statement.trim_start().to_ascii_uppercase();
    statement.starts_with("SELECT")
}

/// Every type's fields with the types that they lead to, and every interface's types.
struct Schema(BTreeMap<String, Value>);

impl Schema {
    async fn of(user: &User) -> Self {
        let query = "{ __schema { types { name kind possibleTypes { name } fields { name type { ...T } } } } } \
            fragment T on __Type { name kind ofType { name kind ofType { name kind ofType { name kind ofType { name kind } } } } }";
        let data = user.data(query, json!({})).await;
        let types = data["__schema"]["types"].as_array().unwrap().iter();
        Self(
            types
                .map(|each| (each["name"].as_str().unwrap().to_owned(), each.clone()))
                .collect(),
        )
    }

    fn fields(&self, name: &str) -> Vec<(&str, &str)> {
        let fields = self.0[name]["fields"].as_array().unwrap().iter();
        fields
            .map(|field| (field["name"].as_str().unwrap(), named(&field["type"])))
            .collect()
    }

    /// Everything that can be asked of a type, as deep as it goes.
    fn everything(&self, name: &str) -> String {
        let selections: Vec<String> = match self.0[name]["kind"].as_str().unwrap() {
            "OBJECT" => {
                let fields = self.fields(name).into_iter();
                fields
                    .map(|(field, leads_to)| format!("{field} {}", self.everything(leads_to)))
                    .collect()
            }
            "INTERFACE" => {
                let types = self.0[name]["possibleTypes"].as_array().unwrap().iter();
                let types = types.map(|each| each["name"].as_str().unwrap());
                types
                    .map(|name| format!("... on {name} {}", self.everything(name)))
                    .collect()
            }
            _ => return String::new(),
        };
        format!("{{ {} }}", selections.join(" "))
    }
}

fn named(mut of: &Value) -> &str {
    while of["name"].is_null() {
        of = &of["ofType"];
    }
    of["name"].as_str().unwrap()
}

/// Ann, to whom many people wrote, and Ben, who wrote much.
async fn correspondence(server: &TestServer) -> (User, User, String) {
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let writers = (0..MANY).map(async |number| {
        let writer = server.user(&format!("writer {number}")).await;
        writer.send(&ann, "hello").await;
    });
    join_all(writers).await;
    let messages = join_all((0..MANY).map(|_| ben.send(&ann, "hello again"))).await;
    let id = messages[0]["id"].as_str().unwrap().to_owned();
    (ann, ben, id)
}

/// A database whose statements are logged.
pub(crate) async fn logged() -> TestDatabase {
    let database = TestDatabase::new(Kind::Postgres).await;
    database
        .execute(&format!(
            "ALTER DATABASE {} SET log_statement = 'all'",
            database.name
        ))
        .await;
    database
}

/// The arguments that every root field is asked with. PAGE stands for the page's size.
fn arguments(message: &str, partner: &str, inbox: &str) -> Vec<(&'static str, Vec<String>)> {
    let with = |argument: &str| vec![argument.to_owned()];
    vec![
        (
            "conversation",
            vec![
                "(partnerId: \"ben\", limit: PAGE)".to_owned(),
                "(partnerId: \"ben\", first: PAGE, reversed: true)".to_owned(),
            ],
        ),
        ("conversationPartner", with("(partnerId: \"ben\")")),
        ("conversationPartners", with("(first: PAGE)")),
        ("errorCodes", with("")),
        ("inbox", with("")),
        ("message", vec![format!("(id: \"{message}\")")]),
        (
            "node",
            [message, partner, inbox, "ben"]
                .map(|id| format!("(id: \"{id}\")"))
                .to_vec(),
        ),
        ("signalCursor", with("")),
        ("unreadMessages", with("(first: PAGE)")),
        ("user", with("(id: \"ben\")")),
        ("viewer", with("")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_root_field_needs_more_than_three_reading_statements() {
    let database = logged().await;
    let server = TestServer::on(&database, &["--introspection", "--name-life", "0"]).await;
    let (ann, _, message) = correspondence(&server).await;
    let log = Log {
        database: &database.name,
    };
    let schema = Schema::of(&ann).await;
    let nodes = ann
        .data(
            "{ conversationPartner(partnerId: \"ben\") { id } inbox { id } }",
            json!({}),
        )
        .await;
    let id = |field: &str| nodes[field]["id"].as_str().unwrap();
    let arguments = arguments(&message, id("conversationPartner"), id("inbox"));

    let mut fields = schema.fields("Query");
    fields.sort_unstable();
    let covered: Vec<&str> = arguments.iter().map(|(field, _)| *field).collect();
    assert_eq!(
        fields.iter().map(|(field, _)| *field).collect::<Vec<_>>(),
        covered
    );
    for ((field, leads_to), (_, ways)) in fields.into_iter().zip(arguments) {
        let selection = schema.everything(leads_to);
        for way in ways {
            let mut costs = Vec::new();
            for page in [5, 100] {
                let query = format!(
                    "{{ {field}{} {selection} }}",
                    way.replace("PAGE", &page.to_string())
                );
                let (statements, data) = log.of(&ann, &query).await;
                assert!(!data[field].is_null(), "{query} answers with nothing");
                if way.contains("PAGE") {
                    assert_eq!(data[field]["nodes"].as_array().map(Vec::len), Some(page));
                }
                let reading: Vec<&String> = statements
                    .iter()
                    .filter(|statement| is_reading(statement))
                    .collect();
                let names = reading.iter().filter(|sql| asks_names(sql)).count();
                assert!(
                    reading.len() - names <= 3 && reading.len() <= 4,
                    "{field}{way} reads {} times: {reading:#?}",
                    reading.len()
                );
                assert_eq!(
                    reading.len(),
                    statements.len(),
                    "{field}{way} only reads: {statements:#?}"
                );
                costs.push(statements.len());
            }
            assert_eq!(
                costs[0], costs[1],
                "{field}{way} costs more where the page is longer"
            );
            let free = field == "errorCodes";
            assert_eq!(costs[0] == 0, free, "the log tells what runs: {field}{way}");
        }
    }
    server.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn marking_costs_the_same_whatever_the_page() {
    let database = logged().await;
    let server = TestServer::on(&database, &["--introspection", "--name-life", "0"]).await;
    let (ann, ben, _) = correspondence(&server).await;
    let log = Log {
        database: &database.name,
    };
    let selection = Schema::of(&ann).await.everything("MessageConnection");
    let page = |limit: usize, reversed: bool, mark: bool| {
        format!(
            "{{ conversation(partnerId: \"ben\", limit: {limit}, reversed: {reversed}, markRead: {mark}) {selection} }}"
        )
    };
    let (plain, _) = log.of(&ann, &page(100, false, false)).await;
    let (few, data) = log.of(&ann, &page(5, true, true)).await;
    assert_eq!(
        data["conversation"]["conversationPartner"]["unreadCount"],
        MANY - 5
    );
    let (many, data) = log.of(&ann, &page(97, false, true)).await;
    assert_eq!(
        data["conversation"]["conversationPartner"]["unreadCount"],
        0
    );
    assert_eq!(few.len(), many.len(), "{few:#?} {many:#?}");
    let (again, _) = log.of(&ann, &page(97, false, true)).await;
    assert_eq!(
        again.len(),
        plain.len(),
        "where nothing is unread, marking costs nothing: {again:#?}"
    );
    let reading = |statements: &[String]| statements.iter().filter(|each| is_reading(each)).count();
    let added = reading(&many) - reading(&plain);
    assert!(
        added <= MARKING_READS,
        "marking adds {added} reading statements: {many:#?}"
    );
    assert!(many.len() - plain.len() <= MARKING, "{many:#?}");
    ben.send(&ann, "the end").await;
    server.stop().await;
    database.finish().await;
}

/// What marking adds: the lock on both inboxes, and the page with its users once more, so that it shows what was marked.
const MARKING_READS: usize = 3;
/// What marking adds of every kind: the writer's transaction, and those.
const MARKING: usize = 11;

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_costs_the_same_whatever_it_touches() {
    let database = logged().await;
    let server = TestServer::on(&database, &["--introspection", "--name-life", "0"]).await;
    let (ann, ben, message) = correspondence(&server).await;
    let log = Log {
        database: &database.name,
    };
    let schema = Schema::of(&ann).await;
    let payload = |name: &str| schema.everything(name);
    let send = |to: &str, content: &str| {
        let selection = payload("SendMessagePayload");
        format!(
            "mutation {{ sendMessage(input: {{ recipientId: \"{to}\", content: \"{content}\" }}) {selection} }}"
        )
    };
    let (first, _) = log.of(&ben, &send("writer 1", "short")).await;
    let (short, _) = log.of(&ben, &send("ann", "short")).await;
    let (lengthy, _) = log.of(&ben, &send("ann", &"long ".repeat(500))).await;
    assert_eq!(short, lengthy);
    assert_eq!(
        first.len(),
        short.len(),
        "a first message costs what every other does: {first:#?} {short:#?}"
    );

    let read_one = |id: &str| {
        format!(
            "mutation {{ readMessage(input: {{ id: \"{id}\" }}) {} }}",
            payload("ReadMessagePayload")
        )
    };
    let (one, _) = log.of(&ann, &read_one(&message)).await;
    let (again, _) = log.of(&ann, &read_one(&message)).await;
    assert!(
        again.iter().all(|statement| is_reading(statement)),
        "read already: {again:#?}"
    );

    let read_all = |with: &str| {
        let selection = payload("ReadConversationPayload");
        format!("mutation {{ readConversation(input: {{ partnerId: \"{with}\" }}) {selection} }}")
    };
    let (few, data) = log.of(&ann, &read_all("writer 1")).await;
    assert_eq!(data["readConversation"]["readCount"], 1);
    let (many, data) = log.of(&ann, &read_all("ben")).await;
    assert_eq!(data["readConversation"]["readCount"], MANY + 1);
    assert_eq!(few.len(), many.len(), "{few:#?} {many:#?}");
    // As measured: the writer's transaction, and what the answer shows.
    for (name, statements, most) in [
        ("send", &lengthy, 10),
        ("read one", &one, 10),
        ("read it again", &again, 2),
        ("read all", &many, 10),
    ] {
        let counted = statements.iter().filter(|sql| !asks_names(sql)).count();
        assert!(counted <= most, "{name} runs {counted}: {statements:#?}");
    }
    server.stop().await;
    database.finish().await;
}
