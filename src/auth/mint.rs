use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

use super::{Claims, crypto, now};

/// Makes tokens for trying things, as the host application makes them for its users.
#[derive(Clone)]
pub struct Tokens {
    encoding: EncodingKey,
    issuer: Option<String>,
    audience: Option<String>,
}

impl Tokens {
    /// Tokens signed with a shared secret (HS256), with `iss` and `aud` where given.
    #[must_use]
    pub fn hs256(secret: &str, issuer: Option<&str>, audience: Option<&str>) -> Self {
        crypto::install();
        Self {
            encoding: EncodingKey::from_secret(secret.as_bytes()),
            issuer: issuer.map(str::to_owned),
            audience: audience.map(str::to_owned),
        }
    }

    /// A token for a user, or for the host application itself (`service`), that is good for some seconds.
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
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}
