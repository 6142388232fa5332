//! What an operator runs beside the server.

mod prune;

pub(crate) use self::prune::prune;
