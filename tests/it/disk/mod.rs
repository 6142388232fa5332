//! SQLite as good as its word: the power fails, the disk is full, the file is held, or may not be written.

mod faults;
mod image;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use directmessages::chat::{Store, StoreOptions};
use sea_orm::{ConnectionTrait as _, Statement};

use self::image::{Deed, Recording, Unsynced, recorder};
use crate::{
    harness::{
        SECRET,
        chance::Chance,
        database::{Kind, TestDatabase, connect, folder},
        process::{Process, program},
        recount::recount,
        server::unlimited,
        user::User,
    },
    support::free_port,
};

/// Who sends at one time, and how much each: together more than the 4,000 pages after which SQLite moves its log into the
/// database.
const SENDERS: usize = 3;
const MESSAGES: usize = 180;

/// A server whose writes are recorded.
struct Recorded {
    process: Process,
    log: PathBuf,
    /// While this file exists, nothing can be stored.
    full: PathBuf,
    library: PathBuf,
}

impl Recorded {
    async fn serve(database: &TestDatabase, flags: &[&str]) -> Self {
        let (log, full) = (beside(database, ".record"), beside(database, ".full"));
        let listen = format!("127.0.0.1:{}", free_port());
        let mut arguments = vec!["serve", "--listen", &listen, "--jwt-secret", SECRET];
        arguments.extend(["--database-url", &database.url]);
        arguments.extend(flags);
        arguments.extend(unlimited(flags));
        let library = recorder();
        let mut command = program(&arguments);
        command
            .env("LD_PRELOAD", &library)
            .env("RECORD_DATABASE", file_of(database))
            .env("RECORD_LOG", &log)
            .env("RECORD_FULL", &full);
        let process = Process::start(command, listen.parse().unwrap());
        process.ready().await;
        Self {
            process,
            log,
            full,
            library,
        }
    }

    /// Kills it, and takes away what recorded it.
    fn kill(self) {
        self.process.kill();
        for file in [self.log, self.full, self.library] {
            let _ = std::fs::remove_file(file);
        }
    }
}

fn file_of(database: &TestDatabase) -> PathBuf {
    folder().join(&database.name)
}

fn beside(database: &TestDatabase, suffix: &str) -> PathBuf {
    folder().join(format!("{}{suffix}", database.name))
}

/// A message that takes several pages.
fn content(sender: usize, number: usize) -> String {
    format!("{sender}-{number} {}", "\u{1f980}".repeat(3_900))
}

/// Sends one by one. Returns each one's client id with how long the recording was when it was acknowledged.
async fn send_all(from: User, to: User, sender: usize, log: PathBuf) -> Vec<(String, usize)> {
    let mut acknowledged = Vec::new();
    for number in 0..MESSAGES {
        let id = format!("{sender}-{number}");
        let sent = from.send_as(&to, &content(sender, number), &id).await;
        sent.unwrap();
        let length = std::fs::metadata(&log).unwrap().len();
        acknowledged.push((id, usize::try_from(length).unwrap()));
    }
    acknowledged
}

/// What one image holds: it opens, everything in it is right, and each sender's messages are there from the first on.
async fn examine(image: &[Vec<u8>; 2], name: &Path) -> BTreeSet<String> {
    let log = PathBuf::from(format!("{}-wal", name.display()));
    std::fs::write(name, &image[0]).unwrap();
    std::fs::write(&log, &image[1]).unwrap();
    let url = format!("sqlite:{}", name.display());
    let options = StoreOptions {
        url: url.parse().unwrap(),
        readers: 1,
        writers: 1,
        acquire_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(10),
        name_life: Duration::from_secs(2),
        sqlite_full_sync: false,
        pooled: false,
    };
    let store = Store::open(&options).await.unwrap();
    let mut wrong = Vec::new();
    let verified = store.verify(false, |finding| wrong.push(finding.clone()));
    verified.await.unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
    store.close().await;
    let db = connect(&url).await;
    recount(&db).await;
    let sql = Statement::from_string(
        db.get_database_backend(),
        "SELECT client_message_id FROM message",
    );
    let rows = db.query_all_raw(sql).await.unwrap();
    let ids = rows.iter().map(|row| row.try_get_by_index(0).unwrap());
    let ids: BTreeSet<String> = ids.collect();
    db.close().await.unwrap();
    let mut of_sender: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for id in &ids {
        let (sender, number) = id.split_once('-').unwrap();
        let numbers = of_sender.entry(sender).or_default();
        numbers.insert(number.parse().unwrap());
    }
    for (sender, numbers) in of_sender {
        let from_the_first = numbers.iter().copied().eq(0..numbers.len());
        assert!(from_the_first, "of sender {sender}: {numbers:?}");
    }
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", name.display()));
    }
    ids
}

/// The moments at which the power fails: any, while the log is moved into the database, when it begins anew, and just before
/// something becomes durable.
fn moments(recording: &Recording, chance: &mut Chance) -> Vec<usize> {
    let records = &recording.records;
    let places = |wanted: &dyn Fn(usize) -> bool| -> Vec<usize> {
        (0..records.len()).filter(|at| wanted(*at)).collect()
    };
    let moved = places(&|at| records[at].file == 0 && records[at].deed == Deed::Write);
    let anew = places(&|at| records[at].file == 1 && records[at].offset == 0);
    let synced = places(&|at| records[at].deed == Deed::Synced);
    assert!(
        moved.len() > 1_000 && anew.len() > 1,
        "the log was moved into the database: {} pages, {} times",
        moved.len(),
        anew.len()
    );
    let mut moments = vec![records.len()];
    for (places, count) in [(&moved, 8), (&anew, 4), (&synced, 10)] {
        moments.extend((0..count).map(|_| places[chance.below(places.len())]));
    }
    moments.extend((0..10).map(|_| chance.below(records.len())));
    moments
}

/// Lets the power fail again and again, and returns in how many images something acknowledged was missing.
async fn fail(synchronous: &str) -> (usize, usize) {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let before = std::fs::read(file_of(&database)).unwrap();
    let server = Recorded::serve(&database, &["--sqlite-synchronous", synchronous]).await;
    let to = server.process.user("to").await;
    let mut sending = Vec::new();
    for sender in 0..SENDERS {
        let from = server.process.user(&format!("sender {sender}")).await;
        let log = server.log.clone();
        sending.push(tokio::spawn(send_all(from, to.clone(), sender, log)));
    }
    let mut acknowledged = Vec::new();
    for sending in sending {
        acknowledged.extend(sending.await.unwrap());
    }
    let recording = Recording::read(&server.log, before);
    server.kill();
    let mut chance = Chance::fresh();
    let moments = moments(&recording, &mut chance);
    let (images, mut losing) = (moments.len(), 0);
    for (number, moment) in moments.into_iter().enumerate() {
        let unsynced = [Unsynced::None, Unsynced::Some, Unsynced::Torn][number % 3];
        let image = recording.image(moment, unsynced, &mut chance);
        let name = beside(&database, &format!(".image{number}"));
        let held = examine(&image, &name).await;
        let length = match moment {
            0 => 0,
            _ => recording.records[moment - 1].end,
        };
        let due = acknowledged.iter().filter(|(_, at)| *at <= length);
        losing += usize::from(due.clone().any(|(id, _)| !held.contains(id)));
    }
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(beside(&database, suffix));
    }
    (images, losing)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_power_failure_everything_acknowledged_is_there() {
    let (images, losing) = fail("full").await;
    assert_eq!(losing, 0, "of {images} images");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_full_sync_the_last_messages_may_be_gone_and_nothing_else() {
    let (images, losing) = fail("normal").await;
    assert!(
        losing > 0,
        "of {images} images none lacks anything: is `normal` not faster?"
    );
}
