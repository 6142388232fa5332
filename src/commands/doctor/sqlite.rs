use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use directmessages::{
    chat::{DatabaseUrl, advice, inspect_file},
    config::Serve,
};
use migration::SqliteState;
use rustix::fs::{Access, access, statvfs};
use sea_orm::{
    DbBackend, DbErr, RuntimeErr,
    sqlx::{self, ConnectOptions as _, Connection as _, Row as _, SqliteConnection},
};

use super::{Finding, migrations};

const CHECK: &str = "database";
/// Less free space is soon used up.
const LITTLE_SPACE: u64 = 1 << 30;
/// Less is not enough for the write-ahead log.
const NO_SPACE: u64 = 64 << 20;
/// How long to wait for another program that writes.
const BUSY: Duration = Duration::from_secs(2);

/// Whether the file can be used, and what is in it.
pub(super) async fn check(serve: &Serve) -> Vec<Finding> {
    let url = &serve.database.database_url;
    let file = url.file().unwrap_or(Path::new("")).to_owned();
    // A disk may hang: it is asked beside the workers, so that this can be given up.
    let looked = tokio::task::spawn_blocking(move || look(&file)).await;
    let (exists, mut found) = match looked {
        Ok(looked) => looked,
        Err(error) => (false, vec![Finding::failed(CHECK, error.to_string())]),
    };
    let told = format!("{url:?}");
    if found
        .iter()
        .any(|finding| finding.verdict == super::Verdict::Failed)
    {
        return found;
    }
    if !exists {
        found.insert(
            0,
            Finding::ok(CHECK, format!("{told} is not there yet: `serve` makes it")),
        );
        found.push(migrations::judge(serve, &[], true));
        return found;
    }
    match Box::pin(inspect_file(url)).await {
        Ok(state) => {
            if let Some(error) = state.error() {
                found.push(Finding::failed(CHECK, format!("{told}: {error}")));
                return found;
            }
            if state == SqliteState::Partial {
                let told = "the first migration was cut short, before there was a message; the next one starts again";
                found.push(Finding::warning(migrations::CHECK, told));
            }
        }
        Err(error) => {
            found.push(unusable(&told, &error));
            return found;
        }
    }
    match read(url).await {
        Ok((version, applied)) => {
            let told = format!("{told} can be read and written, by SQLite {version}");
            found.insert(0, Finding::ok(CHECK, told));
            found.push(migrations::judge(serve, &applied, true));
            found.push(Finding::ok("clock", "the database has this machine's"));
        }
        Err(error) => {
            let error = DbErr::Query(RuntimeErr::SqlxError(error.into()));
            found.push(unusable(&told, &error));
        }
    }
    found
}

fn unusable(url: &str, error: &DbErr) -> Finding {
    let remedy = match advice(error, DbBackend::Sqlite) {
        "" => "; see whether it is a database of this program",
        remedy => remedy,
    };
    Finding::failed(CHECK, format!("{url}: {error}{remedy}"))
}

/// What the file system says, and whether the file is there.
fn look(file: &Path) -> (bool, Vec<Finding>) {
    let exists = file.exists();
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    // The server makes folders that are missing.
    let there = folder.ancestors().find(|folder| folder.exists());
    let there = there.unwrap_or(Path::new("."));
    let mut found = Vec::new();
    if !there.is_dir() {
        let told = format!(
            "{} is no folder: name another file in DATABASE_URL",
            there.display()
        );
        return (exists, vec![Finding::failed(CHECK, told)]);
    }
    let needed = if exists {
        vec![file, there]
    } else {
        vec![there]
    };
    for path in needed {
        let mut used = Access::READ_OK | Access::WRITE_OK;
        if path.is_dir() {
            used |= Access::EXEC_OK;
        }
        if let Err(error) = access(path, used) {
            let told = format!(
                "{} cannot be read and written: {error}; see to it that the server's user may use both the file and its folder",
                path.display()
            );
            found.push(Finding::failed(CHECK, told));
        }
    }
    if let Ok(disk) = statvfs(there) {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        found.push(space(there, free));
    }
    (exists, found)
}

fn space(folder: &Path, free: u64) -> Finding {
    const CHECK: &str = "disk";
    let told = format!("{} MB are free at {}", free >> 20, folder.display());
    match free {
        0..NO_SPACE => Finding::failed(
            CHECK,
            format!("{told}: make room, or name a file elsewhere"),
        ),
        NO_SPACE..LITTLE_SPACE => Finding::warning(
            CHECK,
            format!("{told}, and a million messages take 390 MB: make room"),
        ),
        _ => Finding::ok(CHECK, told),
    }
}

/// SQLite's version, and the migrations that are applied; and whether it takes writes, of which none is done.
async fn read(url: &DatabaseUrl) -> Result<(String, Vec<String>), sqlx::Error> {
    let options = url.sqlite_options().busy_timeout(BUSY);
    let mut connection = options.connect().await?;
    let read = read_over(&mut connection).await;
    let _ = connection.close().await;
    read
}

async fn read_over(
    connection: &mut SqliteConnection,
) -> Result<(String, Vec<String>), sqlx::Error> {
    sqlx::raw_sql("BEGIN IMMEDIATE; ROLLBACK")
        .execute(&mut *connection)
        .await?;
    let row = sqlx::raw_sql(
        "SELECT sqlite_version(), EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'seaql_migrations')",
    );
    let row = row.fetch_one(&mut *connection).await?;
    let (version, migrated): (String, bool) = (row.try_get(0)?, row.try_get(1)?);
    if !migrated {
        return Ok((version, Vec::new()));
    }
    let rows = sqlx::raw_sql(migrations::APPLIED)
        .fetch_all(connection)
        .await?;
    let applied = rows.iter().map(|row| row.try_get(0));
    Ok((version, applied.collect::<Result<_, _>>()?))
}
