//! What a connection is at, so that every request's head, not only the first, has to come in time: hyper knows one time for
//! waiting for a request and for its head together. It can go once <https://github.com/hyperium/hyper/issues/1628> is resolved.

use std::{
    any::Any,
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

/// What a connection is at. Cheap to clone: all clones are of one connection.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    state: Arc<Mutex<State>>,
    header_timeout: Duration,
}

#[derive(Debug)]
struct State {
    at: At,
    head: Head,
    /// Whether a request came, in part or whole, before the one before it was answered. From then on nobody knows what of the next
    /// one came, and the connection may be idle only as long as a head may take.
    pipelined: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Between two requests.
    Idle,
    /// A request's head has to be complete by then.
    Head { until: Instant },
    /// A request is served.
    Serving {
        /// The length of its body, where that is known.
        length: Option<u64>,
        /// Whether all of it was received.
        received: bool,
    },
    /// It is a WebSocket.
    Upgraded,
}

/// The head of a request as its bytes come.
#[derive(Debug, Default)]
struct Head {
    /// Whether it has begun: empty lines before it are skipped.
    begun: bool,
    /// Whether the last line was ended just now.
    line_ended: bool,
    /// Whether it is complete.
    complete: bool,
    /// How many bytes came after it.
    after: u64,
}

impl Head {
    fn receive(&mut self, mut bytes: &[u8]) {
        while !self.complete {
            let [first, rest @ ..] = bytes else { return };
            bytes = rest;
            match first {
                b'\n' => {
                    self.complete = self.line_ended;
                    self.line_ended = self.begun;
                }
                b'\r' => {}
                _ => (self.begun, self.line_ended) = (true, false),
            }
        }
        self.after += bytes.len() as u64;
    }
}

impl Phase {
    /// Of a new connection, whose first request is due.
    pub(super) fn new(header_timeout: Duration) -> Self {
        let until = Instant::now() + header_timeout;
        Self {
            state: Arc::new(Mutex::new(State {
                at: At::Head { until },
                head: Head::default(),
                pipelined: false,
            })),
            header_timeout,
        }
    }

    pub(super) fn upgraded(&self) {
        self.state().at = At::Upgraded;
    }

    fn due(&self) -> At {
        At::Head {
            until: Instant::now() + self.header_timeout,
        }
    }

    fn bytes_received(&self, bytes: &[u8]) {
        let mut state = self.state();
        match state.at {
            At::Upgraded => return,
            At::Idle => state.at = self.due(),
            At::Serving { received: true, .. } => state.pipelined = true,
            At::Head { .. } | At::Serving { .. } => {}
        }
        state.head.receive(bytes);
    }

    /// A head is complete.
    fn serving(&self, length: Option<u64>) {
        self.state().at = At::Serving {
            length,
            received: length == Some(0),
        };
    }

    /// A request is complete.
    fn request_received(&self) {
        if let At::Serving { received, .. } = &mut self.state().at {
            *received = true;
        }
    }

    /// A response was written. A part of the next request may have come already: its head has to come in time, too.
    fn responded(&self) {
        let mut state = self.state();
        if let At::Serving { length, .. } = state.at {
            let after = state.head.after;
            state.pipelined |= length.is_some_and(|length| after > length);
            // Of a chunked body the end is not known here: what came after it may be of the next head.
            state.at = if state.pipelined || length.is_none() {
                self.due()
            } else {
                At::Idle
            };
            state.head = Head::default();
        }
    }

    /// When a head that has begun has to be complete.
    fn deadline(&self) -> Option<Instant> {
        match self.state().at {
            At::Head { until } => Some(until),
            At::Idle | At::Serving { .. } | At::Upgraded => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes to and from a client.
pub(super) struct ClientStream {
    stream: TcpStream,
    phase: Phase,
    /// Runs only while a head is due.
    timer: Option<Pin<Box<Sleep>>>,
    /// What the connection holds while it is open.
    _held: Box<dyn Any + Send>,
}

impl ClientStream {
    pub(super) fn new(stream: TcpStream, phase: Phase, held: Box<dyn Any + Send>) -> Self {
        Self {
            stream,
            phase,
            timer: None,
            _held: held,
        }
    }

    /// Fails once a head is overdue.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(until) = self.phase.deadline() else {
            self.timer = None;
            return Poll::Pending;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientStream")
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Pending => self.poll_deadline(cx),
            Poll::Ready(read) => {
                let bytes = &buffer.filled()[before..];
                if !bytes.is_empty() {
                    self.phase.bytes_received(bytes);
                }
                Poll::Ready(read)
            }
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A request's body: what comes after its end is of the next request.
#[derive(Debug)]
pub(super) struct RequestBody {
    body: Incoming,
    phase: Phase,
}

impl RequestBody {
    pub(super) fn new(body: Incoming, phase: Phase) -> Self {
        let length = if body.is_end_stream() {
            Some(0)
        } else {
            body.size_hint().exact()
        };
        phase.serving(length);
        Self { body, phase }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.phase.request_received();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response's body: once it is dropped, the next request may come.
#[derive(Debug)]
pub(super) struct ResponseBody {
    body: Body,
    phase: Phase,
}

impl ResponseBody {
    pub(super) fn new(body: Body, phase: Phase) -> Self {
        Self { body, phase }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.phase.responded();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(bytes: &str) -> Option<u64> {
        let mut head = Head::default();
        // However it is cut.
        for byte in bytes.bytes() {
            head.receive(&[byte]);
        }
        head.complete.then_some(head.after)
    }

    #[test]
    fn a_head_ends_with_an_empty_line() {
        assert_eq!(after("GET / HTTP/1.1\r\nhost: x\r\n"), None);
        assert_eq!(after("GET / HTTP/1.1\r\nhost: x\r\n\r\n"), Some(0));
        assert_eq!(after("\r\n\r\nGET / HTTP/1.1\n\nGET"), Some(3));
    }
}
