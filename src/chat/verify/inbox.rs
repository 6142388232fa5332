//! The rules of one user: counts, and a log that is dense above its floor and tells what happened.

use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbErr, FromQueryResult, QueryResult};
use uuid::Uuid;

use super::{Fault, Names, Part, mend::Mend};
use crate::chat::rows::Rows;

#[derive(Debug, FromQueryResult)]
struct Inbox {
    user_id: Uuid,
    last_position: i64,
    log_floor: i64,
    unread_count: i64,
    unread: i64,
    entries: i64,
    last_entry: Option<i64>,
    last_side: Option<i64>,
}

/// What is wrong with these users.
pub(super) async fn check(
    tx: &DatabaseTransaction,
    users: &[Uuid],
) -> Result<Vec<(Part, Fault)>, DbErr> {
    let names = Names::load(tx, users.iter().copied()).await?;
    let mut faults = Vec::new();
    let mut fault = |user: Uuid, what: String, mend: Option<Mend>| {
        let what = format!("{}: {what}", names.of(user));
        let users = vec![user];
        faults.push((Part::User(user), Fault { users, what, mend }));
    };
    for user in users.iter().filter(|user| !names.has(**user)) {
        fault(*user, "there is an inbox, and no user".to_owned(), None);
    }
    for inbox in ask(tx, users, INBOXES).await?.iter().map(read::<Inbox>) {
        let inbox = inbox?;
        let user = inbox.user_id;
        if inbox.unread_count != inbox.unread {
            let (told, counted) = (inbox.unread_count, inbox.unread);
            fault(
                user,
                format!("the unread count is {told}, and {counted} messages are unread"),
                Some(Mend::InboxUnread(user)),
            );
        }
        let end = [inbox.last_entry, inbox.last_side, Some(inbox.log_floor)];
        let end = end.into_iter().flatten().max().unwrap_or(0);
        if end > inbox.last_position {
            let told = inbox.last_position;
            fault(
                user,
                format!("the log ends at {told}, and positions up to {end} are taken"),
                Some(Mend::LogEnd(user, end)),
            );
        } else if inbox.entries != inbox.last_position - inbox.log_floor {
            let (first, last) = (inbox.log_floor + 1, inbox.last_position);
            let count = inbox.entries;
            fault(
                user,
                format!("the log has {count} of the signals {first} to {last}"),
                Some(Mend::LogHole(user)),
            );
        }
    }
    for row in ask(tx, users, UNTRUE).await? {
        let (user, position): (Uuid, i64) =
            (row.try_get("", "user_id")?, row.try_get("", "place")?);
        let count: i64 = row.try_get("", "entries")?;
        fault(
            user,
            format!("{count} signals up to {position} tell what did not happen, or tell it twice"),
            Some(Mend::LogAnew(user, position)),
        );
    }
    for row in ask(tx, users, UNTOLD).await? {
        let user: Uuid = row.try_get("", "user_id")?;
        let end: i64 = row.try_get("", "last_position")?;
        fault(
            user,
            "the log lacks a signal of something that happened".to_owned(),
            Some(Mend::LogAnew(user, end)),
        );
    }
    for row in ask(tx, users, SIDE_POSITIONS).await? {
        let (user, partner): (Uuid, Uuid) =
            (row.try_get("", "user_id")?, row.try_get("", "partner_id")?);
        let told: i64 = row.try_get("", "last_position")?;
        fault(
            user,
            format!(
                "the side with {partner} stands at position {told}, where its latest message is not"
            ),
            Some(Mend::SidePosition(user, partner)),
        );
    }
    for row in ask(tx, users, EMPTY_SIDES).await? {
        let (user, partner): (Uuid, Uuid) =
            (row.try_get("", "user_id")?, row.try_get("", "partner_id")?);
        fault(
            user,
            format!(
                "there is a side with {partner}, and no message: they were lost, or never were"
            ),
            Some(Mend::RemoveSide(user, partner)),
        );
    }
    Ok(faults)
}

/// Those of these users who have no inbox.
pub(super) async fn missing(
    tx: &DatabaseTransaction,
    users: &[Uuid],
) -> Result<Vec<(Part, Fault)>, DbErr> {
    let names = Names::load(tx, users.iter().copied()).await?;
    let rows = ask(
        tx,
        users,
        "SELECT r.user_id FROM {rows} LEFT JOIN inbox i ON i.user_id = r.user_id WHERE i.user_id IS NULL",
    )
    .await?;
    rows.iter()
        .map(|row| {
            let user: Uuid = row.try_get("", "user_id")?;
            let fault = Fault {
                users: vec![user],
                what: format!("{}: there is no inbox", names.of(user)),
                mend: Some(Mend::AddInbox(user)),
            };
            Ok((Part::User(user), fault))
        })
        .collect()
}

const INBOXES: &str = "SELECT i.user_id, i.last_position, i.log_floor, i.unread_count, \
    (SELECT count(*) FROM message m WHERE m.recipient_id = i.user_id AND m.read_at IS NULL) AS unread, \
    (SELECT count(*) FROM signal s WHERE s.user_id = i.user_id AND s.position > i.log_floor) AS entries, \
    (SELECT max(s.position) FROM signal s WHERE s.user_id = i.user_id) AS last_entry, \
    (SELECT max(p.last_position) FROM conversation_partner p WHERE p.user_id = i.user_id) AS last_side \
    FROM {rows} JOIN inbox i ON i.user_id = r.user_id";

/// Signals above the floor of a message that is not there, or not this user's, or was not read, or came elsewhere; and
/// those that come twice.
const UNTRUE: &str = "SELECT user_id, max(position) AS place, count(*) AS entries FROM ( \
    SELECT s.user_id, s.position, s.kind, m.seq, m.sender_id, m.recipient_id, m.read_at, m.recipient_position, \
    ROW_NUMBER() OVER (PARTITION BY s.user_id, s.conversation_id, s.seq, s.kind ORDER BY s.position) AS nth \
    FROM {rows} JOIN inbox i ON i.user_id = r.user_id \
    JOIN signal s ON s.user_id = i.user_id AND s.position > i.log_floor \
    LEFT JOIN message m ON m.conversation_id = s.conversation_id AND m.seq = s.seq) s \
    WHERE s.seq IS NULL OR s.nth > 1 OR s.kind NOT IN (1, 2) OR (s.sender_id <> s.user_id AND s.recipient_id <> s.user_id) \
    OR (s.kind = 2 AND s.read_at IS NULL) \
    OR (s.kind = 1 AND s.recipient_id = s.user_id AND s.recipient_position <> s.position) GROUP BY user_id";

/// Users whose whole log is there, and holds less than one signal for each message and one for each that was read.
const UNTOLD: &str = "SELECT i.user_id, i.last_position FROM {rows} JOIN inbox i ON i.user_id = r.user_id AND i.log_floor = 0 \
    WHERE (SELECT count(*) + count(m.read_at) FROM conversation_partner p \
    JOIN message m ON m.conversation_id = p.conversation_id WHERE p.user_id = i.user_id) \
    > (SELECT count(*) FROM signal s WHERE s.user_id = i.user_id)";

/// Sides that do not stand at their latest message's signal. Where that was pruned, they stand at or below the floor.
const SIDE_POSITIONS: &str = "SELECT p.user_id, p.partner_id, p.last_position FROM {rows} \
    JOIN inbox i ON i.user_id = r.user_id JOIN conversation_partner p ON p.user_id = i.user_id \
    LEFT JOIN (SELECT s.user_id, s.conversation_id, max(s.position) AS latest FROM {rows} \
    JOIN inbox j ON j.user_id = r.user_id JOIN signal s ON s.user_id = j.user_id AND s.position > j.log_floor \
    WHERE s.kind = 1 GROUP BY s.user_id, s.conversation_id) l \
    ON l.user_id = p.user_id AND l.conversation_id = p.conversation_id \
    WHERE p.last_position <> l.latest OR (l.latest IS NULL AND p.last_position > i.log_floor) \
    ORDER BY p.partner_id";

const EMPTY_SIDES: &str = "SELECT p.user_id, p.partner_id FROM {rows} JOIN conversation_partner p ON p.user_id = r.user_id \
    WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.conversation_id = p.conversation_id) \
    ORDER BY p.partner_id";

async fn ask(
    tx: &DatabaseTransaction,
    users: &[Uuid],
    sql: &str,
) -> Result<Vec<QueryResult>, DbErr> {
    let statement = Rows::default()
        .uuids("user_id", users.iter().copied())
        .statement(tx.get_database_backend(), sql);
    tx.query_all_raw(statement).await
}

fn read<T: FromQueryResult>(row: &QueryResult) -> Result<T, DbErr> {
    T::from_query_result(row, "")
}
