//! The limits by pgbench: what PostgreSQL does for a client that does nothing else.

use std::{process::Command, time::Duration};

use super::support::Guard;

/// A table with nothing but a row's least, and what inserts one.
pub(crate) const BARE_TABLE: &str =
    "CREATE TABLE bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, content text NOT NULL)";
pub(crate) const BARE_INSERT: &str = "INSERT INTO bare (content) \
     VALUES ('the quick brown fox jumps over the lazy dog while nobody looks at what it does');\n";

/// Transactions per second of these scripts, one as often as the other, prepared.
pub(crate) fn transactions(
    postgres: &Guard,
    scripts: &[String],
    connections: usize,
    time: Duration,
) -> f64 {
    let mut command = Command::new(program());
    command
        .args(["-h", "127.0.0.1", "-U", "postgres", "-n", "-M", "prepared"])
        .args(["-p", &postgres.port().to_string()])
        .args(["-c", &connections.to_string(), "-j", "2"])
        .args(["-T", &time.as_secs().max(1).to_string()]);
    for (number, script) in scripts.iter().enumerate() {
        let file = postgres.path().join(format!("{number}.sql"));
        std::fs::write(&file, script).unwrap();
        command.arg("-f").arg(file);
    }
    let output = command.arg("postgres").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let rate = told.lines().find_map(|line| {
        let rate = line.strip_prefix("tps = ")?;
        rate.split_whitespace().next()?.parse().ok()
    });
    rate.unwrap_or_else(|| panic!("{told}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Beside the newest PostgreSQL's other programs, or on the path.
fn program() -> std::path::PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let programs = installed.filter_map(|version| {
        let version = version.ok()?;
        let number: u32 = version.file_name().to_str()?.parse().ok()?;
        let program = version.path().join("bin/pgbench");
        program.exists().then_some((number, program))
    });
    let newest = programs.max();
    newest.map_or_else(|| "pgbench".into(), |(_, program)| program)
}
