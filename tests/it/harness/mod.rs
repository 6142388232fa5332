//! What the tests share: databases, servers, people, sockets, and ways to disturb them.

pub(crate) mod chance;
pub(crate) mod database;
pub(crate) mod distribution;
pub(crate) mod events;
pub(crate) mod keys;
pub(crate) mod load;
pub(crate) mod nats;
pub(crate) mod pooler;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod recount;
pub(crate) mod server;
pub(crate) mod socket;
pub(crate) mod tool;
pub(crate) mod user;

use std::time::Duration;

/// How long a test waits for a thing before it counts as missing.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The secret of every server here.
pub(crate) const SECRET: &str = "a secret that only these tests and their servers know";

/// What a test is given, and what is checked of it afterwards.
pub(crate) trait Fixture: Sized {
    async fn start(kind: database::Kind) -> Self;
    async fn finish(self);
}

/// Makes two tests of each function: `name::sqlite` and `name::postgres`.
macro_rules! on_both_databases {
    ($($(#[$meta:meta])* async fn $name:ident($fixture:ident: &$type:ident) $body:block)*) => {$(
        pub(crate) mod $name {
            use super::*;

            $(#[$meta])*
            pub(crate) async fn story($fixture: &$type) $body

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                let fixture = <$type as $crate::harness::Fixture>::start($crate::harness::database::Kind::Sqlite).await;
                story(&fixture).await;
                $crate::harness::Fixture::finish(fixture).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                let fixture = <$type as $crate::harness::Fixture>::start($crate::harness::database::Kind::Postgres).await;
                story(&fixture).await;
                $crate::harness::Fixture::finish(fixture).await;
            }
        }
    )*};
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for something that has to come.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let came = tokio::time::timeout(PATIENCE, future).await;
    came.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}
