//! The rules of direct messages: who may send, read and list what, in which order, exactly once.
//!
//! Nothing here knows of GraphQL, HTTP or tokens: a caller is a user's id. Reads are in `page`, `query` and
//! `stream`, every change goes through `writer`; `prune` takes old signals away, `verify` counts everything again.

mod budget;
mod checkpoint;
mod clock;
mod cursor;
mod epoch;
mod error;
mod fair;
mod fan_out;
mod id;
pub mod import;
mod inbox;
mod log;
mod page;
mod people;
mod primary;
mod prune;
mod query;
mod reader;
mod rows;
mod store;
mod stream;
mod text;
mod url;
mod user;
mod verify;
pub(crate) mod writer;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::Deref,
    sync::{Arc, OnceLock, atomic::AtomicI64},
    time::Duration,
};

use entity::message;
use quick_cache::sync::Cache;
use sea_orm::{ConnAcquireErr, DbErr, EntityTrait as _};
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

pub use self::{
    budget::{Budget, Budgets, Reservation},
    clock::Clock,
    cursor::{List, PageCursor, SignalCursor, Stream},
    error::{Error, advice},
    id::{MessageId, NodeId, UnknownId, conversation_id, user_id},
    page::{ConversationPage, Page, PageSize},
    prune::{Pruned, Retention},
    query::{LastMessages, Message, Partner, Side},
    store::{Store, StoreOptions, inspect_file, wrong_encoding},
    stream::{Signal, SignalStream, Subscribe},
    text::{ClientMessageId, Content, Subject, Username},
    url::DatabaseUrl,
    user::{Naming, Observer, UserLookup},
    verify::{Finding, State, Verified},
    writer::WriterOptions,
};
use self::{
    error::Trouble, fan_out::Logs, query::Users, reader::Reader, user::Known, writer::Writer,
};
use crate::{observe::Reading, signals::Hints};

/// How many messages one transaction of `read_conversation` may mark.
const READ_CHUNK: i64 = 500;
/// How long the database is asked whether it can be used: who asks has no more time either.
const SOON: Duration = Duration::from_secs(2);
/// How many users are remembered as known, so that their requests need no look-up.
const KNOWN_USERS: usize = 100_000;

/// The bounds that an operator may set.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most Unicode scalar values in a message.
    pub content: usize,
    /// The most users in one `upsert`.
    pub upsert: usize,
    /// Whom a user may look up.
    pub lookup: UserLookup,
    /// How many messages a user may send to nobody in a minute, before sends to strangers are rejected; 0 is no limit.
    pub misses: u32,
}

/// What the database is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It answers, and its schema is the one that this server knows.
    Ready,
    /// Its schema is another one, or not ours to ask for.
    Pending,
    /// It is there, and every connection that reads was in use.
    Busy,
}

/// Direct messages between users. Cheap to clone, and to hold: every listener does.
#[derive(Clone, Debug)]
pub struct Chat(Arc<Parts>);

/// What a chat is made of.
#[derive(Debug)]
pub struct Parts {
    store: Store,
    writer: Writer,
    hints: Hints,
    clock: Clock,
    limits: Limits,
    known: Cache<Uuid, Known>,
    logs: Logs,
    /// How many sends to nobody each user has left.
    misses: Budgets,
    /// Whether the database tells its timeline, once that was tried.
    timeline: OnceLock<bool>,
    /// The log's epoch as it was seen last.
    epoch: AtomicI64,
}

impl Deref for Chat {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Chat {
    /// Starts the writer over an open database. Its tasks end after `shutdown`, with everything acknowledged stored.
    #[must_use]
    pub fn start(
        store: Store,
        hints: Hints,
        clock: Clock,
        limits: Limits,
        options: &WriterOptions,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Self {
        let watch = store.clone().watch();
        tasks.spawn(shutdown.clone().run_until_cancelled_owned(watch));
        let copy_log = store.clone().copy_log();
        tasks.spawn(shutdown.clone().run_until_cancelled_owned(copy_log));
        let misses = Budgets::new(match limits.lookup {
            // Everybody may know who exists.
            UserLookup::Anyone => 0,
            UserLookup::Partners => limits.misses,
        });
        let writer = Writer::start(&store, &hints, &clock, options, tasks, shutdown);
        Self(Arc::new(Parts {
            store,
            writer,
            hints,
            clock,
            limits,
            known: Cache::new(KNOWN_USERS),
            logs: Logs::default(),
            misses,
            timeline: OnceLock::new(),
            epoch: AtomicI64::default(),
        }))
    }

    /// Whether the database can be used, asked for a moment.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where it does not answer, [`Error::Internal`] where it cannot be read.
    pub async fn standing(&self) -> Result<Standing, Error> {
        match timeout(SOON, self.store.stands_migrated()).await {
            Ok(Ok(true)) => Ok(Standing::Ready),
            Ok(Ok(false)) => Ok(Standing::Pending),
            Ok(Err(error)) if error::is_no_table(&error) => Ok(Standing::Pending),
            Ok(Err(error)) if Trouble::of(&error) == Trouble::Busy => Ok(Standing::Busy),
            Ok(Err(error)) if error::is_spoilt(&error) => Err(Error::Internal(Arc::new(error))),
            Err(_) | Ok(Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)))
                if self.store.is_busy() =>
            {
                Ok(Standing::Busy)
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                self.store.doubt();
                Err(Error::Unavailable("the database does not answer in time"))
            }
        }
    }

    /// Whether there is a bus between servers.
    #[must_use]
    pub fn has_bus(&self) -> bool {
        self.hints.has_bus()
    }

    /// Drops what is kept of logs for subscribers that come to it late.
    pub(crate) fn forget_pages(&self) {
        self.logs.forget_pages();
    }

    /// Forgets what is kept of users whose budgets are full.
    pub(crate) fn forget_full_budgets(&self) {
        self.misses.forget_full();
    }

    /// What its metrics are read off from.
    #[must_use]
    pub fn reading(&self) -> Reading {
        Reading {
            queue: self.writer.waiting(),
            subscriptions: self.hints.listeners(),
            pools: self.store.pools(),
            database: !self.store.is_away(),
            bus: !self.hints.bus_is_away(),
            hints: self.hints.counts(),
        }
    }

    /// Whether there are ways to wake other servers' listeners, and they do not work: signals come late, and none is lost.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.hints.bus_is_away()
    }

    /// Sends a message from `sender` to the user whom the host application calls `recipient`. The same
    /// `client_message_id` again returns the message that was sent the first time, and sends nothing.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::CannotMessageSelf`], [`Error::ContentEmpty`], [`Error::ContentTooLong`],
    /// [`Error::ClientMessageIdReused`], [`Error::TooManyMisses`], [`Error::BadInput`], [`Error::Unavailable`].
    pub async fn send(
        &self,
        sender: Uuid,
        recipient: &str,
        content: String,
        client_message_id: Option<String>,
    ) -> Result<Message, Error> {
        let content = Content::parse(content, self.limits.content)?;
        let client_message_id = match client_message_id {
            Some(text) => ClientMessageId::parse(text)?,
            None => ClientMessageId::draw(),
        };
        let recipient_id = other_than(sender, recipient)?;
        let misses = self.misses.of(sender);
        if let Some(wait) = misses.wait() {
            // Strangers and nobody are one answer.
            let partner = HashSet::from([recipient]);
            if self.partners_of(sender, &partner).await?.is_empty() {
                return Err(Error::TooManyMisses(wait));
            }
        }
        let sent = self
            .writer
            .send(writer::Send {
                sender,
                recipient: recipient_id,
                recipient_subject: recipient.to_owned(),
                conversation: conversation_id(sender, recipient_id),
                content,
                client_message_id,
            })
            .await;
        if let Err(Error::UserNotFound(_)) = &sent {
            misses.charge(1);
        }
        sent
    }

    /// Marks one message as read by its recipient. Again, it changes and signals nothing.
    ///
    /// # Errors
    /// [`Error::MessageNotFound`] unless it was sent to `viewer`, [`Error::Unavailable`].
    pub async fn read_message(&self, viewer: Uuid, id: MessageId) -> Result<Message, Error> {
        let message = self.visible(viewer, id).await?;
        let message = message.filter(|message| message.recipient_id == viewer);
        let mut message = message.ok_or(Error::MessageNotFound)?;
        if message.read_at.is_some() {
            return self.with_users(viewer, message).await;
        }
        let read = self
            .writer
            .read(writer::Read {
                viewer,
                partner: message.sender_id,
                conversation: id.conversation,
                after: id.seq - 1,
                up_to: id.seq,
                complete: false,
                maybe_stored: BTreeSet::new(),
            })
            .await?;
        if let Some(read_at) = read.at.get(&id.seq) {
            message.read_at = Some(*read_at);
            return self.with_users(viewer, message).await;
        }
        // Somebody else was faster, or an attempt of ours whose COMMIT got no answer.
        let read = self.visible(viewer, id).await?;
        self.with_users(viewer, read.ok_or(Error::MessageNotFound)?)
            .await
    }

    /// Marks every message from `partner` up to and with `up_to` (the last one there is now, where absent) as read by
    /// `viewer`, in chunks, and answers with how many turned read.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::CannotMessageSelf`], [`Error::MessageNotFound`] where `up_to` is not of this
    /// conversation, [`Error::Unavailable`].
    pub async fn read_conversation(
        &self,
        viewer: Uuid,
        partner: &str,
        up_to: Option<MessageId>,
    ) -> Result<usize, Error> {
        let partner_id = other_than(viewer, partner)?;
        let conversation = conversation_id(viewer, partner_id);
        if up_to.is_some_and(|id| id.conversation != conversation) {
            return Err(Error::MessageNotFound);
        }
        let side = entity::conversation_partner::Entity::find_by_id((viewer, partner_id))
            .one(&self.reader(viewer))
            .await?;
        let Some(side) = side else {
            self.must_exist(viewer, partner).await?;
            return up_to.map_or(Ok(0), |_| Err(Error::MessageNotFound));
        };
        let end = match up_to {
            Some(id) if (1..=side.last_seq).contains(&id.seq) => id.seq,
            Some(_) => return Err(Error::MessageNotFound),
            None => side.last_seq,
        };
        let mut count = 0;
        let mut after = side.read_seq;
        while after < end {
            let up_to = end.min(after + READ_CHUNK);
            count += self
                .writer
                .read(writer::Read {
                    viewer,
                    partner: partner_id,
                    conversation,
                    after,
                    up_to,
                    complete: true,
                    maybe_stored: BTreeSet::new(),
                })
                .await?
                .count;
            after = up_to;
        }
        Ok(count)
    }

    /// One message that `viewer` sent or received; nothing for every other id.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn message(&self, viewer: Uuid, id: MessageId) -> Result<Option<Message>, Error> {
        match self.visible(viewer, id).await? {
            Some(message) => Ok(Some(self.with_users(viewer, message).await?)),
            None => Ok(None),
        }
    }

    /// Those of these messages that `viewer` sent or received, by their places: one statement, whatever their number.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn messages(
        &self,
        viewer: Uuid,
        ids: &HashSet<MessageId>,
    ) -> Result<HashMap<MessageId, Message>, Error> {
        let ids: Vec<_> = ids.iter().copied().collect();
        let found = query::messages(&self.reader(viewer), viewer, &ids).await?;
        let people = found
            .values()
            .flat_map(|it| [it.sender_id, it.recipient_id]);
        let people = self.people(viewer, people).await?;
        let found = found.into_iter();
        found
            .map(|(id, message)| Ok((id, Message::join(message, &people)?)))
            .collect()
    }

    /// How many messages `viewer` has not read.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn unread_count(&self, viewer: Uuid) -> Result<i64, Error> {
        Ok(query::inbox(&self.reader(viewer), viewer)
            .await?
            .unread_count)
    }

    /// The inboxes and sides of several (viewer, partner) pairs, in one statement.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn sides(
        &self,
        pairs: &[(Uuid, Uuid)],
    ) -> Result<HashMap<(Uuid, Uuid), Side>, Error> {
        query::sides(&self.store, pairs).await
    }

    /// The viewer's side of the conversation with `partner`; nothing before the first message.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::CannotMessageSelf`], [`Error::Unavailable`].
    pub async fn partner(&self, viewer: Uuid, partner: &str) -> Result<Option<Partner>, Error> {
        let pair = (viewer, other_than(viewer, partner)?);
        let side = self.sides(&[pair]).await?.remove(&pair);
        if let Some(found) = side.and_then(|side| side.partner) {
            return Ok(Some(found));
        }
        self.must_exist(viewer, partner).await?;
        Ok(None)
    }

    /// Rejects a partner who does not exist, where that is for anyone to know.
    async fn must_exist(&self, viewer: Uuid, partner: &str) -> Result<(), Error> {
        if self.limits.lookup == UserLookup::Anyone && self.user(viewer, partner).await?.is_none() {
            return Err(Error::UserNotFound(partner.to_owned()));
        }
        Ok(())
    }

    /// Who these users are; those that are not stored are left out.
    async fn people(
        &self,
        viewer: Uuid,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> Result<Users, Error> {
        Ok(self.store.people.load(&self.reader(viewer), ids).await?)
    }

    /// The connections that read, in this user's turn.
    fn reader(&self, viewer: Uuid) -> Reader {
        self.store.read.for_user(viewer)
    }

    async fn visible(&self, viewer: Uuid, id: MessageId) -> Result<Option<message::Model>, Error> {
        let find = message::Entity::visible_to(viewer);
        Ok(id.filter(find).one(&self.reader(viewer)).await?)
    }

    async fn with_users(&self, viewer: Uuid, message: message::Model) -> Result<Message, Error> {
        let people = [message.sender_id, message.recipient_id];
        Message::join(message, &self.people(viewer, people).await?)
    }
}

/// The partner's id, where it is another user's.
fn other_than(viewer: Uuid, partner: &str) -> Result<Uuid, Error> {
    let partner_id = user_id(partner);
    if partner_id == viewer {
        return Err(Error::CannotMessageSelf);
    }
    Ok(partner_id)
}

impl MessageId {
    /// The place of a stored message.
    #[must_use]
    pub fn of(message: &message::Model) -> Self {
        Self {
            conversation: message.conversation_id,
            seq: message.seq,
        }
    }

    fn filter(self, find: sea_orm::Select<message::Entity>) -> sea_orm::Select<message::Entity> {
        use sea_orm::{ColumnTrait as _, QueryFilter as _};
        find.filter(message::Column::ConversationId.eq(self.conversation))
            .filter(message::Column::Seq.eq(self.seq))
    }
}
