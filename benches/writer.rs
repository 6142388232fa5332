//! How fast messages are stored: the writer's group commit beside one `SeaORM` transaction per message, in one run.
//!
//! `cargo bench` prints, for each database and number of callers, durable sends per second with p50 and p99: of one
//! transaction each, of one server's writer, and of two servers on one database. Every send
//! stores one message, both users' signals and both sides' counters. PostgreSQL runs with fsync on, SQLite with
//! synchronous = FULL. `cargo bench -- --seconds 10` measures longer.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails may stop")]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use directmessages::{
    chat::{
        Chat, Clock, Limits, Store, StoreOptions, Subject, Username, WriterOptions,
        conversation_id, user_id,
    },
    config::Bus,
    signals::Hints,
};
use entity::{conversation_partner, inbox, message, signal};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DatabaseConnection, DbBackend, DbErr, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, Set, SqliteTransactionMode,
    TransactionOptions, TransactionTrait as _,
    sea_query::{Expr, ExprTrait as _, OnConflict},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

/// Enough users that callers rarely meet by chance, few enough that they do meet.
const USERS: usize = 10_000;

#[tokio::main]
async fn main() {
    let seconds = std::env::args()
        .skip_while(|argument| argument != "--seconds")
        .nth(1)
        .map_or(4, |seconds| seconds.parse().unwrap());
    let time = Duration::from_secs(seconds);
    println!("database    callers  writer              messages/s   p50 ms   p99 ms   ratio");
    let postgres = support::Guard::postgres(true);
    let folder = support::Guard::folder();
    for callers in [32, 256] {
        let url = postgres.url("postgres");
        measure("PostgreSQL", &url, callers, time).await;
        let url = format!("sqlite:{}/{callers}.db", folder.path().display());
        measure("SQLite", &url, callers, time).await;
    }
}

async fn measure(database: &str, url: &str, callers: usize, time: Duration) {
    let servers = [Server::start(url).await, Server::start(url).await];
    let users: Vec<_> = (0..USERS)
        .map(|user| {
            let name = name(user);
            (
                Subject::parse(name.clone()).unwrap(),
                Username::parse(name).unwrap(),
            )
        })
        .collect();
    servers[0].chat.upsert(&users).await.unwrap();
    let db = baseline_connection(url).await;
    let alone = db.clone();
    let baseline = run(callers, time, move |sender, recipient| {
        let db = alone.clone();
        async move {
            let (sender, recipient) = (name(sender), name(recipient));
            send_alone(&db, user_id(&sender), user_id(&recipient))
                .await
                .unwrap();
        }
    })
    .await;
    print(database, callers, "one transaction each", &baseline, None);
    for (what, servers) in [("group commit", &servers[..1]), ("two servers", &servers)] {
        let chats: Vec<Chat> = servers.iter().map(|server| server.chat.clone()).collect();
        let grouped = run(callers, time, move |sender, recipient| {
            // Every user stays at one server, and writes to users of all.
            let chat = chats[sender % chats.len()].clone();
            async move {
                let (sender, recipient) = (name(sender), name(recipient));
                chat.send(user_id(&sender), &recipient, CONTENT.to_owned(), None)
                    .await
                    .unwrap();
            }
        })
        .await;
        print(database, callers, what, &grouped, Some(&baseline));
    }
    db.close().await.unwrap();
    for server in servers {
        server.stop().await;
    }
}

fn name(user: usize) -> String {
    format!("user-{user}")
}

/// What a server has below its HTTP.
struct Server {
    chat: Chat,
    store: Store,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Server {
    async fn start(url: &str) -> Self {
        let store = Store::open(&StoreOptions {
            url: url.parse().unwrap(),
            readers: 32,
            writers: 2,
            acquire_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(30),
            name_life: Duration::from_secs(2),
            sqlite_full_sync: true,
            pooled: false,
        })
        .await
        .unwrap();
        store.migrate().await.unwrap();
        let tasks = TaskTracker::new();
        let shutdown = CancellationToken::new();
        let options = WriterOptions {
            batch: 512,
            queue: 4_096,
            timeout: Duration::from_secs(10),
            writers: 2,
        };
        let bus = Bus::default().bus_options();
        let hints = match store_backend(url) {
            DbBackend::Postgres => Hints::over_postgres(&[url.to_owned()], bus, &tasks, &shutdown),
            _ => Hints::local(),
        };
        let limits = Limits {
            lookup: directmessages::chat::UserLookup::Anyone,
            misses: 0,
            content: 4_000,
            upsert: 10_000,
        };
        let chat = Chat::start(
            store.clone(),
            hints,
            Clock::system(),
            limits,
            &options,
            &tasks,
            &shutdown,
        );
        Self {
            chat,
            store,
            tasks,
            shutdown,
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        drop(self.chat);
        self.store.close().await;
    }
}

const CONTENT: &str = "Shall we meet at the fountain at eight, or is that too late for you?";

struct Measured {
    per_second: f64,
    latencies: Vec<Duration>,
}

async fn run<F>(
    callers: usize,
    time: Duration,
    send: impl Fn(usize, usize) -> F + Clone + Send + 'static,
) -> Measured
where
    F: Future<Output = ()> + Send,
{
    let over = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let callers: Vec<_> = (0..callers)
        .map(|caller| {
            let (over, send) = (over.clone(), send.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                let mut turn = caller;
                while !over.load(Ordering::Relaxed) {
                    // A cheap walk over the pairs: the same in every run, and never oneself.
                    turn = turn
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let (sender, step) = ((turn >> 33) % USERS, (turn >> 20) % (USERS - 1) + 1);
                    let recipient = (sender + step) % USERS;
                    let start = Instant::now();
                    send(sender, recipient).await;
                    latencies.push(start.elapsed());
                }
                latencies
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    over.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for caller in callers {
        latencies.extend(caller.await.unwrap());
    }
    let elapsed = started.elapsed();
    latencies.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "a count of messages")]
    let per_second = latencies.len() as f64 / elapsed.as_secs_f64();
    Measured {
        per_second,
        latencies,
    }
}

fn print(
    database: &str,
    callers: usize,
    writer: &str,
    measured: &Measured,
    baseline: Option<&Measured>,
) {
    let at = |percent: usize| {
        measured.latencies[measured.latencies.len() * percent / 100].as_secs_f64() * 1e3
    };
    let ratio = baseline.map_or(String::new(), |baseline| {
        format!("{:.1} x", measured.per_second / baseline.per_second)
    });
    println!(
        "{database:<11} {callers:>7}  {writer:<20}{:>10.0} {:>8.2} {:>8.2} {ratio:>7}",
        measured.per_second,
        at(50),
        at(99)
    );
}

fn store_backend(url: &str) -> DbBackend {
    url.parse::<directmessages::chat::DatabaseUrl>()
        .unwrap()
        .backend()
}

async fn baseline_connection(url: &str) -> DatabaseConnection {
    let sqlite = store_backend(url) == DbBackend::Sqlite;
    let mut options = sea_orm::ConnectOptions::new(url);
    options
        .max_connections(if sqlite { 1 } else { 32 })
        .acquire_timeout(Duration::from_mins(1))
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(|options| {
            options
                .journal_mode(sea_orm::sqlx::sqlite::SqliteJournalMode::Wal)
                .synchronous(sea_orm::sqlx::sqlite::SqliteSynchronous::Full)
                .busy_timeout(Duration::from_secs(30))
        });
    sea_orm::Database::connect(options).await.unwrap()
}

/// The same work for one message, as it is ordinarily written: one transaction, entity by entity, both inboxes locked.
async fn send_alone(db: &DatabaseConnection, sender: Uuid, recipient: Uuid) -> Result<(), DbErr> {
    let tx = db
        .begin_with_options(TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        })
        .await?;
    let mut find = inbox::Entity::find()
        .filter(inbox::Column::UserId.is_in([sender, recipient]))
        .order_by_asc(inbox::Column::UserId);
    if tx.get_database_backend() == DbBackend::Postgres {
        find = find.lock_exclusive();
    }
    let inboxes = find.all(&tx).await?;
    let position = |user| {
        1 + inboxes
            .iter()
            .find(|inbox| inbox.user_id == user)
            .unwrap()
            .last_position
    };
    let conversation = conversation_id(sender, recipient);
    let side = conversation_partner::Entity::find_by_id((sender, recipient))
        .one(&tx)
        .await?;
    let seq = side.map_or(0, |side| side.last_seq) + 1;
    let now = Clock::system().now();
    message::Entity::insert(message::ActiveModel {
        conversation_id: Set(conversation),
        seq: Set(seq),
        sender_id: Set(sender),
        recipient_id: Set(recipient),
        content: Set(CONTENT.to_owned()),
        sent_at: Set(now),
        read_at: Set(None),
        client_message_id: Set(Uuid::new_v4().to_string()),
        recipient_position: Set(position(recipient)),
    })
    .exec_without_returning(&tx)
    .await?;
    for (user, partner, unread) in [(sender, recipient, 0), (recipient, sender, 1)] {
        signal::Entity::insert(signal::ActiveModel {
            user_id: Set(user),
            position: Set(position(user)),
            kind: Set(signal::Kind::Sent),
            conversation_id: Set(conversation),
            seq: Set(seq),
            created_at: Set(now),
        })
        .exec_without_returning(&tx)
        .await?;
        conversation_partner::Entity::insert(conversation_partner::ActiveModel {
            user_id: Set(user),
            partner_id: Set(partner),
            conversation_id: Set(conversation),
            last_seq: Set(seq),
            last_position: Set(position(user)),
            unread_count: Set(unread),
            read_seq: Set(0),
        })
        .on_conflict(
            OnConflict::columns([
                conversation_partner::Column::UserId,
                conversation_partner::Column::PartnerId,
            ])
            .update_columns([
                conversation_partner::Column::LastSeq,
                conversation_partner::Column::LastPosition,
            ])
            .value(
                conversation_partner::Column::UnreadCount,
                Expr::col((
                    conversation_partner::Entity,
                    conversation_partner::Column::UnreadCount,
                ))
                .add(unread),
            )
            .to_owned(),
        )
        .exec_without_returning(&tx)
        .await?;
        inbox::Entity::update_many()
            .col_expr(
                inbox::Column::LastPosition,
                Expr::col(inbox::Column::LastPosition).add(1),
            )
            .col_expr(
                inbox::Column::UnreadCount,
                Expr::col(inbox::Column::UnreadCount).add(unread),
            )
            .filter(inbox::Column::UserId.eq(user))
            .exec(&tx)
            .await?;
    }
    tx.commit().await
}
