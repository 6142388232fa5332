//! One transaction for many commands.
//!
//! `position` and `seq` are taken from rows that stay locked until the commit, so position N+1 cannot be seen before N.
//! The first statement locks the inboxes of both users of every command, in one order, and does nothing else: an UPDATE
//! takes its locks in any order (deadlocks), and a statement that locks and reads at once reads from before its wait.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use entity::{message, signal::Kind};
use sea_orm::{
    ActiveEnum as _, ConnectionTrait as _, DatabaseTransaction, DbBackend, DbErr, FromQueryResult,
    IsolationLevel, SqliteTransactionMode, TransactionOptions, TransactionTrait as _,
};
use uuid::Uuid;

use super::command::{Action, Command, Outcome, Read, Send};
use crate::{
    chat::{
        Error, Message, Store,
        error::Trouble,
        query::{self, Users},
        rows::Rows,
    },
    signals::Hints,
};

/// What to do about an inbox that another transaction holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Locking {
    /// Wait for it, as long as `lock_timeout` says.
    Wait,
    /// Go on without its commands: their verdict is [`Verdict::Busy`].
    SkipBusy,
}

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

/// Stores every command that can be stored, and tells the listeners. The verdicts are in the order of the commands.
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
    batch.load_users(&tx).await?;
    batch.mark_read(&tx, now).await?;
    batch.number(now);
    let ends = batch.write(&tx, now).await?;
    let (verdicts, read) = batch.finish();
    if let Err(error) = tx.commit().await {
        remember(commands, read);
        return Err(error.into());
    }
    hints.send(ends);
    Ok(verdicts)
}

/// A stuck transaction, ours or another's, must not hold anybody up for long. Everything is set by the transaction
/// itself, whatever the server's defaults, so that a pooler between may hand each one another connection.
async fn begin(store: &Store) -> Result<DatabaseTransaction, Failure> {
    let options = match store.backend {
        DbBackend::Sqlite => TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        },
        _ => TransactionOptions {
            isolation_level: Some(IsolationLevel::ReadCommitted),
            ..TransactionOptions::default()
        },
    };
    let tx = store
        .write
        .begin_with_options(options)
        .await
        .map_err(|error| match (&error, Trouble::of(&error)) {
            (DbErr::ConnectionAcquire(_) | DbErr::Conn(_), _) | (_, Trouble::Busy) => {
                Failure::Unconnected(error)
            }
            (_, trouble) => Failure::Database(trouble, error),
        })?;
    if store.backend != DbBackend::Sqlite {
        tx.execute_unprepared(
            "SET LOCAL lock_timeout = '500ms'; SET LOCAL statement_timeout = '5s'; \
             SET LOCAL idle_in_transaction_session_timeout = '2s'",
        )
        .await?;
    }
    Ok(tx)
}

/// The COMMIT got no answer: what was turned read counts for its caller, whether it was stored or is now.
fn remember(commands: &mut [Command], read: HashMap<usize, BTreeSet<i64>>) {
    for (index, seqs) in read {
        if let Action::Read(read) = &mut commands[index].action {
            read.perhaps_read.extend(seqs);
        }
    }
}

/// A batch on its way. Commands are named by their index.
struct Batch<'a> {
    commands: &'a [Command],
    verdicts: Vec<Option<Verdict>>,
    /// The sends that repeat an earlier one of the batch, with that one.
    repeats: Vec<(usize, usize)>,
    /// Where each conversation stands that is written to.
    ends: HashMap<Uuid, End>,
    /// Those of them that have no message yet.
    new_conversations: HashSet<Uuid>,
    /// The messages that each read turned read, as they were found.
    read: HashMap<usize, Vec<TurnedRead>>,
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

#[derive(Debug, FromQueryResult)]
struct TurnedRead {
    conversation_id: Uuid,
    seq: i64,
    sender_id: Uuid,
    recipient_id: Uuid,
}

/// What one message's change adds to the logs of both its users: each user's part counts from that user's last position.
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

    /// Locks both inboxes of every command, in one order. A missing inbox is an unknown user.
    async fn lock(&mut self, tx: &DatabaseTransaction, locking: Locking) -> Result<(), DbErr> {
        let wanted: BTreeSet<Uuid> = self
            .commands
            .iter()
            .flat_map(|command| command.action.users())
            .collect();
        let clause = match (tx.get_database_backend(), locking) {
            (DbBackend::Sqlite, _) => "",
            (_, Locking::Wait) => "FOR UPDATE",
            (_, Locking::SkipBusy) => "FOR UPDATE SKIP LOCKED",
        };
        let locked = Self::inboxes(tx, &wanted, clause).await?;
        if locked.len() == wanted.len() {
            return Ok(());
        }
        let known = match locking {
            Locking::Wait => locked.clone(),
            Locking::SkipBusy => Self::inboxes(tx, &wanted, "").await?,
        };
        for (verdict, command) in self.verdicts.iter_mut().zip(self.commands) {
            let users = command.action.users();
            if users.iter().any(|user| !known.contains(user)) {
                let named = match &command.action {
                    Action::Send(send) => send.recipient_subject.clone(),
                    Action::Read(read) => read.partner.to_string(),
                };
                *verdict = Some(Verdict::Refused(Error::UserNotFound(named)));
            } else if users.iter().any(|user| !locked.contains(user)) {
                *verdict = Some(Verdict::Busy);
            }
        }
        Ok(())
    }

    async fn inboxes(
        tx: &DatabaseTransaction,
        users: &BTreeSet<Uuid>,
        clause: &str,
    ) -> Result<HashSet<Uuid>, DbErr> {
        let sql = format!(
            "SELECT user_id FROM inbox WHERE user_id IN (SELECT r.user_id FROM {{rows}}) \
             ORDER BY user_id {clause}"
        );
        let statement = Rows::default()
            .uuids("user_id", users.iter().copied())
            .statement(tx.get_database_backend(), &sql);
        let rows = tx.query_all_raw(statement).await?;
        rows.iter().map(|row| row.try_get("", "user_id")).collect()
    }

    /// Sends with one client id in one batch: the first sends, and the others get its answer.
    fn fold(&mut self) {
        let mut first = HashMap::new();
        let mut repeats = Vec::new();
        for (index, send) in self.sends() {
            let key = (send.conversation, send.sender, &send.client_message_id);
            match first.entry(key) {
                std::collections::hash_map::Entry::Occupied(first) => {
                    repeats.push((index, *first.get()));
                }
                std::collections::hash_map::Entry::Vacant(first) => {
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
    async fn look_up(&mut self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
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
    async fn load_users(&mut self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
        let new = self.sends().flat_map(|(_, send)| [send.sender, send.recipient]);
        let before = self.sent_before.iter();
        let before = before.flat_map(|(_, sent)| [sent.sender_id, sent.recipient_id]);
        self.users = Users::load(tx, new.chain(before)).await?;
        Ok(())
    }

    /// Marks what the reads name; counters and signals come from the returned rows only.
    async fn mark_read(&mut self, tx: &DatabaseTransaction, now: i64) -> Result<(), DbErr> {
        let reads: Vec<(usize, &Read)> = self.reads().collect();
        if reads.is_empty() {
            return Ok(());
        }
        let rows = Rows::default()
            .uuids("conversation_id", reads.iter().map(|(_, r)| r.conversation))
            .uuids("viewer", reads.iter().map(|(_, r)| r.viewer))
            .integers("after_seq", reads.iter().map(|(_, r)| r.after))
            .integers("up_to", reads.iter().map(|(_, r)| r.up_to))
            .integers("now", reads.iter().map(|_| now));
        let statement = rows.statement(
            tx.get_database_backend(),
            "UPDATE message SET read_at = CASE WHEN message.sent_at > r.now THEN message.sent_at ELSE r.now END \
             FROM {rows} WHERE message.conversation_id = r.conversation_id AND message.seq > r.after_seq \
             AND message.seq <= r.up_to AND message.recipient_id = r.viewer AND message.read_at IS NULL \
             RETURNING message.conversation_id, message.seq, message.sender_id, message.recipient_id",
        );
        let mut turned = tx
            .query_all_raw(statement)
            .await?
            .iter()
            .map(|row| TurnedRead::from_query_result(row, ""))
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

    /// Gives every message its `seq` and every signal its place, in the order of the commands.
    fn number(&mut self, now: i64) {
        let mut events: BTreeMap<usize, Vec<(Kind, TurnedRead)>> = BTreeMap::new();
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
            let sent = TurnedRead {
                conversation_id: send.conversation,
                seq: end.seq,
                sender_id: send.sender,
                recipient_id: send.recipient,
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

    /// Writes everything, and answers with the new end of every log that grew.
    async fn write(
        &mut self,
        tx: &DatabaseTransaction,
        now: i64,
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
        self.write_signals(tx, now).await?;
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
            .map(|row| Ok((row.try_get("", "user_id")?, row.try_get("", "last_position")?)))
            .collect()
    }

    async fn write_signals(&self, tx: &DatabaseTransaction, now: i64) -> Result<(), DbErr> {
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
            .integers("created_at", entries.iter().map(|_| now))
            .statement(
                tx.get_database_backend(),
                "INSERT INTO signal (user_id, position, kind, conversation_id, seq, created_at) \
                 SELECT user_id, position, kind, conversation_id, seq, created_at FROM {rows}",
            );
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
        let messages = || self.messages.iter().map(|(_, message)| message);
        let statement = Rows::default()
            .uuids("conversation_id", messages().map(|m| m.conversation_id))
            .integers("seq", messages().map(|m| m.seq))
            .uuids("sender_id", messages().map(|m| m.sender_id))
            .uuids("recipient_id", messages().map(|m| m.recipient_id))
            .texts("content", messages().map(|m| m.content.clone()))
            .integers("sent_at", messages().map(|m| m.sent_at))
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
                "INSERT INTO message (conversation_id, seq, sender_id, recipient_id, content, sent_at, \
                 client_message_id, recipient_position) \
                 SELECT conversation_id, seq, sender_id, recipient_id, content, sent_at, \
                 client_message_id, recipient_position FROM {rows}",
            );
        tx.execute_raw(statement).await?;
        Ok(())
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
    /// is left unread; never back.
    async fn write_sides_read(&self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
        let mut sides: BTreeMap<(Uuid, Uuid), (i64, i64)> = BTreeMap::new();
        for (index, read) in self.reads() {
            let count = self.read.get(&index).map_or(0, Vec::len);
            if count == 0 && !read.complete {
                continue;
            }
            let (turned, read_seq) = sides.entry((read.viewer, read.partner)).or_default();
            *turned += as_i64(count);
            if read.complete {
                *read_seq = read.up_to.max(*read_seq);
            }
        }
        if sides.is_empty() {
            return Ok(());
        }
        let statement = Rows::default()
            .uuids("user_id", sides.keys().map(|(user, _)| *user))
            .uuids("partner_id", sides.keys().map(|(_, partner)| *partner))
            .integers("turned", sides.values().map(|(turned, _)| *turned))
            .integers("read_seq", sides.values().map(|(_, read_seq)| *read_seq))
            .statement(
                tx.get_database_backend(),
                "UPDATE conversation_partner SET unread_count = conversation_partner.unread_count - r.turned, \
                 read_seq = CASE WHEN conversation_partner.unread_count = r.turned THEN conversation_partner.last_seq \
                 WHEN r.read_seq > conversation_partner.read_seq THEN r.read_seq \
                 ELSE conversation_partner.read_seq END \
                 FROM {rows} WHERE conversation_partner.user_id = r.user_id \
                 AND conversation_partner.partner_id = r.partner_id",
            );
        tx.execute_raw(statement).await?;
        Ok(())
    }

    /// The verdicts in the order of the commands, and what each read turned read.
    fn finish(mut self) -> (Vec<Verdict>, HashMap<usize, BTreeSet<i64>>) {
        let reads: Vec<(usize, &Read)> = self.reads().collect();
        let mut turned: HashMap<usize, BTreeSet<i64>> = HashMap::new();
        for (index, read) in reads {
            let messages = self.read.remove(&index).unwrap_or_default();
            let mut seqs: BTreeSet<i64> = messages.iter().map(|message| message.seq).collect();
            seqs.extend(&read.perhaps_read);
            self.verdicts[index] = Some(Verdict::Done(Outcome::Read(seqs.len())));
            turned.insert(index, seqs);
        }
        for (index, message) in self.messages.into_iter().chain(self.sent_before) {
            self.verdicts[index] = Some(match Message::join(message, &self.users) {
                Ok(message) => Verdict::Done(Outcome::Sent(Box::new(message))),
                Err(error) => Verdict::Refused(error),
            });
        }
        for (index, first) in self.repeats {
            self.verdicts[index] = self.verdicts[first].clone();
        }
        let verdicts = self
            .verdicts
            .into_iter()
            .map(|verdict| verdict.unwrap_or(Verdict::Refused(Error::internal("a command got no verdict"))))
            .collect();
        (verdicts, turned)
    }
}

fn as_i64(index: usize) -> i64 {
    i64::try_from(index).expect("a batch is far smaller")
}
