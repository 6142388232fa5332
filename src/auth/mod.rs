//! From a token to who is asking: the only place that sees a token.
//!
//! [`Verifier`] judges tokens by the keys it knows, each pinned to one algorithm (`key`). Where they come from, files
//! (`file`) and a JWKS (`jwks`), is asked again every so often and when a token is by a key that is not known, by a task of
//! its own (`refresh`): who asks with a known key never waits. `crypto` checks the signatures, `mint` makes tokens for
//! trying.

mod claim;
mod crypto;
mod file;
pub(crate) mod fuzz;
mod inspect;
mod jwks;
mod key;
mod mint;
mod refresh;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, Validation, decode, errors::ErrorKind};
use quick_cache::sync::Cache;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    file::KeyFile,
    inspect::{Inspected, inspect},
    jwks::JwksUrl,
    key::KeySource,
    mint::Tokens,
    refresh::KeyError,
};
use self::{
    key::ALGORITHMS,
    refresh::{Asking, Known},
};

/// Seconds by which another machine's clock may be ahead of ours in `nbf`.
const LEEWAY: u64 = 5;
/// How many tokens that were verified are kept, a few hundred bytes each.
const VERIFIED: usize = 10_000;

/// Whose tokens are believed.
#[derive(Clone)]
pub struct VerifierOptions {
    /// The secret of HS256 tokens.
    pub secret: Option<String>,
    /// Files with public keys.
    pub files: Vec<KeyFile>,
    /// Where a set of public keys is fetched.
    pub jwks: Option<JwksUrl>,
    /// What `iss` has to be.
    pub issuer: Option<String>,
    /// What `aud` has to be, or to hold.
    pub audience: Option<String>,
    /// How long until files and JWKS are read again.
    pub refresh: Duration,
    /// The least time between two readings.
    pub refresh_least: Duration,
    /// How long fetching the JWKS may take.
    pub jwks_timeout: Duration,
    /// The most bytes that a JWKS may have.
    pub jwks_limit: usize,
    /// The most keys with which one token is tried.
    pub key_tries: usize,
    /// By whose keys a token may be the host application's own.
    pub service_tokens_from: Vec<KeySource>,
}

/// Judges tokens. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    known: watch::Receiver<Arc<Known>>,
    rules: Arc<[(Algorithm, Validation)]>,
    key_tries: usize,
    service_tokens_from: Arc<[KeySource]>,
    /// How to ask for newer keys, where there may be some.
    asking: Option<Asking>,
    /// Tokens by public keys that were verified lately, by their SHA-256.
    verified: Arc<Cache<[u8; 32], Verified>>,
}

/// A token whose signature is good.
#[derive(Clone, Debug)]
struct Verified {
    identity: Identity,
    /// By which keys: others may not believe it.
    version: u64,
}

/// Whom a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's id in the host application.
    pub subject: String,
    /// The name that the token carries: `preferred_username`, else `name`.
    pub name: Option<String>,
    /// When the token was issued, in seconds since 1970 in UTC.
    pub issued_at: Option<i64>,
    /// When it ends, in seconds since 1970 in UTC.
    pub expires_at: i64,
    /// The host application itself, rather than one of its users.
    pub service: bool,
}

/// Why a token is not believed. Its `Display` may go to whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Its time is over.
    #[error("the token has expired: sign in again")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet: see its nbf, and both machines' clocks")]
    NotYet,
    /// Somebody else's key, an algorithm that is not the key's own, or a changed text.
    #[error(
        "the token's signature is not by this server's key, with the algorithm that goes with it"
    )]
    Signature,
    /// A key id that no key has, also after the keys were read again.
    #[error(
        "the token's key id (kid) is not known here: sign in again, or try again if the key is new"
    )]
    UnknownKey,
    /// It may be by a key that could not be fetched yet: it was not judged, and may be good.
    #[error("the keys that tokens are checked with could not be fetched yet: try again")]
    KeysAway,
    /// Meant for somebody else, or from somebody else.
    #[error("the token is not of the issuer, or not for the audience, that this server is set to")]
    Elsewhere,
    /// It demands (`crit`) to be understood in a way that this server does not know.
    #[error("the token's header has crit, and this server knows no extension")]
    Extension,
    /// It claims to be the host application's, and is by a key that may not say so.
    #[error(
        "a token with role \"service\" is not accepted from this source of keys: see SERVICE_TOKENS_FROM"
    )]
    NoService,
    /// Not a token with the claims that are needed.
    #[error(
        "the token is broken: a JWT with sub (a string) and exp is needed, signed with HS256, RS256, PS256, ES256, ES384 or EdDSA"
    )]
    Broken,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    #[serde(deserialize_with = "claim::seconds")]
    exp: i64,
    #[serde(
        default,
        deserialize_with = "claim::seconds_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    iat: Option<i64>,
    #[serde(
        default,
        deserialize_with = "claim::text_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    preferred_username: Option<String>,
    #[serde(
        default,
        deserialize_with = "claim::text_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    name: Option<String>,
    #[serde(
        default,
        deserialize_with = "claim::text_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<serde_json::Value>,
}

/// What of a token's header chooses the key.
#[derive(Debug, Deserialize)]
struct Header {
    alg: Algorithm,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

/// Which of the keys that are set were fetched, so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysAtHand {
    /// Each source gave some.
    All,
    /// A source gave none yet: tokens that may be by its keys cannot be judged.
    Some,
    /// No token can be judged.
    None,
}

impl Verifier {
    /// Reads the key files, and starts the task that keeps the keys up to date where they can change. A JWKS is fetched by
    /// that task: until it has been, tokens that may be by its keys are [`Invalid::KeysAway`].
    ///
    /// # Errors
    /// No key at all, or a file that cannot be used.
    pub async fn start(
        options: VerifierOptions,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Result<Self, KeyError> {
        crypto::install();
        let rules = ALGORITHMS.map(|algorithm| (algorithm, rules(algorithm, &options)));
        let key_tries = options.key_tries;
        let service_tokens_from = options.service_tokens_from.clone().into();
        // A secret's tokens are verified each time.
        let kept = if options.files.is_empty() && options.jwks.is_none() {
            1
        } else {
            VERIFIED
        };
        let (known, asking) = refresh::start(options, tasks, shutdown).await?;
        Ok(Self {
            known,
            rules: rules.into(),
            key_tries,
            service_tokens_from,
            asking,
            verified: Arc::new(Cache::new(kept)),
        })
    }

    /// Whom this token speaks for. It waits only where the token is by a key that is not known, and no longer than one
    /// reading of all sources takes. A token without a key id is tried with [`VerifierOptions::key_tries`] keys, and one more
    /// where the keys were read again; one that was verified lately with none.
    ///
    /// # Errors
    /// Why it is not believed.
    pub async fn verify(&self, token: &str) -> Result<Identity, Invalid> {
        let header = header(token)?;
        let known = self.known.borrow().clone();
        // A secret's signature takes no longer than this.
        if header.alg == Algorithm::HS256 {
            return self.judge(token, &header, &known, &mut 1);
        }
        let digest = sha256(token);
        if let Some(verified) = self.verified.get(&digest)
            && verified.version == known.version()
        {
            return unless_expired(verified.identity);
        }
        let mut tries = self.key_tries;
        let judged = match self.judge(token, &header, &known, &mut tries) {
            Err(invalid) if may_be_by_another_key(invalid, &header, &known) => {
                // Boxed, since it is rare, and every request would hold its room.
                Box::pin(self.judge_by_newer_keys(token, &header, &known, invalid, tries)).await
            }
            judged => judged.map(|identity| (identity, known.version())),
        };
        let (identity, version) = judged?;
        let verified = Verified {
            identity: identity.clone(),
            version,
        };
        self.verified.insert(digest, verified);
        Ok(identity)
    }

    /// Whether keys are still to be fetched, and whether there are any at all.
    #[must_use]
    pub fn keys(&self) -> KeysAtHand {
        let known = self.known.borrow();
        if known.is_empty() {
            KeysAtHand::None
        } else if known.is_incomplete() {
            KeysAtHand::Some
        } else {
            KeysAtHand::All
        }
    }

    async fn judge_by_newer_keys(
        &self,
        token: &str,
        header: &Header,
        known: &Known,
        invalid: Invalid,
        tries: usize,
    ) -> Result<(Identity, u64), Invalid> {
        let Some(asking) = &self.asking else {
            return Err(invalid);
        };
        match asking.newer_than(known).await {
            Some(newer) => {
                let judged = self.judge(token, header, &newer, &mut tries.max(1));
                judged.map(|identity| (identity, newer.version()))
            }
            None => Err(invalid),
        }
    }

    /// Tries keys, and counts each down from `tries`.
    fn judge(
        &self,
        token: &str,
        header: &Header,
        known: &Known,
        tries: &mut usize,
    ) -> Result<Identity, Invalid> {
        let rules = self.rules.iter().find(|(alg, _)| *alg == header.alg);
        let (_, rules) = rules.ok_or(Invalid::Broken)?;
        let kid = header.kid.as_deref();
        let candidates = known.candidates(header.alg, kid);
        for key in candidates.take(*tries) {
            *tries -= 1;
            match decode::<Claims>(token, key.decoding(), rules) {
                Ok(token) => {
                    let identity = identity(token.claims)?;
                    if identity.service && !self.service_tokens_from.contains(&key.source()) {
                        return Err(Invalid::NoService);
                    }
                    return Ok(identity);
                }
                Err(error) => match error.kind() {
                    ErrorKind::InvalidSignature => {}
                    ErrorKind::ExpiredSignature => return Err(Invalid::Expired),
                    ErrorKind::ImmatureSignature => return Err(Invalid::NotYet),
                    ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => {
                        return Err(Invalid::Elsewhere);
                    }
                    _ => return Err(Invalid::Broken),
                },
            }
        }
        Err(match kid {
            _ if header.alg == Algorithm::HS256 => Invalid::Signature,
            Some(kid) if known.names(header.alg, kid) => Invalid::Signature,
            _ if known.is_incomplete() => Invalid::KeysAway,
            Some(_) if known.names_keys() => Invalid::UnknownKey,
            _ => Invalid::Signature,
        })
    }
}

/// Whether a key that is not known yet may believe what these did not: not a secret, which cannot change, and not the key
/// that the token names, if that is known.
fn may_be_by_another_key(invalid: Invalid, header: &Header, known: &Known) -> bool {
    let unjudged = matches!(
        invalid,
        Invalid::Signature | Invalid::UnknownKey | Invalid::KeysAway
    );
    let named = header.kid.as_deref();
    unjudged
        && header.alg != Algorithm::HS256
        && !named.is_some_and(|kid| known.names(header.alg, kid))
}

fn header(token: &str) -> Result<Header, Invalid> {
    let (header, _) = token.split_once('.').ok_or(Invalid::Broken)?;
    let header = BASE64URL_NOPAD.decode(header.as_bytes());
    let header = header.map_err(|_| Invalid::Broken)?;
    let header: Header = serde_json::from_slice(&header).map_err(|_| Invalid::Broken)?;
    match header.crit {
        Some(_) => Err(Invalid::Extension),
        None => Ok(header),
    }
}

fn identity(claims: Claims) -> Result<Identity, Invalid> {
    unless_expired(Identity {
        subject: claims.sub,
        name: claims.preferred_username.or(claims.name),
        issued_at: claims.iat,
        expires_at: claims.exp,
        service: claims.role.as_deref() == Some("service"),
    })
}

/// The leeway is for clocks that are behind, not for tokens that are over.
fn unless_expired(identity: Identity) -> Result<Identity, Invalid> {
    if identity.expires_at <= now() {
        return Err(Invalid::Expired);
    }
    Ok(identity)
}

fn sha256(token: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    bytes
}

/// What a token has to hold besides a signature by this algorithm.
fn rules(algorithm: Algorithm, options: &VerifierOptions) -> Validation {
    let mut rules = Validation::new(algorithm);
    rules.set_required_spec_claims(&["exp", "sub"]);
    rules.leeway = LEEWAY;
    rules.validate_nbf = true;
    match &options.audience {
        Some(audience) => {
            rules.set_audience(&[audience]);
            rules.required_spec_claims.insert("aud".to_owned());
        }
        None => rules.validate_aud = false,
    }
    if let Some(issuer) = &options.issuer {
        rules.set_issuer(&[issuer]);
        rules.required_spec_claims.insert("iss".to_owned());
    }
    rules
}

impl std::fmt::Debug for Verifier {
    /// Without the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier")
    }
}

/// Seconds since 1970 in UTC.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
