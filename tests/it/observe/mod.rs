//! What an operator sees: metrics, the log of requests, and what comes with them.

mod logs;
mod numbers;
mod ready;
mod rules;
mod traces;
