//! What every connection is set to, below HTTP.

use std::time::Duration;

use axum::serve::{ListenerExt as _, TapIo};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};

/// How much may wait in the kernel to be sent over one connection, in bytes. It would take megabytes from the server for a
/// client that reads slowly, or not at all, and a ping would be heard only after them.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT: u32 = 65_536;

/// A listener whose connections send at once, and break when a client takes nothing for so long: one that does not read
/// would otherwise hold its answer, or its event stream, for ever. Only Linux and its relatives know the latter.
pub(crate) fn patient_for(
    listener: TcpListener,
    stalled: Duration,
) -> TapIo<TcpListener, impl FnMut(&mut TcpStream) + Send + 'static> {
    listener.tap_io(move |connection| {
        if let Err(error) = set(connection, stalled) {
            tracing::debug!(%error, "a connection keeps the system's settings");
        }
    })
}

#[cfg_attr(
    not(any(target_os = "android", target_os = "linux")),
    expect(unused_variables, reason = "these systems know no such time")
)]
fn set(connection: &TcpStream, stalled: Duration) -> std::io::Result<()> {
    let connection = SockRef::from(connection);
    connection.set_tcp_nodelay(true)?;
    #[cfg(any(target_os = "android", target_os = "linux"))]
    {
        connection.set_tcp_notsent_lowat(UNSENT)?;
        connection.set_tcp_user_timeout(Some(stalled))?;
    }
    Ok(())
}
