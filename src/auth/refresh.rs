//! Which keys are known, and the task that reads them again: every so often, and when a token is by one that is not known.

use std::{sync::Arc, time::Duration};

use jsonwebtoken::Algorithm;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    VerifierOptions,
    file::{self, KeyFile},
    jwks::{self, Jwks},
    key::Key,
};

/// The keys of one moment.
pub(super) struct Known {
    keys: Vec<Key>,
    /// Whether there is a JWKS, and none of its keys is known yet.
    incomplete: bool,
    /// How often the keys changed.
    version: u64,
    /// How many times all sources were asked, and when the last time ended.
    round: u64,
    asked: Option<Instant>,
}

/// Why there are no keys to begin with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Nothing is set.
    #[error(
        "there is no key to check tokens with: set --jwt-secret (JWT_SECRET), --jwt-public-key (JWT_PUBLIC_KEY) or --jwt-jwks-url (JWT_JWKS_URL)"
    )]
    None,
    /// A key file that is away, or not what it should be.
    #[error("{0} cannot be used: {1}")]
    File(KeyFile, String),
    /// TLS does not start.
    #[error("the JWKS cannot be fetched over TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl Known {
    /// The keys that a token may be by: those of its key id where there are such, else those without an id; every one
    /// where the token has no key id.
    pub(super) fn candidates(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
    ) -> impl Iterator<Item = &Key> {
        let named = kid.is_some_and(|kid| self.names(algorithm, kid));
        let fitting = self
            .keys
            .iter()
            .filter(move |key| key.algorithm() == algorithm);
        fitting.filter(move |key| match kid {
            Some(_) if named => key.id() == kid,
            Some(_) => key.id().is_none(),
            None => true,
        })
    }

    /// Whether a key of this algorithm has this id.
    pub(super) fn names(&self, algorithm: Algorithm, kid: &str) -> bool {
        let mut keys = self.keys.iter();
        keys.any(|key| key.algorithm() == algorithm && key.id() == Some(kid))
    }

    /// Whether any key has an id, so that a token's means something here.
    pub(super) fn names_keys(&self) -> bool {
        self.keys.iter().any(|key| key.id().is_some())
    }

    /// Other keys have another number.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Whether there is no key at all.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether keys are still to come.
    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Whether the sources may be asked again.
    fn may_be_asked_again(&self, least: Duration) -> bool {
        self.asked.is_none_or(|asked| asked.elapsed() >= least)
    }
}

/// How to ask for newer keys.
#[derive(Clone)]
pub(super) struct Asking {
    known: watch::Receiver<Arc<Known>>,
    wanted: Arc<Notify>,
    least: Duration,
}

impl Asking {
    /// The keys after the next time that all sources were asked, which all who wait share; none where that was a moment
    /// ago, or does not happen any more.
    pub(super) async fn newer_than(&self, known: &Known) -> Option<Arc<Known>> {
        if !known.may_be_asked_again(self.least) {
            return None;
        }
        self.wanted.notify_one();
        let mut newest = self.known.clone();
        let newer = newest.wait_for(|newest| newest.round > known.round).await;
        newer.ok().map(|newer| newer.clone())
    }
}

/// Reads the files, and starts the task where there is something to read again.
pub(super) async fn start(
    options: VerifierOptions,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> Result<(watch::Receiver<Arc<Known>>, Option<Asking>), KeyError> {
    if options.jwks.is_some() && options.audience.is_none() {
        tracing::warn!(
            "JWT_AUDIENCE is not set: a token that the issuer of JWT_JWKS_URL made for another application is believed too"
        );
    }
    let secret = options.secret.as_deref().map(Key::secret);
    let mut sources = Vec::new();
    for file in options.files {
        let mut source = Source::new(Origin::File(file.clone()));
        let read = source.read().await;
        read.map_err(|error| KeyError::File(file, error))?;
        sources.push(source);
    }
    if let Some(url) = options.jwks {
        let jwks = Jwks::new(url, options.jwks_timeout, options.jwks_limit)?;
        sources.push(Source::new(Origin::Jwks(Box::new(jwks))));
    }
    if secret.is_none() && sources.is_empty() {
        return Err(KeyError::None);
    }
    let (known, receiver) = watch::channel(Arc::new(gather(secret.as_ref(), &sources, 0)));
    if sources.is_empty() {
        return Ok((receiver, None));
    }
    let wanted = Arc::new(Notify::new());
    let asking = Asking {
        known: receiver.clone(),
        wanted: wanted.clone(),
        least: options.refresh_least,
    };
    let refresher = Refresher {
        secret,
        sources,
        known,
        wanted,
        every: options.refresh,
        least: options.refresh_least,
    };
    tasks.spawn(shutdown.clone().run_until_cancelled_owned(refresher.run()));
    Ok((receiver, Some(asking)))
}

fn gather(secret: Option<&Key>, sources: &[Source], round: u64) -> Known {
    let public = sources.iter().flat_map(|source| &source.keys);
    Known {
        keys: secret.into_iter().chain(public).cloned().collect(),
        incomplete: sources.iter().any(|source| source.keys.is_empty()),
        version: sources.iter().map(|source| source.version).sum(),
        round,
        asked: (round > 0).then(Instant::now),
    }
}

/// The only one who reads, so that it happens once however many wait for it.
struct Refresher {
    secret: Option<Key>,
    sources: Vec<Source>,
    known: watch::Sender<Arc<Known>>,
    wanted: Arc<Notify>,
    every: Duration,
    least: Duration,
}

impl Refresher {
    async fn run(mut self) {
        for round in 1.. {
            for source in &mut self.sources {
                source.renew().await;
            }
            let known = gather(self.secret.as_ref(), &self.sources, round);
            self.known.send_replace(Arc::new(known));
            let failing = self.sources.iter().any(|source| source.failing);
            let pause = if failing {
                self.least.min(self.every)
            } else {
                self.every
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.is_wanted() => {}
            }
        }
    }

    /// Somebody has a token by a key that is not known. Who asked while the last round ran has been answered by it.
    async fn is_wanted(&self) {
        loop {
            self.wanted.notified().await;
            if self.known.borrow().may_be_asked_again(self.least) {
                return;
            }
        }
    }
}

/// One place where keys come from.
struct Source {
    origin: Origin,
    /// What was read last, and the keys in it.
    text: Vec<u8>,
    keys: Vec<Key>,
    /// How often they changed.
    version: u64,
    failing: bool,
}

enum Origin {
    File(KeyFile),
    Jwks(Box<Jwks>),
}

impl Source {
    fn new(origin: Origin) -> Self {
        Self {
            origin,
            text: Vec::new(),
            keys: Vec::new(),
            version: 0,
            failing: false,
        }
    }

    /// Reads again. What fails leaves the keys that were known, and is told once, until it works again.
    async fn renew(&mut self) {
        match self.read().await {
            Ok(()) if self.failing => {
                tracing::info!("{} can be read again", self.origin);
                self.failing = false;
            }
            Ok(()) => {}
            Err(error) if self.failing => tracing::debug!("{} still fails: {error}", self.origin),
            Err(error) => {
                let kept = self.keys.len();
                tracing::warn!(
                    kept,
                    "{} fails, and the keys known stay: {error}",
                    self.origin
                );
                self.failing = true;
            }
        }
    }

    async fn read(&mut self) -> Result<(), String> {
        let text = match &self.origin {
            Origin::File(file) => file.read().await.map_err(|error| error.to_string())?,
            Origin::Jwks(jwks) => jwks.fetch().await.map_err(|error| error.to_string())?,
        };
        if text == self.text && !self.keys.is_empty() {
            return Ok(());
        }
        let (keys, skipped) = self.origin.keys(&text)?;
        for reason in skipped {
            tracing::warn!("{}: skipped {reason}", self.origin);
        }
        let ids: Vec<&str> = keys.iter().filter_map(Key::id).collect();
        tracing::info!(keys = keys.len(), ?ids, "{} was read", self.origin);
        (self.text, self.keys) = (text, keys);
        self.version += 1;
        Ok(())
    }
}

impl Origin {
    /// The keys in a text, of which there is at least one, and which others were skipped.
    fn keys(&self, text: &[u8]) -> Result<(Vec<Key>, Vec<String>), String> {
        match self {
            Self::File(file) => {
                let keys = file
                    .keys(text)
                    .map_err(|error: file::Refused| error.to_string())?;
                Ok((keys, Vec::new()))
            }
            Self::Jwks(_) => jwks::keys(text).map_err(|error| error.to_string()),
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(file) => file.fmt(f),
            Self::Jwks(jwks) => jwks.fmt(f),
        }
    }
}
