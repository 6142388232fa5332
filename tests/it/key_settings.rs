//! The settings of keys, as the program takes and refuses them, and what it tells of them.

use std::process::Command;

use serde_json::json;

use crate::{
    harness::{
        Fixture as _, SECRET,
        database::{Kind, TestDatabase, folder},
        keys::{ALGORITHMS, Answer, Jwks, Signer, file, openssl},
        process::{Process, program, run},
        server::client,
        until,
        user::User,
    },
    keys::VIEWER,
    support::free_port,
};

/// A database that cannot be, so that nothing runs on where keys are taken that should not be.
const AWAY: &str = "sqlite:/dev/null/no/such.db";

/// The program ends before it looks for its database, which is not there, and tells all of these.
fn refused(arguments: &[&str], holds: &[&str]) {
    let fixed = ["serve", "--listen", "127.0.0.1:0", "--database-url", AWAY];
    let output = run(&[&fixed, arguments].concat());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success(),
        "{arguments:?}: it started: {told}"
    );
    for part in holds {
        assert!(
            told.contains(part),
            "{arguments:?}: {part:?} is not in: {told}"
        );
    }
    assert!(!told.contains(AWAY), "its keys were taken: {told}");
    assert!(
        !told.contains("panicked") && !told.contains("hidden"),
        "{told}"
    );
}

#[test]
fn serve_without_a_key_says_what_to_set() {
    refused(&[], &["JWT_SECRET", "JWT_PUBLIC_KEY", "JWT_JWKS_URL"]);
}

#[test]
fn a_file_that_is_no_public_key_is_refused() {
    let refused = |value: &str, holds: &[&str]| refused(&["--jwt-public-key", value], holds);
    let path = |text: &str| file(text).display().to_string();
    let signers = ALGORITHMS.map(Signer::new);
    let [rsa, _, p256, ..] = &signers;
    for signer in &signers {
        refused(
            &path(&signer.private_pem),
            &["private key", "openssl pkey -pubout"],
        );
    }
    let pair = format!("{}{}", rsa.public_pem, rsa.private_pem);
    refused(&path(&pair), &["private key"]);
    let public = |arguments: &[&str]| {
        let private = openssl(arguments, b"");
        String::from_utf8(openssl(&["pkey", "-pubout"], &private)).unwrap()
    };
    let weak = public(&[
        "genpkey",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:1024",
    ]);
    refused(&path(&weak), &["1024 bits", "2048"]);
    for kind in [
        [
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-521",
        ]
        .as_slice(),
        &[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:secp256k1",
        ],
        &["genpkey", "-algorithm", "X25519"],
    ] {
        refused(&path(&public(kind)), &["P-256", "Ed25519"]);
    }
    let arguments = ["req", "-x509", "-key", "/dev/stdin", "-subj", "/CN=x"];
    let certificate = openssl(&arguments, p256.private_pem.as_bytes());
    let certificate = String::from_utf8(certificate).unwrap();
    refused(
        &path(&certificate),
        &["certificate", "openssl x509 -pubkey"],
    );
    refused(&path("rubbish"), &["BEGIN PUBLIC KEY"]);
    refused(&path(""), &["BEGIN PUBLIC KEY"]);
    refused(
        &path(&p256.public_pem.replace("-----END", "-----and")),
        &["PEM"],
    );
    let broken = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    refused(&path(broken), &["no public key"]);
    refused("/no/such/file.pem", &["/no/such/file.pem", "No such file"]);
    let good = path(&p256.public_pem);
    refused(&format!("{good},/no/such/file.pem"), &["/no/such/file.pem"]);
    for algorithm in ["RS256", "PS256", "ES384", "EdDSA"] {
        refused(&format!("{algorithm}:{good}"), &[algorithm, &good]);
    }
    refused(
        &format!("HS256:{good}"),
        &["--jwt-public-key", "JWT_SECRET"],
    );
    refused(
        &format!("RS512:{good}"),
        &["--jwt-public-key", "RS512", "PS256"],
    );
    refused("ES256:", &["--jwt-public-key", "FILE"]);
    refused("", &["--jwt-public-key", "FILE"]);
    for pasted in [&rsa.public_pem, "-----BEGIN PRIVATE KEY-----\nhidden"] {
        let flag = format!("--jwt-public-key={pasted}");
        super::key_settings::refused(&[&flag], &["--jwt-public-key", "name of a file"]);
    }
}

#[test]
fn an_address_that_is_no_safe_place_for_keys_is_refused() {
    for (url, holds) in [
        (
            "http://login.example.com/jwks.json?key=hidden",
            "without TLS",
        ),
        ("http://127.0.0.1.example.com/jwks.json", "without TLS"),
        ("http://10.0.0.1/jwks.json", "without TLS"),
        ("https://ann:hidden@login.example.com/jwks.json", "password"),
        ("ftp://login.example.com/hidden", "https://"),
        ("file:///etc/hidden", "https://"),
        ("hidden", "https://"),
        ("", "https://"),
    ] {
        refused(&["--jwt-jwks-url", url], &["--jwt-jwks-url", holds]);
    }
    for (flag, value) in [
        ("--jwt-refresh", "0"),
        ("--jwt-refresh-least", "soon"),
        ("--jwt-jwks-timeout", "-1"),
        ("--jwt-jwks-limit", "0"),
        ("--jwt-key-tries", "0"),
    ] {
        refused(&[&format!("{flag}={value}")], &[flag]);
    }
    let help = program(&["serve", "--help"])
        .env(
            "JWT_JWKS_URL",
            "https://login.example.com/jwks.json?key=hidden",
        )
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(
        help.contains("JWT_JWKS_URL") && !help.contains("hidden"),
        "{help}"
    );
}

/// `serve` by public keys alone.
fn start(database: &TestDatabase, flags: &[&str], environment: &[(&str, &str)]) -> Process {
    let listen = format!("127.0.0.1:{}", free_port());
    let fixed = [
        "serve",
        "--listen",
        &listen,
        "--database-url",
        &database.url,
    ];
    let mut command = program(&[fixed.as_slice(), flags].concat());
    command.envs(environment.iter().copied());
    Process::start(command, listen.parse().unwrap())
}

async fn status(server: &Process, token: &str) -> u16 {
    let user = User::of(server.address, client(), "ann", Some(token.to_owned()));
    user.ask(VIEWER, json!({})).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_of_a_failure_once_and_of_no_secret() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let (good, bad) = (Signer::new("ES256"), Signer::new("ES256"));
    let encryption = {
        let mut jwk = bad.jwk("for encryption");
        jwk["use"] = json!("enc");
        jwk
    };
    let jwks = Jwks::start(vec![good.jwk("good"), encryption]).await;
    let flags = [
        "--jwt-jwks-url",
        &jwks.url,
        "--jwt-refresh",
        "0.02",
        "--jwt-refresh-least",
        "0.02",
    ];
    let mut server = start(
        &database,
        &flags,
        &[("JWT_SECRET", SECRET), ("RUST_LOG", "debug,hyper=trace")],
    );
    server.ready().await;
    let token = good.token("ann", Some("good"));
    until("the key is believed", async || {
        status(&server, &token).await == 200
    })
    .await;
    let again = async |count| {
        let fetches = jwks.fetches();
        until("it is asked again and again", async || {
            jwks.fetches() > fetches + count
        })
        .await;
    };
    again(3).await;
    jwks.answer(Answer::Other(500, "an answer".to_owned()));
    again(3).await;
    assert_eq!(status(&server, &token).await, 200);
    jwks.answer(Answer::Keys(vec![good.jwk("good")]));
    until("the failure is over", async || {
        server.printed().contains("can be read again")
    })
    .await;
    let count = |text: &str| server.printed().matches(text).count();
    assert_eq!(count("the keys known stay"), 1, "{}", server.printed());
    assert_eq!(count("can be read again"), 1, "{}", server.printed());
    assert_eq!(
        count("skipped key \"for encryption\""),
        1,
        "{}",
        server.printed()
    );
    assert_eq!(count("JWT_AUDIENCE is not set"), 1, "{}", server.printed());
    for secret in ["hidden", SECRET, token.as_str()] {
        assert_eq!(count(secret), 0, "{secret:?} is in: {}", server.printed());
    }
    server.signal("TERM");
    assert!(server.ended().await);
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwks_is_fetched_over_tls_from_who_is_trusted() {
    let site = folder().join(format!("site {}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir(&site).unwrap();
    let certificate = site.join("certificate.pem");
    let private = site.join("private.pem");
    std::fs::write(&private, &Signer::new("ES256").private_pem).unwrap();
    let made = openssl(
        &[
            "req",
            "-x509",
            "-key",
            private.to_str().unwrap(),
            "-subj",
            "/CN=the site of a test of directmessages",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ],
        b"",
    );
    std::fs::write(&certificate, made).unwrap();
    let signer = Signer::new("ES256");
    let keys = json!({ "keys": [signer.jwk("one")] });
    std::fs::write(
        site.join("jwks.json"),
        format!("HTTP/1.0 200 OK\r\n\r\n{keys}"),
    )
    .unwrap();
    let port = free_port();
    let mut server = Command::new("openssl");
    server
        .current_dir(&site)
        .args(["s_server", "-HTTP", "-quiet", "-accept", &port.to_string()]);
    server.args(["-cert", "certificate.pem", "-key", "private.pem"]);
    let _site = Process::start(server, format!("127.0.0.1:{port}").parse().unwrap());
    let token = signer.token("ann", Some("one"));

    let url = format!("https://localhost:{port}/jwks.json");
    let flags = ["--jwt-jwks-url", &url, "--jwt-refresh-least", "0.05"];
    let database = TestDatabase::new(Kind::Sqlite).await;
    let trusts = [("SSL_CERT_FILE", certificate.to_str().unwrap())];
    let trusting = start(&database, &flags, &trusts);
    trusting.ready().await;
    until("the key is believed", async || {
        status(&trusting, &token).await == 200
    })
    .await;
    let wary = start(&database, &flags, &[]);
    wary.ready().await;
    until("the certificate is seen", async || {
        wary.printed()
            .contains("invalid peer certificate: UnknownIssuer")
    })
    .await;
    assert_eq!(status(&wary, &token).await, 503);
    drop((trusting, wary));
    database.finish().await;
}
