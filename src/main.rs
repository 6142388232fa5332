//! The program: one subcommand each for serving, trying, migrating and importing.

mod commands;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, anyhow};
use directmessages::{
    auth::Tokens,
    chat::{Clock, DatabaseUrl, Limits, Subject, import},
    config::{
        Bounds, Bus, Cli, Command, Database, Dev, Direction, Import, ImportFormat, Keys, Lookup,
        Migrate, Observing, Pages, Prices, Pruning, Rates, Serve, Synchronous, Token,
        TrustedDocuments,
    },
    demo, graphql,
    observe::{self, Format},
    open_store, serve,
};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is logged where `RUST_LOG` says nothing.
const LOGGED: &str = "warn,directmessages=info";

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::read(directmessages::mistakes);
    let started = match &cli.command {
        Command::Serve(settings) => {
            let observing = &settings.observing;
            observe::start(LOGGED, observing.log_format, observing.traces())
        }
        // It tells by itself what the others log.
        Command::Doctor(_) => observe::start("off", Format::default(), None),
        _ => observe::start(LOGGED, Format::default(), None),
    };
    let traces = match started {
        Ok(traces) => traces,
        Err(error) => {
            eprintln!("directmessages: {error}");
            return ExitCode::FAILURE;
        }
    };
    commands::warn_of_trimmed(&cli.trimmed);
    let ended = run(cli).await;
    if let Err(error) = tokio::task::spawn_blocking(|| traces.finish()).await {
        eprintln!("directmessages: {error}");
    }
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        // What is wrong was printed.
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("directmessages: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Answers with whether all is well.
async fn run(cli: Cli) -> anyhow::Result<bool> {
    let command = cli.command;
    if matches!(command, Command::Serve(_)) {
        commands::tell_misspelt();
    }
    let done = match command {
        Command::Serve(settings) => run_server(&settings).await,
        Command::Dev(settings) => run_demo(settings).await,
        Command::Doctor(settings) => return commands::doctor(settings, &cli.trimmed).await,
        Command::Health(settings) => return commands::health(&settings).await,
        Command::Completions(settings) => commands::completions(&settings),
        Command::Man(settings) => commands::man(&settings),
        Command::Migrate(settings) => migrate(&settings).await,
        Command::Schema(settings) => {
            let sdl = if settings.federation {
                graphql::subgraph_sdl()
            } else if settings.semantic_non_null {
                graphql::semantic_sdl()
            } else {
                graphql::sdl()
            };
            commands::print(sdl)
        }
        Command::Token(settings) => mint(&settings),
        Command::Import(settings) => import_file(settings).await,
        Command::Prune(settings) => commands::prune(&settings).await,
        Command::Restored(settings) => commands::restored(&settings).await,
        Command::Verify(settings) => return commands::verify(&settings).await,
    };
    done.map(|()| true)
}

/// Lets this process open as many files as it may: each connection is one.
fn raise_file_limit() {
    let resource = rustix::process::Resource::Nofile;
    let mut limit = rustix::process::getrlimit(resource);
    limit.current = limit.maximum;
    if let Err(error) = rustix::process::setrlimit(resource, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

async fn run_server(settings: &Serve) -> anyhow::Result<()> {
    raise_file_limit();
    let address = settings.listen;
    let listener = TcpListener::bind(address).await.map_err(|error| {
        anyhow!("cannot listen on {address}: {error}; give another address by --listen (LISTEN)")
    })?;
    serve(settings, listener, Clock::system(), on_signal()?).await?;
    Ok(())
}

/// Cancelled by the first SIGINT or SIGTERM; the second ends the program at once.
fn on_signal() -> anyhow::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let cancelled = shutdown.clone();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(async move {
        for last in [false, true] {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            if last {
                std::process::exit(130);
            }
            tracing::info!("shutting down: requests are finished, what waits is stored");
            cancelled.cancel();
        }
    });
    Ok(shutdown)
}

async fn run_demo(settings: Dev) -> anyhow::Result<()> {
    let folder = &settings.folder;
    let secret = demo::secret(folder)
        .with_context(|| format!("the demo's folder {} cannot be used", folder.display()))?;
    // A port in use is told before anything else is done.
    let port = settings.port;
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    let listener = listener.map_err(|error| {
        anyhow!("cannot listen on port {port}: {error}; give another by --port")
    })?;
    let settings = demo_settings(settings, secret, listener.local_addr()?)?;
    let store = open_store(&settings.database, true).await?;
    demo::seed(&store, &settings.database, &settings.bounds).await?;
    store.close().await;
    greet(&settings)?;
    serve(&settings, listener, Clock::system(), on_signal()?).await?;
    Ok(())
}

/// What `serve` would be given: its own defaults, but for the demo's key, database and address.
fn demo_settings(dev: Dev, secret: String, listen: std::net::SocketAddr) -> anyhow::Result<Serve> {
    let file = dev.folder.join("demo.db");
    let database_url = match dev.database_url {
        Some(url) => url,
        None => DatabaseUrl::of_file(&file).map_err(anyhow::Error::msg)?,
    };
    Ok(Serve {
        listen,
        no_migrate: false,
        pages: Pages {
            graphiql: true,
            demo_page: true,
        },
        user_lookup: Lookup::Anyone,
        introspection: true,
        federation: false,
        keys: Keys::of_secret(secret),
        database: Database {
            database_url,
            database_pooled: false,
            direct_database_url: None,
            read_connections: 4,
            writers: 2,
            connect_timeout: Duration::from_secs(2),
            read_timeout: Duration::from_secs(5),
            name_life: Duration::from_secs(2),
            sqlite_synchronous: Synchronous::Full,
        },
        documents: TrustedDocuments::default(),
        bus: Bus::default(),
        bounds: Bounds::default(),
        rates: Rates::default(),
        prices: Prices::default(),
        pruning: Pruning::default(),
        observing: Observing::default(),
    })
}

/// What to do first, ready to be copied.
fn greet(settings: &Serve) -> anyhow::Result<()> {
    let secret = settings.keys.jwt_secret.as_deref().unwrap_or_default();
    let tokens = Tokens::hs256(secret, None, None);
    let address = settings.listen;
    let mint = |(id, name): (&str, &str)| tokens.mint(id, Some(name), false, 86_400);
    let users = demo::USERS.map(|user| mint(user).map(|token| (user.1, token)));
    let users = users.into_iter().collect::<Result<Vec<_>, _>>()?;
    let [(_, ann), (_, ben), ..] = users.as_slice() else {
        anyhow::bail!("the demo has two users at least");
    };
    println!("\n  The demo is ready. Open this page, and watch Ann and Ben write to each other:\n");
    println!("  http://{address}/#token={ann}&token={ben}\n");
    println!("  Try operations and subscriptions in GraphiQL, signed in as:\n");
    for (name, token) in &users {
        println!("  {name:<8} http://{address}/graphiql#token={token}");
    }
    println!("\n  Send a message as Ann with curl:\n");
    println!(
        "  curl http://{address}/graphql -H 'Content-Type: application/json' \\\n    \
         -H 'Authorization: Bearer {ann}' \\\n    \
         -d '{{\"query\":\"mutation {{ sendMessage(input: {{recipientId: \\\"ben\\\", content: \\\"Hello from curl\\\"}}) {{ message {{ id formatted sentAt }} inbox {{ unreadCount }} }} }}\"}}'\n"
    );
    println!("  The tokens are good for a day; every start prints new ones. Stop with Ctrl-C.\n");
    Ok(())
}

async fn migrate(settings: &Migrate) -> anyhow::Result<()> {
    let store = directmessages::chat::Store::open(&settings.database.store_options()).await?;
    match settings.direction {
        Direction::Up => store.migrate().await?,
        Direction::Down => store.migrate_down().await?,
        Direction::Status => {}
    }
    for (name, applied) in store.migrations().await? {
        println!("{} {name}", if applied { "applied" } else { "pending" });
    }
    store.close().await;
    Ok(())
}

fn mint(settings: &Token) -> anyhow::Result<()> {
    Subject::parse(settings.user.clone())?;
    let tokens = Tokens::hs256(
        &settings.jwt_secret,
        settings.jwt_issuer.as_deref(),
        settings.jwt_audience.as_deref(),
    );
    let token = tokens.mint(
        &settings.user,
        settings.name.as_deref(),
        settings.service,
        settings.expires_in,
    )?;
    println!("{token}");
    Ok(())
}

async fn import_file(settings: Import) -> anyhow::Result<()> {
    let ImportFormat::Csv {
        file,
        database,
        content_limit,
    } = settings.format;
    let limits = Limits {
        content: content_limit,
        ..Bounds::default().limits()
    };
    let store = open_store(&database, true).await?;
    let style =
        ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} messages, {elapsed}")?;
    let bar = ProgressBar::new(0).with_style(style);
    let imported = import::csv(&store, &file, &limits, &Clock::system(), |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })
    .await;
    bar.finish_and_clear();
    store.close().await;
    let imported = imported.with_context(|| format!("import of {}", file.display()))?;
    println!(
        "imported {} messages in {} conversations between {} users, {} of them new",
        imported.messages, imported.conversations, imported.users, imported.new_users
    );
    Ok(())
}
