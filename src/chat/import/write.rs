//! One transaction for a whole file.

use std::collections::{BTreeMap, HashMap};

use entity::message;
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbErr};
use uuid::Uuid;

use super::{
    ImportError, Summary,
    history::{History, Person, Side, Tally},
};
use crate::chat::{
    Store, Username,
    error::Trouble,
    inbox::{self, Locking},
    rows::{Rows, Writes},
    store::Patience,
    user_id,
    writer::insert_messages,
};

/// The most rows in one statement.
const CHUNK: usize = 2_000;
/// The most bytes of content in one statement, unless a single message is longer.
const CHUNK_BYTES: usize = 4 << 20;

pub(super) async fn store(
    store: &Store,
    mut history: History,
    now: i64,
    mut progress: impl FnMut(u64, u64) + Send,
) -> Result<Summary, ImportError> {
    let total = history.lines.len();
    progress(0, total as u64);
    if total == 0 {
        return Ok(summary(&history, 0));
    }
    let tx = store.begin(Patience::OPERATOR).await?;
    let new_users = insert_people(&tx, &history.people, now).await?;
    // Every inbox that is written to: the writers' rule.
    let people = history.people.iter().map(|person| person.id);
    inbox::lock(&tx, people, Locking::Wait).await?;
    find_ends(&tx, &mut history).await?;
    history.check_newer().map_err(ImportError::Faults)?;
    let summary = summary(&history, new_users);
    let positions = write_inboxes(&tx, &history).await?;
    let (mut messages, sides) = history.number(positions);
    // In the order of the table, which is the order in which a large file is written fastest.
    messages.sort_unstable_by_key(|message| (message.conversation_id, message.seq));
    let mut rest = messages.as_slice();
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(chunk_length(rest));
        Writes::from(insert_messages(chunk)).execute(&tx).await?;
        rest = after;
        progress((total - rest.len()) as u64, total as u64);
    }
    write_sides(&tx, &sides).await?;
    tx.commit()
        .await
        .map_err(|error| match Trouble::of(&error) {
            Trouble::Away => ImportError::Unanswered(error),
            Trouble::Busy | Trouble::Slow | Trouble::Conflict | Trouble::Full | Trouble::Defect => {
                ImportError::Database(error)
            }
        })?;
    Ok(summary)
}

fn summary(history: &History, new_users: u64) -> Summary {
    Summary {
        messages: history.lines.len() as u64,
        conversations: history.conversations.len() as u64,
        users: history.people.len() as u64,
        new_users,
    }
}

/// Users and inboxes that are not there yet, in the order of their ids, which is everybody's: two that insert the same
/// ones cannot deadlock. This comes before the locks, and waits for nobody who holds one. Answers with how many are new.
async fn insert_people(
    tx: &DatabaseTransaction,
    people: &[Person],
    now: i64,
) -> Result<u64, DbErr> {
    let by_id: BTreeMap<Uuid, &str> = people
        .iter()
        .map(|person| (person.id, person.subject.as_str()))
        .collect();
    let by_id: Vec<(Uuid, &str)> = by_id.into_iter().collect();
    let mut new_users = 0;
    for chunk in by_id.chunks(CHUNK) {
        let subjects = || chunk.iter().map(|(_, subject)| (*subject).to_owned());
        let statement = Rows::default()
            .uuids("id", chunk.iter().map(|(id, _)| *id))
            .texts("subject", subjects())
            .texts("username", subjects().map(|subject| stand_in(&subject)))
            .integers("created_at", chunk.iter().map(|_| now))
            .statement(
                tx.get_database_backend(),
                "INSERT INTO \"user\" (id, subject, username, named_at, created_at) \
                 SELECT id, subject, username, 0, created_at FROM {rows} WHERE true ORDER BY id \
                 ON CONFLICT (id) DO NOTHING",
            );
        new_users += tx.execute_raw(statement).await?.rows_affected();
    }
    for chunk in by_id.chunks(CHUNK) {
        let statement = Rows::default()
            .uuids("user_id", chunk.iter().map(|(id, _)| *id))
            .statement(
                tx.get_database_backend(),
                "INSERT INTO inbox (user_id, last_position, log_floor, unread_count) \
                 SELECT user_id, 0, 0, 0 FROM {rows} WHERE true ORDER BY user_id \
                 ON CONFLICT (user_id) DO NOTHING",
            );
        tx.execute_raw(statement).await?;
    }
    Ok(new_users)
}

/// The name of a user who is only named by an id.
fn stand_in(subject: &str) -> String {
    let username = Username::stand_in(subject);
    if username.as_str() != subject {
        tracing::warn!(
            user = %user_id(subject),
            "a user's id holds control characters, or some that change the direction of text: its name is without them"
        );
    }
    username.as_str().to_owned()
}

/// Where each conversation stands, read under the locks.
async fn find_ends(tx: &DatabaseTransaction, history: &mut History) -> Result<(), DbErr> {
    for first in (0..history.conversations.len()).step_by(CHUNK) {
        let chunk = (first..).zip(&history.conversations[first..]).take(CHUNK);
        let user = |side: usize| {
            let people = &history.people;
            chunk.clone().map(move |(_, c)| people[c.users[side]].id)
        };
        let statement = Rows::default()
            .integers("n", chunk.clone().map(|(index, _)| as_i64(index)))
            .uuids("user_id", user(0))
            .uuids("partner_id", user(1))
            .statement(
                tx.get_database_backend(),
                "SELECT r.n, m.seq, m.sent_at FROM {rows} \
                 JOIN conversation_partner p ON p.user_id = r.user_id AND p.partner_id = r.partner_id \
                 JOIN message m ON m.conversation_id = p.conversation_id AND m.seq = p.last_seq",
            );
        for row in tx.query_all_raw(statement).await? {
            let index: i64 = row.try_get("", "n")?;
            let index = usize::try_from(index).expect("an index that we sent");
            let conversation = &mut history.conversations[index];
            conversation.last_seq = row.try_get("", "seq")?;
            conversation.last_sent_at = Some(row.try_get("", "sent_at")?);
        }
    }
    Ok(())
}

/// Moves every log to its new end, where it begins anew. Answers with where each of the `people` stood before.
async fn write_inboxes(
    tx: &DatabaseTransaction,
    history: &History,
) -> Result<Vec<i64>, ImportError> {
    let tallies = history.tallies();
    let entries: Vec<_> = history.people.iter().zip(&tallies).collect();
    let mut ends: HashMap<Uuid, i64> = HashMap::new();
    for chunk in entries.chunks(CHUNK) {
        let statement = Rows::default()
            .uuids("user_id", chunk.iter().map(|(person, _)| person.id))
            .integers("positions", chunk.iter().map(|(_, tally)| tally.positions))
            .integers("unread", chunk.iter().map(|(_, tally)| tally.unread))
            .statement(
                tx.get_database_backend(),
                "UPDATE inbox SET last_position = inbox.last_position + r.positions, \
                 log_floor = inbox.last_position + r.positions, unread_count = inbox.unread_count + r.unread \
                 FROM {rows} WHERE inbox.user_id = r.user_id RETURNING inbox.user_id, inbox.last_position",
            );
        for row in tx.query_all_raw(statement).await? {
            ends.insert(
                row.try_get("", "user_id")?,
                row.try_get("", "last_position")?,
            );
        }
    }
    let start = |(person, tally): &(&Person, &Tally)| {
        let end = ends.get(&person.id)?;
        Some(end - tally.positions)
    };
    let starts: Option<Vec<i64>> = entries.iter().map(start).collect();
    starts.ok_or_else(|| DbErr::Custom("an inbox is missing".to_owned()).into())
}

/// How many of the messages that are left go into the next statement.
fn chunk_length(messages: &[message::Model]) -> usize {
    let mut bytes = 0;
    let fitting = messages.iter().take(CHUNK).take_while(|message| {
        bytes += message.content.len();
        bytes <= CHUNK_BYTES
    });
    fitting.count().max(1)
}

/// Both sides of every conversation. Where something was unread before, `read_seq` lies before that and stays.
async fn write_sides(tx: &DatabaseTransaction, sides: &[Side]) -> Result<(), DbErr> {
    for chunk in sides.chunks(CHUNK) {
        let column = |of: fn(&Side) -> i64| chunk.iter().map(of);
        let statement = Rows::default()
            .uuids("user_id", chunk.iter().map(|side| side.user))
            .uuids("partner_id", chunk.iter().map(|side| side.partner))
            .uuids("conversation_id", chunk.iter().map(|side| side.conversation))
            .integers("last_seq", column(|side| side.last_seq))
            .integers("last_position", column(|side| side.last_position))
            .integers("unread_count", column(|side| side.unread))
            .integers("read_seq", column(|side| side.read_seq))
            .statement(
                tx.get_database_backend(),
                "INSERT INTO conversation_partner \
                 (user_id, partner_id, conversation_id, last_seq, last_position, unread_count, read_seq) \
                 SELECT user_id, partner_id, conversation_id, last_seq, last_position, unread_count, read_seq \
                 FROM {rows} WHERE true \
                 ON CONFLICT (user_id, partner_id) DO UPDATE SET last_seq = excluded.last_seq, \
                 last_position = excluded.last_position, \
                 unread_count = conversation_partner.unread_count + excluded.unread_count, \
                 read_seq = CASE WHEN conversation_partner.unread_count = 0 THEN excluded.read_seq \
                 ELSE conversation_partner.read_seq END",
            );
        tx.execute_raw(statement).await?;
    }
    Ok(())
}

fn as_i64(index: usize) -> i64 {
    i64::try_from(index).expect("an index fits")
}
