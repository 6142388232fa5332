//! Reads that several rules share, each one statement whatever the number of rows.

use std::{collections::HashMap, sync::Arc};

use entity::{conversation_partner, message, user};
use sea_orm::{
    ConnectionTrait, DbErr, EntityTrait, FromQueryResult as _, IdenStatic as _, Iterable as _,
    QueryResult, Statement,
};
use uuid::Uuid;

use super::{Error, MessageId, reader::Reader, rows::Rows};

/// `alias.column AS prefixcolumn, …` for every column of a table, to be read back by the same prefix.
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
    /// The stored row.
    pub row: message::Model,
    /// Who sent it.
    pub sender: Arc<user::Model>,
    /// Whom it was sent to.
    pub recipient: Arc<user::Model>,
}

impl Message {
    /// Joins a row to its two users.
    ///
    /// # Errors
    /// [`Error::Internal`] where one of them is missing, which the writer rules out.
    pub(super) fn join(row: message::Model, users: &Users) -> Result<Self, Error> {
        Ok(Self {
            sender: users.get(row.sender_id)?,
            recipient: users.get(row.recipient_id)?,
            row,
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

    pub(super) async fn of_messages(
        db: &Reader,
        messages: &[message::Model],
    ) -> Result<Self, DbErr> {
        let ids = messages.iter().flat_map(|m| [m.sender_id, m.recipient_id]);
        Self::load(db, ids).await
    }

    pub(super) fn get(&self, id: Uuid) -> Result<Arc<user::Model>, Error> {
        let user = self.find(id);
        user.ok_or_else(|| Error::internal("a message names a user that is not stored"))
    }

    pub(super) fn find(&self, id: Uuid) -> Option<Arc<user::Model>> {
        self.0.get(&id).cloned()
    }
}

impl FromIterator<Arc<user::Model>> for Users {
    fn from_iter<I: IntoIterator<Item = Arc<user::Model>>>(users: I) -> Self {
        Self(users.into_iter().map(|user| (user.id, user)).collect())
    }
}

/// Messages by their places. Those that cannot be seen are left out.
pub(super) async fn messages(
    db: &Reader,
    ids: &[MessageId],
) -> Result<HashMap<MessageId, message::Model>, DbErr> {
    let sql = format!(
        "SELECT {} FROM {{rows}} \
         JOIN message m ON m.conversation_id = r.conversation_id AND m.seq = r.seq",
        columns::<message::Entity>("m", "")
    );
    let statement = Rows::default()
        .uuids("conversation_id", ids.iter().map(|id| id.conversation))
        .integers("seq", ids.iter().map(|id| id.seq))
        .statement(db.get_database_backend(), &sql);
    let messages = message::Entity::find()
        .from_raw_sql(statement)
        .all(db)
        .await?;
    Ok(messages
        .into_iter()
        .map(|message| (MessageId::of(&message), message))
        .collect())
}

/// One user's side of a conversation, with what is shown beside it.
#[derive(Clone, Debug)]
pub struct Partner {
    /// The stored row.
    pub row: conversation_partner::Model,
    /// The other one.
    pub user: Arc<user::Model>,
    /// The conversation's latest message.
    pub last_message: Message,
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
    db: &Reader,
    pairs: &[(Uuid, Uuid)],
) -> Result<HashMap<(Uuid, Uuid), Side>, Error> {
    let sql = format!(
        "SELECT r.viewer_id, r.partner_id, i.unread_count AS inbox_unread_count, {} FROM {{rows}} \
         JOIN inbox i ON i.user_id = r.viewer_id \
         LEFT JOIN conversation_partner p ON p.user_id = r.viewer_id AND p.partner_id = r.partner_id \
         LEFT JOIN message m ON m.conversation_id = p.conversation_id AND m.seq = p.last_seq \
         LEFT JOIN \"user\" v ON v.id = p.user_id LEFT JOIN \"user\" u ON u.id = p.partner_id",
        partner_columns()
    );
    let statement = Rows::default()
        .uuids("viewer_id", pairs.iter().map(|(viewer, _)| *viewer))
        .uuids("partner_id", pairs.iter().map(|(_, partner)| *partner))
        .statement(db.get_database_backend(), &sql);
    let mut sides = HashMap::new();
    for row in db.query_all_raw(statement).await? {
        let pair = (
            row.try_get("", "viewer_id")?,
            row.try_get("", "partner_id")?,
        );
        let side = Side {
            unread_count: row.try_get("", "inbox_unread_count")?,
            partner: partner_of(&row)?,
        };
        sides.insert(pair, side);
    }
    Ok(sides)
}

/// A page of a viewer's partners, latest first, from below `before`.
pub(super) async fn partners(
    db: &Reader,
    viewer: Uuid,
    before: i64,
    limit: u64,
) -> Result<Vec<Partner>, Error> {
    let sql = format!(
        "SELECT {} FROM conversation_partner p \
         JOIN message m ON m.conversation_id = p.conversation_id AND m.seq = p.last_seq \
         JOIN \"user\" v ON v.id = p.user_id JOIN \"user\" u ON u.id = p.partner_id \
         WHERE p.user_id = $1 AND p.last_position < $2 ORDER BY p.last_position DESC LIMIT $3",
        partner_columns()
    );
    let statement = Statement::from_sql_and_values(
        db.get_database_backend(),
        sql,
        [viewer.into(), before.into(), as_i64(limit).into()],
    );
    let rows = db.query_all_raw(statement).await?;
    rows.iter()
        .filter_map(|row| partner_of(row).transpose())
        .collect()
}

fn partner_columns() -> String {
    [
        columns::<conversation_partner::Entity>("p", "p_"),
        columns::<message::Entity>("m", "m_"),
        columns::<user::Entity>("v", "v_"),
        columns::<user::Entity>("u", "u_"),
    ]
    .join(", ")
}

fn partner_of(row: &QueryResult) -> Result<Option<Partner>, Error> {
    let Some(side) = conversation_partner::Model::from_query_result_optional(row, "p_")? else {
        return Ok(None);
    };
    let viewer = Arc::new(user::Model::from_query_result(row, "v_")?);
    let partner = Arc::new(user::Model::from_query_result(row, "u_")?);
    let users: Users = [viewer, partner.clone()].into_iter().collect();
    let last_message = Message::join(message::Model::from_query_result(row, "m_")?, &users)?;
    Ok(Some(Partner {
        row: side,
        user: partner,
        last_message,
    }))
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

/// Keyset conditions read better with the column first.
pub(super) fn beyond<C: sea_orm::ColumnTrait>(
    column: C,
    place: i64,
    descending: bool,
) -> sea_orm::sea_query::SimpleExpr {
    if descending {
        column.lt(place)
    } else {
        column.gt(place)
    }
}
