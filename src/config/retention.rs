use std::time::Duration;

use clap::Args;

use super::{Database, parse_pause};
use crate::chat::Retention;

/// How long signals are kept for listeners that were away.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Pruning")]
pub struct Pruning {
    /// How long signals are kept.
    #[command(flatten)]
    pub retention: Kept,
    /// Seconds between two rounds of pruning, the first one at a random moment of them; 0 leaves it to `directmessages
    /// prune`.
    #[arg(long, env = "PRUNE_INTERVAL", default_value = "3600", value_parser = parse_pause)]
    pub prune_interval: Duration,
}

/// Which signals stay.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Pruning")]
pub struct Kept {
    /// Seconds that signals are kept: whoever was away for longer reloads the lists instead of going on from a cursor.
    /// Messages stay. 0 keeps every signal for ever.
    #[arg(long, env = "SIGNAL_RETENTION", default_value = "2592000", value_parser = parse_retention)]
    pub signal_retention: Duration,
    /// The most signals that one transaction removes, up to 10000: it holds their users' inboxes meanwhile.
    #[arg(long, env = "PRUNE_BATCH", default_value_t = 1_000, value_parser = parse_batch)]
    pub prune_batch: usize,
}

/// Settings of `prune`.
#[derive(Debug, Args)]
pub struct Prune {
    /// Which signals stay.
    #[command(flatten)]
    pub kept: Kept,
    /// Which database.
    #[command(flatten)]
    pub database: Database,
}

impl Kept {
    /// The rule's own form.
    #[must_use]
    pub fn retention(&self) -> Retention {
        Retention {
            keep: self.signal_retention,
            batch: u32::try_from(self.prune_batch).unwrap_or(u32::MAX),
        }
    }
}

impl Default for Pruning {
    fn default() -> Self {
        super::defaults()
    }
}

/// A hundred years at most, so that no sum overflows.
fn parse_retention(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 0..=3_155_760_000_u64) => Ok(Duration::from_secs(seconds)),
        _ => Err("give a whole number of seconds, or 0 to keep them for ever".to_owned()),
    }
}

/// More would not be done before the transaction is given up, over and over.
fn parse_batch(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(signals @ 1..=10_000) => Ok(signals),
        _ => Err("give a whole number from 1 to 10000".to_owned()),
    }
}
