//! A server in this process, run by the function that `main` calls, with its settings read from flags.

use std::{net::SocketAddr, time::Duration};

use clap::Parser as _;
use directmessages::{
    ServeError,
    auth::Tokens,
    chat::Clock,
    config::{Cli, Command, Serve},
    serve,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    Fixture, SECRET,
    database::{Kind, TestDatabase},
    user::User,
    within,
};

pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) http: reqwest::Client,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), ServeError>>,
    /// The database, where the server came with one.
    own: Option<TestDatabase>,
}

impl TestServer {
    /// A server with a database of its own.
    pub(crate) async fn with(kind: Kind, flags: &[&str]) -> Self {
        let database = TestDatabase::new(kind).await;
        Self::over(database, flags).await
    }

    /// A server with a database that was made for it.
    pub(crate) async fn over(database: TestDatabase, flags: &[&str]) -> Self {
        let mut server = Self::on(&database, flags).await;
        server.own = Some(database);
        server
    }

    /// A server on a database that others may share.
    pub(crate) async fn on(database: &TestDatabase, flags: &[&str]) -> Self {
        Self::at(&database.url, flags, Clock::system()).await
    }

    /// A server on whatever answers at this address, with a clock of the test's own.
    pub(crate) async fn at(url: &str, flags: &[&str], clock: Clock) -> Self {
        let settings = settings(url, flags);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let task = tokio::spawn(async move { serve(&settings, listener, clock, stop).await });
        Self {
            address,
            http: client(),
            shutdown,
            task,
            own: None,
        }
    }

    /// The database that the server came with.
    pub(crate) fn database(&self) -> &TestDatabase {
        self.own.as_ref().expect("this server came with a database")
    }

    /// A user who is known here from now on, with the id as the name.
    pub(crate) async fn user(&self, id: &str) -> User {
        User::arrive(self.address, self.http.clone(), id, Some(id)).await
    }

    /// A user with a name of their own.
    pub(crate) async fn named(&self, id: &str, name: &str) -> User {
        User::arrive(self.address, self.http.clone(), id, Some(name)).await
    }

    /// Whoever has this token; nobody where there is none.
    pub(crate) fn bearer(&self, token: Option<String>) -> User {
        User::of(self.address, self.http.clone(), "", token)
    }

    /// The host application itself.
    pub(crate) fn service(&self) -> User {
        self.bearer(Some(tokens().mint("host", None, true, 3_600).unwrap()))
    }

    /// Ends in order, as `main` does at SIGTERM.
    pub(crate) async fn stop(self) -> Option<TestDatabase> {
        self.shutdown.cancel();
        let ended = within("the server to shut down", self.task).await;
        ended.unwrap().unwrap();
        self.own
    }
}

impl Fixture for TestServer {
    async fn start(kind: Kind) -> Self {
        Self::with(kind, &[]).await
    }

    async fn finish(self) {
        if let Some(database) = self.stop().await {
            database.finish().await;
        }
    }
}

fn settings(url: &str, flags: &[&str]) -> Serve {
    let fixed = [
        "directmessages",
        "serve",
        "--jwt-secret",
        SECRET,
        "--database-url",
        url,
        "--sqlite-synchronous",
        "normal",
    ];
    let mut given = [&fixed, flags].concat();
    given.extend(unlimited(flags));
    // No test waits for its listeners to leave one after the other, but the one that is about that.
    if !flags.contains(&"--shutdown-spread") {
        given.extend(["--shutdown-spread", "0"]);
    }
    match Cli::try_parse_from(given).unwrap().command {
        Command::Serve(settings) => settings,
        other => panic!("serve was asked for, not {other:?}"),
    }
}

/// The flags that leave a test's users alone, which send more than a person does, but for what the test is about.
pub(crate) fn unlimited(flags: &[&str]) -> Vec<&'static str> {
    let limits = [
        "--send-rate",
        "--cost-rate",
        "--connection-rate",
        "--address-rate",
    ];
    let limits = limits.into_iter().filter(|limit| !flags.contains(limit));
    limits.flat_map(|limit| [limit, "0"]).collect()
}

/// Who makes the tokens that the servers here believe.
pub(crate) fn tokens() -> Tokens {
    Tokens::hs256(SECRET, None, None)
}

pub(crate) fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy();
    client.timeout(Duration::from_mins(1)).build().unwrap()
}
