//! Load: requests over so many connections, each of which asks again as soon as it is answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    body::Bytes,
    http::{HeaderValue, Method, Request, header},
};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use memchr::memmem;
use tokio::{net::TcpStream, task::JoinSet};

/// How long each load runs before it is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// One request.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) token: Option<HeaderValue>,
    /// A GET without one.
    pub(crate) body: Option<Bytes>,
}

/// Requests to make, one after the other.
pub(crate) struct Calls {
    all: Vec<Call>,
    next: AtomicUsize,
    /// Whether each may be made once only.
    once: bool,
}

impl Calls {
    pub(crate) fn again_and_again(calls: Vec<Call>) -> Arc<Self> {
        Self::new(calls, false)
    }

    pub(crate) fn once(calls: Vec<Call>) -> Arc<Self> {
        Self::new(calls, true)
    }

    fn new(all: Vec<Call>, once: bool) -> Arc<Self> {
        assert!(!all.is_empty(), "there is something to ask");
        Arc::new(Self {
            all,
            next: AtomicUsize::new(0),
            once,
        })
    }

    fn next(&self) -> Option<&Call> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let place = if self.once {
            next
        } else {
            next % self.all.len()
        };
        self.all.get(place)
    }
}

/// What came of a load.
#[derive(Default)]
pub(crate) struct Answered {
    /// Of every request that began in the time.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) errors: usize,
    /// How many were answered well in the time.
    well: usize,
    time: Duration,
}

impl Answered {
    pub(crate) fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.errors += other.errors;
        self.well += other.well;
        self.time += other.time;
    }

    #[expect(clippy::cast_precision_loss, reason = "below 2^52")]
    pub(crate) fn per_second(&self) -> f64 {
        self.well as f64 / self.time.as_secs_f64()
    }
}

/// Asks for a while; `measured` is called when the measuring begins, and again when it ends.
pub(crate) async fn load<T>(
    port: u16,
    calls: &Arc<Calls>,
    connections: usize,
    time: Duration,
    measured: impl Fn() -> T,
) -> (Answered, T, T) {
    let mut tasks = JoinSet::new();
    let from = Instant::now() + WARM_UP;
    for _ in 0..connections {
        let mut connection = connect(port).await;
        let calls = calls.clone();
        tasks.spawn(async move {
            let mut answered = Answered::default();
            while let Some(call) = calls.next() {
                let start = Instant::now();
                let well = ask(&mut connection, call).await;
                let end = Instant::now();
                let until = from + time;
                if (from..until).contains(&start) {
                    answered.latencies.push(end - start);
                    answered.errors += usize::from(!well);
                    answered.well += usize::from(well && end < until);
                }
                if end >= until {
                    break;
                }
            }
            answered
        });
    }
    tokio::time::sleep_until(from.into()).await;
    let before = measured();
    tokio::time::sleep_until((from + time).into()).await;
    let after = measured();
    let mut all = Answered {
        time,
        ..Answered::default()
    };
    while let Some(answered) = tasks.join_next().await {
        all.add(answered.unwrap());
    }
    (all, before, after)
}

pub(crate) async fn connect(port: u16) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (send, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    send
}

/// Whether the answer is as it should be: a status of success, and no errors in it.
pub(crate) async fn ask(connection: &mut SendRequest<Full<Bytes>>, call: &Call) -> bool {
    let method = match call.body {
        Some(_) => Method::POST,
        None => Method::GET,
    };
    let mut request = Request::builder()
        .method(method)
        .uri(&call.path)
        .header(header::HOST, "127.0.0.1")
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(token) = &call.token {
        request = request.header(header::AUTHORIZATION, token);
    }
    let body = Full::new(call.body.clone().unwrap_or_default());
    connection.ready().await.unwrap();
    let response = connection
        .send_request(request.body(body).unwrap())
        .await
        .unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    status.is_success() && memmem::find(&body, b"\"errors\":").is_none()
}
