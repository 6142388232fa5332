//! Where the database is.

use std::{fmt, path::Path, str::FromStr};

use sea_orm::{
    DbBackend,
    sqlx::{postgres::PgConnectOptions, sqlite::SqliteConnectOptions},
};

/// A database's address, of a kind that this server speaks.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: String,
    backend: DbBackend,
    /// PostgreSQL: one address for each host that is named.
    hosts: Vec<String>,
}

impl DatabaseUrl {
    /// The address as it was given, password and all.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// PostgreSQL: the addresses of the hosts that are named, in their order, one of which takes writes.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// SQLite's file.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        let path = self.text.strip_prefix("sqlite:")?;
        let path = path.trim_start_matches("//");
        Some(Path::new(path.split('?').next().unwrap_or(path)))
    }

    /// PostgreSQL or SQLite.
    #[must_use]
    pub fn backend(&self) -> DbBackend {
        self.backend
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut hosts = Vec::new();
        let backend = if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            hosts = each_host(text);
            for host in &hosts {
                PgConnectOptions::from_str(host).map_err(|error| error.to_string())?;
            }
            DbBackend::Postgres
        } else if text.starts_with("sqlite:") {
            SqliteConnectOptions::from_str(text).map_err(|error| error.to_string())?;
            if text.contains(":memory:") || text.contains("mode=memory") {
                return Err("a database in memory cannot be shared by several connections: name a file, as in sqlite:directmessages.db".to_owned());
            }
            DbBackend::Sqlite
        } else {
            return Err(
                "give sqlite:PATH or postgres://USER:PASSWORD@HOST[:PORT][,HOST…]/DATABASE"
                    .to_owned(),
            );
        };
        Ok(Self {
            text: text.to_owned(),
            backend,
            hosts,
        })
    }
}

/// `postgres://USER@ONE:1,TWO:2/DATABASE`, as libpq takes it, as an address for each host: the driver knows one only.
fn each_host(text: &str) -> Vec<String> {
    let after_scheme = text.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = text.split_at(after_scheme);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let hosts_begin = authority.rfind('@').map_or(0, |at| at + 1);
    let (user, hosts) = authority.split_at(hosts_begin);
    let hosts = hosts.split(',');
    hosts
        .map(|host| format!("{scheme}{user}{host}{path}"))
        .collect()
}

impl fmt::Debug for DatabaseUrl {
    /// The scheme, the hosts and the database's name: everything else may be, or hold, a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.backend == DbBackend::Sqlite {
            return f.write_str(self.text.split('?').next().unwrap_or_default());
        }
        let (scheme, rest) = self.text.split_once("://").unwrap_or_default();
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        let (rest, after) = rest.split_at(end);
        // So may these be in a password, whose beginning is then taken for a port.
        let may_be_user = after.starts_with('#') || !rest.contains('/');
        if may_be_user && after.contains('@') && !rest.contains('@') {
            return write!(f, "{scheme}://…");
        }
        // A slash in a password ends the address for the driver, and not for whoever wrote it: after the last @ there is none.
        let hosts = rest.rsplit_once('@').map_or(rest, |(_, hosts)| hosts);
        write!(f, "{scheme}://{hosts}")
    }
}
