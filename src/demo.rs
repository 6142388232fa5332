//! What `dev` shows: a key, a few users, and a history that somebody might believe.

use std::{
    fs, io,
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

/// Minutes before now, sender, recipient, text. What is older than the recipient's last answer was read.
const HISTORY: [(i64, &str, &str, &str); 26] = [
    (4_330, "ann", "ben", "Hi Ben! Are you coming on Saturday?"),
    (4_322, "ben", "ann", "Of course. Shall I bring the tent?"),
    (4_321, "ann", "ben", "Please do. Ours leaks 🙈"),
    (4_310, "ben", "ann", "And who drives?"),
    (4_305, "ann", "ben", "Chloé has the van. I'll ask her."),
    (
        4_300,
        "ann",
        "chloe",
        "Salut Chloé, could you take three of us on Saturday?",
    ),
    (
        4_120,
        "chloe",
        "ann",
        "Bien sûr ! Departure at eight, sharp 😄",
    ),
    (4_115, "ann", "chloe", "Perfect, thank you!"),
    (
        4_110,
        "ann",
        "ben",
        "Chloé drives. Eight o'clock at the fountain.",
    ),
    (4_090, "ben", "ann", "👍"),
    (
        2_890,
        "daniel",
        "ann",
        "Could you look over the minutes before I send them round?",
    ),
    (
        2_700,
        "ann",
        "daniel",
        "Done. Two typos on the second page, otherwise fine.",
    ),
    (2_695, "daniel", "ann", "You are a star."),
    (
        1_500,
        "emeka",
        "ben",
        "Ben, the projector is free on Thursday.",
    ),
    (1_490, "ben", "emeka", "Great, I take it. Until noon?"),
    (1_488, "emeka", "ben", "Until noon."),
    (1_440, "chloe", "daniel", "Do you still have my umbrella?"),
    (
        1_400,
        "daniel",
        "chloe",
        "It stands in my office, dry and lonely ☂️",
    ),
    (190, "ben", "ann", "I found the tent. One pole is missing."),
    (185, "ann", "ben", "My brother has spare ones, I'll ask."),
    (180, "ben", "ann", "Thanks!"),
    (95, "chloe", "ann", "Is it all right if my sister joins us?"),
    (60, "emeka", "ann", "صباح الخير Ann! Lunch today?"),
    (
        58,
        "emeka",
        "ann",
        "The new place on the corner has opened.",
    ),
    (31, "ben", "ann", "Any news of the pole?"),
    (12, "chloe", "ann", "She brings cake 🍰"),
];

/// The demo's key: made once, kept in its folder, readable by its owner only.
///
/// # Errors
/// Where the folder or the file cannot be made or read.
pub fn secret(folder: &Path) -> io::Result<String> {
    fs::create_dir_all(folder)?;
    let file = folder.join("jwt-secret");
    match fs::read_to_string(&file) {
        Ok(secret) if secret.trim().len() >= 32 => return Ok(secret.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    io::Write::write_all(&mut options.open(&file)?, secret.as_bytes())?;
    Ok(secret)
}

/// Brings in the users, and the history where they have none, through the same rules as everything else.
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
    if chat.user(USERS[0].0).await?.is_some() {
        return Ok(());
    }
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
    for (minutes, sender, recipient, text) in HISTORY {
        time.store(now - minutes * 60_000, Ordering::Relaxed);
        let sender = user_id(sender);
        // Whoever answers has read.
        chat.read_conversation(sender, recipient, None).await?;
        chat.send(sender, recipient, text.to_owned(), None).await?;
    }
    Ok(())
}
