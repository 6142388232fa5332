use clap::Args;

use super::Database;

/// Settings of `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// Mend what can be mended: counts, sides of conversations, ends of logs. What cannot be is told.
    #[arg(long)]
    pub repair: bool,
    /// Which database.
    #[command(flatten)]
    pub database: Database,
}

/// Settings of `restored`.
#[derive(Debug, Args)]
pub struct Restored {
    /// Which database.
    #[command(flatten)]
    pub database: Database,
}
