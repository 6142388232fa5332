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

mod access;
mod backup;
mod batches;
mod bombs;
mod bus;
mod cli;
mod clients;
mod college;
mod connections;
mod crash;
mod database_url;
mod dev;
mod direct;
mod disk;
mod distributed;
mod doctor;
mod documents;
mod events;
mod failover;
mod federation;
mod first_start;
mod follower;
mod fuzz;
mod handshake;
mod history;
mod identity;
mod import;
mod isolation;
mod key_settings;
mod keys;
mod layers;
mod leaving;
mod limits;
mod lookup;
mod mistakes;
mod model;
mod node;
mod observe;
mod pages;
mod persisted;
mod pooler;
mod price;
mod properties;
mod pruning;
mod python;
mod rates;
mod readers;
mod repairs;
mod requests;
mod retries;
mod rights;
mod rotation;
mod rules;
mod running;
mod seed;
mod signals;
mod sockets;
mod statements;
mod variables;
mod verify;
mod writer;
