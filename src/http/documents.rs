//! Documents that clients name by a hash instead of sending them: those of an operator's manifests, which are then the
//! only ones that run, or those that any client has asked before.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::http::StatusCode;
use data_encoding::HEXLOWER;
use quick_cache::{Weighter, sync::Cache};
use ring::digest::{SHA256, digest};
use serde::Deserialize;

use super::{
    gate::{Gate, Params, Refusal},
    params::Asked,
};
use crate::{
    config::TrustedDocuments,
    graphql::{Caller, ErrorCode},
};

/// Bytes of text that are kept for clients to name by their hash.
const KEPT_BYTES: u64 = 8 << 20;
/// How many of a manifest's faults are told at one time.
const TOLD: usize = 5;

/// What a name stands for.
pub(super) enum Documents {
    /// Only these run, by the id that a manifest gives them or by the SHA-256 of their text.
    Trusted {
        known: HashMap<String, Arc<str>>,
        /// Whether any document runs that comes with a service token.
        exempt_service: bool,
    },
    /// Every valid document runs, and is kept under its SHA-256 where the client asks for that.
    Open(Option<Cache<String, Arc<str>, ByLength>>),
}

/// Why the manifests cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// One of them by itself.
    #[error("the manifest {file:?} cannot be used: {problem}")]
    Unusable {
        /// Which one.
        file: PathBuf,
        /// Why.
        #[source]
        problem: ManifestProblem,
    },
    /// One id stands for two texts.
    #[error(
        "the manifests {first:?} and {second:?} give the id {id:?} to different documents: build both with ids that are hashes of the text"
    )]
    Ambiguous {
        /// The id.
        id: String,
        /// The manifest that was named first.
        first: PathBuf,
        /// The manifest that was named later, or the same.
        second: PathBuf,
    },
}

/// What is wrong with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestProblem {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// Not one of the formats.
    #[error(
        "it is no manifest: give the JSON that GraphQL Code Generator, Relay or Apollo's generate-persisted-query-manifest writes ({0})"
    )]
    Unknown(#[from] serde_json::Error),
    /// It would refuse everything.
    #[error("it holds no operation: nothing could run")]
    Empty,
    /// Operations that the schema does not have.
    #[error(
        "{count} of its documents cannot run on this server, such as {examples}: build the manifest against this server's schema"
    )]
    Invalid {
        /// How many.
        count: usize,
        /// The first few, with the reason.
        examples: String,
    },
}

/// The formats of manifests, all JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum Manifest {
    /// Apollo's generate-persisted-query-manifest.
    Apollo { operations: Vec<Operation> },
    /// GraphQL Code Generator's client preset, and Relay: from id to text.
    ById(HashMap<String, String>),
}

#[derive(Deserialize)]
struct Operation {
    id: String,
    body: String,
}

/// What a kept document takes: its length, and no less than lets as many be kept as may be. The cache itself counts nothing
/// but weight.
#[derive(Clone)]
pub(super) struct ByLength {
    least: u64,
}

impl Weighter<String, Arc<str>> for ByLength {
    fn weight(&self, _: &String, text: &Arc<str>) -> u64 {
        (text.len() as u64).max(self.least)
    }
}

impl Documents {
    /// Every document, of which so many may be named by their hash once they were asked.
    pub(super) fn open(kept: usize) -> Self {
        Self::Open((kept > 0).then(|| {
            let least = (KEPT_BYTES / kept as u64).max(1);
            Cache::with_weighter(kept, KEPT_BYTES, ByLength { least })
        }))
    }

    /// Only the documents of these manifests, each checked against the schema.
    pub(super) fn trusted(settings: &TrustedDocuments, gate: &Gate) -> Result<Self, ManifestError> {
        let mut found: HashMap<String, (Arc<str>, &Path)> = HashMap::new();
        for file in &settings.files {
            let operations =
                read_manifest(file, gate).map_err(|problem| ManifestError::Unusable {
                    file: file.clone(),
                    problem,
                })?;
            for (id, text) in operations {
                let text: Arc<str> = text.into();
                for name in [sha256(&text), bare(&id).to_owned()] {
                    match found.entry(name) {
                        Entry::Vacant(entry) => drop(entry.insert((text.clone(), file))),
                        Entry::Occupied(entry) if entry.get().0 == text => {}
                        Entry::Occupied(entry) => {
                            return Err(ManifestError::Ambiguous {
                                id: entry.key().clone(),
                                first: entry.get().1.to_owned(),
                                second: file.clone(),
                            });
                        }
                    }
                }
            }
        }
        let known = found.into_iter().map(|(name, (text, _))| (name, text));
        Ok(Self::Trusted {
            known: known.collect(),
            exempt_service: settings.exempt_service,
        })
    }

    /// Whether a caller runs an operator's own documents only.
    pub(super) fn bind(&self, caller: &Caller) -> bool {
        match self {
            Self::Open(_) => false,
            Self::Trusted { exempt_service, .. } => !(*exempt_service && caller.is_service()),
        }
    }

    /// The text that a request asks to run.
    pub(super) fn find(&self, asked: Asked, caller: &Caller) -> Result<Params, Refusal> {
        let name = asked.document.as_deref().map(bare);
        let query = match (self, asked.query, name) {
            (_, None, None) => return Err(missing()),
            (Self::Trusted { .. }, Some(text), _) if !self.bind(caller) => text,
            (Self::Trusted { known, .. }, Some(text), _) => known
                .get(&sha256(&text))
                .ok_or_else(not_allowed)?
                .to_string(),
            (Self::Trusted { known, .. }, None, Some(name)) => {
                known.get(name).ok_or_else(not_allowed)?.to_string()
            }
            (Self::Open(_), Some(text), None) | (Self::Open(None), Some(text), Some(_)) => text,
            (Self::Open(Some(_)), Some(text), Some(name)) => {
                if sha256(&text) != name {
                    return Err(Refusal::new(
                        ErrorCode::BadRequest,
                        "the hash of the persisted query is not the SHA-256 of its text, in lower-case hexadecimal",
                    ));
                }
                text
            }
            (Self::Open(None), None, Some(_)) => {
                let code = ErrorCode::PersistedQueryNotSupported;
                return Err(Refusal::new(code, "PersistedQueryNotSupported"));
            }
            // Clients know these answers by their texts, and send the query itself.
            (Self::Open(Some(kept)), None, Some(name)) => {
                let not_found = || {
                    let code = ErrorCode::PersistedQueryNotFound;
                    Refusal::new(code, "PersistedQueryNotFound")
                };
                kept.get(name).ok_or_else(not_found)?.to_string()
            }
        };
        Ok(Params {
            query,
            operation_name: asked.operation_name,
            variables: asked.variables,
        })
    }

    /// Keeps a document under its hash, once it has proved valid.
    pub(super) fn keep(&self, hash: &str, text: &str) {
        if let Self::Open(Some(kept)) = self
            && kept.get(bare(hash)).is_none()
        {
            kept.insert(bare(hash).to_owned(), text.into());
        }
    }
}

/// A manifest's operations, by id, each valid.
fn read_manifest(file: &Path, gate: &Gate) -> Result<Vec<(String, String)>, ManifestProblem> {
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(file)?)?;
    let operations: Vec<(String, String)> = match manifest {
        Manifest::Apollo { operations } => {
            operations.into_iter().map(|of| (of.id, of.body)).collect()
        }
        Manifest::ById(operations) => operations.into_iter().collect(),
    };
    if operations.is_empty() {
        return Err(ManifestProblem::Empty);
    }
    let mut invalid: Vec<String> = operations
        .iter()
        .filter_map(|(id, text)| {
            let refusal = gate.refusal_of(text)?;
            Some(format!("{id} ({})", refusal.first_message()))
        })
        .collect();
    if !invalid.is_empty() {
        let count = invalid.len();
        invalid.sort();
        invalid.truncate(TOLD);
        return Err(ManifestProblem::Invalid {
            count,
            examples: invalid.join(", "),
        });
    }
    Ok(operations)
}

/// A name without the `sha256:` that GraphQL over HTTP puts before it.
fn bare(name: &str) -> &str {
    name.strip_prefix("sha256:").unwrap_or(name)
}

fn sha256(text: &str) -> String {
    HEXLOWER.encode(digest(&SHA256, text.as_bytes()).as_ref())
}

fn missing() -> Refusal {
    Refusal::new(
        ErrorCode::BadRequest,
        "query is missing: send ?query=… by GET, or {\"query\": …} by POST",
    )
    .with_status(StatusCode::BAD_REQUEST)
}

fn not_allowed() -> Refusal {
    Refusal::new(
        ErrorCode::DocumentNotAllowed,
        "this server runs only the documents of its manifests: name one by its hash, or add this one to a manifest",
    )
}
