//! The real program, in a process that ends with this one.

use std::{
    fs::File,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use super::{
    SECRET,
    database::{TestDatabase, folder},
    server::{client, unlimited},
    until,
    user::User,
};
use crate::support::free_port;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_directmessages");

/// The program with these arguments, and with no setting from the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "which program is tested is a setting of the tests"
)]
pub(crate) fn program(arguments: &[&str]) -> Command {
    // Another build of it, where it is given: tests/history/broken.sh gives builds with a defect.
    let program = std::env::var("DIRECTMESSAGES_PROGRAM");
    let mut command = Command::new(program.unwrap_or_else(|_| PROGRAM.to_owned()));
    command.env_clear().current_dir(folder()).args(arguments);
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

/// A process that is killed when the test's process ends, however it ends.
pub(crate) struct Process {
    child: Child,
    watcher: Child,
    pub(crate) address: SocketAddr,
    pub(crate) log: PathBuf,
    http: reqwest::Client,
}

impl Process {
    /// `serve` on a database, once it answers.
    pub(crate) async fn serve(database: &TestDatabase, flags: &[&str]) -> Self {
        let listen = format!("127.0.0.1:{}", free_port());
        Self::serve_at(database, &listen, flags).await
    }

    /// `serve` at an address, once it answers.
    pub(crate) async fn serve_at(database: &TestDatabase, listen: &str, flags: &[&str]) -> Self {
        let mut arguments = vec!["serve", "--listen", listen, "--jwt-secret", SECRET];
        arguments.extend(["--database-url", &database.url]);
        arguments.extend(flags);
        arguments.extend(unlimited(flags));
        let process = Self::start(program(&arguments), listen.parse().unwrap());
        process.ready().await;
        process
    }

    /// Any command that listens at `address`.
    pub(crate) fn start(command: Command, address: SocketAddr) -> Self {
        Self::start_until(command, address, "KILL")
    }

    /// Any command, and by which signal it ends where the test's process ends before it.
    pub(crate) fn start_until(mut command: Command, address: SocketAddr, last: &str) -> Self {
        let log = folder().join(format!("{}.log", uuid::Uuid::new_v4().simple()));
        let output = File::create(&log).unwrap();
        let errors = output.try_clone().unwrap();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap();
        let watcher = Command::new("sh")
            .args([
                "-c",
                // It outlives what a terminal sends to all: nats-server takes a hang-up for something else.
                "trap '' HUP INT TERM; cat >/dev/null; kill -s \"$2\" \"$1\"; kill -s CONT \"$1\"",
                "sh",
            ])
            .args([&child.id().to_string(), last])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let watcher = watcher.unwrap_or_else(|error| {
            let _ = child.kill();
            panic!("sh cannot run: {error}");
        });
        Self {
            child,
            watcher,
            address,
            log,
            http: client(),
        }
    }

    /// Waits until it answers.
    pub(crate) async fn ready(&self) {
        let url = format!("http://{}/health/live", self.address);
        until("the program answers", async || {
            assert!(!self.is_zombie(), "it has ended: {}", self.printed());
            self.http.get(&url).send().await.is_ok()
        })
        .await;
    }

    /// Whether it has ended, and nobody has waited for that.
    fn is_zombie(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        status.is_ok_and(|status| status.contains("State:\tZ"))
    }

    /// What it has printed.
    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The most memory that it ever had resident, in bytes, by the kernel's account.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap() * 1024
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it by a signal, also where it was stopped, and waits for that.
    pub(crate) fn end(&mut self, signal: &str) {
        for name in [signal, "CONT"] {
            self.signal(name);
        }
        self.child.wait().unwrap();
    }

    /// Sends it a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end, and returns whether it was a success.
    pub(crate) async fn ended(&mut self) -> bool {
        let mut status = None;
        until("the program ends", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().success()
    }

    /// kill -9: it has no say, and is gone when this returns.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// A user who is known here from now on.
    pub(crate) async fn user(&self, id: &str) -> User {
        User::arrive(self.address, self.http.clone(), id, Some(id)).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The watcher first: afterwards the process's id may be somebody else's.
        let _ = self.watcher.kill();
        let _ = self.watcher.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
