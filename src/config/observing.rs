use std::net::SocketAddr;

use clap::Args;

use super::parse::{parse_address, parse_switch};
use crate::observe::{Format, parse_endpoint};

/// What an operator sees.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Observing")]
pub struct Observing {
    /// How log lines are written: for people, or a JSON object each.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value = "pretty")]
    pub log_format: Format,
    /// Whether each operation is logged when it ends. A busy server writes thousands of lines a second then.
    #[arg(long, env = "REQUEST_LOG", value_parser = parse_switch)]
    pub request_log: bool,
    /// Address and port where Prometheus finds /metrics; not one that the public reaches. Without it there is none.
    #[arg(long, env = "METRICS_LISTEN", value_name = "ADDRESS", value_parser = parse_address)]
    pub metrics_listen: Option<SocketAddr>,
    /// Where traces are sent by OTLP over HTTP, as `http://localhost:4318`. Without it there are none.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true, value_name = "URL", value_parser = parse_endpoint)]
    pub otlp_endpoint: Option<String>,
    /// What traces call this server.
    #[arg(long, env = "OTEL_SERVICE_NAME", default_value = "directmessages")]
    pub otel_service_name: String,
}

impl Observing {
    /// Where traces are sent, and by which name; an empty address is none.
    #[must_use]
    pub fn traces(&self) -> Option<(&str, &str)> {
        let endpoint = self.otlp_endpoint.as_deref();
        let endpoint = endpoint.filter(|endpoint| !endpoint.is_empty())?;
        Some((endpoint, &self.otel_service_name))
    }
}

impl Default for Observing {
    fn default() -> Self {
        super::defaults()
    }
}
