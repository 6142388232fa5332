//! Every setting, a flag and an environment variable each: `--help` is the manual.

mod bus;
mod database;
mod doctor;
mod documents;
mod keys;
mod misspelt;
mod mistakes;
mod observing;
mod origin;
mod parse;
mod prices;
mod rates;
mod retention;
mod sockets;
mod upkeep;
mod value;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

pub use self::{
    bus::Bus,
    database::{Database, Synchronous},
    doctor::{Completions, Doctor, Health, Man, Probe},
    documents::TrustedDocuments,
    keys::{Keys, ServiceTokens},
    misspelt::misspelt,
    mistakes::Mistake,
    observing::Observing,
    origin::{Origin, without_own_port},
    prices::Prices,
    rates::Rates,
    retention::{Kept, Prune, Pruning},
    sockets::Sockets,
    upkeep::{Restored, Verify},
};
use self::{
    mistakes::Refusal,
    parse::{
        parse_address, parse_count, parse_pause, parse_seconds, parse_secret, parse_switch, whole,
    },
};
use crate::chat::{DatabaseUrl, Limits, UserLookup};

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
    /// The variables and flags whose value ended in a line break, which was left out.
    #[arg(skip)]
    pub trimmed: Vec<String>,
}

impl Cli {
    /// Reads the arguments and the environment, or ends the program with everything that is wrong, without showing a secret.
    /// What is right by itself, `check` looks at once more.
    #[must_use]
    pub fn read(check: impl FnOnce(&Command) -> Vec<Mistake>) -> Self {
        let given: Vec<_> = std::env::args_os().collect();
        let known = Self::command();
        // Whatever else stands there may hold a secret.
        let command = given.get(1).and_then(|name| known.find_subcommand(name));
        let command =
            command.map_or_else(String::new, |command| format!("{} ", command.get_name()));
        match mistakes::read(given, check) {
            Ok(cli) => cli,
            Err(Refusal::Clap(error)) => error.exit(),
            Err(Refusal::Mistakes(mistakes)) => {
                match mistakes.len() {
                    1 => eprintln!("error: a setting cannot be used"),
                    many => eprintln!("error: {many} settings cannot be used"),
                }
                for mistake in mistakes {
                    eprintln!("  {mistake}");
                }
                eprintln!("For every setting, try 'directmessages {command}--help'.");
                std::process::exit(2)
            }
        }
    }
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server.
    Serve(Serve),
    /// Run a demo on this machine only: a key, a few users with a history, and a page to try things on.
    Dev(Dev),
    /// Check the settings, and what they lead to: database, migrations, bus, keys, clock. It says what to do, and exits with 1
    /// where something would keep the server from serving. It changes nothing.
    Doctor(Doctor),
    /// Ask the server on this machine how it is, as a container's health check does. Exits with 1 where it is not well.
    Health(Health),
    /// Bring the database's schema up to date, take it down, or show where it stands.
    Migrate(Migrate),
    /// Print the API's schema (SDL).
    Schema(SchemaOf),
    /// Print what a shell completes this program's arguments with.
    Completions(Completions),
    /// Print the manual page, or write one for each subcommand.
    Man(Man),
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
    #[must_use]
    pub fn contradictions(&self) -> Vec<Mistake> {
        let database = match self {
            Self::Serve(settings) => return settings.contradictions(),
            Self::Doctor(settings) => return settings.serve.contradictions(),
            Self::Migrate(settings) => &settings.database,
            Self::Import(settings) => {
                let ImportFormat::Csv { database, .. } = &settings.format;
                database
            }
            Self::Prune(settings) => &settings.database,
            Self::Verify(settings) => &settings.database,
            Self::Restored(settings) => &settings.database,
            Self::Dev(_)
            | Self::Schema(_)
            | Self::Token(_)
            | Self::Health(_)
            | Self::Completions(_)
            | Self::Man(_) => return Vec::new(),
        };
        database.contradictions()
    }
}

/// Settings of `serve`.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Address and port to listen on.
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:8000", value_parser = parse_address)]
    pub listen: SocketAddr,
    /// Do not migrate the database at start: refuse to start where its schema is not up to date.
    #[arg(long, env = "NO_MIGRATE", value_parser = parse_switch)]
    pub no_migrate: bool,
    /// Which pages for people are served.
    #[command(flatten)]
    pub pages: Pages,
    /// Which documents run.
    #[command(flatten)]
    pub documents: TrustedDocuments,
    /// Let clients ask for the schema (`__schema`, `__type`); GraphiQL needs it, so --graphiql implies it.
    #[arg(long, env = "INTROSPECTION", value_parser = parse_switch)]
    pub introspection: bool,
    /// Be a subgraph of Apollo Federation 2, with `User` and `Message` as entities that other subgraphs may add fields to.
    #[arg(long, env = "FEDERATION", value_parser = parse_switch)]
    pub federation: bool,
    /// Whom a user may look up by an id: `anyone` who exists, or `partners` alone, with whom the user has exchanged a message; then
    /// strangers and nobody are one answer. A service token is not held to it.
    #[arg(long, env = "USER_LOOKUP", default_value = "anyone", value_enum)]
    pub user_lookup: Lookup,
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

impl Serve {
    /// The rules' own limits.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            lookup: match self.user_lookup {
                Lookup::Anyone => UserLookup::Anyone,
                Lookup::Partners => UserLookup::Partners,
            },
            misses: self.rates.miss_rate,
            ..self.bounds.limits()
        }
    }

    fn contradictions(&self) -> Vec<Mistake> {
        let mut found = self.database.contradictions();
        found.extend(self.bus.contradictions());
        found.extend(self.keys.contradictions());
        if self.listen.port() != 0 && self.observing.metrics_listen == Some(self.listen) {
            let told = "--metrics-listen (METRICS_LISTEN) is the address of --listen (LISTEN): give another, which the public does not reach";
            found.push(Mistake::new(&["metrics-listen", "listen"], told));
        }
        found.extend(self.documents.contradictions());
        found
    }

    /// What is wrong with the files that are named.
    #[must_use]
    pub fn broken_files(&self) -> Vec<Mistake> {
        let keys = self.keys.broken_files().into_iter();
        keys.chain(self.bus.broken_files()).collect()
    }
}

/// Whom a user may look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Lookup {
    /// Everybody who exists.
    Anyone,
    /// Whoever the user has exchanged a message with.
    Partners,
}

/// The pages that come with the program.
#[derive(Clone, Copy, Debug, Args)]
pub struct Pages {
    /// Serve GraphiQL, an editor for trying operations, at /graphiql.
    #[arg(long, env = "GRAPHIQL", value_parser = parse_switch)]
    pub graphiql: bool,
    /// Serve the demo's page, on which users write to each other, at /; it links to GraphiQL, so it implies --graphiql.
    #[arg(long, env = "DEMO_PAGE", value_parser = parse_switch)]
    pub demo_page: bool,
}

impl Pages {
    /// Whether GraphiQL is served.
    #[must_use]
    pub const fn has_graphiql(self) -> bool {
        self.graphiql || self.demo_page
    }
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

/// Settings of `schema`.
#[derive(Debug, Args)]
pub struct SchemaOf {
    /// As a subgraph of Apollo Federation 2, for composition: what `serve --federation` is.
    #[arg(long)]
    pub federation: bool,
    /// With `@semanticNonNull` at each field that is null on error only: clients that handle errors (Relay's `@throwOnFieldError`) get
    /// types without null of it.
    #[arg(long, conflicts_with = "federation")]
    pub semantic_non_null: bool,
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
    /// The most bytes in a response, and in one event of a subscription; beyond it it is `RESPONSE_TOO_LARGE`.
    #[arg(long, env = "RESPONSE_LIMIT", default_value_t = 8_388_608, value_parser = parse_count)]
    pub response_limit: usize,
    /// The most connections that are open at one time, sockets and event streams among them; beyond it new ones wait. Each takes
    /// a file descriptor.
    #[arg(long, env = "CONNECTIONS", default_value_t = 20_000, value_parser = parse_count)]
    pub connections: usize,
    /// The most connections of one address at one time. Not asked where `TRUSTED_PROXIES` is set: behind a proxy all share one.
    #[arg(long, env = "CONNECTIONS_PER_ADDRESS", default_value_t = 1_000, value_parser = parse_count)]
    pub connections_per_address: usize,
    /// The most bytes in the head of a request: its line and its headers.
    #[arg(long, env = "HEADER_LIMIT", default_value_t = 65_536, value_parser = whole(8_192..=16_777_216_usize))]
    pub header_limit: usize,
    /// Seconds that the head of a request may take to arrive: on a new connection from its opening, later from its first byte.
    #[arg(long, env = "HEADER_TIMEOUT", default_value = "10", value_parser = parse_seconds)]
    pub header_timeout: Duration,
    /// Seconds that a connection may stay open without a request: longer than a proxy before the server keeps it.
    #[arg(long, env = "IDLE_TIMEOUT", default_value = "75", value_parser = parse_seconds)]
    pub idle_timeout: Duration,
    /// Seconds that a request's body may take to arrive.
    #[arg(long, env = "BODY_TIMEOUT", default_value = "10", value_parser = parse_seconds)]
    pub body_timeout: Duration,
    /// The most documents that are kept for clients to name by their hash (automatic persisted queries); 0 is none.
    #[arg(long, env = "PERSISTED_QUERIES", default_value_t = 1_000, value_parser = whole(0..=usize::MAX))]
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
    /// The rules' own limits, where nothing is said of users.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            content: self.content_limit,
            upsert: self.upsert_limit,
            lookup: UserLookup::Anyone,
            misses: 0,
        }
    }
}

/// What a group's flags say where none is given, and whatever the environment says.
fn defaults<T: Args>() -> T {
    let command = T::augment_args(clap::Command::new("defaults").no_binary_name(true))
        .mut_args(|arg| arg.env(None::<&str>));
    let matches = command.get_matches_from([] as [&str; 0]);
    T::from_arg_matches(&matches).expect("every setting here has a default")
}
