//! How the PostgreSQL is that takes writes. Every question is one message of the simple protocol, which a pooler passes on.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use directmessages::{chat::wrong_encoding, config::Serve};
use sea_orm::sqlx::{self, PgConnection, Row as _, postgres::PgRow};

use super::{Finding, migrations, postgres::connect};

/// What the tests run on.
const OLDEST_TESTED: u32 = 150_000;
/// A send takes several of them, one after the other.
const LONG_ROUND_TRIP: Duration = Duration::from_millis(5);
/// By how much another machine's clock may be ahead in a token's `nbf`.
const LEEWAY: i64 = 5_000;
const CLOCK_WARNING: i64 = 1_000;
const ROUNDS: usize = 5;

/// What is found, each kind by itself: one question that is refused does not keep the others from being asked.
pub(super) async fn check(serve: &Serve, mut connection: PgConnection, host: &str) -> Vec<Finding> {
    let db = &mut connection;
    let mut found = Vec::new();
    let asked = [
        ("database", settings(db).await),
        ("database", round_trip(db).await),
        ("connections", connections(serve, db).await),
        ("pooler", pooler(serve, db, host).await),
        (migrations::CHECK, migrated(serve, db).await),
        ("rights", rights(db).await),
        ("clock", clock(db).await),
    ];
    for (check, asked) in asked {
        match asked {
            Ok(findings) => found.extend(findings),
            Err(error) => found.push(Finding::failed(
                check,
                format!("{error}; see PostgreSQL's log"),
            )),
        }
    }
    found
}

async fn ask(db: &mut PgConnection, sql: &'static str) -> Result<PgRow, sqlx::Error> {
    sqlx::raw_sql(sql).fetch_one(db).await
}

/// Its version, and whether what it acknowledges is on its disk.
async fn settings(db: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    const CHECK: &str = "database";
    let sql = "SELECT current_setting('server_version_num'), current_setting('fsync'), \
               current_setting('synchronous_commit'), current_setting('full_page_writes'), \
               current_setting('server_encoding')";
    let row = ask(db, sql).await?;
    let mut found = Vec::new();
    if let Some(error) = wrong_encoding(row.try_get(4)?) {
        found.push(Finding::failed(CHECK, error));
    }
    let version: String = row.try_get(0)?;
    if version
        .parse()
        .is_ok_and(|version: u32| version < OLDEST_TESTED)
    {
        let told = "this PostgreSQL is older than 15, the oldest that is tested: upgrade it";
        found.push(Finding::warning(CHECK, told));
    }
    for (place, setting) in [
        (1, "fsync"),
        (2, "synchronous_commit"),
        (3, "full_page_writes"),
    ] {
        if row.try_get::<String, _>(place)? == "off" {
            let told = format!(
                "{setting} is off: messages that were acknowledged may be lost when the database's machine fails; turn it on"
            );
            found.push(Finding::warning(CHECK, told));
        }
    }
    Ok(found)
}

async fn round_trip(db: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    const CHECK: &str = "database";
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        ask(db, "SELECT 1").await?;
        took.push(begun.elapsed());
    }
    took.sort();
    let median = took[ROUNDS / 2];
    let told = format!("a round trip takes {median:.1?}");
    Ok(vec![if median > LONG_ROUND_TRIP {
        let told =
            format!("{told}, and a send several of them: bring the servers near the database");
        Finding::warning(CHECK, told)
    } else {
        Finding::ok(CHECK, told)
    }])
}

/// Whether there are as many connections as this server takes.
async fn connections(serve: &Serve, db: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    const CHECK: &str = "connections";
    if serve.database.database_pooled {
        let told = "the pooler shares the database's connections: its own settings bound them";
        return Ok(vec![Finding::ok(CHECK, told)]);
    }
    let sql = "SELECT (current_setting('max_connections')::int \
               - current_setting('superuser_reserved_connections')::int \
               - coalesce(current_setting('reserved_connections', true)::int, 0))::text, \
               (SELECT sum(numbackends) - 1 FROM pg_stat_database)::text, \
               (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user)::text, \
               (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database())::text";
    let row = ask(db, sql).await?;
    let number = |place: usize| -> Result<Option<i64>, sqlx::Error> {
        let text: Option<String> = row.try_get(place)?;
        Ok(text.and_then(|text| text.parse().ok()))
    };
    let (most, in_use) = (
        number(0)?.unwrap_or_default(),
        number(1)?.unwrap_or_default(),
    );
    let limits = [
        ("max_connections leaves", Some(most)),
        ("the user is limited to", number(2)?),
        ("the database is limited to", number(3)?),
    ];
    let over_nats = serve.bus.nats_url.is_some();
    // One more for pruning, one while the primary is looked for, and two for LISTEN and NOTIFY.
    let others = if over_nats { 2 } else { 4 };
    let needed = i64::from(serve.database.read_connections + serve.database.writers + others);
    let given = limits
        .into_iter()
        .filter_map(|(what, limit)| Some((limit?, what)));
    let (limit, what) = given.min().unwrap_or((most, "max_connections leaves"));
    let told =
        format!("this server takes up to {needed}, {what} {limit}, of which {in_use} are in use");
    let remedy = "raise it, or lower READ_CONNECTIONS and WRITERS";
    Ok(vec![if limit < needed {
        Finding::failed(CHECK, format!("{told}: {remedy}"))
    } else if limit - in_use < needed {
        let told = format!("{told}: unless some are this server's own, {remedy}");
        Finding::warning(CHECK, told)
    } else {
        Finding::ok(CHECK, told)
    }])
}

/// Whether two connections of ours share one of the database's, as only a pooler has it.
async fn pooler(
    serve: &Serve,
    db: &mut PgConnection,
    host: &str,
) -> Result<Vec<Finding>, sqlx::Error> {
    const CHECK: &str = "pooler";
    const BACKEND: &str = "SELECT pg_backend_pid()::text";
    let mut other = connect(host).await?;
    let mut seen = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (seen, connection) in seen.iter_mut().zip([&mut *db, &mut other]) {
            seen.push(ask(connection, BACKEND).await?.try_get::<String, _>(0)?);
        }
    }
    let [ours, others] = seen;
    let shared = ours
        .iter()
        .any(|backend| others.contains(backend) || *backend != ours[0]);
    Ok(vec![match (shared, serve.database.database_pooled) {
        (true, true) => Finding::ok(
            CHECK,
            "there is one in transaction mode, as DATABASE_POOLED says",
        ),
        (true, false) => {
            let told = "DATABASE_URL leads to a pooler in transaction mode: set DATABASE_POOLED=true, and DIRECT_DATABASE_URL to the \
                        way past it (pgbouncer from 1.21 with max_prepared_statements may do without the first)";
            Finding::warning(CHECK, told)
        }
        (false, true) => {
            let told = "DATABASE_POOLED is set, and no pooler in transaction mode was seen: without the setting reads take four \
                        round trips less";
            Finding::warning(CHECK, told)
        }
        (false, false) => Finding::ok(CHECK, "there is none in transaction mode"),
    }])
}

async fn migrated(serve: &Serve, db: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    let sql = "SELECT to_regclass('seaql_migrations') IS NOT NULL, \
               coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), \
               coalesce(has_table_privilege(to_regclass('seaql_migrations'), 'SELECT'), true)";
    let row = ask(db, sql).await?;
    let (migrated, may_create): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    if !row.try_get::<bool, _>(2)? {
        // Reported as a missing right.
        return Ok(Vec::new());
    }
    let mut applied = Vec::new();
    if migrated {
        let rows = sqlx::raw_sql(migrations::APPLIED)
            .fetch_all(&mut *db)
            .await?;
        let names = rows.iter().map(|row| row.try_get(0));
        applied = names.collect::<Result<_, _>>()?;
    }
    Ok(vec![migrations::judge(serve, &applied, may_create)])
}

/// Whether this user has the rights that `serve` needs. `LISTEN` and `NOTIFY` need none.
async fn rights(db: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    const CHECK: &str = "rights";
    // A schema that this user may not use is passed over where its tables are looked up.
    let schemas = "SELECT format('GRANT USAGE ON SCHEMA %I TO %I', n.nspname, current_user) \
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                   WHERE c.relname = 'seaql_migrations' AND NOT has_schema_privilege(n.oid, 'USAGE')";
    let tables = "SELECT format('GRANT %s ON %I TO %I', string_agg(privilege, ', '), name, current_user) \
                  FROM (VALUES ('user', 'SELECT'), ('user', 'INSERT'), ('user', 'UPDATE'), \
                  ('inbox', 'SELECT'), ('inbox', 'INSERT'), ('inbox', 'UPDATE'), \
                  ('conversation_partner', 'SELECT'), ('conversation_partner', 'INSERT'), ('conversation_partner', 'UPDATE'), \
                  ('message', 'SELECT'), ('message', 'INSERT'), ('message', 'UPDATE'), \
                  ('signal', 'SELECT'), ('signal', 'INSERT'), ('signal', 'DELETE'), \
                  ('epoch', 'SELECT'), ('seaql_migrations', 'SELECT')) needed (name, privilege) \
                  WHERE NOT has_table_privilege(to_regclass(quote_ident(name)), privilege) \
                  GROUP BY name ORDER BY name";
    let mut grants = Vec::new();
    for sql in [schemas, tables] {
        for row in sqlx::raw_sql(sql).fetch_all(&mut *db).await? {
            grants.push(row.try_get::<String, _>(0)?);
        }
    }
    Ok(vec![if grants.is_empty() {
        Finding::ok(CHECK, "this user has what the server needs")
    } else {
        let told = format!(
            "this user lacks rights: as the owner of the tables run {};",
            grants.join("; ")
        );
        Finding::failed(CHECK, told)
    }])
}

/// How far the database's clock is from ours.
async fn clock(db: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    const CHECK: &str = "clock";
    let before = now();
    let sql = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint::text";
    let theirs: String = ask(db, sql).await?.try_get(0)?;
    let ours = i64::midpoint(before, now());
    let ahead = theirs.parse().unwrap_or(ours) - ours;
    let told = format!("the database's is {ahead} ms ahead of this machine's");
    let remedy = "tokens are judged by this machine's, and old signals by the database's: let both follow NTP (chrony, \
                  systemd-timesyncd)";
    Ok(vec![match ahead.abs() {
        0..=CLOCK_WARNING => Finding::ok(CHECK, told),
        ..=LEEWAY => Finding::warning(CHECK, format!("{told}; {remedy}")),
        _ => Finding::failed(
            CHECK,
            format!("{told}, more than the 5 s that a token's nbf may be; {remedy}"),
        ),
    }])
}

/// Milliseconds since 1970 in UTC.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
