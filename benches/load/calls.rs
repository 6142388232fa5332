//! What is asked: the five operations as clients write them, and their limits.

use std::sync::Arc;

use axum::{body::Bytes, http::HeaderValue};
use clap::ValueEnum;
use directmessages::chat::{MessageId, NodeId, conversation_id, user_id};
use entity::{message, user};
use sea_orm::{
    ColumnTrait as _, DatabaseConnection, EntityTrait as _, QueryFilter as _, QuerySelect as _,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    bare,
    client::{Call, Calls},
    data::{Data, USERS, both, content, name, pair},
    parts::token,
    pgbench,
};

/// How many different requests an operation is asked by, over and over.
const DIFFERENT: usize = 5_000;
/// How many different pages pgbench reads.
const SCRIPTS: usize = 32;
/// A full page, and one more, so that it has a next one.
const FULL: usize = 51;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "camelCase")]
pub(crate) enum Operation {
    Conversation,
    UnreadMessages,
    ConversationPartners,
    SendMessage,
    ReadMessage,
}

impl Operation {
    pub(crate) const ALL: [Self; 5] = [
        Self::Conversation,
        Self::UnreadMessages,
        Self::ConversationPartners,
        Self::SendMessage,
        Self::ReadMessage,
    ];

    /// As the schema writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Conversation => "conversation",
            Self::UnreadMessages => "unreadMessages",
            Self::ConversationPartners => "conversationPartners",
            Self::SendMessage => "sendMessage",
            Self::ReadMessage => "readMessage",
        }
    }

    fn document(self) -> &'static str {
        match self {
            Self::Conversation => {
                "query Conversation($partner: ID!) { conversation(partnerId: $partner, reversed: true) { \
                 nodes { id content sentAt readAt sender { id username } recipient { id username } } \
                 pageInfo { hasNextPage endCursor } } }"
            }
            Self::UnreadMessages => {
                "query Unread { unreadMessages { nodes { id content sentAt sender { id username } } \
                 pageInfo { hasNextPage endCursor } } }"
            }
            Self::ConversationPartners => {
                "query Partners { conversationPartners { nodes { id unreadCount user { id username } } \
                 pageInfo { hasNextPage endCursor } } }"
            }
            Self::SendMessage => {
                "mutation Send($input: SendMessageInput!) { sendMessage(input: $input) { message { id sequence sentAt } } }"
            }
            Self::ReadMessage => {
                "mutation Read($id: ID!) { readMessage(input: { id: $id }) { message { id readAt } } }"
            }
        }
    }

    /// The requests to the server.
    pub(crate) async fn calls(self, data: &Data, db: &DatabaseConnection) -> Arc<Calls> {
        let tokens: Vec<HeaderValue> = (0..USERS)
            .map(|user| format!("Bearer {}", token(&name(user))).parse().unwrap())
            .collect();
        let call = |user: usize, variables: &Value| Call {
            path: "/graphql".to_owned(),
            token: Some(tokens[user].clone()),
            body: Some(body(self.document(), variables)),
        };
        match self {
            Self::Conversation => {
                let pairs = conversations(data);
                let calls = pairs
                    .iter()
                    .map(|(viewer, partner)| call(*viewer, &json!({ "partner": name(*partner) })));
                Calls::again_and_again(calls.collect())
            }
            Self::UnreadMessages => {
                let calls = with_unread(data).into_iter();
                Calls::again_and_again(calls.map(|user| call(user, &json!({}))).collect())
            }
            Self::ConversationPartners => {
                let calls = with_partners(data).into_iter();
                Calls::again_and_again(calls.map(|user| call(user, &json!({}))).collect())
            }
            Self::SendMessage => {
                let mut random = fastrand::Rng::with_seed(1);
                let calls = (0..DIFFERENT).map(|_| {
                    let (sender, recipient) = pair(&mut random);
                    let content = content(&mut random);
                    let input = json!({ "recipientId": name(recipient), "content": content });
                    call(sender, &json!({ "input": input }))
                });
                Calls::again_and_again(calls.collect())
            }
            Self::ReadMessage => {
                let calls = unread_messages(db).await.into_iter();
                let calls = calls.map(|(id, reader)| call(reader, &json!({ "id": id })));
                Calls::once(calls.collect())
            }
        }
    }

    /// The same pages of the bare handlers.
    pub(crate) fn bare_calls(self, data: &Data) -> Option<Arc<Calls>> {
        let path = self.name_of_bare()?;
        let calls = self.keys(data).into_iter().map(|key| Call {
            path: format!("/{path}/{key}"),
            token: None,
            body: None,
        });
        Some(Calls::again_and_again(calls.collect()))
    }

    fn name_of_bare(self) -> Option<&'static str> {
        match self {
            Self::Conversation => Some("conversation"),
            Self::UnreadMessages => Some("unread"),
            Self::ConversationPartners => Some("partners"),
            Self::SendMessage | Self::ReadMessage => None,
        }
    }

    /// By what the pages are found in the database.
    fn keys(self, data: &Data) -> Vec<Uuid> {
        let of_users = |users: Vec<usize>| users.into_iter().map(id).collect();
        match self {
            Self::Conversation => conversations(data)
                .into_iter()
                .map(|(one, other)| conversation_id(id(one), id(other)))
                .collect(),
            Self::UnreadMessages => of_users(with_unread(data)),
            Self::ConversationPartners => of_users(with_partners(data)),
            Self::SendMessage | Self::ReadMessage => Vec::new(),
        }
    }

    /// The same by pgbench: the page's statement, or one bare row inserted.
    pub(crate) fn scripts(self, data: &Data) -> Vec<String> {
        let sql = match self {
            Self::Conversation => bare::CONVERSATION,
            Self::UnreadMessages => bare::UNREAD,
            Self::ConversationPartners => bare::PARTNERS,
            Self::SendMessage | Self::ReadMessage => return vec![pgbench::BARE_INSERT.to_owned()],
        };
        let keys = self.keys(data).into_iter().take(SCRIPTS);
        keys.map(|key| format!("{};\n", sql.replace("$1", &format!("'{key}'"))))
            .collect()
    }
}

/// Bare axum's answer that asks nobody.
pub(crate) fn fixed() -> Call {
    Call {
        path: "/fixed".to_owned(),
        token: None,
        body: None,
    }
}

fn body(query: &str, variables: &Value) -> Bytes {
    let body = json!({ "query": query, "variables": variables });
    body.to_string().into()
}

fn id(user: usize) -> Uuid {
    user_id(&name(user))
}

/// Viewers and partners of conversations that fill a page, the long ones more often.
fn conversations(data: &Data) -> Vec<(usize, usize)> {
    let lengths = data.conversations();
    let lines = data.0.iter().rev();
    lines
        .filter(|line| lengths[&both(line)] >= FULL)
        .map(|line| (line.sender, line.recipient))
        .take(DIFFERENT)
        .collect()
}

/// Users with a page of unread messages, the busy ones more often.
fn with_unread(data: &Data) -> Vec<usize> {
    let counts = data.unread();
    let users = data.0.iter().rev().map(|line| line.recipient);
    users
        .filter(|user| counts.get(user).is_some_and(|count| *count >= FULL))
        .take(DIFFERENT)
        .collect()
}

/// Users with a page of partners, the busy ones more often.
fn with_partners(data: &Data) -> Vec<usize> {
    let mut counts = vec![0; USERS];
    for (one, other) in data.conversations().into_keys() {
        counts[one] += 1;
        counts[other] += 1;
    }
    let users = data.0.iter().rev().map(|line| line.sender);
    users
        .filter(|user| counts[*user] >= FULL)
        .take(DIFFERENT)
        .collect()
}

/// The ids of all unread messages with the numbers of their readers, in no order.
async fn unread_messages(db: &DatabaseConnection) -> Vec<(String, usize)> {
    let users: Vec<(Uuid, String)> = user::Entity::find()
        .select_only()
        .columns([user::Column::Id, user::Column::Subject])
        .into_tuple()
        .all(db)
        .await
        .unwrap();
    let users: std::collections::HashMap<Uuid, usize> = users
        .into_iter()
        .filter_map(|(id, name)| Some((id, name.strip_prefix("user-")?.parse().ok()?)))
        .collect();
    let unread: Vec<(Uuid, i64, Uuid)> = message::Entity::find()
        .select_only()
        .columns([
            message::Column::ConversationId,
            message::Column::Seq,
            message::Column::RecipientId,
        ])
        .filter(message::Column::ReadAt.is_null())
        .into_tuple()
        .all(db)
        .await
        .unwrap();
    let mut unread: Vec<(String, usize)> = unread
        .into_iter()
        .map(|(conversation, seq, reader)| {
            let id = NodeId::Message(MessageId { conversation, seq });
            (id.to_string(), users[&reader])
        })
        .collect();
    fastrand::Rng::with_seed(2).shuffle(&mut unread);
    unread
}
