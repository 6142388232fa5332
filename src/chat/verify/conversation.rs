//! The rules of one conversation: numbers without gaps, times that never go back, and two sides that tell its state.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use entity::conversation_partner;
use sea_orm::{
    ConnectionTrait as _, DatabaseTransaction, DbErr, EntityTrait as _, FromQueryResult,
    QueryResult,
};
use uuid::Uuid;

use super::{Fault, Names, Part, mend::Mend};
use crate::chat::{conversation_id, query::columns, rows::Rows};

/// All messages of a conversation.
#[derive(Debug, FromQueryResult)]
struct Whole {
    conversation_id: Uuid,
    messages: i64,
    first_seq: i64,
    last_seq: i64,
    backward: i64,
    read_early: i64,
}

/// The messages from one of the two to the other.
#[derive(Debug, FromQueryResult)]
struct Way {
    conversation_id: Uuid,
    sender_id: Uuid,
    recipient_id: Uuid,
    unread: i64,
    first_unread: Option<i64>,
    unordered: i64,
}

/// What is wrong with these conversations.
pub(super) async fn check(
    tx: &DatabaseTransaction,
    conversations: &[Uuid],
) -> Result<Vec<(Part, Fault)>, DbErr> {
    let mut ways: BTreeMap<Uuid, Vec<Way>> = BTreeMap::new();
    for row in ask(tx, conversations, WAYS).await? {
        let way = Way::from_query_result(&row, "")?;
        ways.entry(way.conversation_id).or_default().push(way);
    }
    let people: BTreeSet<Uuid> = ways
        .values()
        .flatten()
        .flat_map(|way| [way.sender_id, way.recipient_id])
        .collect();
    let names = Names::load(tx, people).await?;
    let sides = sides(tx, ways.values().flatten()).await?;
    let mut faults = Vec::new();
    for row in ask(tx, conversations, WHOLE).await? {
        let whole = Whole::from_query_result(&row, "")?;
        let ways = ways.remove(&whole.conversation_id).unwrap_or_default();
        let part = Part::Conversation(whole.conversation_id);
        let found = judge(&whole, &ways, &sides, &names);
        faults.extend(found.into_iter().map(|fault| (part, fault)));
    }
    for row in ask(tx, conversations, UNSIGNALLED).await? {
        let conversation: Uuid = row.try_get("", "conversation_id")?;
        let user: Uuid = row.try_get("", "recipient_id")?;
        let at: i64 = row.try_get("", "place")?;
        let fault = Fault {
            users: vec![user],
            what: format!(
                "{}: the log has no signal at {at}, where a message came",
                names.of(user)
            ),
            mend: Some(Mend::LogAnew(user, at)),
        };
        faults.push((Part::Conversation(conversation), fault));
    }
    Ok(faults)
}

/// Every fault of one conversation.
fn judge(
    whole: &Whole,
    ways: &[Way],
    sides: &HashMap<(Uuid, Uuid), conversation_partner::Model>,
    names: &Names,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let conversation = whole.conversation_id;
    let Some(pair) = pair(conversation, ways) else {
        faults.push(Fault {
            users: Vec::new(),
            what: format!("conversation {conversation}: some messages are of other people"),
            mend: None,
        });
        return faults;
    };
    let title = format!(
        "the conversation of {} and {}",
        names.of(pair[0]),
        names.of(pair[1])
    );
    let mut fault = |what: String, mend: Option<Mend>| {
        let what = format!("{title}: {what}");
        let users = pair.to_vec();
        faults.push(Fault { users, what, mend });
    };
    if !pair.iter().all(|user| names.has(*user)) {
        fault("somebody in it is not stored".to_owned(), None);
    }
    if whole.first_seq != 1 || whole.messages != whole.last_seq {
        let (count, last) = (whole.messages, whole.last_seq);
        fault(
            format!("it has {count} messages, and the last is number {last}: some were lost"),
            None,
        );
    }
    if whole.backward > 0 {
        let count = whole.backward;
        fault(
            format!("{count} messages were sent before the one they follow"),
            None,
        );
    }
    if whole.read_early > 0 {
        let count = whole.read_early;
        fault(
            format!("{count} messages were read before they were sent"),
            None,
        );
    }
    for (user, partner) in [(pair[0], pair[1]), (pair[1], pair[0])] {
        let received = ways.iter().find(|way| way.recipient_id == user);
        if let Some(way) = received.filter(|way| way.unordered > 0) {
            let count = way.unordered;
            fault(
                format!("{count} messages came at a position before the one they follow"),
                None,
            );
        }
        let mend = Some(Mend::Side(user, partner));
        let owner = names.of(user);
        let Some(side) = sides.get(&(user, partner)) else {
            fault(format!("the side of {owner} is missing"), mend);
            continue;
        };
        let unread = received.map_or(0, |way| way.unread);
        let first_unread = received.and_then(|way| way.first_unread);
        let mut wrong = Vec::new();
        if side.conversation_id != conversation {
            wrong.push("names another conversation".to_owned());
        }
        if side.last_seq != whole.last_seq {
            let (told, last) = (side.last_seq, whole.last_seq);
            wrong.push(format!("ends at number {told}, and the last is {last}"));
        }
        if side.unread_count != unread {
            let told = side.unread_count;
            wrong.push(format!("counts {told} unread, and {unread} are"));
        }
        let read_end = first_unread.map_or(whole.last_seq, |first| first - 1);
        if side.read_seq > read_end || side.read_seq < 0 {
            let told = side.read_seq;
            wrong.push(format!(
                "is read up to number {told}, and only up to {read_end} it is"
            ));
        }
        if !wrong.is_empty() {
            fault(format!("the side of {owner} {}", wrong.join("; it ")), mend);
        }
    }
    faults
}

/// The two people, where every message is between them and the conversation is theirs.
fn pair(conversation: Uuid, ways: &[Way]) -> Option<[Uuid; 2]> {
    let first = ways.first()?;
    let (one, other) = (first.sender_id, first.recipient_id);
    let both =
        |way: &Way| [(one, other), (other, one)].contains(&(way.sender_id, way.recipient_id));
    let right = ways.iter().all(both) && conversation_id(one, other) == conversation;
    right.then_some([one, other])
}

async fn sides(
    tx: &DatabaseTransaction,
    ways: impl Iterator<Item = &Way>,
) -> Result<HashMap<(Uuid, Uuid), conversation_partner::Model>, DbErr> {
    let pairs: BTreeSet<(Uuid, Uuid)> = ways
        .flat_map(|way| {
            let (one, other) = (way.sender_id, way.recipient_id);
            [(one, other), (other, one)]
        })
        .collect();
    let sql = format!(
        "SELECT {} FROM {{rows}} JOIN conversation_partner p ON p.user_id = r.user_id AND p.partner_id = r.partner_id",
        columns::<conversation_partner::Entity>("p", "")
    );
    let statement = Rows::default()
        .uuids("user_id", pairs.iter().map(|(user, _)| *user))
        .uuids("partner_id", pairs.iter().map(|(_, partner)| *partner))
        .statement(tx.get_database_backend(), &sql);
    let sides = conversation_partner::Entity::find().from_raw_sql(statement);
    let sides = sides.all(tx).await?.into_iter();
    Ok(sides
        .map(|side| ((side.user_id, side.partner_id), side))
        .collect())
}

const WHOLE: &str = "SELECT m.conversation_id, count(*) AS messages, min(m.seq) AS first_seq, max(m.seq) AS last_seq, \
    count(CASE WHEN m.sent_at < m.previous THEN 1 END) AS backward, \
    count(CASE WHEN m.read_at < m.sent_at THEN 1 END) AS read_early \
    FROM (SELECT m.conversation_id, m.seq, m.sent_at, m.read_at, \
    LAG(m.sent_at) OVER (PARTITION BY m.conversation_id ORDER BY m.seq) AS previous \
    FROM {rows} JOIN message m ON m.conversation_id = r.conversation_id) m GROUP BY m.conversation_id";

const WAYS: &str = "SELECT m.conversation_id, m.sender_id, m.recipient_id, \
    count(CASE WHEN m.read_at IS NULL THEN 1 END) AS unread, \
    min(CASE WHEN m.read_at IS NULL THEN m.seq END) AS first_unread, \
    count(CASE WHEN m.recipient_position <= m.previous THEN 1 END) AS unordered \
    FROM (SELECT m.conversation_id, m.seq, m.sender_id, m.recipient_id, m.read_at, m.recipient_position, \
    LAG(m.recipient_position) OVER (PARTITION BY m.conversation_id, m.recipient_id ORDER BY m.seq) AS previous \
    FROM {rows} JOIN message m ON m.conversation_id = r.conversation_id) m \
    GROUP BY m.conversation_id, m.sender_id, m.recipient_id ORDER BY m.sender_id, m.recipient_id";

/// Messages whose own signal should be in their recipient's log, and is not.
const UNSIGNALLED: &str = "SELECT m.conversation_id, m.recipient_id, max(m.recipient_position) AS place FROM {rows} \
    JOIN message m ON m.conversation_id = r.conversation_id \
    JOIN inbox i ON i.user_id = m.recipient_id AND i.log_floor < m.recipient_position \
    LEFT JOIN signal s ON s.user_id = m.recipient_id AND s.position = m.recipient_position \
    WHERE s.position IS NULL OR s.kind <> 1 OR s.conversation_id <> m.conversation_id OR s.seq <> m.seq \
    GROUP BY m.conversation_id, m.recipient_id ORDER BY m.recipient_id";

async fn ask(
    tx: &DatabaseTransaction,
    conversations: &[Uuid],
    sql: &str,
) -> Result<Vec<QueryResult>, DbErr> {
    let statement = Rows::default()
        .uuids("conversation_id", conversations.iter().copied())
        .statement(tx.get_database_backend(), sql);
    tx.query_all_raw(statement).await
}
