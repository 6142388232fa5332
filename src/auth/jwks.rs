//! A set of public keys at an address (RFC 7517).

use std::{error::Error, fmt, net::IpAddr, str::FromStr, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::{
    Request, StatusCode, Uri,
    body::Bytes,
    header::{ACCEPT, USER_AGENT},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use jsonwebtoken::Algorithm;
use serde::{Deserialize, de::IgnoredAny};

use super::key::{ALGORITHMS, Key, KeySource, Public, Unusable};

/// Where a JWKS is: `https://…`, or `http://…` on this machine.
#[derive(Clone, PartialEq, Eq)]
pub struct JwksUrl(Uri);

/// How a JWKS is fetched: redirects are not followed, and nothing goes through a proxy.
pub(super) struct Jwks {
    url: JwksUrl,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    timeout: Duration,
    limit: usize,
}

/// Why a fetch brought no keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("{0}")]
    Connection(String),
    #[error("it took longer than {0:?}")]
    Timeout(Duration),
    #[error("it answers {0}, not 200; redirects are not followed")]
    Status(StatusCode),
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    #[error("it is no JWKS: {0}")]
    NoJwks(#[from] serde_json::Error),
    #[error("it holds no key that can be used{0}")]
    NoKey(String),
}

impl Jwks {
    /// Trusts the certificate authorities of the system (or of `SSL_CERT_FILE`), else, where there are none, Mozilla's.
    pub(super) fn new(
        url: JwksUrl,
        timeout: Duration,
        limit: usize,
    ) -> Result<Self, rustls::Error> {
        let ring = rustls::crypto::ring::default_provider;
        let builder = match HttpsConnectorBuilder::new().with_provider_and_native_roots(ring()) {
            Ok(builder) => builder,
            Err(_) => HttpsConnectorBuilder::new().with_provider_and_webpki_roots(ring())?,
        };
        let connector = builder.https_or_http().enable_http1().build();
        // A connection that was kept from one fetch to the next would mostly be a dead one.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        Ok(Self {
            url,
            client,
            timeout,
            limit,
        })
    }

    /// The document, whatever it is.
    pub(super) async fn fetch(&self) -> Result<Vec<u8>, Failed> {
        let fetched = tokio::time::timeout(self.timeout, self.fetch_untimed()).await;
        fetched.unwrap_or(Err(Failed::Timeout(self.timeout)))
    }

    async fn fetch_untimed(&self) -> Result<Vec<u8>, Failed> {
        let request = Request::get(self.url.0.clone())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, "directmessages")
            .body(Empty::new())
            .expect("a URL that was parsed makes a request");
        let response = self.client.request(request).await;
        let response = response.map_err(|error| Failed::Connection(with_causes(&error)))?;
        if response.status() != StatusCode::OK {
            return Err(Failed::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), self.limit).collect();
        let body = body.await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Failed::TooLong(self.limit)
            } else {
                Failed::Connection(with_causes(error.as_ref()))
            }
        })?;
        Ok(body.to_bytes().into())
    }
}

impl fmt::Display for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the JWKS at {:?}", self.url)
    }
}

/// An error with what caused it: a client's own says no more than that it failed.
fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

/// The keys of a document that can be used, and what was skipped: one key that this server does not know what to do with
/// is no reason to refuse the others (RFC 7517, section 5).
pub(super) fn keys(document: &[u8]) -> Result<(Vec<Key>, Vec<String>), Failed> {
    #[derive(Deserialize)]
    struct Document {
        keys: Vec<serde_json::Value>,
    }
    let document: Document = serde_json::from_slice(document)?;
    let (mut keys, mut skipped) = (Vec::new(), Vec::new());
    for (number, value) in document.keys.into_iter().enumerate() {
        let name = match value.get("kid").and_then(serde_json::Value::as_str) {
            Some(id) => format!("key {id:?}"),
            None => format!("key number {}", number + 1),
        };
        match Jwk::deserialize(value).map_err(Skipped::NoJwk) {
            Err(reason) => skipped.push(format!("{name}: {reason}")),
            Ok(jwk) => match jwk.key() {
                Ok(key) => keys.push(key),
                Err(reason) => skipped.push(format!("{name}: {reason}")),
            },
        }
    }
    if keys.is_empty() {
        let reasons = skipped.iter().map(|reason| format!("; {reason}"));
        return Err(Failed::NoKey(reasons.collect()));
    }
    Ok((keys, skipped))
}

/// A key as RFC 7517 and 7518 write it.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// The private part.
    d: Option<IgnoredAny>,
}

/// Why a key of a JWKS is not taken.
#[derive(Debug, thiserror::Error)]
enum Skipped {
    #[error("it is no JWK: {0}")]
    NoJwk(serde_json::Error),
    #[error("it is a shared secret, and everybody can fetch it")]
    Secret,
    #[error("it is a private key, and everybody can fetch it: replace it")]
    Private,
    #[error("it is not for checking signatures")]
    Usage,
    #[error("its algorithm is {0:?}, and RS256, PS256, ES256, ES384 and EdDSA are taken")]
    Algorithm(String),
    #[error("its kind is {0:?}, and RSA, EC (P-256, P-384) and OKP (Ed25519) are taken")]
    Kind(String),
    #[error("{0}")]
    Unusable(#[from] Unusable),
}

impl Jwk {
    fn key(&self) -> Result<Key, Skipped> {
        if self.kty == "oct" {
            return Err(Skipped::Secret);
        }
        if self.d.is_some() {
            return Err(Skipped::Private);
        }
        let verifies = |operations: &Vec<String>| operations.iter().any(|name| name == "verify");
        if self.usage.as_ref().is_some_and(|usage| usage != "sig")
            || !self.key_ops.as_ref().is_none_or(verifies)
        {
            return Err(Skipped::Usage);
        }
        let pinned = |public| {
            Ok(Key::public(
                KeySource::Jwks,
                self.kid.clone(),
                self.algorithm()?,
                public,
            )?)
        };
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => pinned(Public::Rsa {
                n: &number(self.n.as_ref())?,
                e: &number(self.e.as_ref())?,
            }),
            ("EC", Some("P-256")) => pinned(Public::P256(&self.point()?)),
            ("EC", Some("P-384")) => pinned(Public::P384(&self.point()?)),
            ("OKP", Some("Ed25519")) => pinned(Public::Ed25519(&number(self.x.as_ref())?)),
            (kty, Some(crv)) => Err(Skipped::Kind(format!("{kty} {crv}"))),
            (kty, None) => Err(Skipped::Kind(kty.to_owned())),
        }
    }

    fn algorithm(&self) -> Result<Option<Algorithm>, Skipped> {
        let Some(name) = self.alg.as_deref() else {
            return Ok(None);
        };
        // RFC 9864 calls it by its curve.
        let known = if name == "Ed25519" { "EdDSA" } else { name };
        match known.parse() {
            Ok(algorithm) if ALGORITHMS.contains(&algorithm) => Ok(Some(algorithm)),
            _ => Err(Skipped::Algorithm(name.to_owned())),
        }
    }

    /// Uncompressed: 4, x, y.
    fn point(&self) -> Result<Vec<u8>, Unusable> {
        let (x, y) = (number(self.x.as_ref())?, number(self.y.as_ref())?);
        Ok([&[4], x.as_slice(), y.as_slice()].concat())
    }
}

fn number(text: Option<&String>) -> Result<Vec<u8>, Unusable> {
    let text = text.ok_or(Unusable::Broken)?;
    let text = text.trim_end_matches('=').as_bytes();
    BASE64URL_NOPAD.decode(text).map_err(|_| Unusable::Broken)
}

impl JwksUrl {
    /// Whether it names this machine, by address or as `localhost`.
    fn is_loopback(&self) -> bool {
        let host = self.0.host().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }
}

impl FromStr for JwksUrl {
    type Err = String;

    /// What is refused is not repeated: it may hold a password.
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = "give an address like https://login.example.com/.well-known/jwks.json";
        let uri: Uri = text.parse().map_err(|_| bad)?;
        let authority = uri.authority().ok_or(bad)?;
        if authority.as_str().contains('@') {
            return Err("a user and password in the address are not sent".to_owned());
        }
        let url = Self(uri.clone());
        match uri.scheme_str() {
            Some("https") => Ok(url),
            Some("http") if url.is_loopback() => Ok(url),
            Some("http") => Err(
                "keys fetched without TLS can be anybody's: give https://…, or http:// on localhost"
                    .to_owned(),
            ),
            _ => Err(bad.to_owned()),
        }
    }
}

impl fmt::Debug for JwksUrl {
    /// Without the query, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        let authority = self
            .0
            .authority()
            .map_or("", |authority| authority.as_str());
        write!(f, "{scheme}://{authority}{}", self.0.path())
    }
}
