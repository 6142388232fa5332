//! NATS between servers, the real one: what it carries, and that nothing but time is lost where it does not.

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::harness::{
    Fixture as _, SECRET,
    database::{Kind, TestDatabase, folder},
    nats::Nats,
    process::run,
    server::{TestServer, client},
    socket::Listener,
    tool, until,
    user::User,
};

/// Two servers on one database with these flags beside NATS, and Ben listening at the second.
struct Pair {
    one: TestServer,
    two: TestServer,
    ann: User,
    ben: User,
    listener: Listener,
}

impl Pair {
    async fn start(database: &TestDatabase, nats: [&str; 2], tick: &str) -> Self {
        let flags = |url| ["--nats-url", url, "--slow-tick", tick];
        let one = TestServer::on(database, &flags(nats[0])).await;
        let two = TestServer::on(database, &flags(nats[1])).await;
        let (ann, ben) = (one.user("ann").await, two.user("ben").await);
        let listener = ben.listen("messageSent", None).await;
        let mut pair = Self {
            one,
            two,
            ann,
            ben,
            listener,
        };
        pair.tells("at first").await;
        pair
    }

    /// Ann writes at the first server, and Ben hears at the second.
    async fn tells(&mut self, text: &str) {
        self.ann.send(&self.ben, text).await;
        assert_eq!(self.listener.contents_until(text).await, [text]);
    }

    async fn stop(self) {
        drop(self.listener);
        self.one.stop().await;
        self.two.stop().await;
    }
}

/// What `/health/ready` answers.
async fn readiness(server: &TestServer) -> (u16, Value) {
    let url = format!("http://{}/health/ready", server.address);
    let answer = client().get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn becomes(server: &TestServer, status: &str) {
    until(&format!("the server is {status}"), async || {
        let (code, body) = readiness(server).await;
        assert_eq!(code, 200, "a server without a bus serves on: {body}");
        body["status"] == status
    })
    .await;
}

/// Waits until somebody at this NATS server is subscribed to so many shards of hints.
async fn shards(nats: &Nats, count: usize) {
    until(&format!("{count} shards are subscribed to"), async || {
        let subjects = nats.subjects(0).await;
        let hints = subjects
            .iter()
            .filter(|subject| subject.starts_with("directmessages.hints."));
        hints.count() == count
    })
    .await;
}

on_both_databases! {
    async fn hints_go_over_nats(database: &TestDatabase) {
        let mut nats = Nats::start(1, &[]).await;
        let url = nats.url();
        // No slow tick helps here, nor LISTEN: only what NATS carries.
        let mut pair = Pair::start(database, [&url, &url], "86400").await;
        shards(&nats, 1).await;
        for n in 0..20 {
            pair.tells(&format!("{n}")).await;
        }
        // What was missed is found when it is back, without any tick.
        nats.kill(0);
        pair.ann.send(&pair.ben, "meanwhile").await;
        nats.revive(0).await;
        assert_eq!(pair.listener.contents_until("meanwhile").await, ["meanwhile"]);
        pair.stop().await;
    }

    async fn nats_away_costs_a_slow_tick_and_nothing_else(database: &TestDatabase) {
        let mut nats = Nats::stopped(1, &[]);
        let url = nats.url();
        let mut pair = Pair::start(database, [&url, &url], "0.3").await;
        becomes(&pair.two, "degraded").await;
        pair.tells("without").await;
        nats.revive(0).await;
        becomes(&pair.two, "ok").await;
        pair.tells("with").await;
        // Its connections stay open, and nothing comes through.
        nats.freeze(0);
        becomes(&pair.one, "degraded").await;
        pair.tells("frozen").await;
        nats.thaw(0);
        becomes(&pair.one, "ok").await;
        pair.tells("thawed").await;
        nats.kill(0);
        becomes(&pair.one, "degraded").await;
        pair.tells("killed").await;
        pair.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_hears_only_of_shards_in_which_it_has_listeners() {
    let nats = Nats::start(1, &[]).await;
    let flags = ["--nats-url", &nats.url(), "--slow-tick", "0.2"];
    let server = TestServer::with(Kind::Sqlite, &flags).await;
    becomes(&server, "ok").await;
    shards(&nats, 0).await;
    let ann = server.user("ann").await;
    let listener = ann.listen("messageSent", None).await;
    let again = ann.listen("messageRead", None).await;
    shards(&nats, 1).await;
    let mut others = Vec::new();
    for n in 0..200 {
        let user = server.user(&format!("user {n}")).await;
        others.push(user.listen("messageSent", None).await);
    }
    // 200 random choices of 64: all but a few are taken, and never one twice.
    until("nearly all shards are subscribed to", async || {
        let subjects = nats.subjects(0).await;
        let mut hints: Vec<&String> = subjects
            .iter()
            .filter(|each| each.contains(".hints."))
            .collect();
        let all = hints.len();
        hints.sort();
        hints.dedup();
        assert_eq!(hints.len(), all, "a shard is subscribed to twice");
        all > 55
    })
    .await;
    drop(others);
    drop(listener);
    shards(&nats, 1).await;
    drop(again);
    shards(&nats, 0).await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_carries_on_while_its_servers_die() {
    let mut nats = Nats::start(3, &[]).await;
    let database = TestDatabase::new(Kind::Postgres).await;
    let url = nats.url();
    // One server knows all, the other one of them, and learns of the others.
    let mut pair = Pair::start(&database, [&url, &nats.url_of(0)], "2").await;
    for node in 0..3 {
        nats.kill(node);
        pair.tells(&format!("without {node}")).await;
        becomes(&pair.one, "ok").await;
        becomes(&pair.two, "ok").await;
        nats.revive(node).await;
        nats.together(3).await;
        pair.tells(&format!("with {node} again")).await;
    }
    pair.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_with_other_subjects_do_not_hear_each_other() {
    let nats = Nats::start(1, &[]).await;
    let url = nats.url();
    let flags = |subject| {
        [
            "--nats-url",
            &url,
            "--nats-subject",
            subject,
            "--slow-tick",
            "0.2",
        ]
    };
    let one = TestServer::with(Kind::Sqlite, &flags("chat.one")).await;
    let two = TestServer::with(Kind::Sqlite, &flags("chat.two")).await;
    for server in [&one, &two] {
        let ann = server.user("ann").await;
        drop(ann.listen("messageSent", None).await);
    }
    let listening = [
        one.user("ann").await.listen("messageSent", None).await,
        two.user("ann").await.listen("messageSent", None).await,
    ];
    until("both are subscribed under their own subject", async || {
        let subjects = nats.subjects(0).await;
        let of = |prefix| subjects.iter().any(|each| each.starts_with(prefix));
        of("chat.one.hints.") && of("chat.two.hints.")
    })
    .await;
    drop(listening);
    one.finish().await;
    two.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_believes_the_user_the_token_the_credentials_and_the_certificate() {
    let user = Nats::start(1, &["--user", "chat", "--pass", "p@ss word"]).await;
    let address = user.url().replace("nats://", "");
    let right = format!("nats://chat:p%40ss%20word@{address}");
    connects(&["--nats-url", &right], "ok").await;
    for wrong in [
        format!("nats://chat:wrong@{address}"),
        format!("nats://{address}"),
    ] {
        connects(&["--nats-url", &wrong], "degraded").await;
    }

    let token = Nats::start(1, &["--auth", "secret"]).await;
    let address = token.url().replace("nats://", "");
    connects(&["--nats-url", &format!("nats://secret@{address}")], "ok").await;

    let account = Account::new();
    let trusting = Nats::start(1, &["-c", &account.server]).await;
    let flags = [
        "--nats-url",
        &trusting.url(),
        "--nats-credentials",
        &account.credentials,
    ];
    connects(&flags, "ok").await;
    connects(&flags[..2], "degraded").await;

    let files = Certificates::new();
    let [ca, certificate, key] =
        [&files.authority, &files.certificate, &files.key].map(String::as_str);
    let tls = [
        "--tlsverify",
        "--tlscacert",
        ca,
        "--tlscert",
        certificate,
        "--tlskey",
        key,
    ];
    let secured = Nats::start(1, &tls).await;
    let url = secured.url().replace("nats://", "tls://");
    let own = ["--nats-certificate", certificate, "--nats-key", key];
    let flags = ["--nats-url", &url, "--nats-ca", ca];
    connects(&[&flags[..], &own].concat(), "ok").await;
    // Without a certificate of our own, and without trust in the other's.
    connects(&flags, "degraded").await;
    connects(&[&flags[..2], &own].concat(), "degraded").await;
}

/// A server with these flags ends up with its bus in this state, and serves in any case.
async fn connects(flags: &[&str], status: &str) {
    let flags = [flags, &["--slow-tick", "0.3"]].concat();
    let server = TestServer::with(Kind::Sqlite, &flags).await;
    becomes(&server, status).await;
    server.user("ann").await;
    server.finish().await;
}

/// A server's settings that trust one operator, and the credentials of a user of one of its accounts.
struct Account {
    server: String,
    credentials: String,
}

impl Account {
    fn new() -> Self {
        let [operator, account] = [KeyPair::new_operator(), KeyPair::new_account()];
        let user = KeyPair::new_user();
        let unlimited = json!({ "subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1,
            "imports": -1, "exports": -1, "wildcards": true });
        let claims = |kind: &str| json!({ "type": kind, "version": 2 });
        let [mut of_account, mut of_user] = [claims("account"), claims("user")];
        of_account["limits"] = unlimited.clone();
        of_user
            .as_object_mut()
            .unwrap()
            .extend(unlimited.as_object().unwrap().clone());
        let settings = format!(
            "operator: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {} }}\n",
            jwt(&operator, &operator, &claims("operator")),
            account.public_key(),
            jwt(&operator, &account, &of_account)
        );
        let credentials = format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            jwt(&account, &user, &of_user),
            user.seed().unwrap()
        );
        let write = |name: &str, text: &str| {
            let file = folder().join(format!("{}-{name}", account.public_key()));
            std::fs::write(&file, text).unwrap();
            file.display().to_string()
        };
        Self {
            server: write("nats.conf", &settings),
            credentials: write("user.creds", &credentials),
        }
    }
}

/// What one key says of another, as `nsc` writes it.
fn jwt(by: &KeyPair, of: &KeyPair, nats: &Value) -> String {
    let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let header = encode(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let (issuer, subject) = (by.public_key(), of.public_key());
    let claims = json!({ "jti": subject, "iat": 0, "iss": issuer, "sub": subject, "name": subject, "nats": nats });
    let signed = format!("{header}.{}", encode(&claims));
    let signature = BASE64URL_NOPAD.encode(&by.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

/// An authority, and a certificate of 127.0.0.1 by it, made by openssl.
struct Certificates {
    authority: String,
    certificate: String,
    key: String,
}

impl Certificates {
    fn new() -> Self {
        let folder = folder().join(format!("nats-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).unwrap();
        let name = |name: &str| folder.join(name).display().to_string();
        let files = Self {
            authority: name("ca.pem"),
            certificate: name("server.pem"),
            key: name("server.key"),
        };
        let script = "set -e; cd \"$1\"; \
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=tests -keyout ca.key -out ca.pem; \
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout server.key -out server.csr; \
            printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' >extensions; \
            openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile extensions -out server.pem";
        tool::run(
            std::process::Command::new("sh")
                .args(["-c", script, "sh"])
                .arg(&folder),
        );
        files
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_that_cannot_start_fails_its_test_at_once_and_says_why() {
    let mut nats = Nats::stopped(1, &[]);
    let address = nats.url_of(0).replace("nats://", "");
    let taken = std::net::TcpListener::bind(address).unwrap();
    let failed = tokio::task::spawn_blocking(move || {
        let here = tokio::runtime::Handle::current();
        here.block_on(nats.revive(0));
    })
    .await;
    let told = failed
        .unwrap_err()
        .into_panic()
        .downcast::<String>()
        .unwrap();
    assert!(told.contains("address already in use"), "{told}");
    drop(taken);
}

#[test]
fn settings_that_cannot_be_right_are_told_at_the_start() {
    let refused = |flags: &[&str], told: &str| {
        let mut arguments = vec!["serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET];
        arguments.extend(flags);
        let output = run(&arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{flags:?} is taken");
        assert!(errors.contains(told), "{flags:?} is answered by: {errors}");
        assert!(!errors.contains("hush"), "a password is shown: {errors}");
    };
    refused(
        &["--nats-url", "http://chat:hush@nats"],
        "give nats://HOST:PORT",
    );
    refused(
        &["--nats-url", "nats://a:hush@one,nats://b:hush@two"],
        "name several users",
    );
    refused(&["--nats-subject", "chat.*"], "give letters, digits");
    refused(&["--nats-ca", "ca.pem"], "--nats-url");
    let own = ["--nats-certificate", "a.pem", "--nats-key", "a.pem"];
    refused(&own, "--nats-url");
    let url = ["--nats-url", "nats://chat:hush@127.0.0.1:1"];
    let missing = |flags: &[&str]| refused(&[&url, flags].concat(), "missing.pem");
    missing(&["--nats-ca", "missing.pem"]);
    missing(&["--nats-credentials", "missing.pem"]);
    missing(&[
        "--nats-certificate",
        "missing.pem",
        "--nats-key",
        "missing.pem",
    ]);
}
