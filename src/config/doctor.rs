use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{Serve, parse_address, parse_seconds};

/// Settings of `doctor`: those of `serve`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Seconds that one check may take before it counts as failed.
    #[arg(long, default_value = "10", value_parser = parse_seconds)]
    pub check_timeout: Duration,
    /// What is checked.
    #[command(flatten)]
    pub serve: Serve,
}

/// Settings of `health`.
#[derive(Debug, Args)]
pub struct Health {
    /// What to ask: whether the process answers, or whether its database does too.
    #[arg(value_enum, default_value = "ready")]
    pub probe: Probe,
    /// Where the server listens, as `serve` is told; an address that stands for all is asked on the loopback interface.
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:8000", value_parser = parse_address)]
    pub listen: SocketAddr,
    /// Seconds to wait for the answer.
    #[arg(long, default_value = "4", value_parser = parse_seconds)]
    pub timeout: Duration,
}

/// What can be asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Probe {
    /// The process answers.
    Live,
    /// The database does too.
    Ready,
}

/// Settings of `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// Whose.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Settings of `man`.
#[derive(Debug, Args)]
pub struct Man {
    /// Write a page for the program, and one for each subcommand, into this folder instead of printing the first.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}
