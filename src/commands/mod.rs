//! What an operator runs beside the server.

mod doctor;
mod health;
mod manual;
mod prune;
mod restored;
mod verify;

use std::{
    fmt::Display,
    io::{ErrorKind, Write as _},
};

use anyhow::Context as _;
use directmessages::config::Database;

pub(crate) use self::{
    doctor::doctor,
    health::health,
    manual::{completions, man},
    prune::prune,
    restored::restored,
    verify::verify,
};

/// Warns of variables that are nearly those of settings: never of what is in them.
pub(crate) fn tell_misspelt() {
    let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for (name, meant) in directmessages::config::misspelt(variables) {
        tracing::warn!("the variable {name} is no setting, and not read: is {meant} meant?");
    }
}

/// Warns of settings whose value ended in a line break: never of what is in them.
pub(crate) fn warn_of_trimmed(names: &[String]) {
    for name in names {
        tracing::warn!("{}", trimmed(name));
    }
}

fn trimmed(name: &str) -> String {
    format!("the value of {name} ends in a line break, which is left out")
}

/// Prints what a reader may stop reading where it has seen enough: a pipe that is closed is no failure.
pub(crate) fn print(text: impl Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("standard output cannot be written"),
    }
}

/// A mistyped path must not become an empty database.
fn existing(database: &Database) -> anyhow::Result<()> {
    match database.database_url.file() {
        Some(file) if !file.exists() => {
            anyhow::bail!("there is no database file {}", file.display())
        }
        _ => Ok(()),
    }
}
