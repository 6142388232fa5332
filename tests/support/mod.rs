//! What the tests and the benchmarks start: a folder of their own, and a PostgreSQL in it.

pub(crate) mod bombs;

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

const GUARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/guard.sh");

/// A folder, and perhaps a PostgreSQL, that are taken away when this process ends, however it ends.
pub(crate) struct Guard {
    folder: PathBuf,
    port: u16,
    child: Child,
}

impl Guard {
    /// A folder of our own.
    pub(crate) fn folder() -> Self {
        Self::start(None)
    }

    /// A PostgreSQL of our own, waited for until it answers.
    pub(crate) fn postgres(fsync: bool) -> Self {
        let guard = Self::start(Some(fsync));
        let deadline = Instant::now() + Duration::from_mins(1);
        while std::net::TcpStream::connect(("127.0.0.1", guard.port)).is_err() {
            assert!(
                Instant::now() < deadline,
                "PostgreSQL did not start: see {}/postgres.log",
                guard.folder.display()
            );
            #[expect(clippy::disallowed_methods, reason = "nothing else runs yet")]
            std::thread::sleep(Duration::from_millis(20));
        }
        guard
    }

    fn start(postgres: Option<bool>) -> Self {
        let name = format!("directmessages-{}", uuid::Uuid::new_v4().simple());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("a folder can be made");
        let port = free_port();
        let mut command = Command::new("sh");
        command.arg(GUARD).arg(&folder);
        if let Some(fsync) = postgres {
            command
                .arg(port.to_string())
                .arg(if fsync { "on" } else { "off" });
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output is piped");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("the guard speaks");
        assert_eq!(
            line.trim(),
            "ready",
            "PostgreSQL could not be set up: is it installed? ./test installs what is missing"
        );
        Self {
            folder,
            port,
            child,
        }
    }

    /// Where files of ours may go.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// The address of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The port that it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Ports that systems do not hand out by themselves: Linux begins at 32,768.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// A loopback port that nobody uses now, and that stays free until its program listens there: neither does the system give it
/// to who asks for any port, as it would one of its own, nor does this process draw it twice.
pub(crate) fn free_port() -> u16 {
    static DRAWN: AtomicUsize = AtomicUsize::new(0);
    static FIRST: OnceLock<usize> = OnceLock::new();
    let first = FIRST.get_or_init(|| fastrand::usize(..PORTS.len()));
    let draws = std::iter::repeat_with(|| first + DRAWN.fetch_add(1, Ordering::Relaxed));
    let mut ports = draws.take(PORTS.len()).map(|drawn| {
        let offset = drawn % PORTS.len();
        PORTS.start + u16::try_from(offset).expect("the range is of such")
    });
    ports
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("loopback has a free port")
}
