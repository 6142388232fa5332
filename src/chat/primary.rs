//! Which of the hosts of a PostgreSQL takes writes, and whether one does.
//!
//! Whoever meets an absent database raises a doubt; one task then looks at all hosts, again and again until one takes writes,
//! and has the pools replaced: connections from before may be dead, hang, or lead to a primary that is one no more. While
//! no host takes writes every use fails at once.

use std::{
    str::FromStr as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sea_orm::{
    ConnectOptions, DbErr, RuntimeErr,
    sqlx::{
        self, ConnectOptions as _, Connection as _, PgConnection, Row as _,
        postgres::PgConnectOptions,
    },
};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{error::Trouble, store::StoreOptions};

/// How long to wait before the hosts are looked at again.
const RETRY: Duration = Duration::from_millis(100);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Primary(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    hosts: Vec<PgConnectOptions>,
    /// How long a host may take to say whether it takes writes.
    patience: Duration,
    away: AtomicBool,
    doubt: Notify,
}

impl Primary {
    pub(super) fn among(options: &StoreOptions) -> Result<Self, DbErr> {
        let hosts = options.url.hosts().iter().map(|host| {
            let options = PgConnectOptions::from_str(host)?
                .application_name("directmessages")
                // No number here is a fraction, and pgbouncer refuses the setting.
                .extra_float_digits(None)
                .disable_statement_logging();
            Ok(options)
        });
        let hosts = hosts.collect::<Result<Vec<_>, sqlx::Error>>();
        let hosts = hosts.map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error))))?;
        let hosts = hosts.into_iter().map(|host| {
            if options.pooled {
                // Each statement is prepared anew: the connection behind the pooler may be another one.
                host.statement_cache_capacity(0)
            } else {
                host
            }
        });
        Ok(Self(Arc::new(Shared {
            hosts: hosts.collect(),
            patience: options.acquire_timeout,
            away: AtomicBool::new(false),
            doubt: Notify::new(),
        })))
    }

    /// Has a pool connect to a host, and refuse it where nothing can be written there.
    pub(super) fn guard(&self, connect: &mut ConnectOptions, host: usize) {
        let host = self.0.hosts[host].clone();
        connect
            .map_sqlx_postgres_opts(move |_| host.clone())
            .map_sqlx_postgres_pool_opts(|pool| {
                pool.after_connect(|connection, _| Box::pin(must_take_writes(connection)))
            });
    }

    /// Whether no host takes writes, as far as is known.
    pub(super) fn is_away(&self) -> bool {
        self.0.away.load(Ordering::Relaxed)
    }

    /// Something went wrong that may be the primary's absence.
    pub(super) fn doubt(&self) {
        self.0.doubt.notify_one();
    }

    /// Waits for a doubt, and then for a host that takes writes; with whether none did for a while.
    pub(super) async fn doubted(&self) -> (usize, bool) {
        loop {
            self.0.doubt.notified().await;
            let mut again = false;
            loop {
                let was_away = self.is_away();
                match self.look().await {
                    Look::Writes(host) => {
                        self.0.away.store(false, Ordering::Relaxed);
                        if was_away {
                            tracing::info!("the database is back");
                        }
                        return (host, was_away);
                    }
                    // It is there: connections that are open may serve, and new ones would be refused as this one was.
                    Look::Refused if !was_away => break,
                    Look::Refused | Look::Absent => {}
                }
                // One look may fail because the machine is busy.
                if again && !self.0.away.swap(true, Ordering::Relaxed) {
                    tracing::warn!("the database is away: no host takes writes");
                }
                again = true;
                sleep(RETRY).await;
            }
        }
    }

    /// A host that takes writes, where one does.
    pub(super) async fn locate(&self) -> Option<usize> {
        match self.look().await {
            Look::Writes(host) => Some(host),
            Look::Refused | Look::Absent => None,
        }
    }

    /// The first host to tell that it takes writes; a host that refuses us counts only where none does.
    async fn look(&self) -> Look {
        let mut looks = JoinSet::new();
        for (place, host) in self.0.hosts.iter().cloned().enumerate() {
            let patience = self.0.patience;
            looks.spawn(async move {
                let look = timeout(patience, look_at(place, &host)).await;
                look.unwrap_or(Look::Absent)
            });
        }
        let mut best = Look::Absent;
        while let Some(look) = looks.join_next().await {
            match look {
                Ok(Look::Writes(place)) => return Look::Writes(place),
                Ok(Look::Refused) => best = Look::Refused,
                Ok(Look::Absent) | Err(_) => {}
            }
        }
        best
    }
}

/// What a look at a host comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// It takes writes. Which one it is.
    Writes(usize),
    /// It is there, and refuses us, as when it has no connection to spare.
    Refused,
    /// Nothing is there that takes writes.
    Absent,
}

async fn look_at(place: usize, host: &PgConnectOptions) -> Look {
    let look = async {
        let mut connection = host.connect().await?;
        must_take_writes(&mut connection).await?;
        connection.close().await
    };
    match look.await {
        Ok(()) => Look::Writes(place),
        Err(sqlx::Error::Database(error)) => {
            // Too many connections.
            let full = error.code().is_some_and(|code| code == "53300");
            let error = DbErr::Query(RuntimeErr::SqlxError(Arc::new(sqlx::Error::Database(
                error,
            ))));
            if full || Trouble::of(&error) != Trouble::Away {
                Look::Refused
            } else {
                Look::Absent
            }
        }
        Err(_) => Look::Absent,
    }
}

async fn must_take_writes(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let row = sqlx::raw_sql("SHOW transaction_read_only")
        .fetch_one(connection)
        .await?;
    match row.try_get::<&str, _>(0)? {
        "off" => Ok(()),
        _ => Err(sqlx::Error::Protocol(
            "this PostgreSQL takes no writes now".to_owned(),
        )),
    }
}
