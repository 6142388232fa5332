//! Where the database is.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use percent_encoding::percent_decode_str;
use sea_orm::{
    DbBackend,
    sqlx::{postgres::PgConnectOptions, sqlite::SqliteConnectOptions},
};

/// A database's address, of a kind that this server speaks.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: String,
    /// PostgreSQL: one address for each host that is named.
    hosts: Vec<String>,
    /// SQLite's file, and whether it is created where it is missing.
    file: Option<(PathBuf, bool)>,
}

impl DatabaseUrl {
    /// The SQLite database in a file.
    ///
    /// # Errors
    /// Where SQLite cannot open a file of such a name.
    pub fn of_file(file: &Path) -> Result<Self, String> {
        Ok(Self {
            text: format!("sqlite:{}", file.display()),
            hosts: Vec::new(),
            file: Some((usable_file(file)?, true)),
        })
    }

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
        self.file.as_ref().map(|(file, _)| file.as_path())
    }

    /// SQLite: whether the file is created where it is missing.
    pub(super) fn creates_file(&self) -> bool {
        self.file.as_ref().is_some_and(|(_, create)| *create)
    }

    /// How to open SQLite's file. The path is handed over as it is, so that nothing reads the address twice.
    #[must_use]
    pub fn sqlite_options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new().filename(self.file().unwrap_or(Path::new("")))
    }

    /// PostgreSQL or SQLite.
    #[must_use]
    pub fn backend(&self) -> DbBackend {
        if self.file.is_some() {
            DbBackend::Sqlite
        } else {
            DbBackend::Postgres
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut hosts, mut file) = (Vec::new(), None);
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            hosts = each_host(text);
            for host in &hosts {
                PgConnectOptions::from_str(host).map_err(|error| error.to_string())?;
            }
        } else if let Some(rest) = text.strip_prefix("sqlite:") {
            file = Some(sqlite_file(rest)?);
        } else {
            return Err(
                "give sqlite:PATH or postgres://USER:PASSWORD@HOST[:PORT][,HOST…]/DATABASE"
                    .to_owned(),
            );
        }
        Ok(Self {
            text: text.to_owned(),
            hosts,
            file,
        })
    }
}

/// The file of `sqlite:PATH` or `sqlite://PATH`, and whether it is created where it is missing. `%20` in the path stands for
/// a space, and so on.
fn sqlite_file(rest: &str) -> Result<(PathBuf, bool), String> {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let path = percent_decode_str(path)
        .decode_utf8()
        .map_err(|_| "the path is not UTF-8".to_owned())?;
    let mut create = true;
    for parameter in parameters.split('&').filter(|given| !given.is_empty()) {
        create = match parameter {
            "mode=rwc" => true,
            "mode=rw" => false,
            "mode=memory" => return Err(IN_MEMORY.to_owned()),
            _ => {
                return Err(
                    "after the ? only mode=rwc (the file is created where it is missing, as without it) and mode=rw (it is \
                     not) may be given"
                        .to_owned(),
                );
            }
        };
    }
    Ok((usable_file(Path::new(&*path))?, create))
}

const IN_MEMORY: &str = "a database in memory cannot be shared by several connections: name a file, as in sqlite:directmessages.db";

fn usable_file(file: &Path) -> Result<PathBuf, String> {
    let path = file.to_str().ok_or("the path is not UTF-8")?;
    if path.is_empty() || path.contains('\0') {
        return Err("name a file, as in sqlite:directmessages.db".to_owned());
    }
    if path == ":memory:" {
        return Err(IN_MEMORY.to_owned());
    }
    // SQLite takes what begins like this for an address.
    Ok(if path.starts_with("file:") {
        Path::new(".").join(file)
    } else {
        file.to_owned()
    })
}

/// `postgres://USER@ONE:1,TWO:2/DATABASE`, as libpq takes it, as an address for each host: the driver knows one only.
fn each_host(text: &str) -> Vec<String> {
    let after_scheme = text.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = text.split_at(after_scheme);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let hosts_begin = authority.rfind('@').map_or(0, |at| at + 1);
    let (user, hosts) = authority.split_at(hosts_begin);
    let one = |host: &str| {
        let url = format!("{scheme}{user}{host}{path}");
        // The driver looks an IPv6 address up with its brackets, and does not find it, unless it stands here.
        match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
            Some((address, _)) => {
                let sign = if path.contains('?') { '&' } else { '?' };
                format!("{url}{sign}host={address}")
            }
            None => url,
        }
    };
    hosts.split(',').map(one).collect()
}

impl fmt::Debug for DatabaseUrl {
    /// The scheme, the hosts and the database's name: everything else may be, or hold, a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.file.is_some() {
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
