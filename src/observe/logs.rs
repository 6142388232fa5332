use std::io::IsTerminal as _;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use super::traces::{TracesError, provider};

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Pretty,
    /// A JSON object a line.
    Json,
}

/// What sends traces, where they are sent.
#[derive(Debug)]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Sends what is gathered. It waits for the collector.
    pub fn finish(self) {
        let Some(provider) = self.0 else { return };
        if let Err(error) = provider.shutdown() {
            tracing::warn!(%error, "the last traces did not arrive");
        }
    }
}

/// Begins to log to standard error, as `RUST_LOG` says, else what is usual, and to send traces where an endpoint is given, under this name.
///
/// # Errors
/// Where traces cannot be sent.
pub fn start(
    usual: &str,
    format: Format,
    traces: Option<(&str, &str)>,
) -> Result<Traces, TracesError> {
    // An empty one, as an environment file may have it, says nothing.
    #[expect(
        clippy::disallowed_methods,
        reason = "the filter's own variable, which every program of the field reads so"
    )]
    let given = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let given = Some(given.trim()).filter(|given| !given.is_empty());
    let filter = EnvFilter::try_new(given.unwrap_or(usual));
    let wrong = filter.as_ref().err().map(ToString::to_string);
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(usual));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        Format::Pretty => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        Format::Json => lines.json().flatten_event(true).with_ansi(false).boxed(),
    };
    let provider = match traces {
        Some((endpoint, service)) => Some(provider(endpoint, service)?),
        None => None,
    };
    // Of a target of their own, so that without an endpoint no log's filter takes them, and they cost nothing.
    let spans = Targets::new()
        .with_target("traces", LevelFilter::INFO)
        .with_target("sea_orm", LevelFilter::INFO);
    let lines = tracing_subscriber::registry().with(lines.with_filter(filter));
    if let Some(provider) = &provider {
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("directmessages"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false)
            .with_filter(spans);
        lines.with(layer).init();
    } else {
        lines.init();
    }
    if let Some(wrong) = wrong {
        tracing::warn!("RUST_LOG cannot be used, and what is usual is logged: {wrong}");
    }
    if format == Format::Json {
        // A line like every other. Why it panicked is logged where it is caught.
        std::panic::set_hook(Box::new(|panic| {
            tracing::error!(
                location = panic.location().map(tracing::field::display),
                "a panic"
            );
        }));
    }
    Ok(Traces(provider))
}
