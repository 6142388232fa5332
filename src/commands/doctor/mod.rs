//! Looks at everything that `serve` needs, and says what to do where something is missing. It changes nothing.

mod bus;
mod keys;
mod machine;
mod migrations;
mod postgres;
mod server;
mod sqlite;

use std::{io::Write as _, time::Duration};

use directmessages::config::{self, Serve};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// It serves, and is not as it should be.
    Warning,
    /// It would not serve, or not as it was told to.
    Failed,
}

/// One line: what was checked, and what was found, with what to do about it.
#[derive(Debug)]
struct Finding {
    verdict: Verdict,
    check: &'static str,
    told: String,
}

impl Finding {
    fn ok(check: &'static str, told: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, check, told)
    }

    fn warning(check: &'static str, told: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, check, told)
    }

    fn failed(check: &'static str, told: impl Into<String>) -> Self {
        Self::new(Verdict::Failed, check, told)
    }

    fn new(verdict: Verdict, check: &'static str, told: impl Into<String>) -> Self {
        // What others say may have several lines.
        let told: String = told.into();
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        Self {
            verdict,
            check,
            told,
        }
    }
}

/// Runs every check, and prints a line for each. It ends the program itself: what hangs, as the look-up of a name, is not
/// waited for.
pub(crate) async fn doctor(settings: config::Doctor, trimmed: &[String]) -> anyhow::Result<bool> {
    let mut printer = Printer::default();
    let (serve, limit) = (&settings.serve, settings.check_timeout);
    printer.print(check_settings(serve, trimmed))?;
    printer.print(within(limit, "keys", keys::check(serve)).await)?;
    match serve.database.database_url.file() {
        Some(_) => {
            printer.print(within(limit, "database", sqlite::check(serve)).await)?;
        }
        None => printer.print(postgres::check(serve, limit).await)?,
    }
    printer.print(bus::check(serve, limit).await)?;
    printer.print(machine::check(serve))?;
    let well = printer.sum()?;
    std::process::exit(i32::from(!well))
}

/// What a check finds, unless it takes too long.
async fn within(
    limit: Duration,
    check: &'static str,
    found: impl Future<Output = Vec<Finding>>,
) -> Vec<Finding> {
    let found = tokio::time::timeout(limit, found).await;
    found.unwrap_or_else(|_| vec![late(limit, check)])
}

fn late(limit: Duration, check: &'static str) -> Finding {
    let told = format!(
        "no answer within {limit:?}: see whether what is asked hangs, or give more by --check-timeout"
    );
    Finding::failed(check, told)
}

/// Settings themselves were read: what was wrong with one of them has ended the program before.
fn check_settings(serve: &Serve, trimmed: &[String]) -> Vec<Finding> {
    const CHECK: &str = "settings";
    let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut found: Vec<Finding> = config::misspelt(variables)
        .into_iter()
        .map(|(name, meant)| {
            let told = format!("the variable {name} is no setting, and not read: rename it to {meant} if that is meant");
            Finding::warning(CHECK, told)
        })
        .collect();
    let trimmed = trimmed.iter().map(|name| super::trimmed(name));
    found.extend(trimmed.map(|told| Finding::warning(CHECK, told)));
    for error in directmessages::broken_manifests(serve) {
        let told = format!("--documents (DOCUMENTS): {error}");
        found.push(Finding::failed(CHECK, told));
    }
    if found.is_empty() {
        found.push(Finding::ok(CHECK, "each can be used"));
    }
    found
}

/// Prints findings as they come, and counts them.
#[derive(Default)]
struct Printer {
    checks: usize,
    warnings: usize,
    failures: usize,
}

impl Printer {
    fn print(&mut self, found: Vec<Finding>) -> std::io::Result<()> {
        let mut output = std::io::stdout().lock();
        for finding in found {
            self.checks += 1;
            let verdict = match finding.verdict {
                Verdict::Ok => "ok",
                Verdict::Warning => {
                    self.warnings += 1;
                    "warning"
                }
                Verdict::Failed => {
                    self.failures += 1;
                    "failed"
                }
            };
            writeln!(
                output,
                "{verdict:<8} {:<11} {}",
                finding.check, finding.told
            )?;
        }
        output.flush()
    }

    /// Says how it was, and answers with whether nothing failed.
    fn sum(&self) -> std::io::Result<bool> {
        let (checks, warnings, failures) = (self.checks, self.warnings, self.failures);
        let well = checks - warnings - failures;
        let mut output = std::io::stdout().lock();
        writeln!(
            output,
            "{checks} findings: {well} ok, {warnings} warning, {failures} failed"
        )?;
        output.flush()?;
        Ok(failures == 0)
    }
}
