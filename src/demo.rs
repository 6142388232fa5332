//! What `dev` shows: a key, a few users, and a history that somebody might believe.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    chat::{self, Chat, Clock, Store, Subject, Username, user_id},
    config::{Bounds, Database},
    signals::Hints,
};

/// The demo's users: id and name.
pub const USERS: [(&str, &str); 5] = [
    ("ann", "Ann"),
    ("ben", "Ben"),
    ("chloe", "Chloé"),
    ("daniel", "Daniel"),
    ("emeka", "Emeka"),
];

/// Minutes before now, sender, recipient and text (`\n` is a new line), by tabs. What is older than the recipient's last
/// answer was read.
const HISTORY: &str = include_str!("demo/history.tsv");

/// The demo's key: made once, kept in its folder, readable by its owner only.
///
/// # Errors
/// Where the folder or the file cannot be made or read.
pub fn secret(folder: &Path) -> io::Result<String> {
    create_folder(folder)?;
    let file = folder.join("jwt-secret");
    match fs::read_to_string(&file) {
        Ok(secret) if secret.trim().len() >= 32 => return Ok(secret.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    io::Write::write_all(&mut options.open(&file)?, secret.as_bytes())?;
    Ok(secret)
}

/// Creates the demo's folder where it is missing, for its owner only.
fn create_folder(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        // A umask may have taken more away.
        Ok(()) => fs::set_permissions(folder, fs::Permissions::from_mode(0o700)),
        Err(_) if folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Brings in the users, and what is missing of the history, through the same rules as everything else.
///
/// # Errors
/// Where the database does not take them.
pub async fn seed(store: &Store, database: &Database, bounds: &Bounds) -> Result<(), chat::Error> {
    let now = Clock::system().now();
    let time = Arc::new(AtomicI64::new(now));
    let clock = Clock::from_fn({
        let time = time.clone();
        move || time.load(Ordering::Relaxed)
    });
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let chat = Chat::start(
        store.clone(),
        Hints::local(),
        clock,
        bounds.limits(),
        &database.writer_options(bounds),
        &tasks,
        &stop,
    );
    let told = tell(&chat, now, &time).await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    told
}

async fn tell(chat: &Chat, now: i64, time: &AtomicI64) -> Result<(), chat::Error> {
    let users = USERS
        .iter()
        .map(|(id, name)| {
            Ok((
                Subject::parse((*id).to_owned())?,
                Username::parse((*name).to_owned())?,
            ))
        })
        .collect::<Result<Vec<_>, chat::Error>>()?;
    chat.upsert(&users).await?;
    // How many messages each conversation has, and how many of them the history has told of up to a line: a start that was
    // stopped has left a part, and a message of somebody's own comes after the whole.
    let mut counts = HashMap::new();
    for (minutes, sender, recipient, text) in HISTORY.lines().filter_map(told_line) {
        let pair = (sender.min(recipient), sender.max(recipient));
        let sender = user_id(sender);
        let (stored, told) = match counts.entry(pair) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert((stored(chat, sender, recipient).await?, 0)),
        };
        *told += 1;
        if told <= stored {
            continue;
        }
        time.store(now - minutes * 60_000, Ordering::Relaxed);
        // Whoever answers has read.
        chat.read_conversation(sender, recipient, None).await?;
        chat.send(sender, recipient, text, None).await?;
    }
    Ok(())
}

/// How many messages these two have written: they are numbered from 1.
async fn stored(chat: &Chat, sender: Uuid, recipient: &str) -> Result<i64, chat::Error> {
    let partner = chat.partner(sender, recipient).await?;
    let last_message = partner.and_then(|partner| partner.last_message);
    Ok(last_message.map_or(0, |message| message.id.seq))
}

fn told_line(line: &str) -> Option<(i64, &str, &str, String)> {
    let mut fields = line.splitn(4, '\t');
    let minutes = fields.next()?.parse().ok()?;
    Some((
        minutes,
        fields.next()?,
        fields.next()?,
        fields.next()?.replace("\\n", "\n"),
    ))
}
