//! From a token to who is asking: the only place that sees a token.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode, errors::ErrorKind,
};
use serde::{Deserialize, Serialize};

/// Seconds by which another machine's clock may be ahead of ours in `nbf`.
const LEEWAY: u64 = 5;

/// Whose tokens are believed.
#[derive(Clone)]
pub struct Tokens {
    decoding: DecodingKey,
    encoding: EncodingKey,
    validation: Validation,
    issuer: Option<String>,
    audience: Option<String>,
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
    /// Somebody else's key, another algorithm, or a changed text.
    #[error("the token's signature is not by this server's key")]
    Signature,
    /// Meant for somebody else, or from somebody else.
    #[error("the token is not of the issuer, or not for the audience, that this server is set to")]
    Elsewhere,
    /// Not a token with the claims that are needed.
    #[error("the token is broken: a JWT with sub (a string) and exp is needed")]
    Broken,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<serde_json::Value>,
}

impl Tokens {
    /// Tokens signed with a shared secret (HS256, and nothing else); `iss` and `aud` are checked where given.
    #[must_use]
    pub fn hs256(secret: &str, issuer: Option<&str>, audience: Option<&str>) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "sub"]);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        match audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                validation.required_spec_claims.insert("aud".to_owned());
            }
            None => validation.validate_aud = false,
        }
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        Self {
            decoding: DecodingKey::from_secret(secret.as_bytes()),
            encoding: EncodingKey::from_secret(secret.as_bytes()),
            validation,
            issuer: issuer.map(str::to_owned),
            audience: audience.map(str::to_owned),
        }
    }

    /// Whom this token speaks for.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn verify(&self, token: &str) -> Result<Identity, Invalid> {
        let claims = decode::<Claims>(token, &self.decoding, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => Invalid::Expired,
                ErrorKind::ImmatureSignature => Invalid::NotYet,
                ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => Invalid::Signature,
                ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => Invalid::Elsewhere,
                _ => Invalid::Broken,
            })?
            .claims;
        // The leeway is for clocks that are behind, not for tokens that are over.
        if claims.exp <= now() {
            return Err(Invalid::Expired);
        }
        Ok(Identity {
            subject: claims.sub,
            name: claims.preferred_username.or(claims.name),
            issued_at: claims.iat,
            expires_at: claims.exp,
            service: claims.role.as_deref() == Some("service"),
        })
    }

    /// A token that this server believes, for trying things.
    ///
    /// # Errors
    /// Where it cannot be signed.
    pub fn mint(
        &self,
        subject: &str,
        name: Option<&str>,
        service: bool,
        valid_for: u32,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let issued_at = now();
        let claims = Claims {
            sub: subject.to_owned(),
            exp: issued_at + i64::from(valid_for),
            iat: Some(issued_at),
            preferred_username: name.map(str::to_owned),
            name: None,
            role: service.then(|| "service".to_owned()),
            iss: self.issuer.clone(),
            aud: self.audience.clone().map(Into::into),
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
    }
}

impl std::fmt::Debug for Tokens {
    /// Without the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

/// Seconds since 1970 in UTC.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
