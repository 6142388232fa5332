//! The tests: black box, through the real HTTP and WebSocket, by the function that `main` calls, on SQLite and on a
//! PostgreSQL that the harness starts once.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect has failed"
)]

#[path = "../support/mod.rs"]
mod support;

#[macro_use]
mod harness;

mod cli;
mod college;
mod crash;
mod dev;
mod documents;
mod follower;
mod identity;
mod import;
mod layers;
mod model;
mod node;
mod pages;
mod properties;
mod python;
mod rates;
mod requests;
mod rules;
mod seed;
mod signals;
mod sockets;
mod statements;
mod writer;
