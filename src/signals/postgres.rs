//! LISTEN and NOTIFY: one connection that listens, one that tells, neither with a transaction.

use std::{convert::Infallible, sync::Arc, time::Duration};

use data_encoding::BASE64;
use sea_orm::sqlx::{
    self, AssertSqlSafe, Executor as _, PgPool,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{bus::Outbox, hub::Hub, pulse::Pulse, wire};

const CHANNEL: &str = "directmessages_hints";
/// A notification takes 7,999 bytes. A server's tag is 16 bytes and a hint 24, both in base64.
const HINTS_PER_NOTIFICATION: usize = 240;
/// How long to wait before a lost connection is opened again.
const RECONNECT: Duration = Duration::from_millis(500);

pub(super) fn start(
    hosts: &[String],
    hub: &Hub,
    outbox: Outbox,
    pulse: &Arc<Pulse>,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) {
    let (own, hub) = (outbox.own, hub.clone());
    let listening = listen(hosts.to_owned(), own, hub, pulse.clone());
    let telling = tell(hosts.to_owned(), outbox, pulse.clone());
    tasks.spawn(shutdown.clone().run_until_cancelled_owned(listening));
    tasks.spawn(shutdown.clone().run_until_cancelled_owned(telling));
}

async fn tell(hosts: Vec<String>, mut outbox: Outbox, pulse: Arc<Pulse>) {
    let hosts: Result<Vec<PgConnectOptions>, _> = hosts.iter().map(|host| host.parse()).collect();
    let mut hosts = match hosts {
        Ok(hosts) => hosts.into_iter().cycle(),
        Err(error) => {
            tracing::error!(%error, "hints to other servers are off");
            return;
        }
    };
    let Some(first) = hosts.next() else { return };
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(2))
        .connect_lazy_with(first);
    let mut beat = interval(pulse.every());
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {
                if !notify(&pool, outbox.own, &[], &pulse).await
                    && let Some(next) = hosts.next()
                {
                    // A standby may have taken over: the next connection tries the next host.
                    pool.set_connect_options(next);
                }
                pulse.check();
            }
            hints = outbox.next() => {
                let Some(hints) = hints else { return };
                let hints: Vec<_> = hints.into_iter().collect();
                for hints in hints.chunks(HINTS_PER_NOTIFICATION) {
                    notify(&pool, outbox.own, hints, &pulse).await;
                }
            }
        }
    }
}

/// Whether it was told; what was not is left to the other servers' slow tick.
async fn notify(pool: &PgPool, own: Uuid, hints: &[(Uuid, i64)], pulse: &Pulse) -> bool {
    // One message of the simple protocol, whose text is ours: nothing is prepared that a pooler could lose.
    let payload = BASE64.encode(&wire::encode(own, hints));
    let notify = AssertSqlSafe(format!("NOTIFY {CHANNEL}, '{payload}'"));
    match timeout(pulse.step(), pool.execute(sqlx::raw_sql(notify))).await {
        Ok(Ok(_)) => return true,
        Ok(Err(error)) => pulse.blame(&error),
        Err(late) => pulse.blame(&late),
    }
    false
}

/// Host after host: a standby refuses LISTEN.
async fn listen(hosts: Vec<String>, own: Uuid, hub: Hub, pulse: Arc<Pulse>) {
    for host in hosts.iter().cycle() {
        match hear(host, own, &hub, &pulse).await {
            Ok(never) => match never {},
            Err(error) => pulse.blame(&error),
        }
        sleep(RECONNECT).await;
    }
}

/// Wakes by what others tell, until the connection breaks, or is so silent that not even our own beat comes through.
async fn hear(url: &str, own: Uuid, hub: &Hub, pulse: &Pulse) -> Result<Infallible, sqlx::Error> {
    let broken = |what: &str| sqlx::Error::Protocol(what.to_owned());
    let mut listener = PgListener::connect(url).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    // Whatever was told before this was told to nobody here.
    pulse.doubt();
    loop {
        let heard = timeout(pulse.patience(), listener.try_recv()).await;
        let heard = heard.map_err(|_| broken("nothing comes through LISTEN"))?;
        let notification = heard?.ok_or_else(|| broken("the connection that listens broke"))?;
        let bytes = BASE64.decode(notification.payload().as_bytes());
        let Some((from, hints)) = bytes.as_deref().ok().and_then(wire::decode) else {
            continue;
        };
        if from == own {
            pulse.heard();
        } else {
            hints.for_each(|(user, position)| hub.wake(user, position));
        }
    }
}
