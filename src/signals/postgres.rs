//! LISTEN and NOTIFY: one connection that listens, one that tells, neither with a transaction.

use std::time::Duration;

use data_encoding::BASE64;
use sea_orm::sqlx::{
    self, Executor as _,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::hub::Hub;

const CHANNEL: &str = "directmessages_hints";
/// A notification takes 7,999 bytes. A server's tag is 16 bytes and a hint 24, both in base64.
const HINTS_PER_NOTIFICATION: usize = 240;
const HINT_BYTES: usize = 24;
/// How long to wait before a lost connection is opened again.
const RECONNECT: Duration = Duration::from_millis(500);

pub(super) fn start(
    url: &str,
    hub: &Hub,
    outgoing: mpsc::Receiver<Vec<(Uuid, i64)>>,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) {
    // Drawn anew at every start: a server does not listen to itself.
    let own = Uuid::new_v4();
    let (url, hub) = (url.to_owned(), hub.clone());
    tasks.spawn(
        shutdown
            .clone()
            .run_until_cancelled_owned(tell(url.clone(), own, outgoing)),
    );
    tasks.spawn(
        shutdown
            .clone()
            .run_until_cancelled_owned(listen(url, own, hub)),
    );
}

async fn tell(url: String, own: Uuid, mut outgoing: mpsc::Receiver<Vec<(Uuid, i64)>>) {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(2))
        .connect_lazy(&url);
    let pool = match pool {
        Ok(pool) => pool,
        Err(error) => {
            tracing::error!(%error, "hints to other servers are off");
            return;
        }
    };
    let mut batches = Vec::new();
    while outgoing.recv_many(&mut batches, 64).await > 0 {
        let hints: Vec<(Uuid, i64)> = batches.drain(..).flatten().collect();
        for hints in hints.chunks(HINTS_PER_NOTIFICATION) {
            let notify = sqlx::query("SELECT pg_notify($1, $2)")
                .bind(CHANNEL)
                .bind(encode(own, hints));
            if let Err(error) = pool.execute(notify).await {
                tracing::warn!(%error, "hints were not sent: other servers find the signals by their slow tick");
            }
        }
    }
}

async fn listen(url: String, own: Uuid, hub: Hub) {
    loop {
        match hear(&url, own, &hub).await {
            Ok(never) => match never {},
            Err(error) => tracing::warn!(%error, "hints from other servers are away"),
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn hear(url: &str, own: Uuid, hub: &Hub) -> Result<std::convert::Infallible, sqlx::Error> {
    let mut listener = PgListener::connect(url).await?;
    listener.listen(CHANNEL).await?;
    loop {
        let notification = listener.recv().await?;
        for (user, position) in decode(own, notification.payload()) {
            hub.wake(user, position);
        }
    }
}

fn encode(own: Uuid, hints: &[(Uuid, i64)]) -> String {
    let mut bytes = own.as_bytes().to_vec();
    for (user, position) in hints {
        bytes.extend(user.as_bytes());
        bytes.extend(position.to_be_bytes());
    }
    BASE64.encode(&bytes)
}

/// Another server's hints. What cannot be read is no hint: whoever may connect may notify.
fn decode(own: Uuid, payload: &str) -> Vec<(Uuid, i64)> {
    let bytes = BASE64.decode(payload.as_bytes()).unwrap_or_default();
    match bytes.split_at_checked(16) {
        Some((from, hints)) if from != own.as_bytes() => hints
            .chunks_exact(HINT_BYTES)
            .filter_map(|hint| {
                let user = Uuid::from_slice(&hint[..16]).ok()?;
                let position = i64::from_be_bytes(hint[16..].try_into().ok()?);
                Some((user, position))
            })
            .collect(),
        _ => Vec::new(),
    }
}
