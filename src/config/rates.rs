use clap::Args;

use super::{defaults, whole};

/// What one user, or one address, may ask for in a minute: held back beyond it by `RATE_LIMITED`. A service token is not.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Rates")]
pub struct Rates {
    /// The most messages that one user may send in a minute; 0 is no limit.
    #[arg(long, env = "SEND_RATE", default_value_t = 300, value_parser = whole(0..=u32::MAX))]
    pub send_rate: u32,
    /// With `USER_LOOKUP=partners`, the most messages to users that do not exist that one user may try to send in a minute; beyond it
    /// sends to strangers are rejected. 0 is no limit.
    #[arg(long, env = "MISS_RATE", default_value_t = 30, value_parser = whole(0..=u32::MAX))]
    pub miss_rate: u32,
    /// The most that one user's operations may cost in a minute, by their prices; 0 is no limit.
    #[arg(long, env = "COST_RATE", default_value_t = 300_000, value_parser = whole(0..=u32::MAX))]
    pub cost_rate: u32,
    /// The most sockets and event streams that one user may open in a minute; 0 is no limit.
    #[arg(long, env = "CONNECTION_RATE", default_value_t = 120, value_parser = whole(0..=u32::MAX))]
    pub connection_rate: u32,
    /// The most bytes of events that one user's subscriptions are sent in a minute, on one server; beyond it events are
    /// delayed, and none is lost. 0 is no limit.
    // A tab takes some 500 bytes for each message: this is 2,000 messages a second.
    #[arg(long, env = "EVENT_RATE", default_value_t = 67_108_864, value_parser = whole(0..=u32::MAX))]
    pub event_rate: u32,
    /// The most requests without a good token that one address may send in a minute, and sockets that it may open, whose
    /// tokens come later; 0 is no limit.
    #[arg(long, env = "ADDRESS_RATE", default_value_t = 6_000, value_parser = whole(0..=u32::MAX))]
    pub address_rate: u32,
    /// How many proxies of your own stand before this server: the client's address is that many from the end of
    /// X-Forwarded-For, and `traceparent` is believed. 0 is the peer's own address.
    #[arg(long, env = "TRUSTED_PROXIES", default_value_t = 0, value_parser = whole(0..=usize::MAX))]
    pub trusted_proxies: usize,
}

impl Default for Rates {
    fn default() -> Self {
        defaults()
    }
}
