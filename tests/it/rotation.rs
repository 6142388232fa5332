//! Keys that change while the server runs, and whatever goes wrong with fetching them.

use serde_json::json;

use crate::{
    harness::{
        Fixture as _,
        keys::{Answer, Jwks, Signer, now},
        server::{TestServer, tokens},
        socket::{Heard, Socket},
        until,
    },
    keys::{AT_ONCE, ONCE, VIEWER, hs256, is_believed, is_refused, judge, serve},
};

/// Sources are asked all the time.
const OFTEN: [&str; 4] = ["--jwt-refresh", "0.02", "--jwt-refresh-least", "0.02"];

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
        // What fails is tried again, and the second try began after the answer to the first.
        until("it was asked", async || {
            is_refused(&server, &other.token("ann", Some("other")), "kid").await;
            jwks.fetches() > fetches + 1
        })
        .await;
        assert!(is_believed(&server, &token).await);
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
        let user = server.bearer(Some(signer.token("ann", Some(&kid))));
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
                assert_eq!(response.status(), 503);
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
