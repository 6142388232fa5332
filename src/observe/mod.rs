//! What an operator sees of a server: metrics that Prometheus asks for, logs, and traces.
//!
//! Nothing here knows of messages: who counts calls [`Metrics`], which is handed on as a value, and what is only looked
//! at when somebody asks is a [`Reading`].

mod endpoint;
mod logs;
mod metrics;
mod traces;

pub(crate) use self::{
    endpoint::serve,
    traces::{parse_endpoint, request_span},
};
pub use self::{
    logs::{Format, Traces, start},
    metrics::{Limit, Listening, Metrics, Outcome, Pool, Reading, Request, Watched},
    traces::TracesError,
};
