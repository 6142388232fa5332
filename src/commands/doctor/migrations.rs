use directmessages::config::Serve;
use migration::{Migrator, MigratorTrait as _};

use super::Finding;

pub(super) const CHECK: &str = "migrations";
/// Which migrations are applied, where any is.
pub(super) const APPLIED: &str = "SELECT version FROM seaql_migrations ORDER BY version";

/// What of the schema is applied, missing, or of a newer version. `may_create` is whether this user may make tables.
pub(super) fn judge(serve: &Serve, applied: &[String], may_create: bool) -> Finding {
    let known: Vec<String> = Migrator::get_migration_files()
        .iter()
        .map(|migration| migration.name().to_owned())
        .collect();
    let newer: Vec<&str> = applied
        .iter()
        .filter(|name| !known.contains(name))
        .map(String::as_str)
        .collect();
    if !newer.is_empty() {
        let told = format!(
            "a newer version than this program has migrated the database ({}): run that version, or restore a backup from before",
            newer.join(", ")
        );
        return Finding::failed(CHECK, told);
    }
    let pending = known.iter().filter(|name| !applied.contains(name)).count();
    match pending {
        0 => Finding::ok(CHECK, format!("all {} are applied", known.len())),
        _ if serve.no_migrate => {
            let told = format!(
                "{pending} of {} are pending, and NO_MIGRATE is set: run `directmessages migrate up`",
                known.len()
            );
            Finding::failed(CHECK, told)
        }
        _ if !may_create => {
            let told = format!(
                "{pending} are pending, and this user may not make tables: GRANT CREATE ON SCHEMA public TO it, or let another \
                 user run `directmessages migrate up`"
            );
            Finding::failed(CHECK, told)
        }
        _ => Finding::ok(
            CHECK,
            format!("{pending} are pending: `serve` applies them when it starts"),
        ),
    }
}
