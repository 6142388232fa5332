//! Public keys, by file and by JWKS: each believes its own algorithm, they change while the server runs, and whatever
//! goes wrong with fetching them leaves those that are known.

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use serde_json::{Value, json};

use crate::harness::{
    Fixture as _,
    database::Kind,
    keys::{ALGORITHMS, Answer, Jwks, Signer, now, unsigned},
    server::{TestServer, tokens},
    socket::{Heard, Socket},
    until,
};

const VIEWER: &str = "{ viewer { id } }";
/// Sources are asked whenever there is a reason, and without one never in a test's time.
const AT_ONCE: [&str; 4] = ["--jwt-refresh", "3600", "--jwt-refresh-least", "0.001"];
/// Sources are asked all the time.
const OFTEN: [&str; 4] = ["--jwt-refresh", "0.02", "--jwt-refresh-least", "0.02"];
/// Sources are asked once.
const ONCE: [&str; 4] = ["--jwt-refresh", "3600", "--jwt-refresh-least", "3600"];

async fn serve(flags: &[&str], more: &[&str]) -> TestServer {
    TestServer::with(Kind::Sqlite, &[flags, more].concat()).await
}

/// Whom a token speaks for, or the status and the message that refuse it.
async fn judge(server: &TestServer, token: &str) -> Result<String, (u16, String)> {
    let user = server.bearer(Some(token.to_owned()));
    let answer = user.ask(VIEWER, json!({})).await;
    if answer.status == 200 {
        let id = answer.data()["viewer"]["id"].as_str().unwrap();
        return Ok(id.to_owned());
    }
    let expected = if answer.status == 503 {
        "UNAVAILABLE"
    } else {
        "UNAUTHENTICATED"
    };
    assert_eq!(answer.code(), expected, "{}", answer.body);
    let message = answer.body["errors"][0]["message"].as_str().unwrap();
    Err((answer.status, message.to_owned()))
}

async fn is_believed(server: &TestServer, token: &str) -> bool {
    judge(server, token).await.is_ok()
}

/// Refused for its signature or its key, with 401.
async fn is_refused(server: &TestServer, token: &str, holds: &str) {
    let (status, message) = judge(server, token).await.expect_err(holds);
    assert_eq!(status, 401, "{message}");
    assert!(message.contains(holds), "{holds:?} is not in: {message}");
}

fn hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
    let signed = unsigned(header, claims);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}

fn signers() -> Vec<Signer> {
    ALGORITHMS.into_iter().map(Signer::new).collect()
}

/// `--jwt-public-key`'s value for these.
fn files(signers: &[Signer]) -> String {
    let file = |signer: &Signer| {
        let path = signer.file().display().to_string();
        match signer.algorithm {
            "PS256" => format!("PS256:{path}"),
            _ => path,
        }
    };
    signers.iter().map(file).collect::<Vec<_>>().join(",")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_algorithm_is_believed_by_file() {
    let signers = signers();
    let server = serve(&["--jwt-public-key", &files(&signers)], &ONCE).await;
    for signer in &signers {
        let algorithm = signer.algorithm;
        assert_eq!(
            judge(&server, &signer.token("ann", None)).await,
            Ok("ann".to_owned()),
            "{algorithm}"
        );
        let named = signer.token("ann", Some("an id that the host gives it"));
        assert_eq!(
            judge(&server, &named).await,
            Ok("ann".to_owned()),
            "{algorithm}"
        );
        let stranger = Signer::new(algorithm).token("ann", None);
        is_refused(&server, &stranger, "signature").await;
        let header = json!({ "alg": algorithm });
        is_refused(
            &server,
            &signer.sign(&header, &json!({ "sub": "ann", "exp": now() })),
            "expired",
        )
        .await;
        is_refused(
            &server,
            &signer.sign(&header, &json!({ "sub": "ann" })),
            "exp",
        )
        .await;
        let early = json!({ "sub": "ann", "exp": now() + 60, "nbf": now() + 60 });
        is_refused(&server, &signer.sign(&header, &early), "nbf").await;
    }
    let secret = tokens().mint("ben", None, false, 60).unwrap();
    assert_eq!(
        judge(&server, &secret).await,
        Ok("ben".to_owned()),
        "beside them the secret"
    );
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_algorithm_is_believed_by_jwks() {
    let signers = signers();
    for bare in [false, true] {
        let jwk = |signer: &Signer| match bare {
            // PS256 is never what a bare key means.
            true if signer.algorithm != "PS256" => signer.bare_jwk(),
            _ => signer.jwk(signer.algorithm),
        };
        let jwks = Jwks::start(signers.iter().map(jwk).collect()).await;
        let server = serve(&["--jwt-jwks-url", &jwks.url], &ONCE).await;
        for signer in &signers {
            let algorithm = signer.algorithm;
            for kid in [None, Some(algorithm)] {
                assert_eq!(
                    judge(&server, &signer.token("ann", kid)).await,
                    Ok("ann".to_owned()),
                    "{algorithm} {kid:?}"
                );
            }
            let stranger = Signer::new(algorithm);
            is_refused(&server, &stranger.token("ann", None), "signature").await;
            if !bare {
                is_refused(
                    &server,
                    &stranger.token("ann", Some(algorithm)),
                    "signature",
                )
                .await;
                is_refused(&server, &stranger.token("ann", Some("unknown")), "kid").await;
            }
        }
        assert_eq!(jwks.fetches(), 1);
        server.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_believes_only_its_own_algorithm() {
    let signers = signers();
    let jwks = Jwks::start(
        signers
            .iter()
            .map(|signer| signer.jwk(signer.algorithm))
            .collect(),
    )
    .await;
    let by_file = serve(&["--jwt-public-key", &files(&signers)], &ONCE).await;
    let by_jwks = serve(&["--jwt-jwks-url", &jwks.url], &ONCE).await;
    for server in [&by_file, &by_jwks] {
        let claims = json!({ "sub": "ann", "exp": now() + 60 });
        for signer in &signers {
            let pem = signer.public_pem.as_bytes();
            let jwk = signer.bare_jwk();
            let number = jwk.get("n").or(jwk.get("x")).unwrap().as_str().unwrap();
            let number = BASE64URL_NOPAD.decode(number.as_bytes()).unwrap();
            let point = match jwk.get("y") {
                Some(y) => {
                    let y = BASE64URL_NOPAD
                        .decode(y.as_str().unwrap().as_bytes())
                        .unwrap();
                    [&[4], number.as_slice(), &y].concat()
                }
                None => number,
            };
            // The classic: what everybody knows of the key, taken for a shared secret.
            for secret in [pem, pem.trim_ascii_end(), &point] {
                for header in [
                    json!({ "alg": "HS256" }),
                    json!({ "alg": "HS256", "kid": signer.algorithm }),
                ] {
                    is_refused(server, &hs256(secret, &header, &claims), "signature").await;
                }
            }
            for other in ALGORITHMS
                .into_iter()
                .filter(|other| *other != signer.algorithm)
            {
                for header in [
                    json!({ "alg": other }),
                    json!({ "alg": other, "kid": signer.algorithm }),
                ] {
                    let token = signer.sign(&header, &claims);
                    let (status, message) = judge(server, &token).await.unwrap_err();
                    assert_eq!(status, 401, "{} as {other}: {message}", signer.algorithm);
                }
            }
            for other in ["none", "None", "HS512", "RS512", "ES256K", ""] {
                let signed = signer.sign(&json!({ "alg": other }), &claims);
                is_refused(server, &signed, "broken").await;
                let (unsigned, _) = signed.rsplit_once('.').unwrap();
                is_refused(server, &format!("{unsigned}."), "broken").await;
            }
            // A key that the token brings along is nobody's.
            let stranger = Signer::new(signer.algorithm);
            let header = json!({ "alg": signer.algorithm, "jwk": stranger.bare_jwk() });
            is_refused(server, &stranger.sign(&header, &claims), "signature").await;
            let critical = json!({ "alg": signer.algorithm, "crit": ["b64"], "b64": false });
            is_refused(server, &signer.sign(&critical, &claims), "crit").await;
            assert!(is_believed(server, &signer.token("ann", None)).await);
        }
    }
    by_file.finish().await;
    by_jwks.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_a_key_id_is_checked_by_that_key_only() {
    let (one, two) = (Signer::new("ES256"), Signer::new("ES256"));
    let jwks = Jwks::start(vec![one.jwk("one"), two.jwk("two")]).await;
    let server = serve(&["--jwt-jwks-url", &jwks.url], &AT_ONCE).await;
    for token in [
        one.token("ann", Some("one")),
        two.token("ann", Some("two")),
        two.token("ann", None),
    ] {
        assert!(is_believed(&server, &token).await);
    }
    let fetches = jwks.fetches();
    is_refused(&server, &one.token("ann", Some("two")), "signature").await;
    assert_eq!(jwks.fetches(), fetches, "a known key is not fetched again");
    is_refused(&server, &one.token("ann", Some("three")), "kid").await;
    assert_eq!(jwks.fetches(), fetches + 1);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_many_keys_a_token_is_tried_with_is_a_setting() {
    let signers: Vec<Signer> = (0..3).map(|_| Signer::new("EdDSA")).collect();
    let setting = ["--jwt-key-tries", "2", "--jwt-public-key", &files(&signers)];
    let server = serve(&setting, &ONCE).await;
    assert!(is_believed(&server, &signers[1].token("ann", None)).await);
    is_refused(&server, &signers[2].token("ann", None), "signature").await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_in_a_jwks_is_skipped() {
    let (good, bad) = (Signer::new("ES256"), Signer::new("ES256"));
    let rsa = Signer::new("RS256");
    let with = |signer: &Signer, changes: &[(&str, Value)]| {
        let mut jwk = signer.jwk("bad");
        for (name, value) in changes {
            jwk[*name] = value.clone();
        }
        jwk
    };
    let secret = b"a shared secret that everybody can fetch";
    let weak = {
        let n = rsa.bare_jwk()["n"].as_str().unwrap().to_owned();
        let mut n = BASE64URL_NOPAD.decode(n.as_bytes()).unwrap();
        n.truncate(128);
        n[127] |= 1;
        json!(BASE64URL_NOPAD.encode(&n))
    };
    let skipped = [
        json!("no key"),
        json!({}),
        json!({ "kty": "oct", "kid": "bad", "alg": "HS256", "k": BASE64URL_NOPAD.encode(secret) }),
        json!({ "kty": "oct", "k": BASE64URL_NOPAD.encode(secret) }),
        with(&bad, &[("use", json!("enc"))]),
        with(&bad, &[("key_ops", json!(["sign"]))]),
        with(&bad, &[("d", json!("AAAA"))]),
        with(&bad, &[("alg", json!("RS256"))]),
        with(&bad, &[("alg", json!("ECDH-ES"))]),
        with(&bad, &[("crv", json!("P-521"))]),
        with(&bad, &[("crv", json!("P-384"))]),
        with(&bad, &[("x", json!("!"))]),
        with(&bad, &[("x", good.bare_jwk()["x"].clone())]),
        with(&bad, &[("y", json!(null))]),
        with(&rsa, &[("n", weak)]),
        with(&rsa, &[("e", json!("AQ"))]),
        with(&rsa, &[("n", json!(""))]),
        json!({ "kty": "OKP", "crv": "X25519", "x": Signer::new("EdDSA").bare_jwk()["x"] }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" }),
    ];
    let keys: Vec<Value> = skipped.iter().cloned().chain([good.jwk("good")]).collect();
    let jwks = Jwks::start(keys).await;
    let server = serve(&["--jwt-jwks-url", &jwks.url], &AT_ONCE).await;
    assert!(is_believed(&server, &good.token("ann", Some("good"))).await);
    for signer in [&bad, &rsa] {
        is_refused(&server, &signer.token("ann", Some("bad")), "kid").await;
        is_refused(&server, &signer.token("ann", None), "signature").await;
    }
    let claims = json!({ "sub": "ann", "exp": now() + 60 });
    let header = json!({ "alg": "HS256", "kid": "bad" });
    is_refused(&server, &hs256(secret, &header, &claims), "signature").await;
    // Nothing else makes a set useless: those that are known stay.
    for bad in skipped {
        jwks.answer(Answer::Keys(vec![bad.clone()]));
        let fetches = jwks.fetches();
        is_refused(&server, &good.token("ann", Some("unknown")), "kid").await;
        assert!(jwks.fetches() > fetches, "{bad}");
        assert!(
            is_believed(&server, &good.token("ann", Some("good"))).await,
            "{bad}"
        );
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn issuer_and_audience_are_checked_with_every_key() {
    let signer = Signer::new("EdDSA");
    let flags = [
        "--jwt-public-key",
        &files(std::slice::from_ref(&signer)),
        "--jwt-issuer",
        "https://login.test",
        "--jwt-audience",
        "chat",
    ];
    let server = serve(&flags, &ONCE).await;
    let token = |issuer: Value, audience: Value| {
        let claims = json!({ "sub": "ann", "exp": now() + 60, "iss": issuer, "aud": audience });
        signer.sign(&json!({ "alg": "EdDSA" }), &claims)
    };
    let good = json!("https://login.test");
    assert!(is_believed(&server, &token(good.clone(), json!("chat"))).await);
    assert!(is_believed(&server, &token(good.clone(), json!(["shop", "chat"]))).await);
    for (issuer, audience) in [
        (json!("https://else.test"), json!("chat")),
        (good.clone(), json!("shop")),
        (good, json!([])),
    ] {
        is_refused(&server, &token(issuer, audience), "issuer").await;
    }
    is_refused(&server, &signer.token("ann", None), "").await;
    server.finish().await;
}

/// A token that opens a socket, or the code with which it is closed.
async fn open_socket(server: &TestServer, token: &str) -> Result<Socket, Heard> {
    let mut socket = Socket::open(server.address).await;
    let heard = socket
        .init(json!({ "authorization": format!("Bearer {token}") }))
        .await;
    match heard {
        Heard::Message(message) if message["type"] == "connection_ack" => Ok(socket),
        heard => Err(heard),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_change_while_the_server_runs() {
    let (old, new) = (Signer::new("ES256"), Signer::new("EdDSA"));
    let path = old.file();
    let flag = path.to_str().unwrap();
    for settings in [AT_ONCE, OFTEN] {
        std::fs::write(&path, &old.public_pem).unwrap();
        let server = serve(&["--jwt-public-key", flag], &settings).await;
        let mut socket = open_socket(&server, &old.token("ann", None)).await.unwrap();
        // Both at once, as a rotation begins.
        std::fs::write(&path, format!("{}{}", old.public_pem, new.public_pem)).unwrap();
        until("the new key is believed", async || {
            is_believed(&server, &new.token("ann", None)).await
        })
        .await;
        assert!(is_believed(&server, &old.token("ann", None)).await);
        // What is broken, or away, leaves what was known.
        for broken in [
            "-----BEGIN PUBLIC KEY-----\nhalf of",
            "",
            old.private_pem.as_str(),
        ] {
            std::fs::write(&path, broken).unwrap();
            is_refused(
                &server,
                &Signer::new("ES256").token("ann", None),
                "signature",
            )
            .await;
            assert!(is_believed(&server, &old.token("ann", None)).await);
        }
        std::fs::remove_file(&path).unwrap();
        is_refused(
            &server,
            &Signer::new("ES256").token("ann", None),
            "signature",
        )
        .await;
        assert!(is_believed(&server, &old.token("ann", None)).await);
        // As it ends.
        std::fs::write(&path, &new.public_pem).unwrap();
        until("the old key is forgotten", async || {
            // A token by an unknown key makes the server look, also where it would not look for an hour.
            let _ = judge(&server, &Signer::new("ES256").token("ann", None)).await;
            !is_believed(&server, &old.token("ann", None)).await
        })
        .await;
        open_socket(&server, &new.token("ann", None)).await.unwrap();
        assert_eq!(
            open_socket(&server, &old.token("ann", None)).await.err(),
            Some(Heard::Closed(4403))
        );
        socket.settle().await;
        server.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwks_changes_while_the_server_runs() {
    let (old, new) = (Signer::new("ES256"), Signer::new("RS256"));
    let jwks = Jwks::start(vec![old.jwk("old")]).await;
    let server = serve(&["--jwt-jwks-url", &jwks.url], &AT_ONCE).await;
    let mut socket = open_socket(&server, &old.token("ann", Some("old")))
        .await
        .unwrap();
    jwks.answer(Answer::Keys(vec![old.jwk("old"), new.jwk("new")]));
    let mut newer = open_socket(&server, &new.token("ann", Some("new")))
        .await
        .unwrap();
    assert!(is_believed(&server, &old.token("ann", Some("old"))).await);
    assert_eq!(
        jwks.fetches(),
        2,
        "at the start, and for the key that was not known"
    );
    jwks.answer(Answer::Keys(vec![new.jwk("new")]));
    assert!(
        is_believed(&server, &old.token("ann", Some("old"))).await,
        "until it is read again"
    );
    is_refused(&server, &new.token("ann", Some("unknown")), "kid").await;
    is_refused(&server, &old.token("ann", Some("old")), "kid").await;
    assert_eq!(
        open_socket(&server, &old.token("ann", Some("old")))
            .await
            .err(),
        Some(Heard::Closed(4403))
    );
    socket.settle().await;
    newer.settle().await;
    server.finish().await;
    let server = serve(&["--jwt-jwks-url", &jwks.url], &OFTEN).await;
    assert!(is_believed(&server, &new.token("ann", Some("new"))).await);
    jwks.answer(Answer::Keys(vec![old.jwk("old")]));
    until(
        "the removed key is forgotten without being asked for",
        async || !is_believed(&server, &new.token("ann", Some("new"))).await,
    )
    .await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_fails_leaves_the_keys_that_are_known() {
    let (good, other) = (Signer::new("ES256"), Signer::new("ES256"));
    let jwks = Jwks::start(vec![good.jwk("good")]).await;
    let limits = ["--jwt-jwks-timeout", "0.2", "--jwt-jwks-limit", "10000"];
    let flags = [&["--jwt-jwks-url", jwks.url.as_str()], limits.as_slice()].concat();
    let server = serve(&flags, &AT_ONCE).await;
    let token = good.token("ann", Some("good"));
    assert!(is_believed(&server, &token).await);
    let set = json!({ "keys": [other.jwk("other")] }).to_string();
    for failure in [
        Answer::Other(500, set.clone()),
        Answer::Other(404, set.clone()),
        Answer::Other(200, "rubbish".to_owned()),
        Answer::Other(200, String::new()),
        Answer::Other(200, "{}".to_owned()),
        Answer::Other(200, "[]".to_owned()),
        Answer::Other(200, format!("{set}{}", " ".repeat(10_000_000))),
        Answer::Other(200, format!("{}{set}", " ".repeat(10_000))),
        Answer::Redirect(vec![other.jwk("other")]),
        Answer::Keys(Vec::new()),
        Answer::Hang,
    ] {
        jwks.answer(failure.clone());
        let fetches = jwks.fetches();
        is_refused(&server, &other.token("ann", Some("other")), "kid").await;
        assert!(jwks.fetches() > fetches, "it was asked: {failure:?}");
        assert!(is_believed(&server, &token).await, "{failure:?}");
    }
    assert_eq!(jwks.redirected(), 0);
    jwks.answer(Answer::Keys(vec![other.jwk("other")]));
    until("it is read again", async || {
        is_believed(&server, &other.token("ann", Some("other"))).await
    })
    .await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tokens_by_unknown_keys_cause_one_fetch() {
    let signer = Signer::new("EdDSA");
    let jwks = Jwks::start(vec![signer.jwk("one")]).await;
    jwks.open(false);
    let server = serve(&["--jwt-jwks-url", &jwks.url], &ONCE).await;
    let ask = |kid: String| {
        let (user, token) = (server.bearer(None), signer.token("ann", Some(&kid)));
        let user = crate::harness::user::User {
            token: Some(token),
            ..user
        };
        tokio::spawn(async move { user.ask(VIEWER, json!({})).await.status })
    };
    let waiting: Vec<_> = (0..1_000)
        .map(|number| {
            ask(if number % 2 == 0 {
                "one".to_owned()
            } else {
                format!("{number}")
            })
        })
        .collect();
    until("the keys are fetched", async || jwks.fetches() == 1).await;
    jwks.open(true);
    for (number, asked) in waiting.into_iter().enumerate() {
        assert_eq!(
            asked.await.unwrap(),
            if number % 2 == 0 { 200 } else { 401 }
        );
    }
    for number in 0..100 {
        assert_eq!(ask(format!("late {number}")).await.unwrap(), 401);
    }
    assert_eq!(
        jwks.fetches(),
        1,
        "and none more until the least time has passed"
    );
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_starts_without_its_jwks_and_recovers() {
    let signer = Signer::new("RS256");
    let address = format!("127.0.0.1:{}", crate::support::free_port());
    let url = format!("http://{address}/jwks.json");
    let server = serve(
        &["--jwt-jwks-url", &url],
        &["--jwt-refresh", "3600", "--jwt-refresh-least", "0.02"],
    )
    .await;
    let secret = tokens().mint("ben", None, false, 60).unwrap();
    assert_eq!(
        judge(&server, &secret).await,
        Ok("ben".to_owned()),
        "which needs no JWKS"
    );
    for token in [signer.token("ann", Some("one")), signer.token("ann", None)] {
        let (status, message) = judge(&server, &token).await.unwrap_err();
        assert_eq!(status, 503, "{message}");
        assert!(message.contains("try again"), "{message}");
        assert_eq!(
            open_socket(&server, &token).await.err(),
            Some(Heard::Closed(1013))
        );
        let authorization = format!("Bearer {token}");
        let headers = [
            ("sec-websocket-protocol", "graphql-transport-ws"),
            ("authorization", authorization.as_str()),
        ];
        match Socket::open_with(server.address, &headers).await.err() {
            Some(tokio_tungstenite::tungstenite::Error::Http(response)) => {
                assert_eq!(response.status(), 503)
            }
            other => panic!("the upgrade is refused: {other:?}"),
        }
    }
    let forged = hs256(
        b"somebody else's secret",
        &json!({ "alg": "HS256" }),
        &json!({ "sub": "ann", "exp": now() + 60 }),
    );
    is_refused(&server, &forged, "signature").await;
    let jwks = Jwks::start_at(&address, vec![signer.jwk("one")]).await;
    until("the server finds its JWKS by itself", async || {
        jwks.fetches() > 0
    })
    .await;
    until("tokens are believed", async || {
        is_believed(&server, &signer.token("ann", Some("one"))).await
    })
    .await;
    is_refused(&server, &signer.token("ann", Some("two")), "kid").await;
    open_socket(&server, &signer.token("ann", None))
        .await
        .unwrap();
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_does_not_wait_for_a_jwks() {
    let jwks = Jwks::start(Vec::new()).await;
    jwks.answer(Answer::Hang);
    let server = serve(
        &["--jwt-jwks-url", &jwks.url, "--jwt-jwks-timeout", "3600"],
        &AT_ONCE,
    )
    .await;
    until("it is asked", async || jwks.fetches() == 1).await;
    server.finish().await;
}
