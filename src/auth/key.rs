//! One key, and the one algorithm that it believes.

use jsonwebtoken::{Algorithm, DecodingKey};
use ring::{agreement, rand::SystemRandom};

/// What a key may be pinned to.
pub(super) const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::HS256,
    Algorithm::RS256,
    Algorithm::PS256,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Fewer bits can be broken; more take the time of many requests, and ring refuses them.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// Where a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The shared secret.
    Secret,
    /// A file with public keys.
    PublicKey,
    /// The JWKS.
    Jwks,
}

/// A key that believes its own algorithm and no other (RFC 8725, section 3.1).
#[derive(Clone)]
pub(super) struct Key {
    source: KeySource,
    id: Option<String>,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

/// A public key as it comes, big-endian bytes each.
#[derive(Clone, Copy, Debug)]
pub(super) enum Public<'a> {
    /// Modulus and exponent.
    Rsa { n: &'a [u8], e: &'a [u8] },
    /// An uncompressed point: 4, x, y.
    P256(&'a [u8]),
    /// Likewise.
    P384(&'a [u8]),
    /// 32 bytes.
    Ed25519(&'a [u8]),
}

/// Why a key is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it is an RSA key of {0} bits, and 2048 to 8192 are taken: make a new one")]
    Bits(usize),
    #[error("a key of its kind does not sign {0:?}")]
    Algorithm(Algorithm),
    #[error("its numbers make no public key")]
    Broken,
}

impl Key {
    /// A shared secret: HS256.
    pub(super) fn secret(secret: &str) -> Self {
        Self {
            source: KeySource::Secret,
            id: None,
            algorithm: Algorithm::HS256,
            decoding: DecodingKey::from_secret(secret.as_bytes()),
        }
    }

    /// A public key, pinned to an algorithm: where none is given, the usual one of its kind.
    pub(super) fn public(
        source: KeySource,
        id: Option<String>,
        algorithm: Option<Algorithm>,
        public: Public<'_>,
    ) -> Result<Self, Unusable> {
        let usual = match public {
            Public::Rsa { .. } => Algorithm::RS256,
            Public::P256(_) => Algorithm::ES256,
            Public::P384(_) => Algorithm::ES384,
            Public::Ed25519(_) => Algorithm::EdDSA,
        };
        let algorithm = match (algorithm.unwrap_or(usual), public) {
            (Algorithm::PS256, Public::Rsa { .. }) => Algorithm::PS256,
            (algorithm, _) if algorithm == usual => usual,
            (algorithm, _) => return Err(Unusable::Algorithm(algorithm)),
        };
        Ok(Self {
            source,
            id,
            algorithm,
            decoding: decoding(public)?,
        })
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub(super) fn source(&self) -> KeySource {
        self.source
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }
}

fn decoding(public: Public<'_>) -> Result<DecodingKey, Unusable> {
    match public {
        Public::Rsa { n, e } => rsa(n, e),
        Public::P256(point) if is_on(&agreement::ECDH_P256, point) => {
            Ok(DecodingKey::from_ec_der(point))
        }
        Public::P384(point) if is_on(&agreement::ECDH_P384, point) => {
            Ok(DecodingKey::from_ec_der(point))
        }
        // Whether 32 bytes are a point is seen with every signature; if they are none, no signature is good.
        Public::Ed25519(point) if point.len() == 32 => Ok(DecodingKey::from_ed_der(point)),
        Public::P256(_) | Public::P384(_) | Public::Ed25519(_) => Err(Unusable::Broken),
    }
}

fn rsa(n: &[u8], e: &[u8]) -> Result<DecodingKey, Unusable> {
    let (n, e) = (without_zeros(n), without_zeros(e));
    let [first, ..] = n else {
        return Err(Unusable::Broken);
    };
    let bits = n.len() * 8 - first.leading_zeros() as usize;
    if !RSA_BITS.contains(&bits) {
        return Err(Unusable::Bits(bits));
    }
    // What ring takes: an odd exponent from 3 to 33 bits.
    let exponent = e.iter().fold(0_u128, |value, byte| {
        (value << 8 | u128::from(*byte)) & u128::from(u64::MAX)
    });
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    if e.len() > 5 || !(3..1 << 33).contains(&exponent) || !is_odd(e) || !is_odd(n) {
        return Err(Unusable::Broken);
    }
    Ok(DecodingKey::from_rsa_raw_components(n, e))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// Whether a point is on its curve, which ring looks at where it agrees on a secret.
fn is_on(curve: &'static agreement::Algorithm, point: &[u8]) -> bool {
    let own = agreement::EphemeralPrivateKey::generate(curve, &SystemRandom::new());
    let theirs = agreement::UnparsedPublicKey::new(curve, point);
    own.is_ok_and(|own| agreement::agree_ephemeral(own, &theirs, |_| ()).is_ok())
}
