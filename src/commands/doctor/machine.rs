use std::{io::ErrorKind, net::SocketAddr};

use directmessages::config::Serve;
use rustix::process::{Resource, getrlimit};

use super::Finding;

/// Files that the process needs beside its sockets: connections to the database, the bus and the standard streams.
const OWN_FILES: u64 = 64;
/// Fewer sockets than this are soon used up.
const FEW_SOCKETS: u64 = 4_096;

/// What this machine lets the server do.
pub(super) fn check(serve: &Serve) -> Vec<Finding> {
    let metrics = serve.observing.metrics_listen;
    let metrics =
        metrics.map(|listen| address("metrics", listen, "--metrics-listen (METRICS_LISTEN)"));
    let mut found = vec![
        sockets(serve),
        address("address", serve.listen, "--listen (LISTEN)"),
    ];
    found.extend(metrics);
    found
}

fn sockets(serve: &Serve) -> Finding {
    const CHECK: &str = "sockets";
    let database = &serve.database;
    let own = OWN_FILES + u64::from(database.read_connections + database.writers);
    let Some(limit) = getrlimit(Resource::Nofile).current else {
        return Finding::ok(CHECK, "open files are not limited");
    };
    let room = limit.saturating_sub(own);
    let told = format!("{limit} open files are allowed, which leaves room for {room} sockets");
    let remedy = "raise it: LimitNOFILE=65536 in a systemd unit, --ulimit nofile=65536 for docker, ulimit -n 65536 in a shell";
    if room == 0 {
        Finding::failed(CHECK, format!("{told}; {remedy}"))
    } else if room < FEW_SOCKETS {
        Finding::warning(CHECK, format!("{told}; {remedy}"))
    } else {
        Finding::ok(CHECK, told)
    }
}

fn address(check: &'static str, listen: SocketAddr, setting: &str) -> Finding {
    match std::net::TcpListener::bind(listen) {
        Ok(_) if listen.ip().is_loopback() => {
            let told = format!("{listen} is free; only this machine reaches it");
            Finding::ok(check, told)
        }
        Ok(_) => Finding::ok(check, format!("{listen} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let told = format!(
                "a program listens on {listen}: if it is not this server, stop it, or give another address by {setting}"
            );
            Finding::warning(check, told)
        }
        Err(error) => {
            let told = format!(
                "nobody can listen on {listen} here: {error}; give an address of this machine, and a port from 1024 up, by {setting}"
            );
            Finding::failed(check, told)
        }
    }
}
