//! A NATS of one test's own: the real `nats-server`, alone or as a cluster, each of whose servers can be killed, frozen
//! and started again.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use super::{PATIENCE, process::Process, server::client, until};
use crate::support::free_port;

pub(crate) struct Nats {
    nodes: Vec<Node>,
}

struct Node {
    flags: Vec<String>,
    address: SocketAddr,
    monitor: SocketAddr,
    process: Option<Process>,
}

impl Nats {
    /// So many servers, each with these flags beside its own, once they answer and know each other.
    pub(crate) async fn start(servers: usize, flags: &[&str]) -> Self {
        let mut nats = Self::stopped(servers, flags);
        for node in 0..servers {
            nats.revive(node).await;
        }
        nats.together(servers).await;
        nats
    }

    /// So many servers, none of which runs yet.
    pub(crate) fn stopped(servers: usize, flags: &[&str]) -> Self {
        let routes: Vec<u16> = (0..servers).map(|_| free_port()).collect();
        let all: Vec<String> = routes.iter().map(|port| route(*port)).collect();
        let nodes = routes.iter().map(|port| {
            let (address, monitor) = (loopback(), loopback());
            let mut own = vec!["-a".to_owned(), "127.0.0.1".to_owned()];
            own.extend(["-p".to_owned(), address.port().to_string()]);
            own.extend(["-m".to_owned(), monitor.port().to_string()]);
            if servers > 1 {
                own.extend(["--cluster_name".to_owned(), "tests".to_owned()]);
                own.extend(["--cluster".to_owned(), route(*port)]);
                own.extend(["--routes".to_owned(), all.join(",")]);
            }
            own.extend(flags.iter().map(|flag| (*flag).to_owned()));
            Node {
                flags: own,
                address,
                monitor,
                process: None,
            }
        });
        Self {
            nodes: nodes.collect(),
        }
    }

    /// The addresses of all its servers, for `NATS_URL`.
    pub(crate) fn url(&self) -> String {
        let urls: Vec<String> = (0..self.nodes.len())
            .map(|node| self.url_of(node))
            .collect();
        urls.join(",")
    }

    /// One server's address.
    pub(crate) fn url_of(&self, node: usize) -> String {
        format!("nats://{}", self.nodes[node].address)
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].process.take().expect("it runs").kill();
    }

    /// Keeps a server's connections open, and nothing comes through: SIGSTOP.
    pub(crate) fn freeze(&self, node: usize) {
        self.running(node).signal("STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self, node: usize) {
        self.running(node).signal("CONT");
    }

    /// Starts a server that does not run, at its own address.
    pub(crate) async fn revive(&mut self, node: usize) {
        let Node {
            flags,
            address,
            process,
            ..
        } = &mut self.nodes[node];
        let mut command = Command::new("nats-server");
        command.args(flags);
        let found = Command::new("nats-server")
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        assert!(
            found.is_ok(),
            "nats-server is missing: ./test installs what the tests need"
        );
        *process = Some(Process::start(command, *address));
        // Its own word: where it does not get a port, another program answers there.
        let listens = match self.nodes.len() {
            1 => "Server is ready",
            _ => "Listening for route connections",
        };
        until("nats-server listens", async || {
            self.all_run();
            self.running(node).printed().contains(listens)
        })
        .await;
    }

    /// Waits until every server that runs knows of so many, itself included.
    pub(crate) async fn together(&mut self, servers: usize) {
        let known = tokio::time::timeout(PATIENCE, async {
            while !self.all_know(servers).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let known = known.await;
        assert!(
            known.is_ok(),
            "the NATS servers do not know each other:\n{}",
            self.printed()
        );
    }

    async fn all_know(&mut self, servers: usize) -> bool {
        self.all_run();
        for node in 0..self.nodes.len() {
            if self.nodes[node].process.is_some() {
                let routes = self.ask(node, "routez").await.unwrap_or_default();
                if routes["num_routes"].as_u64() < u64::try_from(servers - 1).ok() {
                    return false;
                }
            }
        }
        true
    }

    /// Fails the test where a server has ended that was not killed.
    fn all_run(&mut self) {
        let mut processes = self.nodes.iter_mut().filter_map(|n| n.process.as_mut());
        assert!(
            !processes.any(Process::has_ended),
            "a NATS server has ended by itself:\n{}",
            self.printed()
        );
    }

    /// What the servers that were started and not killed have printed.
    fn printed(&self) -> String {
        let processes = self.nodes.iter().filter_map(|node| node.process.as_ref());
        processes
            .map(Process::printed)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// The subjects that clients of one server are subscribed to.
    pub(crate) async fn subjects(&self, node: usize) -> Vec<String> {
        let answer = self.monitor(node, "subsz?subs=1").await;
        let list = answer["subscriptions_list"].as_array();
        let list = list.map(Vec::as_slice).unwrap_or_default();
        let subjects = list.iter().filter(|each| each["account"] == "$G");
        subjects
            .map(|each| each["subject"].as_str().unwrap().to_owned())
            .collect()
    }

    /// What a server tells of itself at its monitoring port.
    pub(crate) async fn monitor(&self, node: usize, page: &str) -> Value {
        self.ask(node, page).await.unwrap()
    }

    async fn ask(&self, node: usize, page: &str) -> reqwest::Result<Value> {
        let url = format!("http://{}/{page}", self.nodes[node].monitor);
        client().get(url).send().await?.json().await
    }

    fn running(&self, node: usize) -> &Process {
        self.nodes[node].process.as_ref().expect("it runs")
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

fn route(port: u16) -> String {
    format!("nats://127.0.0.1:{port}")
}
