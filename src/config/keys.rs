use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Mistake, defaults, parse_count, parse_seconds, parse_secret};
use crate::auth::{JwksUrl, KeyError, KeyFile, KeySource, VerifierOptions};

/// Whose tokens are believed: of the secret, the public keys and the JWKS one is needed, and all may be set.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Tokens")]
pub struct Keys {
    /// The secret that signs HS256 tokens: at least 32 bytes, shared with the host application.
    #[arg(long, env = "JWT_SECRET", hide_env_values = true, value_parser = parse_secret)]
    pub jwt_secret: Option<String>,
    /// PEM files with public keys, separated by commas. RSA keys (2048 bits or more) believe RS256, or PS256 where that
    /// stands before the file (PS256:FILE); EC keys ES256 (P-256) or ES384 (P-384), Ed25519 keys `EdDSA`.
    #[arg(
        long,
        env = "JWT_PUBLIC_KEY",
        value_delimiter = ',',
        value_name = "[ALGORITHM:]FILE"
    )]
    pub jwt_public_key: Vec<KeyFile>,
    /// Where public keys are fetched as a JWKS: `https://…`, or `http://` on this machine.
    #[arg(long, env = "JWT_JWKS_URL", hide_env_values = true, value_name = "URL")]
    pub jwt_jwks_url: Option<JwksUrl>,
    /// Only tokens with this `iss` are believed.
    #[arg(long, env = "JWT_ISSUER", value_parser = parse_name)]
    pub jwt_issuer: Option<String>,
    /// Only tokens with this `aud` are believed.
    #[arg(long, env = "JWT_AUDIENCE", value_parser = parse_name)]
    pub jwt_audience: Option<String>,
    /// By whose keys a token may be the host application's own (`role: "service"`), which may act for every user: `secret`, `public-key`
    /// and `jwks`, separated by commas, or `none`. An identity provider's JWKS signs its users' tokens too: add it where no user can
    /// have that role.
    #[arg(
        long,
        env = "SERVICE_TOKENS_FROM",
        value_delimiter = ',',
        default_value = "secret,public-key",
        value_enum
    )]
    pub service_tokens_from: Vec<ServiceTokens>,
    /// Seconds until the public keys are read again, files and JWKS.
    #[arg(long, env = "JWT_REFRESH", default_value = "300", value_parser = parse_seconds)]
    pub jwt_refresh: Duration,
    /// The least seconds between two readings: a token by an unknown key causes one at once, a failure another.
    #[arg(long, env = "JWT_REFRESH_LEAST", default_value = "10", value_parser = parse_seconds)]
    pub jwt_refresh_least: Duration,
    /// Seconds that fetching the JWKS may take.
    #[arg(long, env = "JWT_JWKS_TIMEOUT", default_value = "5", value_parser = parse_seconds)]
    pub jwt_jwks_timeout: Duration,
    /// The most bytes in the JWKS.
    #[arg(long, env = "JWT_JWKS_LIMIT", default_value_t = 262_144, value_parser = parse_count)]
    pub jwt_jwks_limit: usize,
    /// The most keys with which a token is tried that has no key id (`kid`).
    #[arg(long, env = "JWT_KEY_TRIES", default_value_t = 4, value_parser = parse_count)]
    pub jwt_key_tries: usize,
}

/// Whose tokens may be the host application's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ServiceTokens {
    /// Those of the shared secret.
    Secret,
    /// Those of the public keys in files.
    PublicKey,
    /// Those of the JWKS.
    Jwks,
    /// None.
    None,
}

impl ServiceTokens {
    const fn source(self) -> Option<KeySource> {
        match self {
            Self::Secret => Some(KeySource::Secret),
            Self::PublicKey => Some(KeySource::PublicKey),
            Self::Jwks => Some(KeySource::Jwks),
            Self::None => None,
        }
    }
}

impl Keys {
    /// The defaults, with this secret alone.
    #[must_use]
    pub fn of_secret(secret: String) -> Self {
        Self {
            jwt_secret: Some(secret),
            jwt_public_key: Vec::new(),
            jwt_jwks_url: None,
            jwt_issuer: None,
            jwt_audience: None,
            ..defaults()
        }
    }

    pub(super) fn contradictions(&self) -> Vec<Mistake> {
        let mut found = self.missing();
        let from = &self.service_tokens_from;
        if from.len() > 1 && from.contains(&ServiceTokens::None) {
            let message = "--service-tokens-from (SERVICE_TOKENS_FROM): none stands alone";
            found.push(Mistake::new(&["service-tokens-from"], message));
        }
        found
    }

    fn missing(&self) -> Vec<Mistake> {
        if self.jwt_secret.is_none()
            && self.jwt_public_key.is_empty()
            && self.jwt_jwks_url.is_none()
        {
            let about = ["jwt-secret", "jwt-public-key", "jwt-jwks-url"];
            return vec![Mistake::new(&about, KeyError::None.to_string())];
        }
        Vec::new()
    }

    pub(super) fn broken_files(&self) -> Vec<Mistake> {
        let broken = self.jwt_public_key.iter().filter_map(|file| {
            let error = file.check().err()?;
            let told = format!("--jwt-public-key (JWT_PUBLIC_KEY): {error}");
            Some(Mistake::new(&["jwt-public-key"], told))
        });
        broken.collect()
    }

    /// How to judge tokens.
    #[must_use]
    pub fn verifier_options(&self) -> VerifierOptions {
        VerifierOptions {
            secret: self.jwt_secret.clone(),
            files: self.jwt_public_key.clone(),
            jwks: self.jwt_jwks_url.clone(),
            issuer: self.jwt_issuer.clone(),
            audience: self.jwt_audience.clone(),
            refresh: self.jwt_refresh,
            refresh_least: self.jwt_refresh_least,
            jwks_timeout: self.jwt_jwks_timeout,
            jwks_limit: self.jwt_jwks_limit,
            key_tries: self.jwt_key_tries,
            service_tokens_from: self
                .service_tokens_from
                .iter()
                .filter_map(|from| from.source())
                .collect(),
        }
    }
}

/// What a claim has to be; an empty one would refuse every token.
fn parse_name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("it is empty: give what your tokens hold, or leave it out".to_owned());
    }
    Ok(text.to_owned())
}
