//! A proxy before PostgreSQL, which breaks connections where a test wants it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
};

use super::database::{TestDatabase, postgres};

/// The simple query `COMMIT`, as it goes over the wire.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

struct State {
    /// How many of the next COMMITs lose their answer.
    unanswered: AtomicUsize,
    /// How many of the next COMMITs never arrive.
    swallowed: AtomicUsize,
    /// How many of the next COMMITs freeze everything before they arrive.
    freezing: AtomicUsize,
    /// How many COMMITs were disturbed.
    disturbed: AtomicUsize,
    /// Whether connections are let through; none stays open while not.
    open: watch::Sender<bool>,
    /// Changes when every connection that is open is to be cut.
    cut: watch::Sender<()>,
    /// The port of the PostgreSQL behind it.
    target: AtomicU16,
    /// Whether COMMITs are held back.
    holding: watch::Sender<bool>,
    /// How many COMMITs are held back now.
    held: AtomicUsize,
    /// How many milliseconds everything takes on its way.
    lag: AtomicU64,
    /// Whether anything is carried: while frozen, connections stay open and nothing comes through.
    flowing: watch::Sender<bool>,
}

impl Proxy {
    /// Before the run's PostgreSQL.
    pub(crate) async fn start() -> Self {
        Self::to(postgres().port()).await
    }

    /// Before whatever listens on a port.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            unanswered: AtomicUsize::new(0),
            swallowed: AtomicUsize::new(0),
            freezing: AtomicUsize::new(0),
            disturbed: AtomicUsize::new(0),
            cut: watch::Sender::new(()),
            target: AtomicU16::new(port),
            open: watch::Sender::new(true),
            holding: watch::Sender::new(false),
            held: AtomicUsize::new(0),
            lag: AtomicU64::new(0),
            flowing: watch::Sender::new(true),
        });
        let shared = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *shared.open.borrow() {
                    tokio::spawn(shared.clone().carry(client));
                }
            }
        });
        Self {
            address,
            state,
            task,
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The database's address through this proxy.
    pub(crate) fn url(&self, database: &TestDatabase) -> String {
        format!(
            "postgres://postgres@{}/{}?sslmode=disable",
            self.address, database.name
        )
    }

    /// The next COMMITs are stored, and their connections cut before the answer.
    pub(crate) fn lose_answers(&self, commits: usize) {
        self.state.unanswered.store(commits, Ordering::SeqCst);
    }

    /// The next COMMITs never arrive: their connections are cut before.
    pub(crate) fn swallow(&self, commits: usize) {
        self.state.swallowed.store(commits, Ordering::SeqCst);
    }

    /// The next COMMIT freezes everything, itself included: like a server that hangs with its locks held.
    pub(crate) fn freeze_at_commit(&self) {
        self.state.freezing.store(1, Ordering::SeqCst);
    }

    /// How many COMMITs were disturbed so far.
    pub(crate) fn disturbed(&self) -> usize {
        self.state.disturbed.load(Ordering::SeqCst)
    }

    /// New connections go to another port from now on; those that are open stay where they are.
    pub(crate) fn switch(&self, port: u16) {
        self.state.target.store(port, Ordering::SeqCst);
    }

    /// Cuts every connection; new ones are let through.
    pub(crate) fn cut(&self) {
        self.state.cut.send_replace(());
    }

    /// Cuts every connection, and refuses new ones.
    pub(crate) fn close(&self) {
        self.state.open.send_replace(false);
    }

    /// From now on COMMITs wait here, with everything locked that they would free.
    pub(crate) fn hold(&self) {
        self.state.holding.send_replace(true);
    }

    /// How many COMMITs wait here.
    pub(crate) fn held(&self) -> usize {
        self.state.held.load(Ordering::SeqCst)
    }

    /// Lets the COMMITs go.
    pub(crate) fn release(&self) {
        self.state.holding.send_replace(false);
    }

    /// From now on everything takes so long each way.
    pub(crate) fn lag(&self, milliseconds: u64) {
        self.state.lag.store(milliseconds, Ordering::SeqCst);
    }

    /// Disturbs nothing any more.
    pub(crate) fn heal(&self) {
        self.lose_answers(0);
        self.swallow(0);
        self.lag(0);
        self.release();
        self.thaw();
        self.open();
    }

    /// Keeps every connection, and carries nothing: like a database whose machine hangs.
    pub(crate) fn freeze(&self) {
        self.state.flowing.send_replace(false);
    }

    /// Carries on.
    pub(crate) fn thaw(&self) {
        self.state.flowing.send_replace(true);
    }

    /// Lets connections through again.
    pub(crate) fn open(&self) {
        self.state.open.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Counts for as long as it lives: a connection may be cut while its COMMIT waits.
struct Held<'a>(&'a AtomicUsize);

impl<'a> Held<'a> {
    fn count(held: &'a AtomicUsize) -> Self {
        held.fetch_add(1, Ordering::SeqCst);
        Self(held)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One less, where there is one.
fn take_one(counter: &AtomicUsize) -> bool {
    let less = |count: usize| count.checked_sub(1);
    counter
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
        .is_ok()
}

impl State {
    /// One connection, until either side ends or a test cuts it.
    async fn carry(self: Arc<Self>, client: TcpStream) {
        let Ok(server) =
            TcpStream::connect(("127.0.0.1", self.target.load(Ordering::SeqCst))).await
        else {
            return;
        };
        let (mut open, mut cut) = (self.open.subscribe(), self.cut.subscribe());
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        // Both halves live here, so that leaving this scope cuts both connections.
        tokio::select! {
            _ = open.wait_for(|open| !open) => {}
            _ = cut.changed() => {}
            () = self.exchange(from_client, to_server, from_server, to_client) => {}
        }
    }

    async fn dawdle(&self) {
        let lag = self.lag.load(Ordering::SeqCst);
        if lag > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(lag)).await;
        }
    }

    async fn exchange(
        &self,
        mut from_client: OwnedReadHalf,
        mut to_server: OwnedWriteHalf,
        mut from_server: OwnedReadHalf,
        mut to_client: OwnedWriteHalf,
    ) {
        let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
        let mut flowing = self.flowing.subscribe();
        loop {
            if flowing.wait_for(|flowing| *flowing).await.is_err() {
                return;
            }
            tokio::select! {
                _ = async { flowing.wait_for(|flowing| !flowing).await.is_ok() } => {}
                read = from_client.read(&mut asked) => {
                    let Ok(length @ 1..) = read else { return };
                    let bytes = &asked[..length];
                    let commits = bytes.windows(COMMIT.len()).any(|window| window == COMMIT);
                    if commits && take_one(&self.freezing) {
                        self.flowing.send_replace(false);
                        self.disturbed.fetch_add(1, Ordering::SeqCst);
                        let _ = flowing.wait_for(|flowing| *flowing).await;
                    }
                    if commits && take_one(&self.swallowed) {
                        self.disturbed.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                    if commits && *self.holding.borrow() {
                        let _held = Held::count(&self.held);
                        self.disturbed.fetch_add(1, Ordering::SeqCst);
                        let mut holding = self.holding.subscribe();
                        let _ = holding.wait_for(|holding| !holding).await;
                    }
                    self.dawdle().await;
                    if to_server.write_all(bytes).await.is_err() {
                        return;
                    }
                    if commits && take_one(&self.unanswered) {
                        // Its answer tells that it is stored; the client does not hear of it.
                        let _ = from_server.read(&mut answered).await;
                        self.disturbed.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                }
                read = from_server.read(&mut answered) => {
                    let Ok(length @ 1..) = read else { return };
                    self.dawdle().await;
                    if to_client.write_all(&answered[..length]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
