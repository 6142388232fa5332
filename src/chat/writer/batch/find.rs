//! What a batch finds under its locks: who exists, what was sent before, where conversations end, what turns read.

use std::collections::{BTreeSet, HashMap, hash_map::Entry};

use entity::message;
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbErr, FromQueryResult as _};
use uuid::Uuid;

use super::{Batch, Change, End, Verdict, as_i64};
use crate::chat::{
    Error,
    inbox::{self, Locking},
    people::People,
    query,
    rows::Rows,
    writer::command::{Action, Read, Send},
};

impl Batch<'_> {
    /// Locks both inboxes of every command, in one order. A missing inbox is an unknown user.
    pub(super) async fn lock(
        &mut self,
        tx: &DatabaseTransaction,
        locking: Locking,
    ) -> Result<(), DbErr> {
        let wanted: BTreeSet<Uuid> = self
            .commands
            .iter()
            .flat_map(|command| command.action.users())
            .collect();
        self.log_ends = inbox::lock(tx, wanted.iter().copied(), locking).await?;
        let locked = &self.log_ends;
        if locked.len() == wanted.len() {
            return Ok(());
        }
        let known = match locking {
            Locking::Wait => locked.keys().copied().collect(),
            Locking::SkipBusy => inbox::find(tx, wanted).await?,
        };
        for (verdict, command) in self.verdicts.iter_mut().zip(self.commands) {
            let users = command.action.users();
            if users.iter().any(|user| !known.contains(user)) {
                let named = match &command.action {
                    Action::Send(send) => send.recipient_subject.clone(),
                    Action::Read(read) => read.partner.to_string(),
                };
                *verdict = Some(Verdict::Refused(Error::UserNotFound(named)));
            } else if users.iter().any(|user| !locked.contains_key(user)) {
                *verdict = Some(Verdict::Busy);
            }
        }
        Ok(())
    }

    /// Sends with one client id in one batch: the first sends, and the others get its answer.
    pub(super) fn fold(&mut self) {
        let mut first = HashMap::new();
        let mut repeats = Vec::new();
        for (index, send) in self.sends() {
            let key = (send.conversation, send.sender, &send.client_message_id);
            match first.entry(key) {
                Entry::Occupied(first) => {
                    repeats.push((index, *first.get()));
                }
                Entry::Vacant(first) => {
                    first.insert(index);
                }
            }
        }
        for &(index, first) in &repeats {
            let same = self.content(index) == self.content(first);
            // The first one's answer comes when it is known; `finish` copies it.
            self.verdicts[index] = Some(if same {
                Verdict::Busy
            } else {
                Verdict::Refused(Error::ClientMessageIdReused)
            });
        }
        repeats.retain(|(index, _)| matches!(self.verdicts[*index], Some(Verdict::Busy)));
        self.repeats = repeats;
    }

    fn content(&self, index: usize) -> &str {
        match &self.commands[index].action {
            Action::Send(send) => send.content.as_str(),
            Action::Read(_) => "",
        }
    }

    /// Finds, under the locks, what was sent before under the same client ids, and where each conversation ends.
    pub(super) async fn look_up(&mut self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
        let sends: Vec<(usize, &Send)> = self.sends().collect();
        if sends.is_empty() {
            return Ok(());
        }
        let column = |name: fn(&Send) -> Uuid| sends.iter().map(move |(_, send)| name(send));
        let rows = Rows::default()
            .integers("n", sends.iter().map(|(index, _)| as_i64(*index)))
            .uuids("sender_id", column(|send| send.sender))
            .uuids("recipient_id", column(|send| send.recipient))
            .uuids("conversation_id", column(|send| send.conversation))
            .texts(
                "client_message_id",
                sends
                    .iter()
                    .map(|(_, send)| send.client_message_id.as_str().to_owned()),
            );
        let sql = format!(
            "SELECT r.n, e.seq AS end_seq, e.sent_at AS end_sent_at, {} FROM {{rows}} \
             LEFT JOIN conversation_partner p ON p.user_id = r.sender_id AND p.partner_id = r.recipient_id \
             LEFT JOIN message e ON e.conversation_id = p.conversation_id AND e.seq = p.last_seq \
             LEFT JOIN message m ON m.conversation_id = r.conversation_id AND m.sender_id = r.sender_id \
             AND m.client_message_id = r.client_message_id",
            query::columns::<message::Entity>("m", "m_"),
        );
        let statement = rows.statement(tx.get_database_backend(), &sql);
        for row in tx.query_all_raw(statement).await? {
            let index: i64 = row.try_get("", "n")?;
            let index = usize::try_from(index).expect("an index that we sent");
            let Action::Send(send) = &self.commands[index].action else {
                continue;
            };
            if let Some(sent) = message::Model::from_query_result_optional(&row, "m_")? {
                if sent.content == send.content.as_str() {
                    // `finish` answers it; until then it is only kept from being sent again.
                    self.verdicts[index] = Some(Verdict::Busy);
                    self.sent_before.push((index, sent));
                } else {
                    self.verdicts[index] = Some(Verdict::Refused(Error::ClientMessageIdReused));
                }
            }
            let end = End {
                seq: row.try_get::<Option<i64>>("", "end_seq")?.unwrap_or(0),
                sent_at: row.try_get::<Option<i64>>("", "end_sent_at")?.unwrap_or(0),
            };
            if end.seq == 0 {
                self.new_conversations.insert(send.conversation);
            }
            self.ends.insert(send.conversation, end);
        }
        Ok(())
    }

    /// The people of every message that is answered with, in one go for the whole batch.
    pub(super) async fn load_users(
        &mut self,
        tx: &DatabaseTransaction,
        people: &People,
    ) -> Result<(), DbErr> {
        let new = self
            .sends()
            .flat_map(|(_, send)| [send.sender, send.recipient]);
        let before = self.sent_before.iter();
        let before = before.flat_map(|(_, sent)| [sent.sender_id, sent.recipient_id]);
        self.users = people.load(tx, new.chain(before)).await?;
        Ok(())
    }

    /// Marks what the reads name; counters and signals come from the returned rows only.
    pub(super) async fn mark_read(
        &mut self,
        tx: &DatabaseTransaction,
        now: i64,
    ) -> Result<(), DbErr> {
        let reads: Vec<(usize, &Read)> = self.reads().collect();
        if reads.is_empty() {
            return Ok(());
        }
        let rows = Rows::default()
            .uuids("conversation_id", reads.iter().map(|(_, r)| r.conversation))
            .uuids("viewer", reads.iter().map(|(_, r)| r.viewer))
            .uuids("partner", reads.iter().map(|(_, r)| r.partner))
            .integers("after_seq", reads.iter().map(|(_, r)| r.after))
            .integers("up_to", reads.iter().map(|(_, r)| r.up_to))
            .integers("now", reads.iter().map(|_| now));
        let statement = rows.statement(
            tx.get_database_backend(),
            "UPDATE message SET read_at = CASE WHEN message.sent_at > r.now THEN message.sent_at ELSE r.now END \
             FROM {rows} WHERE message.conversation_id = r.conversation_id AND message.seq > r.after_seq \
             AND message.seq <= r.up_to AND message.recipient_id = r.viewer AND message.sender_id = r.partner \
             AND message.read_at IS NULL \
             RETURNING message.conversation_id, message.seq, message.sender_id, message.recipient_id, message.read_at",
        );
        let mut turned = tx
            .query_all_raw(statement)
            .await?
            .iter()
            .map(|row| Change::from_query_result(row, ""))
            .collect::<Result<Vec<_>, _>>()?;
        turned.sort_by_key(|message| message.seq);
        for message in turned {
            // Where several reads of the batch name it, the first has turned it.
            let by = reads.iter().find(|(_, read)| {
                read.conversation == message.conversation_id
                    && read.viewer == message.recipient_id
                    && (read.after + 1..=read.up_to).contains(&message.seq)
            });
            if let Some((index, _)) = by {
                self.read.entry(*index).or_default().push(message);
            }
        }
        Ok(())
    }
}
