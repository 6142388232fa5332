//! Public keys, by file and by JWKS: each believes its own algorithm and nothing else.

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use serde_json::{Value, json};

use crate::harness::{
    Fixture as _,
    database::Kind,
    keys::{ALGORITHMS, Answer, Jwks, Signer, now, unsigned},
    server::{TestServer, tokens},
    until,
};

pub(crate) const VIEWER: &str = "{ viewer { id } }";
/// Sources are asked whenever there is a reason, and without one never in a test's time.
pub(crate) const AT_ONCE: [&str; 4] = ["--jwt-refresh", "3600", "--jwt-refresh-least", "0.001"];
/// Sources are asked once.
pub(crate) const ONCE: [&str; 4] = ["--jwt-refresh", "3600", "--jwt-refresh-least", "3600"];

pub(crate) async fn serve(flags: &[&str], more: &[&str]) -> TestServer {
    TestServer::with(Kind::Sqlite, &[flags, more].concat()).await
}

/// Whom a token speaks for, or the status and the message that refuse it.
pub(crate) async fn judge(server: &TestServer, token: &str) -> Result<String, (u16, String)> {
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

pub(crate) async fn is_believed(server: &TestServer, token: &str) -> bool {
    judge(server, token).await.is_ok()
}

/// Refused for its signature or its key, with 401.
pub(crate) async fn is_refused(server: &TestServer, token: &str, holds: &str) {
    let (status, message) = judge(server, token).await.expect_err(holds);
    assert_eq!(status, 401, "{message}");
    assert!(message.contains(holds), "{holds:?} is not in: {message}");
}

pub(crate) fn hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
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
        let jwk = |signer: &Signer| {
            // PS256 is never what a bare key means.
            if bare && signer.algorithm != "PS256" {
                signer.bare_jwk()
            } else {
                signer.jwk(signer.algorithm)
            }
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
        // What fails is tried again, and the second try began after the answer to the first.
        until("it was asked", async || {
            let _ = judge(&server, &good.token("ann", Some("unknown"))).await;
            jwks.fetches() > fetches + 1
        })
        .await;
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

#[tokio::test(flavor = "multi_thread")]
async fn whose_keys_sign_for_the_host_application_is_a_setting() {
    let signer = Signer::new("ES256");
    let jwks = Jwks::start(vec![signer.jwk("one")]).await;
    let file = signer.file();
    let file = file.to_str().unwrap();
    let header = json!({ "alg": "ES256", "kid": "one" });
    let claims = json!({ "sub": "host", "exp": now() + 60, "role": "service" });
    let token = signer.sign(&header, &claims);
    for (flags, is_service) in [
        (vec!["--jwt-jwks-url", &jwks.url], false),
        (vec!["--jwt-public-key", file], true),
        (
            vec![
                "--jwt-jwks-url",
                &jwks.url,
                "--service-tokens-from",
                "secret,jwks",
            ],
            true,
        ),
        (
            vec!["--jwt-public-key", file, "--service-tokens-from", "none"],
            false,
        ),
    ] {
        let server = serve(&flags, &AT_ONCE).await;
        if is_service {
            let answer = server.bearer(Some(token.clone()));
            let answer = answer.ask(VIEWER, json!({})).await;
            assert_eq!(answer.code(), "FORBIDDEN", "{flags:?}: it acts for nobody");
        } else {
            is_refused(&server, &token, "SERVICE_TOKENS_FROM").await;
            assert!(is_believed(&server, &signer.token("ann", Some("one"))).await);
        }
        server.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_verified_is_believed_as_long_as_its_key() {
    let (one, two) = (Signer::new("ES384"), Signer::new("ES384"));
    let jwks = Jwks::start(vec![one.jwk("one")]).await;
    let refresh = ["--jwt-refresh", "0.05", "--jwt-refresh-least", "0.001"];
    let server = serve(&["--jwt-jwks-url", &jwks.url], &refresh).await;
    let header = json!({ "alg": "ES384", "kid": "one" });
    let token = one.token("ann", Some("one"));
    let short = one.sign(&header, &json!({ "sub": "ann", "exp": now() + 2 }));
    for _ in 0..2 {
        assert!(is_believed(&server, &token).await);
        assert!(is_believed(&server, &short).await);
    }
    until("it has ended", async || !is_believed(&server, &short).await).await;
    is_refused(&server, &short, "expired").await;
    jwks.answer(Answer::Keys(vec![two.jwk("two")]));
    until("its key is gone", async || {
        !is_believed(&server, &token).await
    })
    .await;
    server.finish().await;
}
