use entity::{message, signal::Kind};
use uuid::Uuid;

use super::{Batch, Change, End, Signal};
use crate::chat::writer::command::{Action, Send};

impl Batch<'_> {
    /// Gives every message its `seq` and every signal its place, in the order of the commands.
    pub(super) fn number(&mut self, now: i64) {
        for (index, command) in self.commands.iter().enumerate() {
            match &command.action {
                Action::Send(send) => {
                    if self.verdicts[index].is_none() {
                        self.number_sent(index, send, now);
                    }
                }
                Action::Read(_) => self.number_read(index),
            }
        }
    }

    fn number_sent(&mut self, index: usize, send: &Send, now: i64) {
        let end = self.ends.entry(send.conversation);
        let end = end.or_insert(End { seq: 0, sent_at: 0 });
        end.seq += 1;
        end.sent_at = end.sent_at.max(now);
        let End { seq, sent_at } = *end;
        let change = Change {
            conversation_id: send.conversation,
            seq,
            sender_id: send.sender,
            recipient_id: send.recipient,
            read_at: None,
        };
        let recipient_position = self.signal(Kind::Sent, &change);
        self.messages.push((
            index,
            message::Model {
                conversation_id: send.conversation,
                seq,
                sender_id: send.sender,
                recipient_id: send.recipient,
                content: send.content.as_str().to_owned(),
                sent_at,
                read_at: None,
                client_message_id: send.client_message_id.as_str().to_owned(),
                recipient_position,
            },
        ));
    }

    fn number_read(&mut self, index: usize) {
        let Some(turned) = self.read.remove(&index) else {
            return;
        };
        for change in &turned {
            self.signal(Kind::Read, change);
        }
        self.read.insert(index, turned);
    }

    /// Answers with the recipient's position of it.
    fn signal(&mut self, kind: Kind, change: &Change) -> i64 {
        let sender = (change.sender_id, self.next_place(change.sender_id));
        let recipient = (change.recipient_id, self.next_place(change.recipient_id));
        self.signals.push(Signal {
            kind,
            conversation_id: change.conversation_id,
            seq: change.seq,
            sender,
            recipient,
        });
        self.tallies.entry(change.recipient_id).or_default().unread += match kind {
            Kind::Sent => 1,
            Kind::Read => -1,
        };
        recipient.1
    }

    fn next_place(&mut self, user: Uuid) -> i64 {
        let tally = self.tallies.entry(user).or_default();
        tally.signals += 1;
        self.log_ends[&user] + tally.signals
    }
}
