//! How much one user, and one address before it has signed in, may ask for in a minute.

use std::{hash::Hash, num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    state::keyed::DefaultKeyedStateStore,
};
use uuid::Uuid;

use super::{
    address::Address,
    gate::{Prepared, ROOT_FIELD, Refusal},
};
use crate::{
    auth::Identity,
    chat::user_id,
    config,
    graphql::{Caller, ErrorCode},
    observe::{self, Metrics},
};

/// Bytes whose parsing or checking counts as one: one more request without a token, or one more point of a price.
const BYTES: usize = 1_000;

/// What was paid for a request so far, in points.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Paid(u64);

fn units(bytes: usize) -> u64 {
    (bytes / BYTES) as u64
}

/// A bucket for each user and address. Each starts full, with a minute's worth, and fills evenly.
pub(super) struct Rates {
    sends: Limit<Uuid>,
    cost: Limit<Uuid>,
    connections: Limit<Uuid>,
    addresses: Limit<Address>,
}

impl Rates {
    pub(super) fn new(rates: &config::Rates, metrics: &Metrics) -> Self {
        Self {
            sends: Limit::new(
                rates.send_rate,
                "messages from one user",
                observe::Limit::Messages,
                metrics,
            ),
            cost: Limit::new(
                rates.cost_rate,
                "points of operations' prices from one user",
                observe::Limit::Cost,
                metrics,
            ),
            connections: Limit::new(
                rates.connection_rate,
                "sockets and event streams from one user",
                observe::Limit::Connections,
                metrics,
            ),
            addresses: Limit::new(
                rates.address_rate,
                "requests without a good token from one address",
                observe::Limit::Addresses,
                metrics,
            ),
        }
    }

    /// Takes so many bytes of a message from its sender's bucket before they are parsed, or from its address's where it has
    /// no user. Returns how many points were paid.
    pub(super) fn admit_bytes(
        &self,
        caller: &Caller,
        address: Address,
        bytes: usize,
    ) -> Result<Paid, Refusal> {
        let paid = match caller {
            // A request without a token was counted when it came.
            Caller::Nobody => Paid(units(bytes)),
            Caller::User(_) | Caller::Service => Paid(units(bytes).max(1)),
        };
        self.take_points(caller, address, paid.0)?;
        Ok(paid)
    }

    /// Takes a document of so many bytes before it is checked: a root field at least, and one for each 1,000 bytes of a new one,
    /// which has to be parsed and validated.
    pub(super) fn admit_document(
        &self,
        caller: &Caller,
        address: Address,
        bytes: usize,
        is_new: bool,
        Paid(paid): Paid,
    ) -> Result<Paid, Refusal> {
        let points = match caller {
            Caller::Nobody => units(bytes),
            Caller::User(_) | Caller::Service if is_new => ROOT_FIELD * units(bytes).max(1),
            Caller::User(_) | Caller::Service => units(bytes).max(ROOT_FIELD),
        };
        self.take_points(caller, address, points.saturating_sub(paid))?;
        Ok(Paid(points.max(paid)))
    }

    /// Takes an operation from its user's buckets, but for what was paid. The host application itself, also where it acts for
    /// a user, is as trusted as the operator, and not held back.
    pub(super) fn admit(
        &self,
        caller: &Caller,
        operation: &Prepared,
        Paid(paid): Paid,
    ) -> Result<(), Refusal> {
        let Some(user) = limited(caller) else {
            return Ok(());
        };
        self.cost
            .take(&user, operation.price.saturating_sub(paid))?;
        self.sends.take(&user, operation.sends)
    }

    fn take_points(&self, caller: &Caller, address: Address, points: u64) -> Result<(), Refusal> {
        match (caller, limited(caller)) {
            (Caller::Nobody, _) => self.addresses.take(&address, points),
            (_, Some(user)) => self.cost.take(&user, points),
            (_, None) => Ok(()),
        }
    }

    /// Takes a connection that stays open from its user's bucket.
    pub(super) fn connect(&self, caller: &Caller) -> Result<(), Refusal> {
        limited(caller).map_or(Ok(()), |user| self.connections.take(&user, 1))
    }

    /// Takes a socket that is opened with a good token from its user's bucket.
    pub(super) fn opened(&self, identity: &Identity) -> Result<(), Refusal> {
        if identity.service {
            return Ok(());
        }
        self.connections.take(&user_id(&identity.subject), 1)
    }

    /// Takes so many bytes of a client that has not said who it is.
    pub(super) fn anonymous_bytes(&self, address: Address, bytes: usize) -> Result<(), Refusal> {
        self.addresses.take(&address, units(bytes))
    }

    /// Takes a request that speaks for nobody, or a socket that is opened, from its address's bucket.
    pub(super) fn anonymous(&self, address: Address) -> Result<(), Refusal> {
        self.addresses.take(&address, 1)
    }

    /// Forgets the buckets that are full again, so that they take no memory.
    pub(super) fn forget_full(&self) {
        self.sends.forget_full();
        self.cost.forget_full();
        self.connections.forget_full();
        self.addresses.forget_full();
    }
}

fn limited(caller: &Caller) -> Option<Uuid> {
    match caller {
        Caller::User(viewer) if !viewer.service => Some(viewer.id),
        Caller::User(_) | Caller::Service | Caller::Nobody => None,
    }
}

/// One limit, with a bucket for each key; none where it is off.
struct Limit<K: Hash + Eq + Clone> {
    buckets: Option<RateLimiter<K, DefaultKeyedStateStore<K>, DefaultClock>>,
    /// The rate, in units a minute.
    rate: u32,
    /// What is counted, of whom.
    what: &'static str,
    counted: observe::Limit,
    metrics: Metrics,
}

impl<K: Hash + Eq + Clone> Limit<K> {
    fn new(rate: u32, what: &'static str, counted: observe::Limit, metrics: &Metrics) -> Self {
        let quota = NonZeroU32::new(rate).map(Quota::per_minute);
        Self {
            buckets: quota.map(RateLimiter::keyed),
            rate,
            what,
            counted,
            metrics: metrics.clone(),
        }
    }

    fn take(&self, key: &K, units: u64) -> Result<(), Refusal> {
        let Some(buckets) = &self.buckets else {
            return Ok(());
        };
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let Some(units) = NonZeroU32::new(units) else {
            return Ok(());
        };
        match buckets.check_key_n(key, units) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(too_early)) => {
                let wait = too_early.wait_time_from(buckets.clock().now());
                Err(self.refusal("wait, and send it again", wait))
            }
            Err(_) => Err(self.refusal("this alone is more: ask for less", Duration::from_mins(1))),
        }
    }

    fn refusal(&self, advice: &str, wait: Duration) -> Refusal {
        self.metrics.limited(self.counted);
        let message = format!(
            "at most {} {} are taken in a minute: {advice}",
            self.rate, self.what
        );
        Refusal::new(ErrorCode::RateLimited, message).after(wait)
    }

    fn forget_full(&self) {
        if let Some(buckets) = &self.buckets {
            buckets.retain_recent();
            buckets.shrink_to_fit();
        }
    }
}
