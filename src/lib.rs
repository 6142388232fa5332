//! Direct messages between the users of an application, as a GraphQL server.
//!
//! ```text
//! main ─▶ lib (serve) ─▶ http ─▶ graphql ─▶ chat ─▶ entity
//!                         └▶ auth ◀┘         └──▶ signals (hints between servers)
//! ```
//!
//! [`serve`] is the whole server, with its listener, clock and shutdown as parameters: the tests run what `main` runs.
//! The rules of messages are in [`chat`], what wakes listeners in [`signals`], the API's shape in [`graphql`], tokens in
//! [`auth`], every setting in [`config`], what an operator sees of it in [`observe`].

pub mod auth;
pub mod chat;
pub mod config;
pub mod demo;
#[doc(hidden)]
pub mod fuzz;
pub mod graphql;
mod http;
pub mod observe;
pub mod signals;

use std::{sync::Arc, time::Duration};

use sea_orm::{DbBackend, DbErr};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::{KeyError, Verifier},
    chat::{Chat, Clock, Store},
    config::{Command, Database, Mistake, Pruning, Serve},
    graphql::{Api, ResponseLimits},
    observe::Metrics,
    signals::{Hints, NatsError},
};

/// How many listeners one statement of the slow tick asks for.
const TICK_CHUNK: usize = 5_000;

/// Why the server does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The database cannot be opened or migrated.
    #[error("the database {url:?} cannot be used: {error}{}", chat::advice(error, url.backend()))]
    Database {
        /// Which one, without its password.
        url: chat::DatabaseUrl,
        /// What it said.
        error: DbErr,
    },
    /// `--no-migrate`, and the schema is old.
    #[error("the database's schema is not up to date: run `directmessages migrate up`")]
    NotMigrated,
    /// NATS cannot be used as it is set.
    #[error("NATS cannot be used: {0}")]
    Nats(#[from] NatsError),
    /// There are no keys to check tokens with.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The manifests of trusted documents cannot be used.
    #[error(transparent)]
    Documents(#[from] http::ManifestError),
    /// Nobody can listen where metrics are to be.
    #[error(
        "cannot listen on {address} for metrics: {error}; give another by --metrics-listen (METRICS_LISTEN)"
    )]
    Metrics {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The listener broke.
    #[error("the listener failed: {0}")]
    Listener(#[from] std::io::Error),
}

/// What is wrong with settings of which each is right by itself, and with the files that `serve` would read: all that can be
/// known before anything is started. What `doctor` looks at itself is left to it.
#[must_use]
pub fn mistakes(command: &Command) -> Vec<Mistake> {
    let mut found = command.contradictions();
    if let Command::Serve(settings) = command {
        found.extend(settings.broken_files());
        found.extend(broken_manifests(settings).into_iter().map(|unusable| {
            let told = format!("--documents (DOCUMENTS): {unusable}");
            Mistake::new(&["documents"], told)
        }));
    }
    found
}

/// Why the manifests of trusted documents cannot be used.
#[must_use]
pub fn broken_manifests(settings: &Serve) -> Vec<http::ManifestError> {
    http::check_manifests(settings)
}

/// Opens the database, and migrates it.
///
/// # Errors
/// Where that fails.
pub async fn open_store(database: &Database, migrate: bool) -> Result<Store, ServeError> {
    let unusable = |error| ServeError::Database {
        url: database.database_url.clone(),
        error,
    };
    let store = Store::open(&database.store_options())
        .await
        .map_err(unusable)?;
    if migrate {
        store.migrate().await.map_err(unusable)?;
    } else if !store.is_migrated().await.map_err(unusable)? {
        return Err(ServeError::NotMigrated);
    }
    Ok(store)
}

/// Runs the server until `shutdown`, then ends in order: nothing new is taken, sockets and event streams are closed one by
/// one, requests finished, and everything that waits for the writer is stored.
///
/// # Errors
/// Where it cannot start.
pub async fn serve(
    settings: &Serve,
    listener: TcpListener,
    clock: Clock,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let (front, back) = (TaskTracker::new(), TaskTracker::new());
    let stop_back = CancellationToken::new();
    // What was started ends also where something later does not start.
    let _stop_at_last = stop_back.clone().drop_guard();
    let verifier = Verifier::start(settings.keys.verifier_options(), &back, &stop_back).await?;
    let metrics = Metrics::default();
    // A port in use is told before anything is served.
    let asked = match settings.observing.metrics_listen {
        Some(address) => {
            let taken = |error| ServeError::Metrics { address, error };
            Some(TcpListener::bind(address).await.map_err(taken)?)
        }
        None => None,
    };
    let store = open_store(&settings.database, !settings.no_migrate).await?;
    let store = store.counted_by(&metrics);
    let url = &settings.database.database_url;
    let bus = settings.bus.bus_options();
    let hints = match (settings.bus.nats_options(), url.backend()) {
        (Some(nats), _) => Hints::over_nats(&nats, bus, &back, &stop_back).await?,
        (None, DbBackend::Postgres) => {
            let direct = settings.database.direct_database_url.as_ref();
            let hosts = direct.unwrap_or(url).hosts();
            Hints::over_postgres(hosts, bus, &back, &stop_back)
        }
        (None, _) => Hints::local(),
    };
    let chat = Chat::start(
        store.clone(),
        hints.clone(),
        clock,
        settings.limits(),
        &settings.database.writer_options(&settings.bounds),
        &back,
        &stop_back,
    );
    if let Some(asked) = asked {
        tracing::info!(address = %asked.local_addr()?, "metrics are at /metrics");
        let (chat, stop) = (chat.clone(), stop_back.clone());
        let answering = observe::serve(asked, metrics.clone(), move || chat.reading(), stop);
        back.spawn(async move {
            if let Err(error) = answering.await {
                tracing::error!(%error, "metrics are no longer answered");
            }
        });
    }
    let tick = slow_tick(chat.clone(), hints, settings.bus.slow_tick);
    back.spawn(stop_back.clone().run_until_cancelled_owned(tick));
    let prune = prune_often(store.clone(), settings.pruning.clone(), metrics.clone());
    back.spawn(stop_back.clone().run_until_cancelled_owned(prune));
    let limits = ResponseLimits {
        bytes: settings.bounds.response_limit,
        event_bytes: settings.rates.event_rate,
    };
    let server = http::Server::new(
        Api::new(chat, settings.federation, limits),
        verifier,
        settings,
        metrics.clone(),
        front.clone(),
        shutdown.clone(),
    );
    let server = Arc::new(server?);
    back.spawn(
        stop_back
            .clone()
            .run_until_cancelled_owned(server.clone().tidy()),
    );
    let address = listener.local_addr()?;
    tracing::info!(%address, database = ?url, "serving");
    let router = http::router(server, settings.pages);
    let bounds = &settings.bounds;
    let ended = async {
        http::serve(listener, router, settings, &metrics, &shutdown).await?;
        front.close();
        front.wait().await;
        Ok::<_, ServeError>(())
    };
    tokio::select! {
        result = ended => result?,
        () = drained(&shutdown, bounds.sockets.shutdown_timeout) => {
            tracing::warn!("some requests or sockets did not end in time");
        }
    }
    stop_back.cancel();
    back.close();
    back.wait().await;
    store.close().await;
    tracing::info!("everything is stored; good bye");
    Ok(())
}

async fn drained(shutdown: &CancellationToken, timeout: Duration) {
    shutdown.cancelled().await;
    tokio::time::sleep(timeout).await;
}

/// Every so often, and at once where hints may just have been missed, looks where the logs of this server's listeners
/// stand, in one statement for all of them: so that a hint that was lost costs no more than this long.
async fn slow_tick(chat: Chat, hints: Hints, every: Duration) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = hints.doubted() => {}
        }
        chat.forget_pages();
        let listening = hints.listening();
        let mut rest = listening.as_slice();
        // Once also where nobody listens: a database that was replaced is noticed by it.
        loop {
            let (hinted, others) = rest.split_at(rest.len().min(TICK_CHUNK));
            if let Err(error) = chat.hint_ends(hinted).await {
                tracing::debug!(%error, "the slow tick found no database");
            }
            if others.is_empty() {
                break;
            }
            rest = others;
        }
    }
}

/// Every so often, takes old signals away. Servers begin at random moments, so that those of one database share the work.
async fn prune_often(store: Store, settings: Pruning, metrics: Metrics) {
    let retention = settings.retention.retention();
    if retention.keep.is_zero() || settings.prune_interval.is_zero() {
        return;
    }
    tokio::time::sleep(settings.prune_interval.mul_f64(fastrand::f64())).await;
    loop {
        let mut counted = 0;
        let count = |pruned: &chat::Pruned| {
            metrics.pruned(pruned.signals - counted);
            counted = pruned.signals;
        };
        match store.prune(&retention, count).await {
            Ok(pruned) if pruned == chat::Pruned::default() => {}
            Ok(chat::Pruned {
                users,
                signals,
                busy,
            }) => tracing::info!(users, signals, busy, "old signals were pruned"),
            Err(error) => tracing::warn!(%error, "pruning stopped, and goes on at its next round"),
        }
        tokio::time::sleep(settings.prune_interval).await;
    }
}
