//! NATS: hints go by subjects that are sharded by user, so that a server hears only of shards in which it has listeners.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use async_nats::{Client, ConnectOptions, Event, ServerAddr, Subscriber};
use futures_util::StreamExt as _;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{
    bus::Outbox,
    hub::{Hub, SHARDS, shard_of},
    pulse::Pulse,
    wire,
};

/// NATS takes messages of 1 MB where nobody set it otherwise: these are a tenth of it.
const HINTS_PER_MESSAGE: usize = 4_096;
/// How long to wait before a lost connection is opened again: longer after each failure, up to the second.
const RECONNECT: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// Which NATS, and how to reach it.
#[derive(Clone, Debug)]
pub struct NatsOptions {
    /// Any servers of the cluster: the others are learned from them.
    pub servers: NatsServers,
    /// A file with a user's JWT and nkey, as `nsc` writes it.
    pub credentials: Option<PathBuf>,
    /// PEM: whose certificates are believed, instead of the system's.
    pub authorities: Option<PathBuf>,
    /// PEM: this server's own certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// What the subjects begin with: servers of one application share it.
    pub subject: String,
}

/// Addresses of NATS servers, and the user or token that stands in them.
#[derive(Clone)]
pub struct NatsServers {
    addresses: Vec<ServerAddr>,
    login: Option<Login>,
}

#[derive(Clone, PartialEq, Eq)]
enum Login {
    User(String, String),
    Token(String),
}

/// Why the settings for NATS cannot be right.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// A file cannot be used.
    #[error("the file {} cannot be used: {error}", file.display())]
    File {
        /// Which one.
        file: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The client does not take them.
    #[error("{0}")]
    Client(#[from] async_nats::ConnectError),
}

impl FromStr for NatsServers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let advice = "give nats://HOST:PORT or tls://HOST:PORT, several with commas between; USER:PASSWORD@ before a host";
        let addresses: Vec<ServerAddr> = text
            .split(',')
            .map(|address| address.trim().parse())
            .collect::<Result<_, _>>()
            .map_err(|_| advice.to_owned())?;
        let schemes = |address: &ServerAddr| matches!(address.scheme(), "nats" | "tls");
        if !addresses.iter().all(schemes) {
            return Err(advice.to_owned());
        }
        let mut logins = addresses.iter().filter_map(Login::of);
        let login = logins.next();
        if logins.any(|other| Some(other) != login) {
            return Err("the addresses name several users: give one, at any of them".to_owned());
        }
        Ok(Self { addresses, login })
    }
}

impl Login {
    fn of(address: &ServerAddr) -> Option<Self> {
        let plain = |text: &str| {
            let text = percent_encoding::percent_decode_str(text);
            text.decode_utf8_lossy().into_owned()
        };
        let user = plain(address.username()?);
        Some(match address.password() {
            Some(password) => Self::User(user, plain(password)),
            None => Self::Token(user),
        })
    }
}

impl NatsServers {
    pub(super) fn addresses(&self) -> Vec<ServerAddr> {
        self.addresses.clone()
    }
}

impl fmt::Debug for NatsServers {
    /// Without users, passwords and tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.addresses.iter();
        f.debug_list()
            .entries(hosts.map(|host| format!("{}:{}", host.host(), host.port())))
            .finish()
    }
}

pub(super) async fn start(
    options: &NatsOptions,
    hub: &Hub,
    outbox: Outbox,
    pulse: &Arc<Pulse>,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> Result<(), NatsError> {
    let client = connect(options, pulse).await?;
    let carrier = Carrier {
        client,
        subject: options.subject.clone(),
        hub: hub.clone(),
        pulse: pulse.clone(),
        hearing: JoinSet::new(),
        shards: HashMap::new(),
    };
    tasks.spawn(
        shutdown
            .clone()
            .run_until_cancelled_owned(carrier.carry(outbox)),
    );
    Ok(())
}

/// A client that goes on connecting until it succeeds, and again whenever it has to.
async fn connect(options: &NatsOptions, pulse: &Arc<Pulse>) -> Result<Client, NatsError> {
    let events = pulse.clone();
    let connect = self::options(options)
        .await?
        .retry_on_initial_connect()
        .connection_timeout(pulse.step())
        .ping_interval(pulse.step())
        .reconnect_delay_callback(|failures| {
            let [least, most] = RECONNECT;
            least
                .saturating_mul(u32::try_from(failures).unwrap_or(u32::MAX))
                .min(most)
        })
        .event_callback(move |event| {
            let pulse = events.clone();
            async move {
                match event {
                    // Whatever was told before this was told to nobody here.
                    Event::Connected | Event::SlowConsumer(_) => pulse.doubt(),
                    fault => pulse.blame(&fault),
                }
            }
        });
    Ok(connect.connect(options.servers.addresses()).await?)
}

/// As whom to connect, and whom to believe.
pub(super) async fn options(options: &NatsOptions) -> Result<ConnectOptions, NatsError> {
    let mut connect = ConnectOptions::new().name("directmessages");
    match &options.servers.login {
        Some(Login::User(user, password)) => {
            connect = connect.user_and_password(user.clone(), password.clone());
        }
        Some(Login::Token(token)) => connect = connect.token(token.clone()),
        None => {}
    }
    if let Some(file) = &options.credentials {
        let unusable = |error| NatsError::File {
            file: file.clone(),
            error,
        };
        connect = connect.credentials_file(file).await.map_err(unusable)?;
    }
    if let Some(file) = &options.authorities {
        connect = connect.add_root_certificates(readable(file).await?);
    }
    if let Some((certificate, key)) = &options.identity {
        let (certificate, key) = (readable(certificate).await?, readable(key).await?);
        connect = connect.add_client_certificate(certificate, key);
    }
    Ok(connect)
}

/// The client reads its files with each connection: one that is not there is told at the start.
async fn readable(file: &PathBuf) -> Result<PathBuf, NatsError> {
    let unusable = |error| NatsError::File {
        file: file.clone(),
        error,
    };
    tokio::fs::read(file).await.map_err(unusable)?;
    Ok(file.clone())
}

/// What one server tells and hears over NATS.
struct Carrier {
    client: Client,
    subject: String,
    hub: Hub,
    pulse: Arc<Pulse>,
    hearing: JoinSet<()>,
    /// The shards that are subscribed to.
    shards: HashMap<usize, AbortHandle>,
}

impl Carrier {
    async fn carry(mut self, mut outbox: Outbox) {
        let own = format!("{}.beat.{}", self.subject, outbox.own.simple());
        let mut wanted = self.hub.shards_in_use();
        wanted.mark_changed();
        let mut beat = interval(self.pulse.every());
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let Some(mut beats) = self.subscribe(own.clone()).await else {
            return;
        };
        loop {
            tokio::select! {
                _ = beat.tick() => {
                    self.leave(*wanted.borrow());
                    self.publish(own.clone(), outbox.own, &[]).await;
                    self.pulse.check();
                }
                Some(_) = beats.next() => self.pulse.heard(),
                Ok(()) = wanted.changed() => {
                    let shards = *wanted.borrow_and_update();
                    self.join(outbox.own, shards).await;
                }
                hints = outbox.next() => {
                    let Some(hints) = hints else { return };
                    self.tell(outbox.own, hints).await;
                }
            }
        }
    }

    /// One message for each shard that the hints touch.
    async fn tell(&self, own: Uuid, hints: BTreeMap<Uuid, i64>) {
        let mut shards: HashMap<usize, Vec<(Uuid, i64)>> = HashMap::new();
        for (user, position) in hints {
            let shard = shards.entry(shard_of(user)).or_default();
            shard.push((user, position));
        }
        for (shard, hints) in shards {
            for hints in hints.chunks(HINTS_PER_MESSAGE) {
                if !self.publish(self.subject_of(shard), own, hints).await {
                    return;
                }
            }
        }
    }

    /// Whether the client took it; what it does not take is left to the other servers' slow tick.
    async fn publish(&self, subject: String, own: Uuid, hints: &[(Uuid, i64)]) -> bool {
        let payload = wire::encode(own, hints).into();
        let publish = self.client.publish(subject, payload);
        match timeout(self.pulse.step(), publish).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => self.pulse.blame(&error),
            Err(late) => self.pulse.blame(&late),
        }
        false
    }

    /// Subscribes to the shards that have listeners and are not subscribed to.
    async fn join(&mut self, own: Uuid, wanted: u64) {
        for shard in (0..SHARDS).filter(|shard| wanted & (1 << shard) != 0) {
            if self.shards.contains_key(&shard) {
                continue;
            }
            let Some(subscriber) = self.subscribe(self.subject_of(shard)).await else {
                return;
            };
            let hearing = hear(subscriber, own, self.hub.clone());
            self.shards.insert(shard, self.hearing.spawn(hearing));
        }
        // Whoever began to listen before the servers knew of the subscription may have missed a hint.
        self.pulse.doubt();
    }

    /// Leaves the shards that have no listener any more.
    fn leave(&mut self, wanted: u64) {
        self.shards.retain(|shard, hearing| {
            let stays = wanted & (1 << shard) != 0;
            if !stays {
                hearing.abort();
            }
            stays
        });
        while self.hearing.try_join_next().is_some() {}
    }

    fn subject_of(&self, shard: usize) -> String {
        format!("{}.hints.{shard}", self.subject)
    }

    async fn subscribe(&self, subject: String) -> Option<Subscriber> {
        match self.client.subscribe(subject).await {
            Ok(subscriber) => Some(subscriber),
            Err(error) => {
                self.pulse.blame(&error);
                None
            }
        }
    }
}

async fn hear(mut subscriber: Subscriber, own: Uuid, hub: Hub) {
    while let Some(message) = subscriber.next().await {
        match wire::decode(&message.payload) {
            Some((from, hints)) if from != own => {
                hints.for_each(|(user, position)| hub.hear(user, position));
            }
            _ => {}
        }
    }
}
