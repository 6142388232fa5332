//! Files with public keys in PEM.

use std::{fmt, path::PathBuf, str::FromStr};

use jsonwebtoken::Algorithm;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use spki::{
    ObjectIdentifier, SubjectPublicKeyInfoRef,
    der::{Decode as _, Reader as _, SliceReader, asn1::UintRef},
};

use super::{
    KeyError,
    key::{ALGORITHMS, Key, KeySource, Public, Unusable},
};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// A file with one public key or several, written `FILE` or `ALGORITHM:FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// What its keys are pinned to; where it is not given, the usual algorithm of each key's kind.
    algorithm: Option<Algorithm>,
    path: PathBuf,
}

/// Why a file's keys are not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("it is no PEM: {0}")]
    NoPem(String),
    #[error(
        "it holds a private key, which belongs to whoever signs tokens: give the public one, as `openssl pkey -pubout` prints it"
    )]
    Private,
    #[error(
        "it holds a certificate: give its public key, as `openssl x509 -pubkey -noout` prints it"
    )]
    Certificate,
    #[error("it holds no -----BEGIN PUBLIC KEY-----, as `openssl pkey -pubout` prints it")]
    NoKey,
    #[error("it holds a key of a kind that is not taken: RSA, EC on P-256 or P-384, or Ed25519")]
    Kind,
    #[error("its key cannot be used: {0}")]
    Unusable(#[from] Unusable),
}

impl KeyFile {
    /// Looks whether its keys can be used.
    ///
    /// # Errors
    /// Why they cannot.
    pub fn check(&self) -> Result<(), KeyError> {
        let text = std::fs::read(&self.path).map_err(|error| error.to_string());
        let keys = text.and_then(|text| self.keys(&text).map_err(|error| error.to_string()));
        keys.map(|_| ())
            .map_err(|error| KeyError::File(self.clone(), error))
    }

    pub(super) async fn read(&self) -> std::io::Result<Vec<u8>> {
        tokio::fs::read(&self.path).await
    }

    /// The keys in the file's text: all of them, or why one is not taken.
    pub(super) fn keys(&self, text: &[u8]) -> Result<Vec<Key>, Refused> {
        let mut keys = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
            let (kind, der) = section.map_err(|error| Refused::NoPem(error.to_string()))?;
            match kind {
                SectionKind::PublicKey => keys.push(self.key(&der)?),
                SectionKind::RsaPrivateKey
                | SectionKind::PrivateKey
                | SectionKind::EcPrivateKey => {
                    return Err(Refused::Private);
                }
                SectionKind::Certificate => return Err(Refused::Certificate),
                _ => {}
            }
        }
        if keys.is_empty() {
            return Err(Refused::NoKey);
        }
        Ok(keys)
    }

    fn key(&self, der: &[u8]) -> Result<Key, Refused> {
        let broken = |_| Refused::Unusable(Unusable::Broken);
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(broken)?;
        let bits = info.subject_public_key.as_bytes();
        let bits = bits.ok_or(Unusable::Broken)?;
        let curve = info.algorithm.parameters_oid().ok();
        let public = match (info.algorithm.oid, curve) {
            (RSA, _) => {
                let (n, e) = rsa(bits).map_err(broken)?;
                return self.pinned(Public::Rsa {
                    n: n.as_bytes(),
                    e: e.as_bytes(),
                });
            }
            (EC, Some(P256)) => Public::P256(bits),
            (EC, Some(P384)) => Public::P384(bits),
            (ED25519, _) => Public::Ed25519(bits),
            _ => return Err(Refused::Kind),
        };
        self.pinned(public)
    }

    fn pinned(&self, public: Public<'_>) -> Result<Key, Refused> {
        Ok(Key::public(
            KeySource::PublicKey,
            None,
            self.algorithm,
            public,
        )?)
    }
}

/// `SEQUENCE { modulus INTEGER, publicExponent INTEGER }`, as RFC 8017 says.
fn rsa(bits: &[u8]) -> spki::der::Result<(UintRef<'_>, UintRef<'_>)> {
    let mut reader = SliceReader::new(bits)?;
    let numbers = reader
        .sequence(|reader| -> spki::der::Result<_> { Ok((reader.decode()?, reader.decode()?)) })?;
    reader.finish()?;
    Ok(numbers)
}

impl FromStr for KeyFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains("-----BEGIN") {
            return Err("give the name of a file, not what is in it".to_owned());
        }
        // What stands before a colon is an algorithm only if it is one's name: a file may be called anything.
        let named = text.split_once(':').and_then(|(name, path)| {
            let algorithm: Algorithm = name.parse().ok()?;
            Some((algorithm, path))
        });
        let (algorithm, path) = match named {
            Some((algorithm, path)) => (Some(algorithm), path),
            None => (None, text),
        };
        match algorithm {
            Some(Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) => {
                return Err("a secret is no public key: HS256 is set by JWT_SECRET".to_owned());
            }
            Some(algorithm) if !ALGORITHMS.contains(&algorithm) => {
                return Err(format!(
                    "{algorithm:?} is not taken: RS256, PS256, ES256, ES384 or EdDSA"
                ));
            }
            _ if path.is_empty() => {
                return Err("give a PEM file, or ALGORITHM:FILE".to_owned());
            }
            _ => {}
        }
        let path = PathBuf::from(path);
        Ok(Self { algorithm, path })
    }
}

impl fmt::Display for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the key file {}", self.path.display())
    }
}
