use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{Mistake, parse_count, parse_seconds};
use crate::signals::{BusOptions, NatsOptions, NatsServers};

/// How servers of one database wake each other's listeners.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Between servers")]
pub struct Bus {
    /// NATS servers that carry hints between servers: `nats://HOST:PORT` or `tls://HOST:PORT`, comma-separated, with USER:PASSWORD@ or
    /// TOKEN@ before a host. Without it PostgreSQL's LISTEN and NOTIFY carry them.
    #[arg(long, env = "NATS_URL", hide_env_values = true, value_name = "URLS")]
    pub nats_url: Option<NatsServers>,
    /// A file with a NATS user's JWT and key, as `nsc` writes it.
    #[arg(long, env = "NATS_CREDENTIALS", value_name = "FILE")]
    pub nats_credentials: Option<PathBuf>,
    /// Whose certificates are believed of NATS (PEM), instead of the system's authorities.
    #[arg(long, env = "NATS_CA", value_name = "FILE")]
    pub nats_ca: Option<PathBuf>,
    /// This server's certificate for NATS (PEM).
    #[arg(long, env = "NATS_CERTIFICATE", value_name = "FILE")]
    pub nats_certificate: Option<PathBuf>,
    /// The key of that certificate (PEM).
    #[arg(long, env = "NATS_KEY", value_name = "FILE")]
    pub nats_key: Option<PathBuf>,
    /// What the NATS subjects of hints begin with: one for all servers of a database, another for each database.
    #[arg(long, env = "NATS_SUBJECT", default_value = "directmessages", value_parser = parse_subject)]
    pub nats_subject: String,
    /// The most batches whose hints wait for NATS or NOTIFY; beyond it they are left to the other servers' slow tick.
    #[arg(long, env = "HINT_QUEUE", default_value_t = 1_024, value_parser = parse_count)]
    pub hint_queue: usize,
    /// Seconds after which a listener finds what no hint told it of.
    #[arg(long, env = "SLOW_TICK", default_value = "2", value_parser = parse_seconds)]
    pub slow_tick: Duration,
}

impl Bus {
    /// How to reach NATS, where it is used.
    #[must_use]
    pub fn nats_options(&self) -> Option<NatsOptions> {
        Some(NatsOptions {
            servers: self.nats_url.clone()?,
            credentials: self.nats_credentials.clone(),
            authorities: self.nats_ca.clone(),
            identity: self.nats_certificate.clone().zip(self.nats_key.clone()),
            subject: self.nats_subject.clone(),
        })
    }

    pub(super) fn contradictions(&self) -> Vec<Mistake> {
        let mut found = Vec::new();
        for (flag, variable, file) in self.files() {
            if file.is_some() && self.nats_url.is_none() {
                let told = format!(
                    "--{flag} ({variable}) is for NATS: give --nats-url (NATS_URL) too, or leave it out"
                );
                found.push(Mistake::new(&[flag, "nats-url"], told));
            }
        }
        let missing = match (&self.nats_certificate, &self.nats_key) {
            (Some(_), None) => "--nats-certificate (NATS_CERTIFICATE) needs --nats-key (NATS_KEY)",
            (None, Some(_)) => "--nats-key (NATS_KEY) needs --nats-certificate (NATS_CERTIFICATE)",
            _ => return found,
        };
        let told = format!("{missing}: give both, or neither");
        found.push(Mistake::new(&["nats-certificate", "nats-key"], told));
        found
    }

    pub(super) fn broken_files(&self) -> Vec<Mistake> {
        let given = self.files().into_iter();
        let broken = given.filter_map(|(flag, variable, file)| {
            let (file, error) = (file?, std::fs::read(file?).err()?);
            let file = file.display();
            let told = format!(
                "--{flag} ({variable}): the file {file} cannot be used: {error}; name one that this user may read"
            );
            Some(Mistake::new(&[flag], told))
        });
        broken.collect()
    }

    fn files(&self) -> [(&'static str, &'static str, Option<&PathBuf>); 4] {
        [
            (
                "nats-credentials",
                "NATS_CREDENTIALS",
                self.nats_credentials.as_ref(),
            ),
            ("nats-ca", "NATS_CA", self.nats_ca.as_ref()),
            (
                "nats-certificate",
                "NATS_CERTIFICATE",
                self.nats_certificate.as_ref(),
            ),
            ("nats-key", "NATS_KEY", self.nats_key.as_ref()),
        ]
    }

    /// How hints are carried.
    #[must_use]
    pub fn bus_options(&self) -> BusOptions {
        BusOptions {
            queue: self.hint_queue,
            beat: self.slow_tick,
        }
    }
}

fn parse_subject(text: &str) -> Result<String, String> {
    let token = |token: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        !token.is_empty() && token.chars().all(fits)
    };
    if text.split('.').all(token) {
        return Ok(text.to_owned());
    }
    Err("give letters, digits, - and _, in parts with dots between".to_owned())
}
