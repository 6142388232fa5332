//! The nemesis: it breaks things at random, several at one time, and mends them again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::world::{NATS_NODES, Server, Setup, World};
use crate::harness::{chance::Chance, postgres::Stop, proxy::Proxy};

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// kill -9 of a server, and a new start.
    ServerKilled,
    /// SIGSTOP of a server for a while.
    ServerFrozen,
    /// SIGSTOP of a server while its COMMIT is under way; then the COMMIT arrives.
    FrozenBeforeCommit,
    /// The same, and the connection is cut instead.
    FrozenAndCut,
    /// SIGTERM to one server after the other, each started anew.
    RollingRestart,
    /// A server's clock goes back.
    ClockBack,
    /// A server's clock goes forward.
    ClockForward,
    /// kill -9 of the PostgreSQL, and a new start.
    DatabaseKilled,
    /// An immediate shutdown of the PostgreSQL, and a new start.
    DatabaseStopped,
    /// SIGSTOP of the PostgreSQL for a while.
    DatabaseFrozen,
    /// A server's connections to the database are cut in the middle.
    ConnectionsCut,
    /// A server's connections are cut, and no new ones let through for a while.
    Partitioned,
    /// COMMITs are stored, and their answers lost.
    AnswersLost,
    /// COMMITs never arrive.
    CommitsSwallowed,
    /// COMMITs wait on their way.
    CommitsDelayed,
    /// Nothing gets through, and no connection is cut.
    LinkFrozen,
    /// Everything takes a while.
    LinkSlow,
    /// kill -9 of a NATS server, and a new start.
    NatsKilled,
    /// SIGSTOP of a NATS server for a while.
    NatsFrozen,
    /// Signals of more than a second ago are removed: whoever stands below begins anew.
    Pruned,
}

const ON_SQLITE: &[Fault] = &[
    Fault::ServerKilled,
    Fault::ServerKilled,
    Fault::ServerFrozen,
    Fault::RollingRestart,
    Fault::ClockBack,
    Fault::ClockForward,
    Fault::Pruned,
];

/// Those of a PostgreSQL, and these.
const ON_NATS: &[Fault] = &[
    Fault::NatsKilled,
    Fault::NatsKilled,
    Fault::NatsFrozen,
    Fault::NatsFrozen,
    Fault::Pruned,
    Fault::Pruned,
];

const ON_POSTGRES: &[Fault] = &[
    Fault::ServerKilled,
    Fault::ServerFrozen,
    Fault::FrozenBeforeCommit,
    Fault::FrozenAndCut,
    Fault::RollingRestart,
    Fault::ClockBack,
    Fault::ClockForward,
    Fault::DatabaseKilled,
    Fault::DatabaseStopped,
    Fault::DatabaseFrozen,
    Fault::ConnectionsCut,
    Fault::ConnectionsCut,
    Fault::Partitioned,
    Fault::AnswersLost,
    Fault::AnswersLost,
    Fault::AnswersLost,
    Fault::CommitsSwallowed,
    Fault::CommitsDelayed,
    Fault::LinkFrozen,
    Fault::LinkSlow,
    Fault::LinkSlow,
];

pub(super) type Counts = Arc<std::sync::Mutex<BTreeMap<Fault, usize>>>;

/// Breaks one thing after the other until it is stopped; what it broke last is mended then.
pub(super) async fn keep_breaking(
    world: Arc<World>,
    mut chance: Chance,
    counts: Counts,
    stop: CancellationToken,
) {
    let faults = match world.setup {
        Setup::Sqlite => ON_SQLITE.to_vec(),
        // Here nothing is pruned, so that whole logs can be read at the end.
        Setup::Postgres => ON_POSTGRES.to_vec(),
        Setup::Nats => [ON_POSTGRES, ON_NATS].concat(),
    };
    // Each kind once before any comes again, so that a short run has most of them.
    let mut left: Vec<Fault> = Vec::new();
    loop {
        let pause = Duration::from_millis(300 + chance.below(1_500) as u64);
        if stop.run_until_cancelled(sleep(pause)).await.is_none() {
            return;
        }
        if left.is_empty() {
            left.clone_from(&faults);
        }
        let fault = left.swap_remove(chance.below(left.len()));
        if cause(&world, fault, &mut chance).await {
            *counts.lock().unwrap().entry(fault).or_default() += 1;
        }
    }
}

/// Causes one fault, and mends it. Not where another is at the same thing.
async fn cause(world: &World, fault: Fault, chance: &mut Chance) -> bool {
    let server = &world.servers[chance.below(world.servers.len())];
    let mut while_within = |least: usize, most: usize| {
        Duration::from_millis((least + chance.below(most - least)) as u64)
    };
    match fault {
        Fault::ServerKilled => {
            let Ok(mut place) = server.process.try_lock() else {
                return false;
            };
            place
                .take()
                .into_iter()
                .for_each(crate::harness::process::Process::kill);
            sleep(while_within(1, 1_000)).await;
            drop(place);
            server.start().await;
            true
        }
        Fault::ServerFrozen => freeze(server, while_within(500, 4_000)).await,
        Fault::FrozenBeforeCommit | Fault::FrozenAndCut => {
            let Some(proxy) = &server.proxy else {
                return false;
            };
            proxy.hold();
            let is_held = timeout(Duration::from_secs(2), held(proxy)).await.is_ok();
            let frozen = async {
                sleep(while_within(100, 1_500)).await;
                if fault == Fault::FrozenAndCut {
                    proxy.cut();
                }
                proxy.release();
            };
            let (did, ()) = tokio::join!(freeze(server, Duration::from_millis(2_500)), frozen);
            did && is_held
        }
        Fault::RollingRestart => {
            for server in &world.servers {
                let mut place = server.process.lock().await;
                if let Some(process) = place.as_mut() {
                    process.signal("TERM");
                    process.ended().await;
                }
                *place = None;
                drop(place);
                server.start().await;
            }
            true
        }
        Fault::ClockBack => {
            server.set_clock(-i64::try_from(1 + chance.below(600)).unwrap());
            true
        }
        Fault::ClockForward => {
            server.set_clock(i64::try_from(chance.below(600)).unwrap());
            true
        }
        Fault::DatabaseKilled | Fault::DatabaseStopped | Fault::DatabaseFrozen => {
            disturb_database(world, fault, while_within(1, 2_500)).await
        }
        Fault::NatsKilled | Fault::NatsFrozen => {
            let time = while_within(200, 2_200);
            disturb_nats(world, fault, chance.below(NATS_NODES), time).await
        }
        Fault::Pruned => world.prune().await,
        Fault::ConnectionsCut
        | Fault::Partitioned
        | Fault::AnswersLost
        | Fault::CommitsSwallowed
        | Fault::CommitsDelayed
        | Fault::LinkFrozen
        | Fault::LinkSlow => {
            let Some(proxy) = &server.proxy else {
                return false;
            };
            let time = while_within(200, 2_500);
            disturb(proxy, fault, 1 + chance.below(4), time).await;
            true
        }
    }
}

/// Ends the PostgreSQL or freezes it, for a while.
async fn disturb_database(world: &World, fault: Fault, time: Duration) -> bool {
    let Some(Ok(mut postgres)) = world.postgres.as_ref().map(Mutex::try_lock) else {
        return false;
    };
    let how = match fault {
        Fault::DatabaseKilled => Stop::Kill,
        Fault::DatabaseStopped => Stop::Immediate,
        _ => {
            postgres.pause();
            sleep(time).await;
            postgres.resume();
            return true;
        }
    };
    world.keep_log(&postgres);
    postgres.stop(how).await;
    sleep(time / 2).await;
    postgres.start().await;
    true
}

/// Ends a NATS server or freezes it, for a while.
async fn disturb_nats(world: &World, fault: Fault, node: usize, time: Duration) -> bool {
    let Some(Ok(mut nats)) = world.nats.as_ref().map(Mutex::try_lock) else {
        return false;
    };
    if fault == Fault::NatsKilled {
        nats.kill(node);
        sleep(time).await;
        nats.revive(node).await;
    } else {
        nats.freeze(node);
        sleep(time).await;
        nats.thaw(node);
    }
    true
}

async fn disturb(proxy: &Proxy, fault: Fault, times: usize, time: Duration) {
    match fault {
        Fault::ConnectionsCut => {
            for _ in 0..times {
                proxy.cut();
                sleep(time / 20).await;
            }
        }
        Fault::Partitioned => {
            proxy.close();
            sleep(time).await;
            proxy.open();
        }
        Fault::AnswersLost => proxy.lose_answers(times),
        Fault::CommitsSwallowed => proxy.swallow(times),
        Fault::CommitsDelayed => {
            proxy.hold();
            sleep(time).await;
            proxy.release();
        }
        Fault::LinkFrozen => {
            proxy.freeze();
            sleep(time).await;
            proxy.thaw();
        }
        _ => {
            proxy.lag(20);
            sleep(time).await;
            proxy.lag(0);
        }
    }
}

/// Waits until a COMMIT waits in the proxy.
async fn held(proxy: &Proxy) {
    while proxy.held() == 0 {
        sleep(Duration::from_millis(2)).await;
    }
}

/// Stops a server for a while, where nobody else is at it.
async fn freeze(server: &Server, time: Duration) -> bool {
    let Ok(place) = server.process.try_lock() else {
        return false;
    };
    let Some(process) = place.as_ref() else {
        return false;
    };
    process.signal("STOP");
    sleep(time).await;
    process.signal("CONT");
    true
}

/// Mends everything.
pub(super) async fn heal(world: &World) {
    for server in &world.servers {
        if let Some(proxy) = &server.proxy {
            proxy.heal();
        }
        server.set_clock(0);
        server.start().await;
    }
}
