//! LISTEN and NOTIFY: one connection that listens, one that tells, neither with a transaction.

use std::{convert::Infallible, sync::Arc, time::Duration};

use data_encoding::BASE64;
use sea_orm::sqlx::{
    self, AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection,
    postgres::{PgConnectOptions, PgListener},
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
    let hosts = match hosts {
        Ok(hosts) => hosts,
        Err(error) => {
            tracing::error!(%error, "hints to other servers are off");
            return;
        }
    };
    let mut teller = Teller {
        hosts,
        host: 0,
        connection: None,
    };
    let mut beat = interval(pulse.every());
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {
                teller.tell(outbox.own, &[], &pulse).await;
                pulse.check();
            }
            hints = outbox.next() => {
                let Some(hints) = hints else { return };
                let hints: Vec<_> = hints.into_iter().collect();
                for hints in hints.chunks(HINTS_PER_NOTIFICATION) {
                    // What is not told is left to the other servers' slow tick.
                    if !teller.tell(outbox.own, hints, &pulse).await {
                        break;
                    }
                }
            }
        }
    }
}

/// The connection that tells. No pool keeps it: one that hangs is dropped at once, and the next one tries the next host,
/// since a standby may have taken over, and refuses to be told anything until then.
struct Teller {
    hosts: Vec<PgConnectOptions>,
    /// Which host the connection is to.
    host: usize,
    connection: Option<PgConnection>,
}

impl Teller {
    /// Whether it was told.
    async fn tell(&mut self, own: Uuid, hints: &[(Uuid, i64)], pulse: &Pulse) -> bool {
        let Some(host) = self.hosts.get(self.host) else {
            return false;
        };
        // One message of the simple protocol, whose text is ours: nothing is prepared that a pooler could lose.
        let payload = BASE64.encode(&wire::encode(own, hints));
        let notify = AssertSqlSafe(format!("NOTIFY {CHANNEL}, '{payload}'"));
        let connection = self.connection.take();
        let told = async {
            let mut connection = match connection {
                Some(connection) => connection,
                None => host.connect().await?,
            };
            connection.execute(sqlx::raw_sql(notify)).await?;
            Ok::<_, sqlx::Error>(connection)
        };
        match timeout(pulse.step(), told).await {
            Ok(Ok(connection)) => {
                self.connection = Some(connection);
                return true;
            }
            Ok(Err(error)) => pulse.blame(&error),
            Err(late) => pulse.blame(&late),
        }
        self.host = (self.host + 1) % self.hosts.len();
        false
    }
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
    let listening = async {
        let mut listener = PgListener::connect(url).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok::<_, sqlx::Error>(listener)
    };
    let listener = timeout(pulse.step(), listening).await;
    let mut listener = listener.map_err(|_| broken("LISTEN takes too long"))??;
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
            hints.for_each(|(user, position)| hub.hear(user, position));
        }
    }
}
