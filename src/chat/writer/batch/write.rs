//! What a batch writes: one set-based statement for each table, joined to one where the database can.

use std::collections::BTreeMap;

use entity::{message, signal::Kind};
use sea_orm::{ActiveEnum as _, ConnectionTrait as _, DatabaseTransaction, DbBackend, DbErr};
use uuid::Uuid;

use super::{Batch, Signal, Tally, as_i64};
use crate::chat::{
    rows::{Rows, Write, Writes},
    store,
};

const SIDE: &str = "conversation_partner";

impl Batch<'_> {
    /// Writes everything, and answers with the new end of every log that grew.
    pub(super) async fn write(&self, tx: &DatabaseTransaction) -> Result<Vec<(Uuid, i64)>, DbErr> {
        let mut writes = Writes::default();
        if !self.signals.is_empty() {
            writes.add(self.inboxes());
            writes.add(self.entries(tx.get_database_backend()));
        }
        if !self.messages.is_empty() {
            let messages = self.messages.iter().map(|(_, message)| message);
            writes.add(insert_messages(messages));
        }
        // These write one table, and may write one row of it: each has to see what the one before it wrote.
        let [new, known] = self.sides_sent();
        for sides in [new, known, self.sides_read()].into_iter().flatten() {
            writes.add(sides);
            std::mem::take(&mut writes).execute(tx).await?;
        }
        writes.execute(tx).await?;
        Ok(self.ends())
    }

    /// Where logs end now: those that grew, and those that grew by an attempt whose COMMIT got no answer, of which nobody
    /// was told.
    fn ends(&self) -> Vec<(Uuid, i64)> {
        let end = |(user, tally): (&Uuid, &Tally)| (*user, self.log_ends[user] + tally.signals);
        let mut ends: BTreeMap<Uuid, i64> = self.tallies.iter().map(end).collect();
        let sent = self.sent_before.iter().map(|(index, _)| *index);
        let read = self
            .reads()
            .filter(|(_, read)| !read.maybe_stored.is_empty());
        for index in sent.chain(read.map(|(index, _)| index)) {
            for user in self.commands[index].action.users() {
                ends.entry(user).or_insert_with(|| self.log_ends[&user]);
            }
        }
        ends.into_iter().collect()
    }

    fn inboxes(&self) -> Write {
        let tallies = &self.tallies;
        Rows::default()
            .uuids("user_id", tallies.keys().copied())
            .integers("signals", tallies.values().map(|tally| tally.signals))
            .integers("unread", tallies.values().map(|tally| tally.unread))
            .write(
                "inbox",
                "UPDATE inbox SET last_position = inbox.last_position + r.signals, \
                 unread_count = inbox.unread_count + r.unread \
                 FROM {rows} WHERE inbox.user_id = r.user_id",
            )
    }

    /// The entries' age is by the database's clock, which is also what tells when they are old: whatever the servers'
    /// clocks say, no entry is pruned early.
    fn entries(&self, backend: DbBackend) -> Write {
        let entries: Vec<((Uuid, i64), &Signal)> = self
            .signals
            .iter()
            .flat_map(|signal| [(signal.sender, signal), (signal.recipient, signal)])
            .collect();
        Rows::default()
            .uuids("user_id", entries.iter().map(|((user, _), _)| *user))
            .integers("position", entries.iter().map(|((_, place), _)| *place))
            .integers(
                "kind",
                entries.iter().map(|(_, s)| i64::from(s.kind.to_value())),
            )
            .uuids(
                "conversation_id",
                entries.iter().map(|(_, s)| s.conversation_id),
            )
            .integers("seq", entries.iter().map(|(_, s)| s.seq))
            .write("signal", format!(
                "INSERT INTO signal (user_id, position, kind, conversation_id, seq, created_at) \
                 SELECT user_id, position, kind, conversation_id, seq, (SELECT {}) FROM {{rows}}",
                store::now(backend)
            ))
    }

    /// Both sides of every conversation that was written to: of new ones, and of those that were there.
    fn sides_sent(&self) -> [Option<Write>; 2] {
        struct Side {
            conversation: Uuid,
            last_seq: i64,
            last_position: i64,
            unread: i64,
        }
        let mut sides: BTreeMap<(Uuid, Uuid), Side> = BTreeMap::new();
        for signal in self.signals.iter().filter(|s| s.kind == Kind::Sent) {
            let (sender, recipient) = (signal.sender, signal.recipient);
            for (user, partner, unread) in [(sender, recipient, 0), (recipient, sender, 1)] {
                let side = sides.entry((user.0, partner.0)).or_insert(Side {
                    conversation: signal.conversation_id,
                    last_seq: 0,
                    last_position: 0,
                    unread: 0,
                });
                side.last_seq = signal.seq;
                side.last_position = user.1;
                side.unread += unread;
            }
        }
        let (new, known): (Vec<_>, Vec<_>) = sides
            .into_iter()
            .partition(|(_, side)| self.new_conversations.contains(&side.conversation));
        // Under both inboxes' locks nobody else can insert these: no ON CONFLICT, which costs half as much again.
        let new = (
            new,
            "INSERT INTO conversation_partner \
             (user_id, partner_id, conversation_id, last_seq, last_position, unread_count, read_seq) \
             SELECT user_id, partner_id, conversation_id, last_seq, last_position, unread, 0 FROM {rows}",
        );
        let known = (
            known,
            "UPDATE conversation_partner SET last_seq = r.last_seq, last_position = r.last_position, \
             unread_count = conversation_partner.unread_count + r.unread \
             FROM {rows} WHERE conversation_partner.user_id = r.user_id \
             AND conversation_partner.partner_id = r.partner_id",
        );
        [new, known].map(|(sides, sql)| {
            if sides.is_empty() {
                return None;
            }
            let side = |of: fn(&Side) -> i64| sides.iter().map(move |(_, side)| of(side));
            let rows = Rows::default()
                .uuids("user_id", sides.iter().map(|((user, _), _)| *user))
                .uuids("partner_id", sides.iter().map(|((_, partner), _)| *partner))
                .uuids(
                    "conversation_id",
                    sides.iter().map(|(_, side)| side.conversation),
                )
                .integers("last_seq", side(|side| side.last_seq))
                .integers("last_position", side(|side| side.last_position))
                .integers("unread", side(|side| side.unread));
            Some(rows.write(SIDE, sql))
        })
    }

    /// The readers' sides. `read_seq` moves to the end of a complete stretch, and to the conversation's end where nothing
    /// is left unread; never back. A stretch says nothing where what lies before it is not read, as after a repair that the
    /// command, which was under way, has not seen.
    fn sides_read(&self) -> Option<Write> {
        let mut sides: BTreeMap<(Uuid, Uuid), (i64, i64, i64)> = BTreeMap::new();
        for (index, read) in self.reads() {
            let count = self.read.get(&index).map_or(0, Vec::len);
            if count == 0 && !read.complete {
                continue;
            }
            let (turned, after, read_seq) = sides.entry((read.viewer, read.partner)).or_default();
            *turned += as_i64(count);
            if read.complete && read.up_to > *read_seq {
                (*after, *read_seq) = (read.after, read.up_to);
            }
        }
        if sides.is_empty() {
            return None;
        }
        let rows = Rows::default()
            .uuids("user_id", sides.keys().map(|(user, _)| *user))
            .uuids("partner_id", sides.keys().map(|(_, partner)| *partner))
            .integers("turned", sides.values().map(|(turned, ..)| *turned))
            .integers("after_seq", sides.values().map(|(_, after, _)| *after))
            .integers("read_seq", sides.values().map(|(.., read_seq)| *read_seq));
        Some(rows.write(
            SIDE,
            "UPDATE conversation_partner SET unread_count = conversation_partner.unread_count - r.turned, \
             read_seq = CASE WHEN conversation_partner.unread_count = r.turned THEN conversation_partner.last_seq \
             WHEN r.read_seq > conversation_partner.read_seq \
             AND conversation_partner.read_seq >= r.after_seq THEN r.read_seq \
             ELSE conversation_partner.read_seq END \
             FROM {rows} WHERE conversation_partner.user_id = r.user_id \
             AND conversation_partner.partner_id = r.partner_id",
        ))
    }
}

/// Stores messages as they are.
pub(crate) fn insert_messages<'a>(
    messages: impl IntoIterator<Item = &'a message::Model, IntoIter: Clone>,
) -> Write {
    let messages = messages.into_iter();
    let messages = || messages.clone();
    Rows::default()
        .uuids("conversation_id", messages().map(|m| m.conversation_id))
        .integers("seq", messages().map(|m| m.seq))
        .uuids("sender_id", messages().map(|m| m.sender_id))
        .uuids("recipient_id", messages().map(|m| m.recipient_id))
        .texts("content", messages().map(|m| m.content.clone()))
        .integers("sent_at", messages().map(|m| m.sent_at))
        // Rows know no null: no time lies before 1970.
        .integers("read_at", messages().map(|m| m.read_at.unwrap_or(-1)))
        .texts(
            "client_message_id",
            messages().map(|m| m.client_message_id.clone()),
        )
        .integers(
            "recipient_position",
            messages().map(|m| m.recipient_position),
        )
        .write(
            "message",
            "INSERT INTO message (conversation_id, seq, sender_id, recipient_id, content, sent_at, read_at, \
             client_message_id, recipient_position) \
             SELECT conversation_id, seq, sender_id, recipient_id, content, sent_at, NULLIF(read_at, -1), \
             client_message_id, recipient_position FROM {rows}",
        )
}
