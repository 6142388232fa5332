//! Who is listening here, and hints to and from other servers.
//!
//! A hint says that a user's log reaches at least some position. It only wakes: whoever is woken reads the log. Within
//! a server hints go through a sharded map from user to listeners; between servers that share a PostgreSQL through
//! LISTEN and NOTIFY, on connections of their own and after the commit.

mod hub;
mod postgres;

use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use self::hub::Hub;
pub use self::hub::Listener;

/// How many batches' hints may wait for the bus. Beyond it they are dropped: the slow tick makes up for them.
const BUS_QUEUE: usize = 1_024;

/// Where hints go to and come from. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    hub: Hub,
    bus: Option<mpsc::Sender<Vec<(Uuid, i64)>>>,
}

impl Hints {
    /// Hints within this server only.
    #[must_use]
    pub fn local() -> Self {
        Self::default()
    }

    /// Hints to and from every server that shares the PostgreSQL at `url`. The tasks end after `shutdown`.
    #[must_use]
    pub fn over_postgres(url: &str, tasks: &TaskTracker, shutdown: &CancellationToken) -> Self {
        let hub = Hub::default();
        let (bus, outgoing) = mpsc::channel(BUS_QUEUE);
        postgres::start(url, &hub, outgoing, tasks, shutdown);
        Self {
            hub,
            bus: Some(bus),
        }
    }

    /// Registers a listener for one user's hints, until it is dropped.
    #[must_use]
    pub fn listen(&self, user: Uuid) -> Listener {
        self.hub.listen(user)
    }

    /// Everyone who is listened for on this server.
    #[must_use]
    pub fn listening(&self) -> Vec<Uuid> {
        self.hub.listening()
    }

    /// Tells this server's listeners only.
    pub fn wake(&self, user: Uuid, position: i64) {
        self.hub.wake(user, position);
    }

    /// Tells this server's listeners and the others', after a commit. Never waits.
    pub fn send(&self, ends: Vec<(Uuid, i64)>) {
        for (user, position) in &ends {
            self.hub.wake(*user, *position);
        }
        if let Some(bus) = &self.bus
            && !ends.is_empty()
            && bus.try_send(ends).is_err()
        {
            tracing::debug!(
                "the bus is behind: other servers find these signals by their slow tick"
            );
        }
    }
}
