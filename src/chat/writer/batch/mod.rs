//! One transaction for many commands.
//!
//! `position` and `seq` are taken from rows that stay locked until the commit, so position N+1 cannot be seen before N.
//! The first statement locks the inboxes of both users of every command, in one order, and reads nothing but the rows that
//! it locks: an UPDATE takes its locks in any order (deadlocks), and what a statement that locks reads elsewhere is from
//! before its wait.

mod find;
mod number;
mod write;

pub(crate) use self::write::insert_messages;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Instant,
};

use entity::{message, signal::Kind};
use sea_orm::{DatabaseTransaction, DbErr, FromQueryResult};
use uuid::Uuid;

use super::command::{Action, Command, Outcome, Read, Send, TurnedRead};
use crate::{
    chat::{Error, Message, Store, error::Trouble, inbox::Locking, query::Users, store::Patience},
    signals::Hints,
};

/// What a stored batch means for one of its commands.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Done(Outcome),
    Refused(Error),
    /// Not tried: somebody else holds an inbox that it needs.
    Busy,
}

/// Why nothing, or perhaps nothing, of a batch was stored.
#[derive(Debug)]
pub(super) enum Failure {
    /// No transaction could be begun.
    Unconnected(DbErr),
    /// It failed on the way; where the COMMIT got no answer, it may be stored all the same.
    Database(Trouble, DbErr),
}

impl From<DbErr> for Failure {
    fn from(error: DbErr) -> Self {
        Self::Database(Trouble::of(&error), error)
    }
}

/// Stores every command that can be stored, and tells the listeners. The verdicts are in the order of the commands; of those
/// whose inboxes are skipped it is [`Verdict::Busy`].
pub(super) async fn store(
    store: &Store,
    hints: &Hints,
    commands: &mut [Command],
    locking: Locking,
    now: i64,
) -> Result<Vec<Verdict>, Failure> {
    let tx = begin(store).await?;
    let mut batch = Batch::new(commands);
    batch.lock(&tx, locking).await?;
    batch.fold();
    batch.look_up(&tx).await?;
    batch.load_users(&tx, &store.people).await?;
    batch.mark_read(&tx, now).await?;
    batch.number(now);
    let ends = batch.write(&tx).await?;
    let changes = batch.signals.len();
    let (verdicts, read) = batch.finish();
    let began = Instant::now();
    let committed = tx.commit().await;
    store.metrics.commit(began.elapsed());
    // It may be stored where the COMMIT got no answer: a hint that is wrong only wakes.
    hints.send(ends);
    if let Err(error) = committed {
        remember(commands, read);
        return Err(error.into());
    }
    store.written.add(changes);
    Ok(verdicts)
}

async fn begin(store: &Store) -> Result<DatabaseTransaction, Failure> {
    let tx = store.begin(Patience::CALLER).await;
    tx.map_err(|error| match (&error, Trouble::of(&error)) {
        (DbErr::ConnectionAcquire(_) | DbErr::Conn(_), _) | (_, Trouble::Busy | Trouble::Slow) => {
            Failure::Unconnected(error)
        }
        (_, trouble) => Failure::Database(trouble, error),
    })
}

/// The COMMIT got no answer: what was turned read counts for its caller, whether it was stored or is now.
fn remember(commands: &mut [Command], read: HashMap<usize, BTreeSet<i64>>) {
    for (index, seqs) in read {
        if let Action::Read(read) = &mut commands[index].action {
            read.maybe_stored.extend(seqs);
        }
    }
}

/// A batch on its way. Commands are named by their index.
struct Batch<'a> {
    commands: &'a [Command],
    verdicts: Vec<Option<Verdict>>,
    /// The users whose inboxes are locked, and where their logs end before this batch.
    log_ends: HashMap<Uuid, i64>,
    /// The sends that repeat an earlier one of the batch, with that one.
    repeats: Vec<(usize, usize)>,
    /// Where each conversation stands that is written to.
    ends: HashMap<Uuid, End>,
    /// Those of them that have no message yet.
    new_conversations: HashSet<Uuid>,
    /// The messages that each read turned read, as they were found.
    read: HashMap<usize, Vec<Change>>,
    /// What was sent before under the same client id.
    sent_before: Vec<(usize, message::Model)>,
    /// Everybody whom an answer shows.
    users: Users,
    /// The rows to insert, with the command of each.
    messages: Vec<(usize, message::Model)>,
    signals: Vec<Signal>,
    tallies: BTreeMap<Uuid, Tally>,
}

/// A conversation's latest message, as far as the next one needs it.
#[derive(Clone, Copy)]
struct End {
    seq: i64,
    sent_at: i64,
}

/// A message that was sent, or turned read.
#[derive(Debug, FromQueryResult)]
struct Change {
    conversation_id: Uuid,
    seq: i64,
    sender_id: Uuid,
    recipient_id: Uuid,
    read_at: Option<i64>,
}

/// What one message's change adds to the logs of both its users, each with its position there.
struct Signal {
    kind: Kind,
    conversation_id: Uuid,
    seq: i64,
    sender: (Uuid, i64),
    recipient: (Uuid, i64),
}

/// What a batch adds to one inbox, summed up: several +1 for one row in one UPDATE … FROM would add 1.
#[derive(Default)]
struct Tally {
    signals: i64,
    unread: i64,
}

impl<'a> Batch<'a> {
    fn new(commands: &'a [Command]) -> Self {
        Self {
            commands,
            verdicts: vec![None; commands.len()],
            log_ends: HashMap::new(),
            repeats: Vec::new(),
            ends: HashMap::new(),
            new_conversations: HashSet::new(),
            read: HashMap::new(),
            sent_before: Vec::new(),
            users: Users::default(),
            messages: Vec::new(),
            signals: Vec::new(),
            tallies: BTreeMap::new(),
        }
    }

    /// The sends that are still to be stored.
    fn sends(&self) -> impl Iterator<Item = (usize, &'a Send)> {
        let open = self.verdicts.iter().zip(self.commands).enumerate();
        open.filter_map(|(index, (verdict, command))| match &command.action {
            Action::Send(send) if verdict.is_none() => Some((index, send)),
            Action::Send(_) | Action::Read(_) => None,
        })
    }

    /// The reads that are still to be stored.
    fn reads(&self) -> impl Iterator<Item = (usize, &'a Read)> {
        let open = self.verdicts.iter().zip(self.commands).enumerate();
        open.filter_map(|(index, (verdict, command))| match &command.action {
            Action::Read(read) if verdict.is_none() => Some((index, read)),
            Action::Send(_) | Action::Read(_) => None,
        })
    }

    /// The verdicts in the order of the commands, and what each read turned read.
    fn finish(mut self) -> (Vec<Verdict>, HashMap<usize, BTreeSet<i64>>) {
        let reads: Vec<(usize, &Read)> = self.reads().collect();
        let mut turned: HashMap<usize, BTreeSet<i64>> = HashMap::new();
        for (index, read) in reads {
            let messages = self.read.remove(&index).unwrap_or_default();
            let at = messages
                .iter()
                .filter_map(|message| Some((message.seq, message.read_at?)));
            let mut seqs: BTreeSet<i64> = messages.iter().map(|message| message.seq).collect();
            seqs.extend(&read.maybe_stored);
            let turned_read = TurnedRead {
                count: seqs.len(),
                at: at.collect(),
            };
            self.verdicts[index] = Some(Verdict::Done(Outcome::Read(turned_read)));
            turned.insert(index, seqs);
        }
        for (index, message) in self.messages.into_iter().chain(self.sent_before) {
            self.verdicts[index] = Some(match Message::join(message, &self.users) {
                Ok(message) => Verdict::Done(Outcome::Sent(Box::new(message))),
                Err(error) => Verdict::Refused(error),
            });
        }
        for (index, first) in self.repeats {
            let answer = self.verdicts[first].clone();
            self.verdicts[index] = answer;
        }
        let verdicts = self
            .verdicts
            .into_iter()
            .map(|verdict| {
                verdict.unwrap_or(Verdict::Refused(Error::internal(
                    "a command got no verdict",
                )))
            })
            .collect();
        (verdicts, turned)
    }
}

fn as_i64(index: usize) -> i64 {
    i64::try_from(index).expect("a batch is far smaller")
}
