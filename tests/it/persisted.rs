//! Documents named by their hash: automatic persisted queries, and manifests of trusted documents.

use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::harness::{
    Fixture as _,
    database::{Kind, folder},
    events::EventStream,
    process::run,
    server::TestServer,
    socket::Socket,
    user::Answer,
};

const VIEWER: &str = "{ viewer { id } }";

fn sha256(text: &str) -> String {
    HEXLOWER.encode(digest(&SHA256, text.as_bytes()).as_ref())
}

fn persisted(hash: &str) -> Value {
    json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } })
}

struct Client<'a> {
    server: &'a TestServer,
    token: String,
}

impl<'a> Client<'a> {
    async fn of(server: &'a TestServer) -> Self {
        let token = server.user("ann").await.token.unwrap();
        Self { server, token }
    }

    fn url(&self) -> String {
        format!("http://{}/graphql", self.server.address)
    }

    async fn post(&self, body: Value) -> Answer {
        let request = self.server.http.post(self.url()).bearer_auth(&self.token);
        answer(
            request
                .header("accept", "application/graphql-response+json")
                .json(&body),
        )
        .await
    }

    async fn socket(&self) -> Socket {
        Socket::of(&self.server.bearer(Some(self.token.clone()))).await
    }

    async fn get(&self, parameters: &[(&str, &str)]) -> Answer {
        let parameters = parameters.iter().map(|(name, value)| {
            let value =
                percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            format!("{name}={value}")
        });
        let url = format!(
            "{}?{}",
            self.url(),
            parameters.collect::<Vec<_>>().join("&")
        );
        answer(self.server.http.get(url).bearer_auth(&self.token)).await
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer {
        status: response.status().as_u16(),
        body: serde_json::from_str(&response.text().await.unwrap()).unwrap(),
    }
}

fn manifest(text: &Value) -> String {
    let file = folder().join(format!("{}.json", uuid::Uuid::new_v4().simple()));
    std::fs::write(&file, text.to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

fn ran(answer: &Answer) {
    assert_eq!(answer.data()["viewer"]["id"], "ann");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_came_once_may_be_named_by_its_hash() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let client = Client::of(&server).await;
    let hash = sha256(VIEWER);
    let extensions = persisted(&hash);
    let unknown = client.post(json!({ "extensions": extensions })).await;
    assert_eq!(
        (unknown.status, unknown.code().as_str()),
        (400, "PERSISTED_QUERY_NOT_FOUND")
    );
    assert_eq!(
        unknown.body["errors"][0]["message"], "PersistedQueryNotFound",
        "by which clients know it"
    );
    ran(&client
        .post(json!({ "query": VIEWER, "extensions": extensions }))
        .await);
    ran(&client.post(json!({ "extensions": extensions })).await);
    ran(&client
        .post(json!({ "documentId": format!("sha256:{hash}") }))
        .await);
    ran(&client.get(&[("extensions", &extensions.to_string())]).await);
    ran(&client.get(&[("documentId", &hash)]).await);

    let mut socket = client.socket().await;
    socket
        .send(json!({ "type": "subscribe", "id": "1", "payload": { "extensions": extensions } }))
        .await;
    assert_eq!(
        socket.message().await["payload"]["data"]["viewer"]["id"],
        "ann"
    );
    drop(socket);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_valid_document_is_kept_under_its_own_hash() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let client = Client::of(&server).await;
    let hash = sha256("{ inbox { id } }");
    let lie = client
        .post(json!({ "query": VIEWER, "extensions": persisted(&hash) }))
        .await;
    assert_eq!((lie.status, lie.code().as_str()), (400, "BAD_REQUEST"));
    let unknown = client.post(json!({ "extensions": persisted(&hash) })).await;
    assert_eq!(unknown.code(), "PERSISTED_QUERY_NOT_FOUND");
    let invalid = "{ nothing }";
    let extensions = persisted(&sha256(invalid));
    let refused = client
        .post(json!({ "query": invalid, "extensions": extensions }))
        .await;
    assert_eq!(refused.code(), "GRAPHQL_VALIDATION_FAILED");
    let unknown = client.post(json!({ "extensions": extensions })).await;
    assert_eq!(unknown.code(), "PERSISTED_QUERY_NOT_FOUND");
    let version = json!({ "persistedQuery": { "version": 2, "sha256Hash": hash } });
    assert_eq!(
        client.post(json!({ "extensions": version })).await.code(),
        "BAD_REQUEST"
    );
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_effect_is_none_by_get_under_its_hash_either() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let client = Client::of(&server).await;
    let mutation = "mutation { readConversation(input: { partnerId: \"nobody\" }) { readCount } }";
    let extensions = persisted(&sha256(mutation));
    client
        .post(json!({ "query": mutation, "extensions": extensions }))
        .await;
    let refused = client.get(&[("extensions", &extensions.to_string())]).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (405, "SIDE_EFFECT_REQUIRES_POST")
    );
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_are_kept_than_the_setting_says() {
    let server = TestServer::with(Kind::Sqlite, &["--persisted-queries", "10"]).await;
    let client = Client::of(&server).await;
    let text = |number: usize| format!("{{ viewer {{ n{number}: id }} }}");
    for number in 0..100 {
        let text = text(number);
        let extensions = persisted(&sha256(&text));
        client
            .post(json!({ "query": text, "extensions": extensions }))
            .await
            .data();
    }
    let mut kept = 0;
    for number in 0..100 {
        let extensions = persisted(&sha256(&text(number)));
        let answer = client.post(json!({ "extensions": extensions })).await;
        kept += usize::from(answer.status == 200);
    }
    assert!((1..=10).contains(&kept), "{kept} of 100 are kept");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_none_says_so() {
    let server = TestServer::with(Kind::Sqlite, &["--persisted-queries", "0"]).await;
    let client = Client::of(&server).await;
    let extensions = persisted(&sha256(VIEWER));
    let refused = client.post(json!({ "extensions": extensions })).await;
    assert_eq!(refused.code(), "PERSISTED_QUERY_NOT_SUPPORTED");
    assert_eq!(
        refused.body["errors"][0]["message"],
        "PersistedQueryNotSupported"
    );
    ran(&client
        .post(json!({ "query": VIEWER, "extensions": extensions }))
        .await);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_documents_of_a_manifest_run() {
    let subscription = "subscription { messageSent { cursor } }";
    let codegen = json!({ "0ddba11": VIEWER, "5ca1ab1e": subscription });
    let apollo = json!({ "format": "apollo-persisted-query-manifest", "version": 1, "operations": [
        { "id": "0ddba11", "name": "Viewer", "type": "query", "body": VIEWER },
        { "id": "5ca1ab1e", "name": "Sent", "type": "subscription", "body": subscription },
    ] });
    for text in [codegen, apollo] {
        let server = TestServer::with(Kind::Sqlite, &["--documents", &manifest(&text)]).await;
        let token = crate::harness::server::tokens()
            .mint("ann", None, false, 60)
            .unwrap();
        let client = Client {
            server: &server,
            token,
        };
        ran(&client.post(json!({ "documentId": "0ddba11" })).await);
        ran(&client
            .post(json!({ "extensions": persisted("0ddba11") }))
            .await);
        ran(&client
            .get(&[("documentId", &format!("sha256:{}", sha256(VIEWER)))])
            .await);
        ran(&client.post(json!({ "query": VIEWER })).await);
        for (refused, what) in [
            (json!({ "query": "{ inbox { id } }" }), "another document"),
            (json!({ "query": "{ viewer { id  } }" }), "nearly the same"),
            (
                json!({ "query": "{ inbox { id } }", "documentId": "0ddba11" }),
                "another under a name that is known",
            ),
            (
                json!({ "documentId": "unknown" }),
                "a name that is not known",
            ),
            (
                json!({ "query": "{ __schema { types { name } } }" }),
                "introspection",
            ),
        ] {
            let answer = client.post(refused).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (400, "DOCUMENT_NOT_ALLOWED"),
                "{what}"
            );
        }
        let mut socket = client.socket().await;
        socket
            .subscribe("1", "subscription { messageRead { cursor } }", json!({}))
            .await;
        let refused = socket.message().await;
        assert_eq!(
            refused["payload"][0]["extensions"]["code"],
            "DOCUMENT_NOT_ALLOWED"
        );
        drop(socket);
        server.finish().await;
    }
}

/// graphql-ws, graphql-sse and urql send an empty text beside a document's id.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_text_beside_an_id_counts_as_absent() {
    let hash = sha256(VIEWER);
    let file = manifest(&json!({ "0ddba11": VIEWER }));
    for flags in [&[][..], &["--documents", &file]] {
        let server = TestServer::with(Kind::Sqlite, flags).await;
        let token = crate::harness::server::tokens()
            .mint("ann", None, false, 60)
            .unwrap();
        let client = Client {
            server: &server,
            token,
        };
        let known = client
            .post(json!({ "query": VIEWER, "extensions": persisted(&hash) }))
            .await;
        ran(&known);
        let extensions = persisted(&hash);
        for beside in [
            json!({ "extensions": extensions }),
            json!({ "documentId": format!("sha256:{hash}") }),
            json!({ "extensions": extensions, "documentId": "" }),
        ] {
            let mut body = beside;
            body["query"] = json!("");
            body["operationName"] = json!("");
            ran(&client.post(body.clone()).await);
            let parameters = body.as_object().unwrap().iter();
            let parameters: Vec<(&str, String)> = parameters
                .map(|(name, value)| {
                    let text = value.as_str().map(str::to_owned);
                    (name.as_str(), text.unwrap_or_else(|| value.to_string()))
                })
                .collect();
            let parameters: Vec<_> = parameters.iter().map(|(n, v)| (*n, v.as_str())).collect();
            ran(&client.get(&parameters).await);

            let mut socket = client.socket().await;
            socket
                .send(json!({ "type": "subscribe", "id": "1", "payload": body }))
                .await;
            let result = socket.message().await;
            assert_eq!(result["payload"]["data"]["viewer"]["id"], "ann", "{result}");

            let request = server.http.post(client.url()).bearer_auth(&client.token);
            let request = request.header("accept", "text/event-stream").json(&body);
            let result = EventStream::of(request.send().await.unwrap()).next().await;
            assert_eq!(result["data"]["viewer"]["id"], "ann", "{result}");
        }
        // By itself it is a document, if no good one.
        let code = client.post(json!({ "query": "" })).await.code();
        let expected = if flags.is_empty() {
            "GRAPHQL_PARSE_FAILED"
        } else {
            "DOCUMENT_NOT_ALLOWED"
        };
        assert_eq!(code, expected);
        server.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_of_several_manifests_run() {
    let inbox = "{ inbox { unreadCount } }";
    let web = manifest(&json!({ "0ddba11": VIEWER, "5ca1ab1e": inbox }));
    let mobile = manifest(&json!({ "0ddba11": VIEWER, "cafe": "{ viewer { username } }" }));
    let together = format!("{web},{mobile}");
    for flags in [
        &["--documents", &together][..],
        &["--documents", &web, "--documents", &mobile],
    ] {
        let server = TestServer::with(Kind::Sqlite, flags).await;
        let token = crate::harness::server::tokens()
            .mint("ann", None, false, 60)
            .unwrap();
        let client = Client {
            server: &server,
            token,
        };
        for id in ["0ddba11", "5ca1ab1e", "cafe"] {
            client.post(json!({ "documentId": id })).await.data();
        }
        let other = client.post(json!({ "query": "{ viewer { __typename } }" }));
        assert_eq!(other.await.code(), "DOCUMENT_NOT_ALLOWED");
        server.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_token_runs_other_documents_where_the_setting_says_so() {
    let file = manifest(&json!({ "0ddba11": VIEWER }));
    let other = "query Other { user(id: \"ann\") { id } }";
    for (flags, exempt) in [
        (&["--documents", &file][..], false),
        (&["--documents", &file, "--documents-exempt-service"], true),
    ] {
        let server = TestServer::with(Kind::Sqlite, flags).await;
        let ann = server.user("ann").await;
        assert_eq!(
            ann.ask(other, json!({})).await.code(),
            "DOCUMENT_NOT_ALLOWED"
        );
        let service = server.service();
        for caller in [service.acting_for("ann"), service] {
            let answer = caller.ask(other, json!({})).await;
            if exempt {
                assert_eq!(answer.data()["user"]["id"], "ann");
            } else {
                assert_eq!(answer.code(), "DOCUMENT_NOT_ALLOWED");
            }
        }
        server.finish().await;
    }
}

#[test]
fn manifests_that_contradict_each_other_are_reported_at_start() {
    let one = manifest(&json!({ "0ddba11": VIEWER }));
    let other = manifest(&json!({ "0ddba11": "{ viewer { username } }" }));
    let apollo = manifest(&json!({ "operations": [
        { "id": "0ddba11", "body": VIEWER },
        { "id": "0ddba11", "body": "{ inbox { id } }" },
    ] }));
    for (documents, files) in [
        (format!("{one},{other}"), vec![&one, &other]),
        (apollo.clone(), vec![&apollo]),
        (
            format!("{apollo},/nowhere/a.json,/nowhere/b.json"),
            vec![&apollo],
        ),
    ] {
        let ended = run(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--jwt-secret",
            crate::harness::SECRET,
            "--database-url",
            "sqlite:manifest.db",
            "--documents",
            &documents,
        ]);
        assert!(!ended.status.success());
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(
            said.contains("\"0ddba11\" to different documents"),
            "{said}"
        );
        for file in files {
            assert!(said.contains(file.as_str()), "{said}");
        }
        // Every file that cannot be used is reported at once.
        let missing = documents.matches("/nowhere/").count();
        assert_eq!(said.matches("cannot be read").count(), missing, "{said}");
    }
}

#[test]
fn a_manifest_that_cannot_be_used_is_told_at_start() {
    let secret = crate::harness::SECRET;
    for (file, told) in [
        ("/nowhere/manifest.json".to_owned(), "cannot be read"),
        (manifest(&json!(["a list"])), "it is no manifest"),
        (manifest(&json!({})), "it holds no operation"),
        (
            manifest(&json!({ "one": "{ nothing }", "two": VIEWER })),
            "1 of its documents cannot run on this server, such as one (",
        ),
    ] {
        let ended = run(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--jwt-secret",
            secret,
            "--database-url",
            "sqlite:manifest.db",
            "--documents",
            &file,
        ]);
        assert!(!ended.status.success());
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.contains(told), "{told:?} is not in {said}");
    }
}
