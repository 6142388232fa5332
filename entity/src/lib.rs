//! The tables, and the scopes by which they may be read.
//!
//! Times are integer milliseconds since 1970 in UTC; ids are UUIDv5 derived from what they name, so that no look-up is
//! needed to get from a token to a user or from two users to their conversation.

pub mod conversation_partner;
pub mod epoch;
pub mod inbox;
pub mod message;
pub mod signal;
pub mod user;
