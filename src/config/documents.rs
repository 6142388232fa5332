use std::path::PathBuf;

use clap::Args;

use super::{Mistake, parse_switch};

/// Which documents run.
#[derive(Clone, Debug, Default, Args)]
pub struct TrustedDocuments {
    /// Run only the operations of these manifests, as GraphQL Code Generator, Relay or Apollo writes them: comma-separated, or the
    /// flag once for each (one for each application, or for each of two releases during a rollout).
    #[arg(
        long = "documents",
        env = "DOCUMENTS",
        value_name = "FILE",
        value_delimiter = ','
    )]
    pub files: Vec<PathBuf>,
    /// Let service tokens run any operation, also with `--documents`: the application's own server needs no manifest.
    #[arg(long = "documents-exempt-service", env = "DOCUMENTS_EXEMPT_SERVICE", value_parser = parse_switch)]
    pub exempt_service: bool,
}

impl TrustedDocuments {
    pub(super) fn contradictions(&self) -> Option<Mistake> {
        let told = "--documents-exempt-service (DOCUMENTS_EXEMPT_SERVICE) is for trusted documents: give --documents (DOCUMENTS) too";
        let is_alone = self.exempt_service && self.files.is_empty();
        is_alone.then(|| Mistake::new(&["documents-exempt-service", "documents"], told))
    }
}
