//! Whether a bus carries, tried once: one message to oneself, which no server hears.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use sea_orm::sqlx::{
    self, AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _,
    postgres::{PgConnectOptions, PgListener},
};
use tokio::time::timeout;
use uuid::Uuid;

use super::nats::{self, NatsOptions};

/// Why a bus does not carry.
#[derive(Debug, thiserror::Error)]
pub enum Mute {
    /// There is no connection, or it broke.
    #[error("{0}")]
    Away(String),
    /// A message was sent, and did not come.
    #[error("a message to ourselves did not come within {0:?}")]
    Silent(Duration),
}

impl Mute {
    fn away(error: &impl std::fmt::Display) -> Self {
        Self::Away(error.to_string())
    }
}

/// How long a notification takes through the first of these PostgreSQL hosts that carries one.
///
/// # Errors
/// Where none does: why the last does not.
pub async fn try_postgres(hosts: &[String], patience: Duration) -> Result<Duration, Mute> {
    let mut last = Mute::Away("no host is named".to_owned());
    for host in hosts {
        match timeout(patience, notify_ourselves(host, patience / 2)).await {
            Ok(Ok(took)) => return Ok(took),
            Ok(Err(mute)) => last = mute,
            Err(_) => last = Mute::Away(format!("no answer within {patience:?}")),
        }
    }
    Err(last)
}

async fn notify_ourselves(host: &str, patience: Duration) -> Result<Duration, Mute> {
    let away = |error: sqlx::Error| Mute::away(&error);
    let channel = format!("directmessages_doctor_{}", Uuid::new_v4().simple());
    let mut listener = PgListener::connect(host).await.map_err(away)?;
    listener.eager_reconnect(false);
    listener.listen(&channel).await.map_err(away)?;
    let options: PgConnectOptions = host.parse().map_err(away)?;
    let options = options.extra_float_digits(None);
    let mut teller = options.connect().await.map_err(away)?;
    let begun = Instant::now();
    let notify = sqlx::raw_sql(AssertSqlSafe(format!("NOTIFY {channel}")));
    teller.execute(notify).await.map_err(away)?;
    let heard = timeout(patience, listener.try_recv()).await;
    let took = begun.elapsed();
    let _ = teller.close().await;
    match heard {
        Ok(Ok(Some(_))) => Ok(took),
        Ok(Ok(None)) => Err(Mute::Away("the connection that listens broke".to_owned())),
        Ok(Err(error)) => Err(away(error)),
        Err(_) => Err(Mute::Silent(patience)),
    }
}

/// How long a message takes through NATS.
///
/// # Errors
/// Where it does not come.
pub async fn try_nats(options: &NatsOptions, patience: Duration) -> Result<Duration, Mute> {
    let connect = nats::options(options).await.map_err(|e| Mute::away(&e))?;
    let connect = connect.connection_timeout(patience / 2);
    let connect = connect.connect(options.servers.addresses());
    let client = match timeout(patience, connect).await {
        Ok(connected) => connected.map_err(|error| Mute::away(&error))?,
        Err(_) => return Err(Mute::Away(format!("no answer within {patience:?}"))),
    };
    let subject = format!("{}.doctor.{}", options.subject, Uuid::new_v4().simple());
    let tried = async {
        let mut heard = client.subscribe(subject.clone()).await;
        let heard = heard.as_mut().map_err(|error| Mute::away(error))?;
        let begun = Instant::now();
        let published = client.publish(subject, "".into()).await;
        published.map_err(|error| Mute::away(&error))?;
        client.flush().await.map_err(|error| Mute::away(&error))?;
        match heard.next().await {
            Some(_) => Ok(begun.elapsed()),
            None => Err(Mute::Away("the connection broke".to_owned())),
        }
    };
    let tried = timeout(patience / 2, tried).await;
    tried.unwrap_or(Err(Mute::Silent(patience / 2)))
}
