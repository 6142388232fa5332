//! Direct messages between the users of an application, as a GraphQL server.
//!
//! ```text
//! main ─▶ lib (serve) ─▶ http ─▶ graphql ─▶ chat ─▶ entity
//!                         └▶ auth ◀┘         └──▶ signals (hints between servers)
//! ```
//!
//! [`serve`] is the whole server, with its listener, clock and shutdown as parameters: the tests run what `main` runs.
//! The rules of messages are in [`chat`], what wakes listeners in [`signals`], the API's shape in [`graphql`], tokens in
//! [`auth`], every setting in [`config`].

pub mod auth;
pub mod chat;
pub mod config;
pub mod demo;
pub mod graphql;
mod http;
pub mod signals;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum_server::{Handle, accept::NoDelayAcceptor};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto::Builder,
};
use sea_orm::{DbBackend, DbErr};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::Tokens,
    chat::{Chat, Clock, Store},
    config::{Database, Serve},
    graphql::Api,
    signals::Hints,
};

/// How long requests and sockets may take to end at shutdown.
const DRAIN: Duration = Duration::from_secs(10);
/// How many listeners one statement of the slow tick asks for.
const TICK_CHUNK: usize = 5_000;

/// Why the server does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The database cannot be opened or migrated.
    #[error("the database {url:?} cannot be used: {error}")]
    Database {
        /// Which one, without its password.
        url: chat::DatabaseUrl,
        /// What it said.
        #[source]
        error: DbErr,
    },
    /// `--no-migrate`, and the schema is old.
    #[error("the database's schema is not up to date: run `directmessages migrate up`")]
    NotMigrated,
    /// The manifest of trusted documents cannot be used.
    #[error("the manifest {file:?} cannot be used: {error}")]
    Documents {
        /// Which one.
        file: std::path::PathBuf,
        /// Why.
        #[source]
        error: http::ManifestError,
    },
    /// The listener broke.
    #[error("the listener failed: {0}")]
    Listener(#[from] std::io::Error),
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

/// Runs the server until `shutdown`, then ends in order: no new requests, sockets closed, requests finished, everything
/// that waits for the writer stored.
///
/// # Errors
/// Where it cannot start.
pub async fn serve(
    settings: &Serve,
    listener: TcpListener,
    clock: Clock,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let store = open_store(&settings.database, !settings.no_migrate).await?;
    let (front, back) = (TaskTracker::new(), TaskTracker::new());
    let stop_back = CancellationToken::new();
    let url = &settings.database.database_url;
    let hints = match url.backend() {
        DbBackend::Postgres => Hints::over_postgres(url.as_str(), &back, &stop_back),
        _ => Hints::local(),
    };
    let chat = Chat::start(
        store.clone(),
        hints.clone(),
        clock,
        settings.bounds.limits(),
        &settings.database.writer_options(&settings.bounds),
        &back,
        &stop_back,
    );
    let tick = slow_tick(chat.clone(), hints, settings.bounds.slow_tick);
    back.spawn(stop_back.clone().run_until_cancelled_owned(tick));
    let tokens = Tokens::hs256(
        &settings.keys.jwt_secret,
        settings.keys.jwt_issuer.as_deref(),
        settings.keys.jwt_audience.as_deref(),
    );
    let server = http::Server::new(
        Api::new(chat),
        tokens,
        settings,
        front.clone(),
        shutdown.clone(),
    );
    let server = Arc::new(server.map_err(|error| ServeError::Documents {
        file: settings.documents.clone().unwrap_or_default(),
        error,
    })?);
    back.spawn(
        stop_back
            .clone()
            .run_until_cancelled_owned(server.clone().tidy()),
    );
    let address = listener.local_addr()?;
    tracing::info!(%address, database = ?url, "serving");
    let router = http::router(server, settings.graphiql);
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    let mut connections = axum_server::from_tcp(listener.into_std()?)?
        .acceptor(NoDelayAcceptor::new())
        .first_request_timeout(settings.bounds.header_timeout);
    *connections.http_builder() = http1(settings.bounds.idle_timeout);
    let handle = Handle::new();
    let stopping = handle.clone();
    let stop = async move {
        shutdown.cancelled().await;
        stopping.graceful_shutdown(Some(DRAIN));
        std::future::pending().await
    };
    tokio::select! {
        result = connections.handle(handle.clone()).serve(router) => result?,
        () = stop => {}
    }
    if handle.connection_count() > 0 {
        tracing::warn!("some requests did not end in time");
    }
    front.close();
    if tokio::time::timeout(DRAIN, front.wait()).await.is_err() {
        tracing::warn!("some sockets did not close in time");
    }
    stop_back.cancel();
    back.close();
    back.wait().await;
    store.close().await;
    tracing::info!("everything is stored; good bye");
    Ok(())
}

/// HTTP/1.1, with upgrades; a connection on which no request comes for so long is closed.
fn http1(idle_timeout: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        // For sockets: see request::get.
        .preserve_header_case(true)
        .timer(TokioTimer::new())
        .header_read_timeout(idle_timeout);
    builder
}

/// Every so often, looks where the logs of this server's listeners stand, in one statement for all of them: so that a
/// hint that was lost costs no more than this long.
async fn slow_tick(chat: Chat, hints: Hints, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        for users in hints.listening().chunks(TICK_CHUNK) {
            if let Err(error) = chat.hint_ends(users).await {
                tracing::debug!(%error, "the slow tick found no database");
            }
        }
    }
}
