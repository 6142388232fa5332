use std::collections::BTreeMap;

use entity::{message, signal::Kind};
use uuid::Uuid;

use super::{Batch, Change, End, Signal};
use crate::chat::writer::command::Send;

impl Batch<'_> {
    /// Gives every message its `seq` and every signal its place, in the order of the commands.
    pub(super) fn number(&mut self, now: i64) {
        let mut events: BTreeMap<usize, Vec<(Kind, Change)>> = BTreeMap::new();
        for (index, messages) in std::mem::take(&mut self.read) {
            let read = messages.into_iter().map(|message| (Kind::Read, message));
            events.insert(index, read.collect());
        }
        let sends: Vec<(usize, &Send)> = self.sends().collect();
        for (index, send) in sends {
            let end = self
                .ends
                .entry(send.conversation)
                .or_insert(End { seq: 0, sent_at: 0 });
            end.seq += 1;
            end.sent_at = end.sent_at.max(now);
            self.messages.push((
                index,
                message::Model {
                    conversation_id: send.conversation,
                    seq: end.seq,
                    sender_id: send.sender,
                    recipient_id: send.recipient,
                    content: send.content.as_str().to_owned(),
                    sent_at: end.sent_at,
                    read_at: None,
                    client_message_id: send.client_message_id.as_str().to_owned(),
                    recipient_position: 0,
                },
            ));
            let sent = Change {
                conversation_id: send.conversation,
                seq: end.seq,
                sender_id: send.sender,
                recipient_id: send.recipient,
                read_at: None,
            };
            events.insert(index, vec![(Kind::Sent, sent)]);
        }
        for (index, events) in events {
            for (kind, message) in events {
                let signal = Signal {
                    kind,
                    conversation_id: message.conversation_id,
                    seq: message.seq,
                    sender: (message.sender_id, self.next_place(message.sender_id)),
                    recipient: (message.recipient_id, self.next_place(message.recipient_id)),
                };
                self.tallies.entry(message.recipient_id).or_default().unread += match kind {
                    Kind::Sent => 1,
                    Kind::Read => -1,
                };
                self.signals.push(signal);
                if kind == Kind::Read {
                    self.read.entry(index).or_default().push(message);
                }
            }
        }
    }

    fn next_place(&mut self, user: Uuid) -> i64 {
        let tally = self.tallies.entry(user).or_default();
        tally.signals += 1;
        tally.signals
    }
}
