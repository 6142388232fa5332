//! What a file tells, and the numbers that its messages get.

use std::collections::HashMap;

use entity::message;
use uuid::Uuid;

use super::Faults;
use crate::chat::{ClientMessageId, Content, Subject, conversation_id, user_id};

/// The messages of a file in the order in which they were sent. Users and conversations are named by their index.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) lines: Vec<Line>,
    pub(super) people: Vec<Person>,
    pub(super) conversations: Vec<Conversation>,
    by_subject: HashMap<String, usize>,
    by_pair: HashMap<[usize; 2], usize>,
}

/// One message, as its line in the file has it.
#[derive(Debug)]
pub(super) struct Line {
    /// Where it begins in the file.
    pub(super) number: u64,
    pub(super) sender: usize,
    pub(super) recipient: usize,
    pub(super) conversation: usize,
    pub(super) content: Content,
    pub(super) sent_at: i64,
    pub(super) read_at: Option<i64>,
}

/// Somebody who sent or received a message.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) id: Uuid,
    pub(super) subject: Subject,
}

/// Two users' conversation, and its latest message in the database.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) id: Uuid,
    pub(super) users: [usize; 2],
    /// 0 where there is none.
    pub(super) last_seq: i64,
    pub(super) last_sent_at: Option<i64>,
}

/// What the file adds to one inbox.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) positions: i64,
    pub(super) unread: i64,
}

/// What the file makes of one user's side of a conversation.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) user: Uuid,
    pub(super) partner: Uuid,
    pub(super) conversation: Uuid,
    pub(super) last_seq: i64,
    pub(super) last_position: i64,
    pub(super) unread: i64,
    /// Everything up to here is read, where everything in the database is.
    pub(super) read_seq: i64,
}

impl History {
    pub(super) fn find(&self, subject: &str) -> Option<usize> {
        self.by_subject.get(subject).copied()
    }

    pub(super) fn add(&mut self, subject: Subject) -> usize {
        let index = self.people.len();
        self.by_subject.insert(subject.as_str().to_owned(), index);
        self.people.push(Person {
            id: user_id(subject.as_str()),
            subject,
        });
        index
    }

    pub(super) fn conversation(&mut self, one: usize, other: usize) -> usize {
        let users = [one.min(other), one.max(other)];
        let conversations = &mut self.conversations;
        *self.by_pair.entry(users).or_insert_with(|| {
            let [one, other] = users.map(|user| self.people[user].id);
            conversations.push(Conversation {
                id: conversation_id(one, other),
                users,
                last_seq: 0,
                last_sent_at: None,
            });
            conversations.len() - 1
        })
    }

    /// The lines that are not newer than what the database has of their conversations.
    pub(super) fn check_newer(&self) -> Result<(), Faults> {
        let end = |line: &Line| self.conversations[line.conversation].last_sent_at;
        let mut old: Vec<(&Line, i64)> = self
            .lines
            .iter()
            .filter_map(|line| Some((line, end(line).filter(|end| line.sent_at <= *end)?)))
            .collect();
        old.sort_by_key(|(line, _)| line.number);
        let mut faults = Faults::default();
        for (line, end) in old {
            faults.push(line.number, || {
                format!(
                    "{:?} and {:?} have a message of {} already, and only newer ones can be added: leave this one out",
                    self.people[line.sender].subject.as_str(),
                    self.people[line.recipient].subject.as_str(),
                    rfc3339(end)
                )
            });
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }

    /// What is added to the inbox of each user.
    pub(super) fn tallies(&self) -> Vec<Tally> {
        let mut tallies = vec![Tally::default(); self.people.len()];
        for line in &self.lines {
            tallies[line.sender].positions += 1;
            tallies[line.recipient].positions += 1;
            tallies[line.recipient].unread += i64::from(line.read_at.is_none());
        }
        tallies
    }

    /// Numbers every message within its conversation and, after `positions`, within both users' logs.
    pub(super) fn number(self, mut positions: Vec<i64>) -> (Vec<message::Model>, Vec<Side>) {
        let people = &self.people;
        let mut conversations = self.conversations;
        let mut sides: Vec<[Side; 2]> = conversations
            .iter()
            .map(|conversation| Side::both(conversation, people))
            .collect();
        let mut messages = Vec::with_capacity(self.lines.len());
        for line in self.lines {
            let conversation = &mut conversations[line.conversation];
            conversation.last_seq += 1;
            for user in [line.sender, line.recipient] {
                positions[user] += 1;
                let side =
                    &mut sides[line.conversation][usize::from(user == conversation.users[1])];
                let unread = user == line.recipient && line.read_at.is_none();
                side.add(conversation.last_seq, positions[user], unread);
            }
            messages.push(message::Model {
                conversation_id: conversation.id,
                seq: conversation.last_seq,
                sender_id: people[line.sender].id,
                recipient_id: people[line.recipient].id,
                content: line.content.as_str().to_owned(),
                sent_at: line.sent_at,
                read_at: line.read_at,
                client_message_id: ClientMessageId::draw().as_str().to_owned(),
                recipient_position: positions[line.recipient],
            });
        }
        (messages, sides.into_iter().flatten().collect())
    }
}

impl Side {
    /// Both sides before the first message of the file, in the order of `users`.
    fn both(conversation: &Conversation, people: &[Person]) -> [Self; 2] {
        let [one, other] = conversation.users.map(|user| people[user].id);
        [(one, other), (other, one)].map(|(user, partner)| Self {
            user,
            partner,
            conversation: conversation.id,
            last_seq: conversation.last_seq,
            last_position: 0,
            unread: 0,
            read_seq: conversation.last_seq,
        })
    }

    fn add(&mut self, seq: i64, position: i64, unread: bool) {
        self.unread += i64::from(unread);
        self.last_seq = seq;
        self.last_position = position;
        if self.unread == 0 {
            self.read_seq = seq;
        }
    }
}

fn rfc3339(milliseconds: i64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds)
        .map_or_else(|_| format!("{milliseconds} ms"), |time| time.to_string())
}
