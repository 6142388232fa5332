//! What puts things right, each from the rows as they are under the locks.

use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbBackend, DbErr, Statement};
use uuid::Uuid;

use super::{Fault, Finding, Part, State, conversation, inbox};
use crate::chat::{Store, conversation_id, rows::Rows, store::Patience};

/// Whoever runs a repair wants it done: it waits longer for a lock than a sender does, and for no end of a statement.
const PATIENCE: Patience = Patience {
    lock: 10_000,
    statement: 0,
    idle: 60_000,
};

/// What would put a fault right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mend {
    /// The user gets an inbox, whose log begins at its end.
    AddInbox(Uuid),
    /// The unread messages are counted.
    InboxUnread(Uuid),
    /// The log's end goes up to the last position that is taken, and its floor over what is missing then.
    LogEnd(Uuid, i64),
    /// The floor goes over what is missing: listeners from before reload instead of failing for ever.
    LogHole(Uuid),
    /// The floor goes up to this position, where the log told something wrong.
    LogFloor(Uuid, i64),
    /// The user's side with a partner tells what the messages do.
    Side(Uuid, Uuid),
    /// The side stands at its latest message.
    SidePosition(Uuid, Uuid),
    /// A side without messages would keep the next one from being sent.
    RemoveSide(Uuid, Uuid),
}

impl Store {
    /// Mends one fault under the locks of its users, where it is still there.
    pub(super) async fn mend(&self, part: Part, fault: &Fault) -> Result<Vec<Finding>, DbErr> {
        let tx = self.begin(PATIENCE).await?;
        lock(&tx, &fault.users).await?;
        let again = match part {
            Part::Conversation(id) => conversation::check(&tx, &[id]).await?,
            Part::User(id) => {
                let mut faults = inbox::missing(&tx, &[id]).await?;
                faults.extend(inbox::check(&tx, &[id]).await?);
                faults
            }
        };
        let mut mended = Vec::new();
        for (_, found) in again {
            if let (Some(mend), Some(wanted)) = (found.mend, fault.mend)
                && mend.is_like(wanted)
            {
                mend.apply(&tx).await?;
                mended.push(found.finding(State::Mended));
            }
        }
        tx.commit().await?;
        if mended.is_empty() {
            // What mended another fault has mended this one too.
            mended.push(fault.finding(State::Mended));
        }
        Ok(mended)
    }

    /// Turns away every cursor that was given until now.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn draw_epoch(&self) -> Result<(), DbErr> {
        let (high, _) = Uuid::new_v4().as_u64_pair();
        let value = i64::try_from(high >> 1).unwrap_or_default();
        let statement = Statement::from_sql_and_values(
            self.backend,
            "INSERT INTO epoch (id, value) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET value = excluded.value",
            [value.into()],
        );
        let tx = self.begin(PATIENCE).await?;
        tx.execute_raw(statement).await?;
        tx.commit().await
    }
}

/// The inboxes, in the order in which everybody locks them, by a statement that does nothing else.
async fn lock(tx: &DatabaseTransaction, users: &[Uuid]) -> Result<(), DbErr> {
    if tx.get_database_backend() == DbBackend::Sqlite {
        // The transaction holds the whole database.
        return Ok(());
    }
    let statement = Rows::default()
        .uuids("user_id", users.iter().copied())
        .statement(
            tx.get_database_backend(),
            "SELECT user_id FROM inbox WHERE user_id IN (SELECT r.user_id FROM {rows}) \
             ORDER BY user_id FOR UPDATE",
        );
    tx.query_all_raw(statement).await?;
    Ok(())
}

impl Mend {
    /// Whether both put right the same thing, however it stands by now.
    fn is_like(self, other: Self) -> bool {
        match (self, other) {
            (Self::LogEnd(one, _), Self::LogEnd(two, _))
            | (Self::LogFloor(one, _), Self::LogFloor(two, _)) => one == two,
            _ => self == other,
        }
    }

    async fn apply(self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
        let user_only = |user: Uuid| vec![user.into()];
        let (sql, values): (&str, Vec<sea_orm::Value>) = match self {
            Self::AddInbox(user) => (ADD_INBOX, user_only(user)),
            Self::InboxUnread(user) => (INBOX_UNREAD, user_only(user)),
            Self::LogEnd(user, end) => {
                run(tx, LOG_END, vec![user.into(), end.into()]).await?;
                (LOG_HOLE, user_only(user))
            }
            Self::LogHole(user) => (LOG_HOLE, user_only(user)),
            Self::LogFloor(user, position) => (LOG_FLOOR, vec![user.into(), position.into()]),
            Self::Side(user, partner) => {
                let conversation = conversation_id(user, partner);
                let values = vec![user.into(), partner.into(), conversation.into()];
                run(tx, SIDE, values).await?;
                (SIDE_POSITION, vec![user.into(), partner.into()])
            }
            Self::SidePosition(user, partner) => (SIDE_POSITION, vec![user.into(), partner.into()]),
            Self::RemoveSide(user, partner) => (REMOVE_SIDE, vec![user.into(), partner.into()]),
        };
        run(tx, sql, values).await
    }
}

async fn run(
    tx: &DatabaseTransaction,
    sql: &str,
    values: Vec<sea_orm::Value>,
) -> Result<(), DbErr> {
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    tx.execute_raw(statement).await?;
    Ok(())
}

const ADD_INBOX: &str = "INSERT INTO inbox (user_id, last_position, log_floor, unread_count) \
    SELECT u.id, u.taken, u.taken, u.unread FROM (SELECT t.id, t.unread, (SELECT max(x.place) FROM ( \
    SELECT max(s.position) AS place FROM signal s WHERE s.user_id = $1 UNION ALL \
    SELECT max(p.last_position) FROM conversation_partner p WHERE p.user_id = $1 UNION ALL \
    SELECT max(m.recipient_position) FROM conversation_partner p JOIN message m ON m.conversation_id = p.conversation_id \
    WHERE p.user_id = $1 AND m.recipient_id = $1 UNION ALL SELECT 0) x) AS taken \
    FROM (SELECT $1 AS id, (SELECT count(*) FROM message m WHERE m.recipient_id = $1 AND m.read_at IS NULL) AS unread) t) u \
    WHERE true ON CONFLICT (user_id) DO NOTHING";

const INBOX_UNREAD: &str = "UPDATE inbox SET unread_count = \
    (SELECT count(*) FROM message m WHERE m.recipient_id = inbox.user_id AND m.read_at IS NULL) WHERE user_id = $1";

const LOG_END: &str =
    "UPDATE inbox SET last_position = $2 WHERE user_id = $1 AND last_position < $2";

/// The last stretch without a hole stays, where it reaches the log's end.
const LOG_HOLE: &str = "UPDATE inbox SET log_floor = CASE WHEN last_position = \
    (SELECT max(s.position) FROM signal s WHERE s.user_id = inbox.user_id) THEN \
    (SELECT max(s.position) - 1 FROM signal s WHERE s.user_id = inbox.user_id AND s.position > inbox.log_floor \
    AND NOT EXISTS (SELECT 1 FROM signal t WHERE t.user_id = s.user_id AND t.position = s.position - 1 \
    AND t.position > inbox.log_floor)) \
    ELSE last_position END WHERE user_id = $1 AND last_position > log_floor";

const LOG_FLOOR: &str = "UPDATE inbox SET log_floor = CASE WHEN log_floor < $2 THEN $2 ELSE log_floor END, \
    last_position = CASE WHEN last_position < $2 THEN $2 ELSE last_position END WHERE user_id = $1";

const SIDE: &str = "INSERT INTO conversation_partner \
    (user_id, partner_id, conversation_id, last_seq, last_position, unread_count, read_seq) \
    SELECT $1, $2, $3, m.last_seq, 0, m.unread, COALESCE(m.first_unread - 1, m.last_seq) FROM ( \
    SELECT max(seq) AS last_seq, count(CASE WHEN recipient_id = $1 AND read_at IS NULL THEN 1 END) AS unread, \
    min(CASE WHEN recipient_id = $1 AND read_at IS NULL THEN seq END) AS first_unread \
    FROM message WHERE conversation_id = $3) m WHERE true \
    ON CONFLICT (user_id, partner_id) DO UPDATE SET conversation_id = excluded.conversation_id, \
    last_seq = excluded.last_seq, unread_count = excluded.unread_count, \
    read_seq = CASE WHEN conversation_partner.read_seq BETWEEN 0 AND excluded.read_seq \
    THEN conversation_partner.read_seq ELSE excluded.read_seq END";

/// By the log; where its entry was pruned, by the latest message that came, which is the best that is known.
const SIDE_POSITION: &str = "UPDATE conversation_partner SET last_position = COALESCE( \
    (SELECT max(s.position) FROM signal s WHERE s.user_id = $1 AND s.kind = 1 \
    AND s.conversation_id = conversation_partner.conversation_id), \
    (SELECT max(m.recipient_position) FROM message m \
    WHERE m.conversation_id = conversation_partner.conversation_id AND m.recipient_id = $1), 0) \
    WHERE user_id = $1 AND partner_id = $2";

const REMOVE_SIDE: &str = "DELETE FROM conversation_partner WHERE user_id = $1 AND partner_id = $2";
