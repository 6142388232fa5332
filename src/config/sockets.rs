use std::time::Duration;

use clap::Args;

use super::{Origin, parse_count, parse_pause, parse_seconds};

/// How listeners connect, stay and leave.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sockets and event streams")]
pub struct Sockets {
    /// Origins whose pages may read answers (CORS) and open sockets, beside the server's own: comma-separated, as `https://app.example`; `*` for
    /// every origin. What names no origin, as programs do, is not asked.
    #[arg(long, env = "ALLOWED_ORIGINS", value_delimiter = ',')]
    pub allowed_origins: Vec<Origin>,
    /// The most sockets and event streams of one user at one time, on one server.
    #[arg(long, env = "SOCKETS_PER_USER", default_value_t = 50, value_parser = parse_count)]
    pub sockets_per_user: usize,
    /// The most subscriptions of one user at one time, on one server.
    #[arg(long, env = "SUBSCRIPTIONS_PER_USER", default_value_t = 200, value_parser = parse_count)]
    pub subscriptions_per_user: usize,
    /// The most operations that run at one time on one socket.
    #[arg(long, env = "SOCKET_OPERATIONS", default_value_t = 100, value_parser = parse_count)]
    pub socket_operations: usize,
    /// Seconds that a new socket may take to send `connection_init`.
    #[arg(long, env = "SOCKET_INIT_TIMEOUT", default_value = "5", value_parser = parse_seconds)]
    pub socket_init_timeout: Duration,
    /// Seconds between pings on a socket, and between comments on an event stream; both also tell quiet listeners'
    /// progress. Whoever answers none of two pings, or takes nothing for so long, is dropped.
    #[arg(long, env = "KEEP_ALIVE", default_value = "20", value_parser = parse_seconds)]
    pub keep_alive: Duration,
    /// Seconds over which sockets and event streams are closed at shutdown, each at a random moment, so that their clients
    /// do not all come back at once; at most half of `SHUTDOWN_TIMEOUT`.
    #[arg(long, env = "SHUTDOWN_SPREAD", default_value = "2", value_parser = parse_pause)]
    pub shutdown_spread: Duration,
    /// Seconds that requests, sockets and event streams may take to end at shutdown.
    #[arg(long, env = "SHUTDOWN_TIMEOUT", default_value = "10", value_parser = parse_seconds)]
    pub shutdown_timeout: Duration,
}
