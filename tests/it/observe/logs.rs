//! One line for each operation, what it holds and what it never does; and the id by which it is found again.

use serde_json::{Value, json};

use crate::harness::{
    Fixture as _,
    database::{Kind, TestDatabase},
    process::Process,
    server::{TestServer, client},
    socket::Socket,
    until,
};

const JSON: [&str; 3] = ["--log-format", "json", "--request-log"];

/// The log's lines, as JSON, that tell of operations.
fn operations(process: &Process) -> Vec<Value> {
    let printed = process.printed();
    // The last line may be half written.
    let whole = printed.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        line
    });
    lines
        .filter(|line| line["target"] == "directmessages.requests")
        .collect()
}

/// Waits for the line of an operation.
async fn line_of(process: &Process, name: &str) -> Value {
    let mut found = Value::Null;
    until(&format!("the log tells of {name}"), async || {
        let line = operations(process)
            .into_iter()
            .find(|line| line["name"] == name);
        found = line.unwrap_or_default();
        !found.is_null()
    })
    .await;
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_tells_of_an_operation_and_never_what_it_says() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let process = Process::serve(&database, &JSON).await;
    let (ann, _ben) = (process.user("ann").await, process.user("ben").await);
    let query = "mutation Tell($input: SendMessageInput!) { marker_in_text: sendMessage(input: $input) { message { id } } }";
    let input = json!({ "recipientId": "ben", "content": "marker in content", "clientMessageId": "marker in variables" });
    let answer = ann.ask(query, json!({ "input": input })).await;
    assert_eq!(answer.status, 200);
    let line = line_of(&process, "Tell").await;
    for (field, expected) in [
        ("level", json!("INFO")),
        ("kind", json!("mutation")),
        ("operation", json!("sendMessage")),
        ("user", json!("ann")),
        ("price", json!(12)),
        ("outcome", json!("ok")),
        ("status", json!(200)),
    ] {
        assert_eq!(line[field], expected, "{field} of {line}");
    }
    assert!(line["duration_ms"].as_f64().unwrap() > 0.0, "{line}");
    assert_eq!(line["request_id"].as_str().unwrap().len(), 36, "{line}");

    ann.ask(
        "query Wrong { conversation(partnerId: \"marker-in-text\") { nodes { id } } }",
        json!({}),
    )
    .await;
    let line = line_of(&process, "Wrong").await;
    assert_eq!(line["outcome"], "USER_NOT_FOUND", "{line}");

    let mut socket = Socket::of(&ann).await;
    socket
        .subscribe("marker-in-id", "query OnSocket { inbox { id } }", json!({}))
        .await;
    let line = line_of(&process, "OnSocket").await;
    assert_eq!(line["connection_id"].as_str().unwrap().len(), 36, "{line}");
    assert_ne!(line["connection_id"], line["request_id"]);
    socket
        .subscribe(
            "s",
            "subscription Listen { messageSent { cursor } }",
            json!({}),
        )
        .await;
    drop(socket);
    let line = line_of(&process, "Listen").await;
    assert_eq!(line["kind"], "subscription", "{line}");
    let printed = process.printed();
    let token = ann.token.as_deref().unwrap();
    for secret in ["marker", token, &token[token.len() - 20..]] {
        assert!(!printed.contains(secret), "{secret} is in {printed}");
    }
    drop(process);
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_is_logged_where_nobody_asked_for_it() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let mut process = Process::serve(&database, &["--log-format", "json"]).await;
    process.user("ann").await;
    process.end("TERM");
    assert!(
        process.printed().contains("good bye"),
        "it is JSON, and whole"
    );
    assert_eq!(operations(&process), [] as [Value; 0]);
    drop(process);
    database.finish().await;
}

async fn id_of(server: &TestServer, given: Option<&str>) -> String {
    let url = format!("http://{}/graphql?query={{__typename}}", server.address);
    let mut request = server.http.get(url);
    if let Some(given) = given {
        request = request.header("x-request-id", given);
    }
    let answer = request.send().await.unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap();
    id.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_an_id_and_a_proxy_may_give_it() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let (one, two) = (id_of(&server, None).await, id_of(&server, None).await);
    assert_ne!(one, two);
    assert_ne!(
        id_of(&server, Some("given")).await,
        "given",
        "nobody's proxy said so"
    );
    let url = format!("http://{}/nowhere", server.address);
    let answer = client().get(url).send().await.unwrap();
    assert!(answer.headers().contains_key("x-request-id"));
    server.finish().await;

    let server = TestServer::with(Kind::Sqlite, &["--trusted-proxies", "1"]).await;
    assert_eq!(id_of(&server, Some("a-B_1.2")).await, "a-B_1.2");
    for bad in ["", "with space", "{}", &"x".repeat(65)] {
        assert_eq!(id_of(&server, Some(bad)).await.len(), 36, "{bad}");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_defect_is_found_in_the_log_by_the_id_in_the_answer() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let process = Process::serve(&database, &JSON).await;
    let ann = process.user("ann").await;
    database
        .execute("ALTER TABLE message RENAME TO elsewhere")
        .await;
    let url = format!("http://{}/graphql", process.address);
    let query =
        json!({ "query": "query Broken { viewer { id } unreadMessages { nodes { id } } }" });
    let asked = client()
        .post(url)
        .bearer_auth(ann.token.as_deref().unwrap())
        .json(&query);
    let answer = asked.send().await.unwrap();
    let id = answer.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(
        body["errors"][0]["extensions"],
        json!({ "code": "INTERNAL", "requestId": id })
    );
    let line = line_of(&process, "Broken").await;
    assert_eq!(
        (&line["outcome"], &line["request_id"]),
        (&json!("INTERNAL"), &json!(id))
    );
    let printed = process.printed();
    let cause = printed
        .lines()
        .find(|line| line.contains("a request failed"))
        .unwrap();
    assert!(
        cause.contains(&id) && cause.contains("no such table"),
        "{cause}"
    );
    database
        .execute("ALTER TABLE elsewhere RENAME TO message")
        .await;
    drop(process);
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_database_refuses_is_logged_without_its_content() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let process = Process::serve(&database, &JSON).await;
    let (ann, _ben) = (process.user("ann").await, process.user("ben").await);
    database
        .execute("ALTER TABLE message ADD CONSTRAINT refuses CHECK (content NOT LIKE 'marker%')")
        .await;
    let query = "mutation Refused { sendMessage(input: { recipientId: \"ben\", content: \"marker in content\" }) { message { id } } }";
    let answer = ann.ask(query, json!({})).await;
    let code = &answer.body["errors"][0]["extensions"]["code"];
    assert_eq!(code, "INTERNAL", "{:?}", answer.body);
    line_of(&process, "Refused").await;
    let printed = process.printed();
    let told = printed
        .lines()
        .any(|line| line.contains("a request failed") && line.contains("refuses"));
    assert!(told, "{printed}");
    assert!(!printed.contains("marker"), "{printed}");
    drop(process);
    database.finish().await;
}
