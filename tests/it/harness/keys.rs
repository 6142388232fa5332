//! Whoever signs tokens: key pairs made by openssl, and a JWKS served by HTTP.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Body, extract::State, http::Response, routing};
use data_encoding::BASE64URL_NOPAD;
use ring::{
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
    },
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::database::folder;

/// Every algorithm with a public key.
pub(crate) const ALGORITHMS: [&str; 5] = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];

/// A key pair, which signs by one algorithm.
pub(crate) struct Signer {
    pub(crate) algorithm: &'static str,
    /// PKCS#8 in DER.
    private: Vec<u8>,
    pub(crate) private_pem: String,
    pub(crate) public_pem: String,
}

impl Signer {
    pub(crate) fn new(algorithm: &'static str) -> Self {
        let kind: &[&str] = match algorithm {
            "RS256" | "PS256" => &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            "ES256" => &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "ES384" => &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
            "EdDSA" => &["ED25519"],
            other => panic!("no key signs {other}"),
        };
        let pem = openssl(&[&["genpkey", "-algorithm"], kind].concat(), b"");
        let private = openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], &pem);
        let public = openssl(&["pkey", "-pubout"], &pem);
        Self {
            algorithm,
            private,
            private_pem: String::from_utf8(pem).unwrap(),
            public_pem: String::from_utf8(public).unwrap(),
        }
    }

    /// A good token for a user, with a key id where one is given.
    pub(crate) fn token(&self, user: &str, kid: Option<&str>) -> String {
        let mut header = json!({ "alg": self.algorithm, "typ": "JWT" });
        if let Some(kid) = kid {
            header["kid"] = json!(kid);
        }
        self.sign(&header, &json!({ "sub": user, "exp": now() + 60 }))
    }

    /// Signs by its own algorithm, whatever the header says.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let (random, message) = (SystemRandom::new(), signed.as_bytes());
        let signature = match self.algorithm {
            "RS256" | "PS256" => {
                let key = RsaKeyPair::from_pkcs8(&self.private).unwrap();
                let mut signature = vec![0; key.public().modulus_len()];
                let padding: &dyn ring::signature::RsaEncoding = match self.algorithm {
                    "RS256" => &RSA_PKCS1_SHA256,
                    _ => &RSA_PSS_SHA256,
                };
                key.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            "EdDSA" => {
                let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&self.private).unwrap();
                key.sign(message).as_ref().to_vec()
            }
            _ => self
                .ecdsa()
                .sign(&random, message)
                .unwrap()
                .as_ref()
                .to_vec(),
        };
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
    }

    fn ecdsa(&self) -> EcdsaKeyPair {
        let kind = match self.algorithm {
            "ES256" => &ECDSA_P256_SHA256_FIXED_SIGNING,
            _ => &ECDSA_P384_SHA384_FIXED_SIGNING,
        };
        EcdsaKeyPair::from_pkcs8(kind, &self.private, &SystemRandom::new()).unwrap()
    }

    /// The public key as a JWK: its kind and its numbers, with nothing that says what it is for.
    pub(crate) fn bare_jwk(&self) -> Value {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        match self.algorithm {
            "RS256" | "PS256" => {
                let key = RsaKeyPair::from_pkcs8(&self.private).unwrap();
                let public = PublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({ "kty": "RSA", "n": text(&public.n), "e": text(&public.e) })
            }
            "EdDSA" => {
                let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&self.private).unwrap();
                json!({ "kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().as_ref()) })
            }
            _ => {
                let key = self.ecdsa();
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "crv": curve, "x": text(x), "y": text(y) })
            }
        }
    }

    /// The public key as a JWK under an id, pinned to its algorithm.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let mut jwk = self.bare_jwk();
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm);
        jwk
    }

    /// The public key in a file of its own.
    pub(crate) fn file(&self) -> PathBuf {
        file(&self.public_pem)
    }
}

/// A file of this run, with this text.
pub(crate) fn file(text: &str) -> PathBuf {
    let path = folder().join(format!("{}.pem", uuid::Uuid::new_v4().simple()));
    std::fs::write(&path, text).unwrap();
    path
}

/// The first two parts of a token.
pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |json: &Value| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// What openssl prints.
pub(crate) fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("openssl cannot run, and makes the keys: {error}"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {told}");
    output.stdout
}

/// What a JWKS server answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Keys(Vec<Value>),
    /// A status with a text.
    Other(u16, String),
    /// To `/elsewhere`, which answers with these keys.
    Redirect(Vec<Value>),
    /// Nothing, ever.
    Hang,
}

/// A JWKS at an address of its own.
pub(crate) struct Jwks {
    pub(crate) url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    answer: Mutex<Answer>,
    fetches: AtomicUsize,
    redirected: AtomicUsize,
    /// Answers go out while this is open.
    open: watch::Sender<bool>,
}

impl Jwks {
    pub(crate) async fn start(keys: Vec<Value>) -> Self {
        Self::start_at("127.0.0.1:0", keys).await
    }

    pub(crate) async fn start_at(address: &str, keys: Vec<Value>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!(
            "http://{}/jwks.json?key=hidden",
            listener.local_addr().unwrap()
        );
        let shared = Arc::new(Shared {
            answer: Mutex::new(Answer::Keys(keys)),
            fetches: AtomicUsize::new(0),
            redirected: AtomicUsize::new(0),
            open: watch::Sender::new(true),
        });
        let router = Router::new()
            .route("/jwks.json", routing::get(answer))
            .route("/elsewhere", routing::get(elsewhere))
            .with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, task }
    }

    pub(crate) fn answer(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap() = answer;
    }

    /// How many times it was asked.
    pub(crate) fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    /// How many times a redirect was followed.
    pub(crate) fn redirected(&self) -> usize {
        self.shared.redirected.load(Ordering::SeqCst)
    }

    /// Lets answers out, or holds them back.
    pub(crate) fn open(&self, open: bool) {
        self.shared.open.send_replace(open);
    }
}

impl Drop for Jwks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>) -> Response<Body> {
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    let mut open = shared.open.subscribe();
    open.wait_for(|open| *open).await.unwrap();
    let answer = shared.answer.lock().unwrap().clone();
    let respond = Response::builder();
    match answer {
        Answer::Keys(keys) => respond.body(json!({ "keys": keys }).to_string().into()),
        Answer::Other(status, text) => respond.status(status).body(text.into()),
        Answer::Redirect(_) => respond
            .status(302)
            .header("location", "/elsewhere")
            .body(Body::empty()),
        Answer::Hang => std::future::pending().await,
    }
    .unwrap()
}

async fn elsewhere(State(shared): State<Arc<Shared>>) -> Response<Body> {
    shared.redirected.fetch_add(1, Ordering::SeqCst);
    let keys = match shared.answer.lock().unwrap().clone() {
        Answer::Redirect(keys) => keys,
        _ => Vec::new(),
    };
    Response::new(json!({ "keys": keys }).to_string().into())
}
