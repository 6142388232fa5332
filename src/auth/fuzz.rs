//! The targets of [`crate::fuzz`] for keys and tokens.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, Validation, decode};
use serde_json::Value;

use super::{Claims, jwks};

/// A JWKS: each of its keys is taken or skipped with a reason, none is a secret, and none believes what nobody signed.
pub(crate) fn jwks(document: &[u8]) {
    let (keys, skipped) = match jwks::keys(document) {
        Ok(found) => found,
        Err(failed) => {
            assert!(!failed.to_string().is_empty());
            return;
        }
    };
    // What stands beside the keys may be a number that nothing holds.
    let Ok(document) = serde_json::from_slice::<Value>(document) else {
        return;
    };
    let entries = document["keys"].as_array().expect("it holds a list");
    assert_eq!(keys.len() + skipped.len(), entries.len());
    assert!(!keys.is_empty() && skipped.iter().all(|reason| !reason.is_empty()));
    let private = entries.iter().filter(|entry| !entry["d"].is_null()).count();
    assert!(skipped.len() >= private);
    for key in keys {
        let algorithm = key.algorithm();
        assert_ne!(algorithm, Algorithm::HS256, "everybody can fetch it");
        if let Some(id) = key.id() {
            assert!(entries.iter().any(|entry| entry["kid"] == id));
        }
        let header = serde_json::json!({ "alg": algorithm });
        let claims = serde_json::json!({ "sub": "ann", "exp": 4_000_000_000_u32 });
        let parts = [header, claims].map(|part| part.to_string().into_bytes());
        let [header, claims] = parts.map(|part| BASE64URL_NOPAD.encode(&part));
        let signature = BASE64URL_NOPAD.encode(&[0; 64]);
        let token = format!("{header}.{claims}.{signature}");
        let judged = decode::<Claims>(&token, key.decoding(), &Validation::new(algorithm));
        assert!(judged.is_err(), "nobody signed it");
    }
}
