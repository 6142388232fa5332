use std::{io, sync::Arc};

use axum::{
    Router,
    http::{HeaderMap, header::ACCEPT, header::CONTENT_TYPE},
    response::IntoResponse,
    routing,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Metrics, Reading};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers `/metrics` at an address of its own until `shutdown`.
///
/// # Errors
/// Where the listener breaks.
pub(crate) async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    reading: impl Fn() -> Reading + Send + Sync + 'static,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let reading = Arc::new(reading);
    let answer = move |headers: HeaderMap| {
        let (metrics, reading) = (metrics.clone(), reading.clone());
        async move {
            let accepted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
            if accepted.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
                let text = metrics.open_metrics(&reading());
                return ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response();
            }
            ([(CONTENT_TYPE, TEXT)], metrics.text(&reading())).into_response()
        }
    };
    let router = Router::new().route("/metrics", routing::get(answer));
    // A request that is half sent is not waited for.
    tokio::select! {
        ended = axum::serve(listener, router) => ended,
        () = shutdown.cancelled_owned() => Ok(()),
    }
}
