//! Traces by OTLP over HTTP, by the client and the TLS that the server has already.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use axum::{
    body::Bytes,
    http::{HeaderMap, Method, Request, Response},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a collector answers is not read beyond this.
const ANSWER_BYTES: usize = 65_536;

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The address cannot be one, or a variable of OpenTelemetry's is wrong.
    #[error("traces cannot be sent as OTEL_EXPORTER_OTLP_ENDPOINT says: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// There is no TLS to be had.
    #[error("traces cannot be sent: {0}")]
    Tls(#[from] rustls::Error),
}

/// What gathers spans and sends them. Only what is sampled is sent, and what does not arrive is not sent again.
pub(super) fn provider(endpoint: &str, service: &str) -> Result<SdkTracerProvider, TracesError> {
    let ring = rustls::crypto::ring::default_provider;
    let builder = match HttpsConnectorBuilder::new().with_provider_and_native_roots(ring()) {
        Ok(builder) => builder,
        Err(_) => HttpsConnectorBuilder::new().with_provider_and_webpki_roots(ring())?,
    };
    let connector = builder.https_or_http().enable_http1().build();
    let courier = Courier {
        client: Client::builder(TokioExecutor::new()).build(connector),
        runtime: Handle::current(),
        arrives: AtomicBool::new(true),
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_http_client(courier)
        .build()?;
    let resource = Resource::builder().with_service_name(service.to_owned());
    Ok(SdkTracerProvider::builder()
        // A batch has as many as commands, which WRITE_BATCH bounds; OpenTelemetry itself would keep 128.
        .with_max_links_per_span(u32::MAX)
        .with_resource(resource.build())
        .with_batch_exporter(exporter)
        .build())
}

/// Sends from the server's own runtime: who asks is a thread without one.
#[derive(Debug)]
struct Courier {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: Handle,
    /// Whether the last traces arrived, so that the log tells of it once.
    arrives: AtomicBool,
}

impl Courier {
    fn tell(&self, sent: &Result<Response<Bytes>, HttpError>) {
        let wrong = match sent {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        if self.arrives.swap(wrong.is_none(), Ordering::Relaxed) == wrong.is_none() {
            return;
        }
        if let Some(error) = wrong {
            tracing::warn!(%error, "traces do not arrive: see OTEL_EXPORTER_OTLP_ENDPOINT");
        } else {
            tracing::info!("traces arrive again");
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Courier {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = async move {
            let response = client.request(request.map(Full::new)).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES).collect().await?;
            Ok::<_, HttpError>(Response::from_parts(head, body.to_bytes()))
        };
        // The timer, too, is the runtime's.
        let sent = async { tokio::time::timeout(PATIENCE, sent).await };
        let sent = match self.runtime.spawn(sent).await {
            Ok(Ok(sent)) => sent,
            Ok(Err(late)) => Err(late.into()),
            Err(error) => Err(error.into()),
        };
        self.tell(&sent);
        sent
    }
}

/// The span of a request. It continues the trace that its headers name where these come from a proxy of the operator: a client
/// could add to any trace, and have all of its own sampled.
pub(crate) fn request_span(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    from_proxy: bool,
) -> Span {
    let known = ["/graphql", "/health/live", "/health/ready", "/graphiql"];
    // Whatever else is asked for may say anything.
    let path = known.into_iter().find(|known| *known == path);
    let span = tracing::info_span!(
        target: "traces",
        "request",
        otel.name = %format_args!("{method} {}", path.unwrap_or("elsewhere")),
        otel.kind = "server",
        http.request.method = %method,
        http.route = path,
        http.response.status_code = tracing::field::Empty,
    );
    if from_proxy && !span.is_disabled() {
        let parent = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        if let Err(error) = span.set_parent(parent) {
            tracing::debug!(%error, "a trace is not continued");
        }
    }
    span
}

/// A collector's address; nothing is none.
///
/// # Errors
/// What to give instead.
pub(crate) fn parse_endpoint(text: &str) -> Result<String, String> {
    let mut schemes = ["http://", "https://"].iter();
    let rest = schemes.find_map(|scheme| text.strip_prefix(scheme));
    let names_host = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', ':']));
    let is_address = text
        .parse::<axum::http::Uri>()
        .is_ok_and(|uri| uri.host().is_some());
    if text.is_empty() || (names_host && is_address) {
        return Ok(text.to_owned());
    }
    Err(
        "give http://HOST:PORT or https://HOST, as http://localhost:4318, or leave it out"
            .to_owned(),
    )
}
