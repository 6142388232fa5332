//! Connections, below requests: how many there may be, how long each may take, and what the kernel keeps of them.
//!
//! HTTP/1.1 alone, with upgrades: HTTP/2 would need bounds of its own.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, http::StatusCode, response::Response};
use hyper::{body::Incoming, server::conn::http1::Builder, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use super::{
    address::Address,
    permits::Permits,
    phase::{ClientStream, Phase, RequestBody, ResponseBody},
};
use crate::{
    config::{Bounds, Serve},
    observe::{Limit, Metrics},
};

/// How much may wait in the kernel to be sent over one connection, in bytes. It would take megabytes from the server for a
/// client that reads slowly, or not at all, and a ping would be heard only after them.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT: u32 = 65_536;

/// How long to wait after a connection could not be accepted, as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the log says at most that connections wait or fail.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// What a connection is told that is one too many of its address.
const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\nretry-after: 5\r\n\
    content-type: application/json; charset=utf-8\r\ncontent-length: 159\r\n\r\n\
    {\"errors\":[{\"message\":\"your address has too many connections: close some, or share one between requests\",\
    \"extensions\":{\"code\":\"RATE_LIMITED\",\"retryAfter\":5}}]}";

/// Accepts connections and serves every path over them until `shutdown`, and then until the requests under way are answered.
///
/// # Errors
/// Where the listener has no address.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    settings: &Serve,
    metrics: &Metrics,
    shutdown: &CancellationToken,
) -> io::Result<()> {
    let bounds = &settings.bounds;
    // Behind proxies all connections come from one address.
    let per_address = (settings.rates.trusted_proxies == 0).then(|| {
        let what = "connections from one address";
        Permits::new(
            bounds.connections_per_address,
            what,
            Limit::AddressConnections,
            metrics,
        )
    });
    let server = Connections {
        router,
        bounds: bounds.clone(),
        tasks: TaskTracker::new(),
        shutdown: shutdown.clone(),
        metrics: metrics.clone(),
        per_address,
    };
    let free = Arc::new(Semaphore::new(
        bounds.connections.min(Semaphore::MAX_PERMITS),
    ));
    let mut reports = Reports::default();
    loop {
        if free.available_permits() == 0 && reports.is_due() {
            let most = bounds.connections;
            tracing::warn!("all {most} connections (CONNECTIONS) are open: new ones wait");
        }
        let accepted = async {
            // Never closed.
            let permit = free.clone().acquire_owned().await.ok()?;
            Some((permit, listener.accept().await))
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Some((permit, Ok((stream, peer)))) => server.start(stream, peer, permit),
            // The client left before it was served.
            Some((_, Err(error))) if is_the_client_s(&error) => {}
            Some((_, Err(error))) => {
                metrics.accept_failed();
                if reports.is_due() {
                    tracing::warn!(%error, "no connection can be accepted: see how many files the server may open");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            None => break,
        }
    }
    drop(listener);
    server.tasks.close();
    server.tasks.wait().await;
    Ok(())
}

fn is_the_client_s(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

/// What the log said last about connections.
#[derive(Default)]
struct Reports(Option<Instant>);

impl Reports {
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        if self
            .0
            .is_some_and(|at| now.duration_since(at) < REPORT_EVERY)
        {
            return false;
        }
        self.0 = Some(now);
        true
    }
}

/// What all connections share.
struct Connections {
    router: Router,
    bounds: Bounds,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    metrics: Metrics,
    per_address: Option<Permits<Address>>,
}

impl Connections {
    fn start(&self, stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        let address = Address::of_peer(peer);
        let per_address = self.per_address.as_ref();
        let of_address = per_address.and_then(|permits| permits.take(address));
        if per_address.is_some() && of_address.is_none() {
            // As much as fits at once, to whoever reads it.
            let _ = stream.try_write(TOO_MANY);
            return;
        }
        let sockets = &self.bounds.sockets;
        if let Err(error) = set(&stream, 2 * sockets.keep_alive) {
            tracing::debug!(%error, "a connection keeps the system's settings");
        }
        let phase = Phase::new(self.bounds.header_timeout);
        let held = (permit, of_address, self.metrics.connection());
        let stream = ClientStream::new(stream, phase.clone(), Box::new(held));
        let router = self.router.clone();
        let service =
            service_fn(move |request| respond(router.clone(), peer, phase.clone(), request));
        let connection = self.http1().serve_connection(TokioIo::new(stream), service);
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            let mut connection = pin!(connection.with_upgrades());
            let served = tokio::select! {
                served = connection.as_mut() => served,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = served {
                tracing::debug!(%error, "a connection broke");
            }
        });
    }

    /// A connection on which no request comes for so long is closed. The time for a request's head is [`Phase`]'s.
    fn http1(&self) -> Builder {
        let limit = self.bounds.header_limit;
        let mut builder = Builder::new();
        builder
            // For sockets: see request::get.
            .preserve_header_case(true)
            .timer(TokioTimer::new())
            .header_read_timeout(self.bounds.idle_timeout)
            .max_header_size(limit)
            .max_buf_size(limit);
        builder
    }
}

async fn respond(
    router: Router,
    peer: SocketAddr,
    phase: Phase,
    request: hyper::Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let mut request = request.map(|body| Body::new(RequestBody::new(body, phase.clone())));
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = router.oneshot(request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        phase.upgraded();
    }
    Ok(response.map(|body| ResponseBody::new(body, phase)))
}

#[cfg_attr(
    not(any(target_os = "android", target_os = "linux")),
    expect(unused_variables, reason = "these systems know no such time")
)]
fn set(connection: &TcpStream, stalled: Duration) -> io::Result<()> {
    let connection = SockRef::from(connection);
    connection.set_tcp_nodelay(true)?;
    #[cfg(any(target_os = "android", target_os = "linux"))]
    {
        connection.set_tcp_notsent_lowat(UNSENT)?;
        connection.set_tcp_user_timeout(Some(stalled))?;
    }
    Ok(())
}
