use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use directmessages::config::{Health, Probe};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// The most of an answer that is read.
const ANSWER: u64 = 16_384;

/// Asks the server on this machine how it is, and prints what it says. Answers with whether it is well.
pub(crate) async fn health(settings: &Health) -> anyhow::Result<bool> {
    let path = match settings.probe {
        Probe::Live => "/health/live",
        Probe::Ready => "/health/ready",
    };
    let address = here(settings.listen);
    match timeout(settings.timeout, ask(address, path)).await {
        Ok(Ok((status, body))) => {
            println!("{body}");
            Ok(status == "200")
        }
        Ok(Err(error)) => {
            println!("nothing answers at {address}: {error}");
            Ok(false)
        }
        Err(_) => {
            let waited = settings.timeout;
            println!("nothing answered at {address} within {waited:?}");
            Ok(false)
        }
    }
}

/// Where to ask a server that listens there.
fn here(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The answer's status, and its body.
async fn ask(address: SocketAddr, path: &str) -> std::io::Result<(String, String)> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    connection.take(ANSWER).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    Ok((status.to_owned(), body.trim().to_owned()))
}
