use std::{io, time::Duration};

use directmessages::{chat::DatabaseUrl, config::Serve};
use sea_orm::sqlx::{
    self, ConnectOptions as _, PgConnection, Row as _, error::DatabaseError,
    postgres::PgConnectOptions,
};

use super::{Finding, Verdict, late, server, within};

const CHECK: &str = "database";

/// Which hosts are there, which takes writes, and how it is.
pub(super) async fn check(serve: &Serve, limit: Duration) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut primary = None;
    for host in serve.database.database_url.hosts() {
        // It stands for the host alone, so that what is told names that one, and no password.
        let shown = match host.parse::<DatabaseUrl>() {
            Ok(url) => format!("{url:?}"),
            Err(error) => error,
        };
        match tokio::time::timeout(limit, look(host)).await {
            Ok(Ok(Host {
                connection,
                version,
                writes,
                standby,
            })) => {
                let state = match (writes, standby) {
                    (true, _) => "takes writes",
                    (false, true) => "is a standby",
                    (false, false) => {
                        "takes no writes of this user (default_transaction_read_only)"
                    }
                };
                let told = format!("{shown}: PostgreSQL {version}, {state}");
                found.push(Finding::ok(CHECK, told));
                if writes && primary.is_none() {
                    primary = Some((connection, host));
                }
            }
            Ok(Err(error)) => {
                let told = format!("{shown}: {error}; {}", remedy(&error));
                found.push(Finding::failed(CHECK, told));
            }
            Err(_) => {
                let told = late(limit, CHECK).told;
                found.push(Finding::failed(CHECK, format!("{shown}: {told}")));
            }
        }
    }
    let Some((connection, host)) = primary else {
        if found.iter().all(|finding| finding.verdict == Verdict::Ok) {
            let told = "no host takes writes: promote one, name the primary in DATABASE_URL, or let this user write";
            found.push(Finding::failed(CHECK, told));
        }
        return found;
    };
    // The server goes on with whichever host takes writes: another that is away is no failure.
    for finding in &mut found {
        if finding.verdict == Verdict::Failed {
            finding.verdict = Verdict::Warning;
        }
    }
    found.extend(within(limit, CHECK, server::check(serve, connection, host)).await);
    found
}

struct Host {
    connection: PgConnection,
    version: String,
    writes: bool,
    standby: bool,
}

async fn look(host: &str) -> Result<Host, sqlx::Error> {
    let mut connection = connect(host).await?;
    let sql = "SELECT current_setting('server_version'), current_setting('transaction_read_only'), \
               pg_is_in_recovery()::text";
    let row = sqlx::raw_sql(sql).fetch_one(&mut connection).await?;
    Ok(Host {
        version: row.try_get(0)?,
        writes: row.try_get::<String, _>(1)? == "off",
        standby: row.try_get::<String, _>(2)? == "true",
        connection,
    })
}

/// A connection as the server's own are.
pub(super) async fn connect(host: &str) -> Result<PgConnection, sqlx::Error> {
    let options: PgConnectOptions = host.parse()?;
    let options = options
        .application_name("directmessages doctor")
        .extra_float_digits(None);
    options.connect().await
}

/// What to do about an error, by its kind.
fn remedy(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::Io(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                "start PostgreSQL there, or mend host and port in DATABASE_URL"
            }
            io::ErrorKind::NotFound => "mend the host in DATABASE_URL",
            _ => {
                "see whether host and port in DATABASE_URL are right, and whether a firewall is between"
            }
        },
        sqlx::Error::Tls(_) => {
            "give sslrootcert, or another sslmode, in DATABASE_URL, or mend the server's certificate"
        }
        sqlx::Error::Database(error) => remedy_of(error.as_ref()),
        _ => "see whether this is a PostgreSQL",
    }
}

fn remedy_of(error: &dyn DatabaseError) -> &'static str {
    match error.code().as_deref() {
        Some("28P01" | "28000") => {
            "mend user and password in DATABASE_URL, or let this user in by pg_hba.conf"
        }
        Some("3D000") => "make it by createdb, or mend its name in DATABASE_URL",
        Some("42501") => "GRANT CONNECT ON DATABASE to this user",
        Some("53300") => {
            "raise max_connections, or lower READ_CONNECTIONS and WRITERS of the servers"
        }
        Some("57P03") => "wait until it has started",
        _ => "see PostgreSQL's log",
    }
}
