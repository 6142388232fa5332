//! Direct messages between the users of an application, as a GraphQL server.
//!
//! ```text
//! main ─▶ lib (App, serve) ─▶ http ─▶ graphql ─▶ chat ─▶ entity
//!                               └▶ auth ◀┘         └──▶ signals (hints between servers)
//! ```

pub mod chat;
pub mod config;
pub mod signals;
