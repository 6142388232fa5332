//! What puts things right, each from the rows as they are under the locks.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbErr, Statement};
use uuid::Uuid;

use super::{self as rules, Fault, Finding, Part, State};
use crate::chat::{
    Store, conversation_id,
    inbox::{self, Locking},
    store::Patience,
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
    /// The log begins anew, beyond this position and its end, where it told something wrong: also who has heard all of it
    /// reloads.
    LogAnew(Uuid, i64),
    /// The user's side with a partner tells what the messages do.
    Side(Uuid, Uuid),
    /// The side stands at its latest message.
    SidePosition(Uuid, Uuid),
    /// A side without messages would keep the next one from being sent.
    RemoveSide(Uuid, Uuid),
}

impl Store {
    /// Mends what is wrong with one part under the locks of its users, and looks again whether it is right now.
    pub(super) async fn mend(&self, part: Part, faults: &[Fault]) -> Result<Vec<Finding>, DbErr> {
        let users: BTreeSet<Uuid> = faults.iter().flat_map(|f| f.users.clone()).collect();
        let tx = self.begin(Patience::OPERATOR).await?;
        inbox::lock(&tx, users.iter().copied(), Locking::Wait).await?;
        let found = part.check(&tx).await?;
        let held = |fault: &&Fault| fault.users.iter().all(|user| users.contains(user));
        for mend in found.iter().filter(held).filter_map(|fault| fault.mend) {
            mend.apply(&tx).await?;
        }
        tx.commit().await?;
        // Without the locks: a long conversation takes long to look at.
        let snapshot = self.snapshot().await?;
        let left = part.check(&snapshot).await?;
        snapshot.rollback().await?;
        // What is not found under the locks any more was mended together with something else.
        let elsewhere = faults
            .iter()
            .filter(|fault| fault.mend.is_some() && !fault.is_among(&found));
        let findings = found.iter().chain(elsewhere).map(|fault| {
            fault.finding(if fault.is_among(&left) {
                State::Mendable
            } else {
                State::Mended
            })
        });
        Ok(findings.collect())
    }
}

impl Part {
    async fn check(self, tx: &DatabaseTransaction) -> Result<Vec<Fault>, DbErr> {
        let faults = match self {
            Self::Conversation(id) => rules::conversation::check(tx, &[id]).await?,
            Self::User(id) => {
                let mut faults = rules::inbox::missing(tx, &[id]).await?;
                faults.extend(rules::inbox::check(tx, &[id]).await?);
                faults
            }
        };
        Ok(faults.into_iter().map(|(_, fault)| fault).collect())
    }
}

impl Fault {
    /// Whether one of these is mended by the same thing, however it stands by now.
    fn is_among(&self, faults: &[Self]) -> bool {
        let mends = || faults.iter().filter_map(|fault| fault.mend);
        self.mend
            .is_some_and(|mend| mends().any(|other| mend.is_like(other)))
    }
}

impl Mend {
    /// Whether both put right the same thing, however it stands by now: a log that has a hole may end too early a moment later.
    fn is_like(self, other: Self) -> bool {
        match (self.log(), other.log()) {
            (None, None) => self == other,
            (one, two) => one == two,
        }
    }

    /// Whose log it puts right.
    fn log(self) -> Option<Uuid> {
        match self {
            Self::LogEnd(user, _) | Self::LogHole(user) | Self::LogAnew(user, _) => Some(user),
            _ => None,
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
            Self::LogAnew(user, position) => (LOG_ANEW, vec![user.into(), position.into()]),
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

/// Nobody stands one past the end. What was begun anew once is so for every fault that was found before.
const LOG_ANEW: &str = "UPDATE inbox SET log_floor = CASE WHEN last_position < $2 THEN $2 ELSE last_position END + 1, \
    last_position = CASE WHEN last_position < $2 THEN $2 ELSE last_position END + 1 WHERE user_id = $1 AND log_floor <= $2";

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

/// By the log. Where its entry was pruned, a position below the floor stands, since nothing tells better; and for one that
/// cannot be, the latest message that came is the best that is known.
const SIDE_POSITION: &str = "UPDATE conversation_partner SET last_position = COALESCE( \
    (SELECT max(s.position) FROM inbox i JOIN signal s ON s.user_id = i.user_id AND s.position > i.log_floor \
    WHERE i.user_id = $1 AND s.kind = 1 AND s.conversation_id = conversation_partner.conversation_id), \
    (SELECT conversation_partner.last_position FROM inbox i WHERE i.user_id = $1 \
    AND conversation_partner.last_position BETWEEN 1 AND i.log_floor), \
    (SELECT max(m.recipient_position) FROM message m \
    WHERE m.conversation_id = conversation_partner.conversation_id AND m.recipient_id = $1), 0) \
    WHERE user_id = $1 AND partner_id = $2";

const REMOVE_SIDE: &str = "DELETE FROM conversation_partner WHERE user_id = $1 AND partner_id = $2";
