//! What a batch writes: one set-based statement for each table.

use std::collections::{BTreeMap, HashMap};

use entity::{message, signal::Kind};
use sea_orm::{ActiveEnum as _, ConnectionTrait as _, DatabaseTransaction, DbErr};
use uuid::Uuid;

use super::{Batch, Signal, as_i64};
use crate::chat::{rows::Rows, store};

impl Batch<'_> {
    /// Writes everything, and answers with the new end of every log that grew.
    pub(super) async fn write(
        &mut self,
        tx: &DatabaseTransaction,
    ) -> Result<Vec<(Uuid, i64)>, DbErr> {
        if self.signals.is_empty() {
            self.write_sides_read(tx).await?;
            return Ok(Vec::new());
        }
        let ends = self.write_inboxes(tx).await?;
        let starts: HashMap<Uuid, i64> = ends
            .iter()
            .map(|(user, end)| (*user, end - self.tallies[user].signals))
            .collect();
        for signal in &mut self.signals {
            signal.sender.1 += starts[&signal.sender.0];
            signal.recipient.1 += starts[&signal.recipient.0];
        }
        self.write_signals(tx).await?;
        if !self.messages.is_empty() {
            self.write_messages(tx).await?;
            self.write_sides_sent(tx).await?;
        }
        self.write_sides_read(tx).await?;
        Ok(ends)
    }

    async fn write_inboxes(&self, tx: &DatabaseTransaction) -> Result<Vec<(Uuid, i64)>, DbErr> {
        let tallies = &self.tallies;
        let statement = Rows::default()
            .uuids("user_id", tallies.keys().copied())
            .integers("signals", tallies.values().map(|tally| tally.signals))
            .integers("unread", tallies.values().map(|tally| tally.unread))
            .statement(
                tx.get_database_backend(),
                "UPDATE inbox SET last_position = inbox.last_position + r.signals, \
                 unread_count = inbox.unread_count + r.unread \
                 FROM {rows} WHERE inbox.user_id = r.user_id RETURNING inbox.user_id, inbox.last_position",
            );
        let rows = tx.query_all_raw(statement).await?;
        rows.iter()
            .map(|row| {
                Ok((
                    row.try_get("", "user_id")?,
                    row.try_get("", "last_position")?,
                ))
            })
            .collect()
    }

    /// The entries' age is by the database's clock, which is also what tells when they are old: whatever the servers'
    /// clocks say, no entry is pruned early.
    async fn write_signals(&self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
        let sql = format!(
            "INSERT INTO signal (user_id, position, kind, conversation_id, seq, created_at) \
             SELECT user_id, position, kind, conversation_id, seq, (SELECT {}) FROM {{rows}}",
            store::now(tx.get_database_backend())
        );
        let entries: Vec<((Uuid, i64), &Signal)> = self
            .signals
            .iter()
            .flat_map(|signal| [(signal.sender, signal), (signal.recipient, signal)])
            .collect();
        let statement = Rows::default()
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
            .statement(tx.get_database_backend(), &sql);
        tx.execute_raw(statement).await?;
        Ok(())
    }

    async fn write_messages(&mut self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
        let positions: HashMap<(Uuid, i64), i64> = self
            .signals
            .iter()
            .filter(|signal| signal.kind == Kind::Sent)
            .map(|signal| ((signal.conversation_id, signal.seq), signal.recipient.1))
            .collect();
        for (_, message) in &mut self.messages {
            message.recipient_position = positions[&(message.conversation_id, message.seq)];
        }
        insert_messages(tx, self.messages.iter().map(|(_, message)| message)).await
    }

    /// Both sides of every conversation that was written to.
    async fn write_sides_sent(&self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
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
        for (sides, sql) in [
            (
                new,
                "INSERT INTO conversation_partner \
                 (user_id, partner_id, conversation_id, last_seq, last_position, unread_count, read_seq) \
                 SELECT user_id, partner_id, conversation_id, last_seq, last_position, unread, 0 FROM {rows}",
            ),
            (
                known,
                "UPDATE conversation_partner SET last_seq = r.last_seq, last_position = r.last_position, \
                 unread_count = conversation_partner.unread_count + r.unread \
                 FROM {rows} WHERE conversation_partner.user_id = r.user_id \
                 AND conversation_partner.partner_id = r.partner_id",
            ),
        ] {
            if sides.is_empty() {
                continue;
            }
            let side = |of: fn(&Side) -> i64| sides.iter().map(move |(_, side)| of(side));
            let statement = Rows::default()
                .uuids("user_id", sides.iter().map(|((user, _), _)| *user))
                .uuids("partner_id", sides.iter().map(|((_, partner), _)| *partner))
                .uuids(
                    "conversation_id",
                    sides.iter().map(|(_, side)| side.conversation),
                )
                .integers("last_seq", side(|side| side.last_seq))
                .integers("last_position", side(|side| side.last_position))
                .integers("unread", side(|side| side.unread))
                .statement(tx.get_database_backend(), sql);
            tx.execute_raw(statement).await?;
        }
        Ok(())
    }

    /// The readers' sides. `read_seq` moves to the end of a complete stretch, and to the conversation's end where nothing
    /// is left unread; never back. A stretch says nothing where what lies before it is not read, as after a repair that the
    /// command, which was under way, has not seen.
    async fn write_sides_read(&self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
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
            return Ok(());
        }
        let statement = Rows::default()
            .uuids("user_id", sides.keys().map(|(user, _)| *user))
            .uuids("partner_id", sides.keys().map(|(_, partner)| *partner))
            .integers("turned", sides.values().map(|(turned, ..)| *turned))
            .integers("after_seq", sides.values().map(|(_, after, _)| *after))
            .integers("read_seq", sides.values().map(|(.., read_seq)| *read_seq))
            .statement(
                tx.get_database_backend(),
                "UPDATE conversation_partner SET unread_count = conversation_partner.unread_count - r.turned, \
                 read_seq = CASE WHEN conversation_partner.unread_count = r.turned THEN conversation_partner.last_seq \
                 WHEN r.read_seq > conversation_partner.read_seq \
                 AND conversation_partner.read_seq >= r.after_seq THEN r.read_seq \
                 ELSE conversation_partner.read_seq END \
                 FROM {rows} WHERE conversation_partner.user_id = r.user_id \
                 AND conversation_partner.partner_id = r.partner_id",
            );
        tx.execute_raw(statement).await?;
        Ok(())
    }
}

/// Stores messages as they are, in one statement.
pub(crate) async fn insert_messages<'a>(
    tx: &DatabaseTransaction,
    messages: impl Iterator<Item = &'a message::Model> + Clone,
) -> Result<(), DbErr> {
    let messages = || messages.clone();
    let statement = Rows::default()
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
        .statement(
            tx.get_database_backend(),
            "INSERT INTO message (conversation_id, seq, sender_id, recipient_id, content, sent_at, read_at, \
             client_message_id, recipient_position) \
             SELECT conversation_id, seq, sender_id, recipient_id, content, sent_at, NULLIF(read_at, -1), \
             client_message_id, recipient_position FROM {rows}",
        );
    tx.execute_raw(statement).await?;
    Ok(())
}
