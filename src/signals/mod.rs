//! Who is listening here, and hints to and from other servers.
//!
//! A hint says that a user's log reaches at least some position. It only wakes: whoever is woken reads the log. Within
//! a server hints go through a sharded map from user to listeners. Between servers they go over a bus, after the commit
//! and on connections of its own: NATS, or LISTEN and NOTIFY of a PostgreSQL that they share. A bus that is away, slow or
//! lossy costs time, and nothing else: each server looks at its listeners' logs at every slow tick.

mod bus;
mod hub;
mod nats;
mod postgres;
mod probe;
mod pulse;
mod wire;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::mpsc, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use self::{bus::Outbox, hub::Hub, pulse::Pulse};
pub use self::{
    hub::Listener,
    nats::{NatsError, NatsOptions, NatsServers},
    probe::{Mute, try_nats, try_postgres},
};

/// Doubts that come close together are one.
const DOUBT: Duration = Duration::from_millis(100);

/// How hints are carried between servers.
#[derive(Clone, Copy, Debug)]
pub struct BusOptions {
    /// How many batches' hints may wait for the bus. Beyond it they are dropped: the slow tick makes up for them.
    pub queue: usize,
    /// How often a server tries whether the bus carries: with each slow tick.
    pub beat: Duration,
}

/// Where hints go to and come from. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    hub: Hub,
    bus: Option<Bus>,
}

#[derive(Clone, Debug)]
struct Bus {
    outgoing: mpsc::Sender<Vec<(Uuid, i64)>>,
    pulse: Arc<Pulse>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Batches that the bus took.
    sent: AtomicU64,
    /// Batches for which it had no room.
    dropped: AtomicU64,
}

impl Hints {
    /// Hints within this server only.
    #[must_use]
    pub fn local() -> Self {
        Self::default()
    }

    /// Hints to and from every server that shares a PostgreSQL, which one of these addresses leads to. The tasks end after
    /// `shutdown`.
    #[must_use]
    pub fn over_postgres(
        hosts: &[String],
        options: BusOptions,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Self {
        let (hints, outbox, pulse) = Self::over("LISTEN/NOTIFY", options);
        postgres::start(hosts, &hints.hub, outbox, &pulse, tasks, shutdown);
        hints
    }

    /// Hints to and from every server that names the same subject on the same NATS. It may be away. The tasks end after
    /// `shutdown`.
    ///
    /// # Errors
    /// Where the options cannot be right, as for a file that is not there.
    pub async fn over_nats(
        nats: &NatsOptions,
        options: BusOptions,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Result<Self, NatsError> {
        let (hints, outbox, pulse) = Self::over("NATS", options);
        nats::start(nats, &hints.hub, outbox, &pulse, tasks, shutdown).await?;
        Ok(hints)
    }

    fn over(bus: &'static str, options: BusOptions) -> (Self, Outbox, Arc<Pulse>) {
        let pulse = Arc::new(Pulse::new(bus, options.beat));
        let (outgoing, outbox) = Outbox::new(options.queue);
        let bus = Bus {
            outgoing,
            pulse: pulse.clone(),
            counts: Arc::default(),
        };
        let hints = Self {
            hub: Hub::default(),
            bus: Some(bus),
        };
        (hints, outbox, pulse)
    }

    /// Registers a listener for one user's hints, until it is dropped.
    #[must_use]
    pub fn listen(&self, user: Uuid) -> Listener {
        self.hub.listen(user)
    }

    /// Everyone who is listened for on this server, with the position that was hinted last; 0 where none was.
    #[must_use]
    pub fn listening(&self) -> Vec<(Uuid, i64)> {
        self.hub.listening()
    }

    /// Tells this server's listeners only.
    pub fn wake(&self, user: Uuid, position: i64) {
        self.hub.wake(user, position);
    }

    /// Wakes all of this server's listeners: what they stand on was replaced.
    pub fn wake_all(&self) {
        self.hub.wake_all();
    }

    /// Tells this server's listeners and the others', after a commit. Never waits.
    pub fn send(&self, ends: Vec<(Uuid, i64)>) {
        for (user, position) in &ends {
            self.hub.wake(*user, *position);
        }
        let Some(bus) = self.bus.as_ref().filter(|_| !ends.is_empty()) else {
            return;
        };
        if bus.outgoing.try_send(ends).is_ok() {
            bus.counts.sent.fetch_add(1, Ordering::Relaxed);
        } else {
            bus.counts.dropped.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(
                "the bus is behind: other servers find these signals by their slow tick"
            );
        }
    }

    /// How many subscriptions listen here.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.hub.listeners()
    }

    /// Batches of hints that the bus took, hints that came from other servers, and batches for which the bus had no room.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let counts = self.bus.as_ref().map(|bus| {
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            (read(&bus.counts.sent), read(&bus.counts.dropped))
        });
        let (sent, dropped) = counts.unwrap_or_default();
        (sent, self.hub.heard(), dropped)
    }

    /// Whether there is a bus between servers.
    #[must_use]
    pub fn has_bus(&self) -> bool {
        self.bus.is_some()
    }

    /// Whether there is a bus between servers, and it does not carry.
    #[must_use]
    pub fn bus_is_away(&self) -> bool {
        self.bus.as_ref().is_some_and(|bus| bus.pulse.is_away())
    }

    /// Waits until hints may have been missed; without end where there is no bus.
    pub async fn doubted(&self) {
        match &self.bus {
            Some(bus) => {
                bus.pulse.doubted().await;
                sleep(DOUBT).await;
            }
            None => std::future::pending().await,
        }
    }
}
