//! Whatever parses what strangers send, as plain functions over bytes: `fuzz/` runs them for hours under cargo-fuzz, and
//! `tests/it/fuzz.rs` runs the same ones on the same corpus in every test. No part of the server calls them.
//!
//! A target panics where its parser does, or where what it says of its input does not hold: what is accepted reads back as
//! it was, what is refused is refused with a reason, and the same input is judged the same twice.

use std::{str, time::Duration};

use data_encoding::{BASE32HEX_NOPAD, BASE64URL_NOPAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign};
use tokio::runtime::{Builder, Runtime};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    auth::{self, Identity, Invalid, Verifier, VerifierOptions},
    chat::{
        self, ClientMessageId, Content, List, MessageId, NodeId, PageCursor, SignalCursor, Stream,
        Subject, Username, import,
    },
    http::fuzz::Http,
};

/// What runs one input.
pub type Target = fn(&Fuzz, &[u8]);

/// Every target, by the name of its corpus: `fuzz/corpus/NAME`.
pub const TARGETS: [(&str, Target); 14] = [
    ("content", content),
    ("document", |fuzz, data| {
        on_text(data, |text| fuzz.http.document(text));
    }),
    ("headers", |_, data| Http::headers(data)),
    ("id", id),
    ("import", import),
    ("jwks", |_, data| auth::fuzz::jwks(data)),
    ("page_cursor", page_cursor),
    ("request", |fuzz, data| fuzz.http.request(data)),
    ("selection", |fuzz, data| fuzz.http.selection(data)),
    ("signal_cursor", signal_cursor),
    ("socket_message", |fuzz, data| {
        on_text(data, |text| fuzz.http.socket_message(text));
    }),
    ("token", token),
    ("url", |fuzz, data| {
        on_text(data, |text| fuzz.http.url(text));
    }),
    ("user", user),
];

/// The key of the tokens here, which no server has.
const KEY: &str = "a key for the tokens of these targets";
/// The most characters in a message here.
const CONTENT_LIMIT: usize = 20;
/// Now, for whom it matters: 2026, in milliseconds.
const NOW: i64 = 1_780_000_000_000;

/// What the targets need, made once.
pub struct Fuzz {
    http: Http,
    verifier: Verifier,
    runtime: Runtime,
}

impl Fuzz {
    /// A gate with the API's schema and the settings' defaults, and a key.
    ///
    /// # Panics
    /// Where a runtime cannot be had.
    #[must_use]
    pub fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime that waits for nothing");
        let second = Duration::from_secs(1);
        let options = VerifierOptions {
            service_tokens_from: vec![crate::auth::KeySource::Secret],
            secret: Some(KEY.to_owned()),
            files: Vec::new(),
            jwks: None,
            issuer: None,
            audience: None,
            refresh: second,
            refresh_least: second,
            jwks_timeout: second,
            jwks_limit: 1,
            key_tries: 1,
        };
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let verifier = runtime.block_on(Verifier::start(options, &tasks, &shutdown));
        Self {
            http: Http::new(),
            verifier: verifier.expect("a secret is a key"),
            runtime,
        }
    }

    fn verify(&self, token: &str) -> Result<Identity, Invalid> {
        self.runtime.block_on(self.verifier.verify(token))
    }
}

impl Default for Fuzz {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Fuzz {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fuzz")
    }
}

/// Runs what takes text; bytes that are none never come to it.
fn on_text(data: &[u8], run: impl Fn(&str)) {
    if let Ok(text) = str::from_utf8(data) {
        run(text);
    }
}

/// What is refused is refused with a reason.
fn told(error: &chat::Error) {
    assert!(!error.to_string().is_empty(), "{error:?}");
}

/// An id reads back as it was; a message's is a node's.
fn id(_: &Fuzz, data: &[u8]) {
    on_text(data, |text| {
        let node = text.parse::<NodeId>();
        if let Ok(id) = &node {
            assert_eq!(id.to_string(), text);
            assert_eq!(text.starts_with("dm_"), !matches!(id, NodeId::User(_)));
        }
        assert_eq!(
            text.parse::<MessageId>().map(NodeId::Message).ok(),
            node.ok().filter(|id| matches!(id, NodeId::Message(_)))
        );
    });
}

/// A cursor reads back as it was, in its own list only. Its key is taken from the text, since no other would fit.
fn page_cursor(_: &Fuzz, data: &[u8]) {
    on_text(data, |text| {
        let key = text.get(4..).map(str::as_bytes);
        let key = key.and_then(|key| BASE64URL_NOPAD.decode(key).ok());
        let key = key.and_then(|key| Uuid::from_slice(key.get(..16)?).ok());
        let key = key.unwrap_or_default();
        let lists = [List::Conversation, List::Unread, List::Partners];
        let fits = lists.map(|list| match PageCursor::parse(text, list, key) {
            Ok(place) => {
                assert_eq!(PageCursor { list, key, place }.to_string(), text);
                assert!(PageCursor::parse(text, list, Uuid::max()).is_err() || key.is_max());
                1
            }
            Err(error) => {
                told(&error);
                0
            }
        });
        assert!(fits.iter().sum::<u32>() <= 1, "it fits several lists");
    });
}

/// A cursor reads back as it was, for its own user only. User and stream are taken from the text, since no others would
/// fit.
fn signal_cursor(_: &Fuzz, data: &[u8]) {
    on_text(data, |text| {
        let bytes = text.get(4..).map(str::to_ascii_uppercase);
        let bytes = bytes.and_then(|text| BASE32HEX_NOPAD.decode(text.as_bytes()).ok());
        let bytes = bytes
            .filter(|bytes| bytes.len() >= 49)
            .unwrap_or(vec![0; 49]);
        let uuid = |at: usize| Uuid::from_slice(&bytes[at..at + 16]).unwrap_or_default();
        let partner = Some(uuid(33)).filter(|partner| !partner.is_nil());
        for kind in [
            None,
            Some(entity::signal::Kind::Sent),
            Some(entity::signal::Kind::Read),
        ] {
            match SignalCursor::parse(text, uuid(8), Stream { kind, partner }) {
                Ok(cursor) => {
                    assert_eq!(cursor.to_string(), text);
                    assert_eq!(cursor.user, uuid(8));
                    assert!(
                        SignalCursor::parse(text, Uuid::max(), cursor.stream).is_err()
                            || cursor.user.is_max()
                    );
                }
                Err(error) => told(&error),
            }
        }
    });
}

/// A user's id and name are taken as they are, or refused: they keep their bounds.
fn user(_: &Fuzz, data: &[u8]) {
    on_text(data, |text| {
        let fits = (1..=255).contains(&text.len()) && !text.contains('\0');
        match Username::parse(text.to_owned()) {
            Ok(name) => assert_eq!((name.as_str(), fits), (text, true)),
            Err(error) => told(&error),
        }
        if let Ok((name, stripped)) = Username::strip(text.to_owned()) {
            assert_eq!(stripped, name.as_str() != text);
            assert_eq!(Username::parse(name.as_str().to_owned()).ok(), Some(name));
        }
        match Subject::parse(text.to_owned()) {
            Ok(subject) => {
                assert_eq!((subject.as_str(), fits), (text, true));
                assert_eq!(text.parse(), Ok(NodeId::User(text.to_owned())));
            }
            Err(error) => told(&error),
        }
    });
}

/// A content and a client's id for it are taken as they are, or refused.
fn content(_: &Fuzz, data: &[u8]) {
    on_text(data, |text| {
        match Content::parse(text.to_owned(), CONTENT_LIMIT) {
            Ok(content) => {
                assert_eq!(content.as_str(), text);
                assert!(text.chars().count() <= CONTENT_LIMIT && !text.contains('\0'));
                assert!(!text.trim().is_empty());
            }
            Err(error) => told(&error),
        }
        match ClientMessageId::parse(text.to_owned()) {
            Ok(id) => assert_eq!(ClientMessageId::given(id.as_str()), Some(text)),
            Err(error) => told(&error),
        }
    });
}

/// A token as it came; or, of two lines, its header and its claims, to be signed here, so that what follows the signature is
/// reached.
fn token(fuzz: &Fuzz, data: &[u8]) {
    on_text(data, |text| {
        let Some((header, claims)) = text.split_once('\n') else {
            let invalid = fuzz.verify(text).expect_err("nobody signed it");
            assert!(!invalid.to_string().is_empty());
            return;
        };
        let signed = [header, claims]
            .map(|part| BASE64URL_NOPAD.encode(part.as_bytes()))
            .join(".");
        let key = EncodingKey::from_secret(KEY.as_bytes());
        let Ok(signature) = sign(signed.as_bytes(), &key, Algorithm::HS256) else {
            return;
        };
        let Ok(identity) = fuzz.verify(&format!("{signed}.{signature}")) else {
            return;
        };
        // What the verifier passes over may be a number that nothing holds.
        let Ok(claims) = serde_json::from_str::<serde_json::Value>(claims) else {
            return;
        };
        assert_eq!(claims["sub"], identity.subject);
        // A part of a second is cut off, and what is beyond every moment is the last one.
        match claims["exp"].as_i64() {
            Some(exp) => assert_eq!(exp, identity.expires_at),
            None => assert!(claims["exp"].is_number()),
        }
        assert_eq!(identity.service, claims["role"] == "service");
        let mut changed = BASE64URL_NOPAD
            .decode(signature.as_bytes())
            .expect("it was made here");
        changed[data.len() % 32] ^= 1 << (data.len() % 8);
        let changed = format!("{signed}.{}", BASE64URL_NOPAD.encode(&changed));
        assert_eq!(fuzz.verify(&changed), Err(Invalid::Signature));
    });
}

/// A file is taken whole, with every message within its bounds, or refused with a line.
fn import(_: &Fuzz, data: &[u8]) {
    let limits = chat::Limits {
        lookup: chat::UserLookup::Anyone,
        misses: 0,
        content: CONTENT_LIMIT,
        upsert: 1,
    };
    let checked = import::check(data, &limits, NOW);
    assert_eq!(import::check(data, &limits, NOW), checked);
    if let Err(faults) = checked {
        assert!(faults.to_string().starts_with("line "), "{faults}");
    }
}
