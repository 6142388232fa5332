//! What an operator sees of a server: metrics that Prometheus asks for, logs, and traces.
//!
//! Nothing here knows of messages: who counts calls [`Metrics`], which is handed on as a value, and what is only looked
//! at when somebody asks is a [`Reading`].

mod endpoint;
mod logs;
mod metrics;

pub(crate) use self::endpoint::serve;
pub use self::{
    logs::{Format, start},
    metrics::{Limit, Listening, Metrics, Outcome, Pool, Reading, Request, Watched},
};
