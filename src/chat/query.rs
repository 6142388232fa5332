//! Reads that several rules share, each one statement whatever the number of rows.

use std::{collections::HashMap, sync::Arc};

use entity::{message, user};
use sea_orm::{
    ConnectionTrait, DbErr, EntityTrait, IdenStatic as _, Iterable as _, QueryResult, Statement,
};
use uuid::Uuid;

use super::{ClientMessageId, Error, MessageId, NodeId, Store, reader::Reader, rows::Rows};

/// `alias.column AS prefixcolumn, …` for every column of a table in its order, to be read back by the same prefix, or by place.
pub(super) fn columns<E: EntityTrait>(alias: &str, prefix: &str) -> String {
    let columns: Vec<String> = E::Column::iter()
        .map(|column| {
            let name = column.as_str();
            format!("{alias}.{name} AS {prefix}{name}")
        })
        .collect();
    columns.join(", ")
}

/// A message, with the two people in it.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its conversation, and its number there.
    pub id: MessageId,
    /// Who sent it.
    pub sender: Arc<user::Model>,
    /// Whom it was sent to.
    pub recipient: Arc<user::Model>,
    /// The text; nothing where it was left out, because nobody asked for it.
    pub(super) content: Option<Arc<str>>,
    /// When it was stored, in milliseconds since 1970.
    pub sent_at: i64,
    /// When its recipient first read it; nothing while unread.
    pub read_at: Option<i64>,
    /// The sender's id for it as it is stored; nothing where it was read for the recipient only.
    client_message_id: Option<String>,
}

impl Message {
    /// The text.
    ///
    /// # Panics
    /// Where it was left out.
    #[must_use]
    pub fn content(&self) -> &str {
        let content = self.content.as_deref();
        content.expect("contents are read where they are selected")
    }

    /// `<sender's username>: <content>`.
    ///
    /// # Panics
    /// Where the content was left out.
    #[must_use]
    pub fn formatted(&self) -> String {
        format!("{}: {}", self.sender.username, self.content())
    }

    /// The sender's own id for this message, to the sender; nothing to everyone else, and where none was given.
    #[must_use]
    pub fn client_message_id(&self, viewer: Uuid) -> Option<&str> {
        let given = ClientMessageId::given(self.client_message_id.as_deref()?);
        given.filter(|_| self.sender.id == viewer)
    }

    /// Joins a row to its two users.
    ///
    /// # Errors
    /// [`Error::Internal`] where one of them is missing, which the writer rules out.
    pub(super) fn join(row: message::Model, users: &Users) -> Result<Self, Error> {
        Ok(Self {
            id: MessageId::of(&row),
            sender: users.get(row.sender_id)?,
            recipient: users.get(row.recipient_id)?,
            content: Some(row.content.into()),
            sent_at: row.sent_at,
            read_at: row.read_at,
            client_message_id: Some(row.client_message_id),
        })
    }
}

/// Users by their ids, loaded in one go for a whole page.
#[derive(Debug, Default)]
pub(super) struct Users(HashMap<Uuid, Arc<user::Model>>);

impl Users {
    pub(super) async fn load(
        db: &impl ConnectionTrait,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> Result<Self, DbErr> {
        let mut ids: Vec<Uuid> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let sql = format!(
            "SELECT {} FROM {{rows}} JOIN \"user\" u ON u.id = r.id",
            columns::<user::Entity>("u", "")
        );
        let statement = Rows::default()
            .uuids("id", ids)
            .statement(db.get_database_backend(), &sql);
        let users = user::Entity::find().from_raw_sql(statement).all(db).await?;
        Ok(users.into_iter().map(Arc::new).collect())
    }

    /// Those of these who are `viewer`, or have exchanged a message with `viewer`. Strangers are left out by the database: they
    /// take no longer than those who do not exist.
    pub(super) async fn load_partners(
        db: &Reader,
        viewer: Uuid,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> Result<Self, DbErr> {
        let ids: Vec<Uuid> = ids.into_iter().collect();
        let sql = format!(
            "SELECT {} FROM {{rows}} JOIN \"user\" u ON u.id = r.id \
             WHERE u.id = r.viewer_id OR EXISTS (SELECT 1 FROM conversation_partner p \
             WHERE p.user_id = r.viewer_id AND p.partner_id = r.id)",
            columns::<user::Entity>("u", "")
        );
        let statement = Rows::default()
            .uuids("viewer_id", ids.iter().map(|_| viewer))
            .uuids("id", ids)
            .statement(db.get_database_backend(), &sql);
        let users = user::Entity::find().from_raw_sql(statement).all(db).await?;
        Ok(users.into_iter().map(Arc::new).collect())
    }

    pub(super) fn insert(&mut self, user: Arc<user::Model>) {
        self.0.insert(user.id, user);
    }

    pub(super) fn get(&self, id: Uuid) -> Result<Arc<user::Model>, Error> {
        let user = self.find(id);
        user.ok_or_else(|| Error::internal("a message names a user that is not stored"))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn find(&self, id: Uuid) -> Option<Arc<user::Model>> {
        self.0.get(&id).cloned()
    }
}

impl IntoIterator for Users {
    type Item = Arc<user::Model>;
    type IntoIter = std::collections::hash_map::IntoValues<Uuid, Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_values()
    }
}

impl FromIterator<Arc<user::Model>> for Users {
    fn from_iter<I: IntoIterator<Item = Arc<user::Model>>>(users: I) -> Self {
        Self(users.into_iter().map(|user| (user.id, user)).collect())
    }
}

/// Columns of a message in the table's order, from a place on. By their names they cost more than the rest of the row.
fn message_at(row: &QueryResult, at: usize) -> Result<message::Model, DbErr> {
    Ok(message::Model {
        conversation_id: row.try_get_by_index(at)?,
        seq: row.try_get_by_index(at + 1)?,
        sender_id: row.try_get_by_index(at + 2)?,
        recipient_id: row.try_get_by_index(at + 3)?,
        content: row.try_get_by_index(at + 4)?,
        sent_at: row.try_get_by_index(at + 5)?,
        read_at: row.try_get_by_index(at + 6)?,
        client_message_id: row.try_get_by_index(at + 7)?,
        recipient_position: row.try_get_by_index(at + 8)?,
    })
}

/// The same; nothing where a join found none.
pub(super) fn joined_message_at(
    row: &QueryResult,
    at: usize,
) -> Result<Option<message::Model>, DbErr> {
    let found: Option<Uuid> = row.try_get_by_index(at)?;
    found.map(|_| message_at(row, at)).transpose()
}

/// A conversation, with the two people in it.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) id: Uuid,
    pub(super) people: [Arc<user::Model>; 2],
}

impl Conversation {
    /// Its first messages beyond a number; counted down, its last. Only what differs from row to row is read.
    pub(super) async fn messages(
        &self,
        db: &Reader,
        beyond: Option<i64>,
        descending: bool,
        limit: u64,
    ) -> Result<Vec<Message>, Error> {
        let (side, order, start) = if descending {
            ("<", "DESC", i64::MAX)
        } else {
            (">", "ASC", 0)
        };
        let sql = format!(
            "SELECT seq, sender_id, content, sent_at, read_at, client_message_id FROM message \
             WHERE conversation_id = $1 AND seq {side} $2 ORDER BY seq {order} LIMIT $3"
        );
        let statement = Statement::from_sql_and_values(
            db.get_database_backend(),
            sql,
            [
                self.id.into(),
                beyond.unwrap_or(start).into(),
                as_i64(limit).into(),
            ],
        );
        let rows = db.query_all_raw(statement).await?;
        rows.iter().map(|row| self.message_at(row)).collect()
    }

    fn message_at(&self, row: &QueryResult) -> Result<Message, Error> {
        let sent_by: Uuid = row.try_get_by_index(1)?;
        let [one, other] = &self.people;
        let (sender, recipient) = match sent_by {
            id if id == one.id => (one, other),
            id if id == other.id => (other, one),
            _ => {
                return Err(Error::internal(
                    "a message is by nobody of its conversation",
                ));
            }
        };
        Ok(Message {
            id: MessageId {
                conversation: self.id,
                seq: row.try_get_by_index(0)?,
            },
            sender: sender.clone(),
            recipient: recipient.clone(),
            content: Some(row.try_get_by_index::<String>(2)?.into()),
            sent_at: row.try_get_by_index(3)?,
            read_at: row.try_get_by_index(4)?,
            client_message_id: row.try_get_by_index(5)?,
        })
    }
}

/// A page of the messages that `viewer` has not read, each with its position, from above `after`.
pub(super) async fn unread(
    store: &Store,
    viewer: Uuid,
    after: i64,
    limit: u64,
) -> Result<Vec<(i64, Message)>, Error> {
    let db = &store.read.for_user(viewer);
    let statement = Statement::from_sql_and_values(
        db.get_database_backend(),
        "SELECT recipient_position, conversation_id, seq, sender_id, content, sent_at FROM message \
         WHERE recipient_id = $1 AND read_at IS NULL AND recipient_position > $2 \
         ORDER BY recipient_position LIMIT $3",
        [viewer.into(), after.into(), as_i64(limit).into()],
    );
    let rows = db.query_all_raw(statement).await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let senders = rows.iter().map(|row| row.try_get_by_index(3));
    let senders = senders.collect::<Result<Vec<Uuid>, _>>()?;
    let people = senders.iter().copied().chain([viewer]);
    let users = store.people.load(db, people).await?;
    let recipient = users.get(viewer)?;
    let messages = rows.iter().zip(senders).map(|(row, sender)| {
        let message = Message {
            id: MessageId {
                conversation: row.try_get_by_index(1)?,
                seq: row.try_get_by_index(2)?,
            },
            sender: users.get(sender)?,
            recipient: recipient.clone(),
            content: Some(row.try_get_by_index::<String>(4)?.into()),
            sent_at: row.try_get_by_index(5)?,
            read_at: None,
            client_message_id: None,
        };
        Ok((row.try_get_by_index(0)?, message))
    });
    messages.collect()
}

/// Messages that `viewer` sent or received, by their places. Those that cannot be seen are left out by the database: what
/// strangers write to each other costs nothing, and takes no longer than what is not there.
pub(super) async fn messages(
    db: &Reader,
    viewer: Uuid,
    ids: &[MessageId],
) -> Result<HashMap<MessageId, message::Model>, DbErr> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT {} FROM {{rows}} \
         JOIN message m ON m.conversation_id = r.conversation_id AND m.seq = r.seq \
         AND (m.sender_id = r.viewer_id OR m.recipient_id = r.viewer_id)",
        columns::<message::Entity>("m", "")
    );
    let statement = Rows::default()
        .uuids("conversation_id", ids.iter().map(|id| id.conversation))
        .integers("seq", ids.iter().map(|id| id.seq))
        .uuids("viewer_id", ids.iter().map(|_| viewer))
        .statement(db.get_database_backend(), &sql);
    let rows = db.query_all_raw(statement).await?;
    let messages = rows.iter().map(|row| {
        let message = message_at(row, 0)?;
        Ok((MessageId::of(&message), message))
    });
    messages.collect()
}

/// One user's side of a conversation, with what is shown beside it.
#[derive(Clone, Debug)]
pub struct Partner {
    /// Whose side.
    pub viewer: Uuid,
    /// The other one.
    pub user: Arc<user::Model>,
    /// How many of the other one's messages the viewer has not read.
    pub unread_count: i64,
    /// The position of the latest message in the viewer's log: the order of the list.
    pub last_position: i64,
    /// The conversation's latest message; nothing where it was left out.
    pub last_message: Option<Message>,
}

impl Partner {
    /// The id of this side in the API.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId::ConversationPartner {
            user: self.viewer,
            partner: self.user.id,
        }
    }
}

/// Whether partners come with their latest messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastMessages {
    /// With them.
    Shown,
    /// Without.
    LeftOut,
}

/// One user's side of a conversation as it was read, before the people in it are known.
struct SideRow {
    partner: Uuid,
    unread_count: i64,
    last_position: i64,
    last_message: Option<message::Model>,
}

impl SideRow {
    /// What is read of a side, `p`, by its places.
    const COLUMNS: &str = "p.partner_id, p.unread_count, p.last_position";
    const HAS: usize = 3;

    /// Those columns from a place on, and then those of its last message where it is shown; nothing where a join found no side.
    fn at(
        row: &QueryResult,
        at: usize,
        last_messages: LastMessages,
    ) -> Result<Option<Self>, DbErr> {
        let Some(partner) = row.try_get_by_index(at)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            partner,
            unread_count: row.try_get_by_index(at + 1)?,
            last_position: row.try_get_by_index(at + 2)?,
            last_message: match last_messages {
                LastMessages::Shown => Some(message_at(row, at + Self::HAS)?),
                LastMessages::LeftOut => None,
            },
        }))
    }

    /// Who is shown with it.
    fn people(&self) -> impl Iterator<Item = Uuid> {
        let last_message = self.last_message.iter();
        let in_message = last_message.flat_map(|message| [message.sender_id, message.recipient_id]);
        in_message.chain([self.partner])
    }

    fn join(self, viewer: Uuid, users: &Users) -> Result<Partner, Error> {
        let last_message = self.last_message;
        let last_message = last_message.map(|message| Message::join(message, users));
        Ok(Partner {
            viewer,
            user: users.get(self.partner)?,
            unread_count: self.unread_count,
            last_position: self.last_position,
            last_message: last_message.transpose()?,
        })
    }
}

/// A viewer's inbox, and the viewer's side of one conversation, read in one statement.
#[derive(Clone, Debug)]
pub struct Side {
    /// The viewer's unread messages, over all conversations.
    pub unread_count: i64,
    /// Nothing before the conversation's first message.
    pub partner: Option<Partner>,
}

/// The sides of several (viewer, partner) pairs.
pub(super) async fn sides(
    store: &Store,
    pairs: &[(Uuid, Uuid)],
) -> Result<HashMap<(Uuid, Uuid), Side>, Error> {
    // Of one viewer, though each pair names its own.
    let viewer = pairs.first().map_or(Uuid::nil(), |(viewer, _)| *viewer);
    let db = &store.read.for_user(viewer);
    let sql = format!(
        "SELECT r.viewer_id, r.partner_id, i.unread_count, {}, {} FROM {{rows}} \
         JOIN inbox i ON i.user_id = r.viewer_id \
         LEFT JOIN conversation_partner p ON p.user_id = r.viewer_id AND p.partner_id = r.partner_id \
         LEFT JOIN message m ON m.conversation_id = p.conversation_id AND m.seq = p.last_seq",
        SideRow::COLUMNS,
        columns::<message::Entity>("m", ""),
    );
    let statement = Rows::default()
        .uuids("viewer_id", pairs.iter().map(|(viewer, _)| *viewer))
        .uuids("partner_id", pairs.iter().map(|(_, partner)| *partner))
        .statement(db.get_database_backend(), &sql);
    let mut found = Vec::with_capacity(pairs.len());
    for row in db.query_all_raw(statement).await? {
        let pair: (Uuid, Uuid) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let unread_count: i64 = row.try_get_by_index(2)?;
        let side = SideRow::at(&row, 3, LastMessages::Shown)?;
        found.push((pair, unread_count, side));
    }
    let sides = found.iter().filter_map(|(_, _, side)| side.as_ref());
    let users = store
        .people
        .load(db, sides.flat_map(SideRow::people))
        .await?;
    let sides = found.into_iter().map(|(pair, unread_count, side)| {
        let side = Side {
            unread_count,
            partner: side.map(|side| side.join(pair.0, &users)).transpose()?,
        };
        Ok((pair, side))
    });
    sides.collect()
}

/// A page of a viewer's partners, latest first, from below `before`.
pub(super) async fn partners(
    store: &Store,
    viewer: Uuid,
    before: i64,
    limit: u64,
    last_messages: LastMessages,
) -> Result<Vec<Partner>, Error> {
    let db = &store.read.for_user(viewer);
    let of_side = SideRow::COLUMNS;
    let (shown, joined) = match last_messages {
        LastMessages::Shown => (
            format!("{of_side}, {}", columns::<message::Entity>("m", "")),
            "JOIN message m ON m.conversation_id = p.conversation_id AND m.seq = p.last_seq ",
        ),
        LastMessages::LeftOut => (of_side.to_owned(), ""),
    };
    let sql = format!(
        "SELECT {shown} FROM conversation_partner p {joined}\
         WHERE p.user_id = $1 AND p.last_position < $2 ORDER BY p.last_position DESC LIMIT $3",
    );
    let statement = Statement::from_sql_and_values(
        db.get_database_backend(),
        sql,
        [viewer.into(), before.into(), as_i64(limit).into()],
    );
    let rows = db.query_all_raw(statement).await?;
    let sides = rows
        .iter()
        .filter_map(|row| SideRow::at(row, 0, last_messages).transpose());
    let sides = sides.collect::<Result<Vec<_>, _>>()?;
    let people = sides.iter().flat_map(SideRow::people);
    let users = store.people.load(db, people).await?;
    let partners = sides.into_iter().map(|side| side.join(viewer, &users));
    partners.collect()
}

/// What stands as one user's inbox.
pub(super) async fn inbox(db: &Reader, user: Uuid) -> Result<entity::inbox::Model, Error> {
    entity::inbox::Entity::find_by_id(user)
        .one(db)
        .await?
        .ok_or_else(|| Error::internal("a signed-in user has no inbox"))
}

/// A user by the host application's id.
pub(super) async fn user(db: &Reader, subject: &str) -> Result<Option<user::Model>, DbErr> {
    let user = user::Entity::find_by_id(super::user_id(subject))
        .one(db)
        .await?;
    Ok(user.filter(|user| user.subject == subject))
}

fn as_i64(limit: u64) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
