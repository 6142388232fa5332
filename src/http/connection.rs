//! What every connection is set to, below HTTP.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    net::SocketAddr,
    time::Duration,
};

use axum::Router;
use axum_server::{Handle, accept::Accept};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto::Builder,
};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::config::Bounds;

/// How much may wait in the kernel to be sent over one connection, in bytes. It would take megabytes from the server for a
/// client that reads slowly, or not at all, and a ping would be heard only after them.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT: u32 = 65_536;

/// Serves every path over HTTP/1.1, with upgrades, until `shutdown`, and then until the requests under way are answered.
///
/// # Errors
/// Where the listener breaks.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: &Bounds,
    shutdown: &CancellationToken,
) -> io::Result<()> {
    let handle = Handle::new();
    let mut server = axum_server::from_tcp(listener.into_std()?)?
        .acceptor(Patient {
            stalled: 2 * bounds.sockets.keep_alive,
        })
        .first_request_timeout(bounds.header_timeout)
        .handle(handle.clone());
    *server.http_builder() = http1(bounds.idle_timeout);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let stop = async {
        shutdown.cancelled().await;
        handle.graceful_shutdown(None);
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        ended = server.serve(service) => ended,
        never = stop => match never {},
    }
}

/// HTTP/1.1, with upgrades; a connection on which no request comes for so long is closed.
fn http1(idle_timeout: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        // For sockets: see request::get.
        .preserve_header_case(true)
        .timer(TokioTimer::new())
        .header_read_timeout(idle_timeout);
    builder
}

/// Makes connections send at once, and break when a client takes nothing for so long: one that does not read would
/// otherwise hold its answer, or its event stream, for ever. Only Linux and its relatives know the latter.
#[derive(Clone, Copy, Debug)]
struct Patient {
    stalled: Duration,
}

impl<S> Accept<TcpStream, S> for Patient {
    type Stream = TcpStream;
    type Service = S;
    type Future = Ready<io::Result<(TcpStream, S)>>;

    fn accept(&self, connection: TcpStream, service: S) -> Self::Future {
        if let Err(error) = set(&connection, self.stalled) {
            tracing::debug!(%error, "a connection keeps the system's settings");
        }
        ready(Ok((connection, service)))
    }
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
