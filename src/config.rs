//! Every setting, a flag and an environment variable each: `--help` is the manual.

mod bus;
mod database;
mod keys;
mod observing;
mod origin;
mod prices;
mod rates;
mod retention;
mod sockets;
mod upkeep;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{
    Args, CommandFactory as _, Parser, Subcommand, ValueEnum,
    error::{ContextKind, ContextValue, ErrorKind},
};

pub use self::{
    bus::Bus,
    database::{Database, Synchronous},
    keys::Keys,
    observing::{Observing, Switch},
    origin::{Origin, without_own_port},
    prices::Prices,
    rates::Rates,
    retention::{Kept, Prune, Pruning},
    sockets::Sockets,
    upkeep::{Restored, Verify},
};
use crate::chat::{DatabaseUrl, Limits};

/// Direct messages between the users of your application, as a GraphQL server.
#[derive(Debug, Parser)]
#[command(
    name = "directmessages",
    version,
    max_term_width = 110,
    after_help = "RUST_LOG sets what is logged to standard error; it is warn,directmessages=info where it is not set."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the arguments and the environment, or ends the program with what is wrong, without showing a secret.
    #[must_use]
    pub fn read() -> Self {
        let read = Self::try_parse().and_then(|cli| match cli.command.contradiction() {
            Some(told) => Err(Self::command().error(ErrorKind::ArgumentConflict, told)),
            None => Ok(cli),
        });
        read.unwrap_or_else(|mut error| {
            let secret = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::String(flag)) => {
                    let secrets = [
                        "--jwt-secret",
                        "--jwt-public-key",
                        "--jwt-jwks-url",
                        "--database-url",
                        "--direct-database-url",
                        "--nats-url",
                    ];
                    secrets.iter().any(|secret| flag.starts_with(secret))
                }
                _ => false,
            };
            if secret {
                let hidden = ContextValue::String("…".to_owned());
                error.insert(ContextKind::InvalidValue, hidden);
            }
            error.exit()
        })
    }
}

/// What the program does.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "a program has one")]
pub enum Command {
    /// Run the server.
    Serve(Serve),
    /// Run a demo on this machine only: a key, a few users with a history, and a page to try things on.
    Dev(Dev),
    /// Bring the database's schema up to date, take it down, or show where it stands.
    Migrate(Migrate),
    /// Print the API's schema (SDL).
    Schema,
    /// Print a token for a user, signed with `JWT_SECRET`, for trying things.
    Token(Token),
    /// Bring in messages in bulk.
    Import(Import),
    /// Remove old signals now, as `serve` does every so often. It may be stopped at any moment.
    Prune(Prune),
    /// Count everything again, and print what is wrong; servers may run meanwhile. Exits with 1 where something is wrong.
    Verify(Verify),
    /// After a backup was restored: refuse every cursor from before, so that listeners reload instead of missing
    /// messages. Running servers need no restart.
    Restored(Restored),
}

impl Command {
    /// What is wrong with settings of which each is right by itself.
    fn contradiction(&self) -> Option<String> {
        let database = match self {
            Self::Serve(settings) => &settings.database,
            Self::Migrate(settings) => &settings.database,
            Self::Import(settings) => {
                let ImportFormat::Csv { database, .. } = &settings.format;
                database
            }
            Self::Prune(settings) => &settings.database,
            Self::Verify(settings) => &settings.database,
            Self::Restored(settings) => &settings.database,
            Self::Dev(_) | Self::Schema | Self::Token(_) => return None,
        };
        database.contradiction()
    }
}

/// Settings of `serve`.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Address and port to listen on.
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    /// Do not migrate the database at start: refuse to start where its schema is not up to date.
    #[arg(long, env = "NO_MIGRATE")]
    pub no_migrate: bool,
    /// Serve GraphiQL, an editor for trying operations, at /graphiql.
    #[arg(long, env = "GRAPHIQL")]
    pub graphiql: bool,
    /// Run only the operations of this manifest, as GraphQL Code Generator, Relay or Apollo writes it.
    #[arg(long, env = "DOCUMENTS", value_name = "FILE")]
    pub documents: Option<PathBuf>,
    /// Let clients ask for the schema (`__schema`, `__type`); GraphiQL needs it, so --graphiql implies it.
    #[arg(long, env = "INTROSPECTION")]
    pub introspection: bool,
    /// Whose tokens are believed.
    #[command(flatten)]
    pub keys: Keys,
    /// Which database.
    #[command(flatten)]
    pub database: Database,
    /// Other servers on it.
    #[command(flatten)]
    pub bus: Bus,
    /// The bounds.
    #[command(flatten)]
    pub bounds: Bounds,
    /// The rates.
    #[command(flatten)]
    pub rates: Rates,
    /// What an operation may cost.
    #[command(flatten)]
    pub prices: Prices,
    /// How long signals are kept.
    #[command(flatten)]
    pub pruning: Pruning,
    /// What an operator sees.
    #[command(flatten)]
    pub observing: Observing,
}

/// Settings of `dev`.
#[derive(Clone, Debug, Args)]
pub struct Dev {
    /// Port to listen on, on 127.0.0.1.
    #[arg(long, default_value_t = 8000)]
    pub port: u16,
    /// Folder for the demo's database and key; made where it is missing. Delete it to start afresh.
    #[arg(long, default_value = ".directmessages")]
    pub folder: PathBuf,
    /// A database of your own instead of the folder's: sqlite:PATH or `postgres://…`.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<DatabaseUrl>,
}

/// Settings of `migrate`.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Which way.
    #[arg(value_enum)]
    pub direction: Direction,
    /// Which database.
    #[command(flatten)]
    pub database: Database,
}

/// Which way to migrate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Direction {
    /// Apply every migration that is missing.
    Up,
    /// Take every migration back. All messages are lost.
    Down,
    /// List the migrations, applied or pending.
    Status,
}

/// Settings of `token`.
#[derive(Debug, Args)]
pub struct Token {
    /// The user's id in the host application: the token's `sub`.
    pub user: String,
    /// The name shown for the user: the token's `preferred_username`.
    #[arg(long)]
    pub name: Option<String>,
    /// A token for the host application itself: the claim `role: "service"`.
    #[arg(long)]
    pub service: bool,
    /// How long the token is valid, in seconds.
    #[arg(long, default_value_t = 86_400)]
    pub expires_in: u32,
    /// The secret that signs the token (HS256): at least 32 bytes, the same that `serve` has.
    #[arg(long, env = "JWT_SECRET", hide_env_values = true, value_parser = parse_secret)]
    pub jwt_secret: String,
    /// The token's `iss`.
    #[arg(long, env = "JWT_ISSUER")]
    pub jwt_issuer: Option<String>,
    /// The token's `aud`.
    #[arg(long, env = "JWT_AUDIENCE")]
    pub jwt_audience: Option<String>,
}

/// Settings of `import`.
#[derive(Debug, Args)]
pub struct Import {
    /// What kind of file.
    #[command(subcommand)]
    pub format: ImportFormat,
}

/// What can be imported.
#[derive(Debug, Subcommand)]
pub enum ImportFormat {
    /// A CSV file with a header: sender, recipient, `sent_at` (Unix seconds, or RFC 3339), and content and `read_at` where
    /// there are such columns. All or nothing; users appear as they are named.
    Csv {
        /// The file.
        file: PathBuf,
        /// Which database.
        #[command(flatten)]
        database: Database,
        /// The most characters in a message.
        #[arg(long, env = "CONTENT_LIMIT", default_value_t = 4_000, value_parser = parse_count)]
        content_limit: usize,
    },
}

/// What one caller may cost.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Bounds")]
pub struct Bounds {
    /// The most characters in a message.
    #[arg(long, env = "CONTENT_LIMIT", default_value_t = 4_000, value_parser = parse_count)]
    pub content_limit: usize,
    /// The most users in one upsertUsers.
    #[arg(long, env = "UPSERT_LIMIT", default_value_t = 1_000, value_parser = parse_count)]
    pub upsert_limit: usize,
    /// The most bytes in a request's body, and in one message on a socket.
    #[arg(long, env = "BODY_LIMIT", default_value_t = 262_144, value_parser = parse_count)]
    pub body_limit: usize,
    /// Seconds that a new connection may take to send the head of its first request.
    #[arg(long, env = "HEADER_TIMEOUT", default_value = "10", value_parser = parse_seconds)]
    pub header_timeout: Duration,
    /// Seconds that a connection may stay open without a request: longer than a proxy before the server keeps it.
    #[arg(long, env = "IDLE_TIMEOUT", default_value = "75", value_parser = parse_seconds)]
    pub idle_timeout: Duration,
    /// Seconds that a request's body may take to arrive.
    #[arg(long, env = "BODY_TIMEOUT", default_value = "10", value_parser = parse_seconds)]
    pub body_timeout: Duration,
    /// The most documents that are kept for clients to name by their hash (automatic persisted queries); 0 is none.
    #[arg(long, env = "PERSISTED_QUERIES", default_value_t = 1_000)]
    pub persisted_queries: usize,
    /// The most commands that wait for the database; beyond it sends and reads are refused.
    #[arg(long, env = "WRITE_QUEUE", default_value_t = 4_096, value_parser = parse_count)]
    pub write_queue: usize,
    /// The most commands in one transaction.
    #[arg(long, env = "WRITE_BATCH", default_value_t = 512, value_parser = parse_count)]
    pub write_batch: usize,
    /// Seconds that a command may wait and be tried before it is refused.
    #[arg(long, env = "WRITE_TIMEOUT", default_value = "10", value_parser = parse_seconds)]
    pub write_timeout: Duration,
    /// Listeners.
    #[command(flatten)]
    pub sockets: Sockets,
}

impl Default for Bus {
    fn default() -> Self {
        defaults()
    }
}

impl Default for Bounds {
    fn default() -> Self {
        defaults()
    }
}

impl Bounds {
    /// The rules' own limits.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            content: self.content_limit,
            upsert: self.upsert_limit,
        }
    }
}

/// What a group's flags say where none is given.
fn defaults<T: Args>() -> T {
    let command = T::augment_args(clap::Command::new("defaults").no_binary_name(true));
    let matches = command.get_matches_from([] as [&str; 0]);
    T::from_arg_matches(&matches).expect("every setting here has a default")
}

fn parse_secret(text: &str) -> Result<String, String> {
    if text.len() < 32 {
        return Err(format!(
            "it has {} bytes: give at least 32, as `openssl rand -hex 32` makes them",
            text.len()
        ));
    }
    Ok(text.to_owned())
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("give a whole number from 1 up".to_owned()),
        Ok(count) => Ok(count),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    seconds_from(0.001, text)
}

/// Seconds, or none at all.
fn parse_pause(text: &str) -> Result<Duration, String> {
    seconds_from(0.0, text)
}

fn seconds_from(least: f64, text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "give a number of seconds".to_owned())?;
    if (least..=86_400.0).contains(&seconds) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    Err(format!("give {least} to 86400 seconds"))
}
