use super::{
    VerifierOptions,
    jwks::{self, Jwks},
    key::Key,
    refresh::KeyError,
};

/// One place where keys come from, as it was found.
#[derive(Debug)]
pub struct Inspected {
    /// Which one, without a secret.
    pub source: String,
    /// Its keys by their algorithms and ids, or why there is none.
    pub keys: Result<Vec<String>, String>,
    /// Keys that are not taken, each with the reason.
    pub skipped: Vec<String>,
}

/// Reads every source of keys once.
///
/// # Errors
/// Where none is set, or TLS does not start.
pub async fn inspect(options: VerifierOptions) -> Result<Vec<Inspected>, KeyError> {
    let mut found = Vec::new();
    if let Some(secret) = &options.secret {
        found.push(Inspected {
            source: "JWT_SECRET".to_owned(),
            keys: Ok(vec![told(&Key::secret(secret))]),
            skipped: Vec::new(),
        });
    }
    for file in &options.files {
        let text = file.read().await.map_err(|error| error.to_string());
        let keys = text.and_then(|text| file.keys(&text).map_err(|error| error.to_string()));
        found.push(Inspected {
            source: file.to_string(),
            keys: keys.map(|keys| keys.iter().map(told).collect()),
            skipped: Vec::new(),
        });
    }
    if let Some(url) = options.jwks {
        let jwks = Jwks::new(url, options.jwks_timeout, options.jwks_limit)?;
        let read = match jwks.fetch().await {
            Ok(document) => jwks::keys(&document),
            Err(error) => Err(error),
        };
        let source = jwks.to_string();
        found.push(match read {
            Ok((keys, skipped)) => Inspected {
                source,
                keys: Ok(keys.iter().map(told).collect()),
                skipped,
            },
            Err(error) => Inspected {
                source,
                keys: Err(error.to_string()),
                skipped: Vec::new(),
            },
        });
    }
    if found.is_empty() {
        return Err(KeyError::None);
    }
    Ok(found)
}

fn told(key: &Key) -> String {
    match key.id() {
        Some(id) => format!("{:?} {id:?}", key.algorithm()),
        None => format!("{:?}", key.algorithm()),
    }
}
