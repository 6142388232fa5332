use std::time::Duration;

use directmessages::{
    config::Serve,
    signals::{Mute, try_nats, try_postgres},
};

use super::Finding;

const CHECK: &str = "bus";

/// Whether servers can wake each other's listeners.
pub(super) async fn check(serve: &Serve, limit: Duration) -> Vec<Finding> {
    let database = &serve.database;
    let tick = serve.bus.slow_tick;
    let found = if let Some(nats) = serve.bus.nats_options() {
        match try_nats(&nats, limit).await {
            Ok(took) => {
                let told = format!("NATS at {:?} carries a message in {took:.1?}", nats.servers);
                Finding::ok(CHECK, told)
            }
            Err(mute) => {
                let remedy = match mute {
                    Mute::Away(_) => {
                        "see whether nats-server runs there, and whether address, user and certificates in NATS_URL and the \
                         other NATS settings are right"
                    }
                    Mute::Silent(_) => {
                        "let the user publish and subscribe what begins with NATS_SUBJECT"
                    }
                };
                let told = format!(
                    "NATS at {:?} does not carry: {mute}; {remedy} (meanwhile other servers' signals take up to {tick:?})",
                    nats.servers
                );
                Finding::failed(CHECK, told)
            }
        }
    } else if database.database_url.file().is_some() {
        Finding::ok(CHECK, "SQLite is for one server, which needs none")
    } else {
        let url = database.direct_database_url.as_ref();
        let url = url.unwrap_or(&database.database_url);
        match try_postgres(url.hosts(), limit).await {
            Ok(took) => {
                let told = format!("LISTEN and NOTIFY at {url:?} carry a message in {took:.1?}");
                Finding::ok(CHECK, told)
            }
            Err(mute) if database.database_pooled && database.direct_database_url.is_none() => {
                let told = format!(
                    "LISTEN does not work through the pooler ({mute}): other servers' signals take up to {tick:?}; set \
                     DIRECT_DATABASE_URL to the way past it, or NATS_URL"
                );
                Finding::warning(CHECK, told)
            }
            Err(mute) => {
                let remedy = match (&mute, &database.direct_database_url) {
                    (Mute::Away(_), None) => {
                        "see what is told of the database; past a pooler leads DIRECT_DATABASE_URL, and NATS_URL around it"
                    }
                    (Mute::Away(_), Some(_)) => "mend DIRECT_DATABASE_URL",
                    (Mute::Silent(_), _) => {
                        "a pooler seems to be between: set DIRECT_DATABASE_URL to the way past it, or NATS_URL"
                    }
                };
                let told = format!("LISTEN and NOTIFY at {url:?} do not carry: {mute}; {remedy}");
                Finding::failed(CHECK, told)
            }
        }
    };
    vec![found]
}
