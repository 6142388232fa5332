//! Pages written straight to JSON. The rows of a page share one selection: it is looked through once, and each row is
//! written by it, without the executor's future for every field and its map for every object.
//!
//! Only a query for a single page is known here, of whatever rows and fields a page has by itself; for everything else
//! [`Page::of`] gives nothing, and the operation goes through the schema. `tests/it/direct.rs` holds both to the same bytes.

use std::io::Write as _;

use async_graphql::{
    Name, PathSegment, Pos, Response, Value,
    parser::types::{DocumentOperations, Field, OperationType, Selection, SelectionSet},
};
use entity::user;
use serde::Serialize;
use uuid::Uuid;

use super::{
    ConversationArguments, Error, Operation, caller::Viewer, partner::count, scalar::DateTime,
};
use crate::chat::{self, Chat, LastMessages, MessageId, NodeId, PageSize};

/// One page that an operation asks for.
pub(super) struct Page<'a> {
    key: &'a str,
    at: Pos,
    list: List<'a>,
}

enum List<'a> {
    Conversation(ConversationArguments, Connection<'a, chat::Message>),
    Unread(Slice, Connection<'a, chat::Message>),
    Partners(Slice, Connection<'a, chat::Partner>),
}

/// Which part of a list.
struct Slice {
    first: i32,
    after: Option<String>,
}

impl<'a> Page<'a> {
    /// The page, where the operation asks for nothing else.
    pub(super) fn of(operation: &'a Operation) -> Option<Self> {
        let DocumentOperations::Single(definition) = &operation.document.operations else {
            return None;
        };
        let definition = &definition.node;
        let [item] = definition.selection_set.node.items.as_slice() else {
            return None;
        };
        let Selection::Field(field) = &item.node else {
            return None;
        };
        if definition.ty != OperationType::Query || !operation.marks.is_empty() {
            return None;
        }
        let (at, field) = (field.pos, &field.node);
        let arguments = arguments(field)?;
        let selection = &field.selection_set.node;
        let list = match field.name.node.as_str() {
            "conversation" => {
                let named = arguments.iter().map(|(name, value)| (*name, value));
                let arguments = ConversationArguments::of(named);
                List::Conversation(arguments, connection("MessageConnection", selection)?)
            }
            "unreadMessages" => {
                let connection = connection("UnreadMessageConnection", selection)?;
                List::Unread(Slice::of(&arguments), connection)
            }
            "conversationPartners" => {
                let connection = connection("ConversationPartnerConnection", selection)?;
                List::Partners(Slice::of(&arguments), connection)
            }
            _ => return None,
        };
        let key = key(field)?;
        Some(Self { key, at, list })
    }

    /// The whole answer; where the page cannot be had, as the schema would have answered.
    pub(super) async fn write(self, chat: &Chat, viewer: &Viewer) -> Result<Vec<u8>, Response> {
        let mut out = Vec::with_capacity(16_384);
        out.extend(b"{\"data\":{");
        write_key(&mut out, self.key);
        let written = self.list.write(chat, viewer.id, &mut out).await;
        written.map_err(|error| {
            let error: async_graphql::Error = error.into();
            let mut error = error.into_server_error(self.at);
            error.path = vec![PathSegment::Field(self.key.to_owned())];
            Response::from_errors(vec![error])
        })?;
        out.extend(b"}}");
        Ok(out)
    }
}

impl List<'_> {
    async fn write(&self, chat: &Chat, viewer: Uuid, out: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Self::Conversation(arguments, connection) => {
                connection.write(&arguments.read(chat, viewer).await?, viewer, out);
            }
            Self::Unread(slice, connection) => {
                let page = chat.unread(viewer, slice.size()?, slice.after()).await?;
                connection.write(&page, viewer, out);
            }
            Self::Partners(slice, connection) => {
                let last_messages = connection.last_messages();
                let page = chat.partners(viewer, slice.size()?, slice.after(), last_messages);
                connection.write(&page.await?, viewer, out);
            }
        }
        Ok(())
    }
}

impl Slice {
    fn of(arguments: &[(&Name, Value)]) -> Self {
        let named = arguments.iter().map(|(name, value)| (*name, value));
        // A conversation's arguments hold a list's, and are taken the same way.
        let ConversationArguments { first, after, .. } = ConversationArguments::of(named);
        Self {
            first: first.unwrap_or(PageSize::DEFAULT),
            after,
        }
    }

    fn size(&self) -> Result<PageSize, Error> {
        Ok(PageSize::parse(self.first, "first")?)
    }

    fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }
}

/// What is selected of an object, by key; nothing stands for `__typename`.
struct Object<'a, F> {
    ty: &'static str,
    fields: Vec<(&'a str, Option<F>)>,
}

impl<'a, F> Object<'a, F> {
    /// Where `field` knows every field by its name and what is selected of it.
    fn of(
        ty: &'static str,
        selection: &'a SelectionSet,
        field: impl Fn(&str, &'a SelectionSet) -> Option<F>,
    ) -> Option<Self> {
        let fields = selection.items.iter().map(|item| {
            let Selection::Field(item) = &item.node else {
                return None;
            };
            let item = &item.node;
            let known = match item.name.node.as_str() {
                "__typename" => None,
                name if item.arguments.is_empty() => Some(field(name, &item.selection_set.node)?),
                _ => return None,
            };
            Some((key(item)?, known))
        });
        let fields = fields.collect::<Option<_>>()?;
        Some(Self { ty, fields })
    }

    fn write(&self, out: &mut Vec<u8>, mut value: impl FnMut(&mut Vec<u8>, &F)) {
        out.push(b'{');
        for (place, (key, field)) in self.fields.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            write_key(out, key);
            match field {
                Some(field) => value(out, field),
                None => write_json(out, self.ty),
            }
        }
        out.push(b'}');
    }
}

/// What a list is made of.
trait Row: Sized {
    const TYPE: &'static str;
    const EDGE: &'static str;
    type Field<'a>;

    fn field<'a>(name: &str, selection: &'a SelectionSet) -> Option<Self::Field<'a>>;

    fn write(&self, field: &Self::Field<'_>, viewer: Uuid, out: &mut Vec<u8>);
}

type Node<'a, R> = Object<'a, <R as Row>::Field<'a>>;

/// What is selected of a page.
struct Connection<'a, R: Row>(Object<'a, ConnectionField<'a, R>>);

enum ConnectionField<'a, R: Row> {
    Nodes(Node<'a, R>),
    Edges(Object<'a, EdgeField<'a, R>>),
    PageInfo(Object<'a, PageInfoField>),
}

enum EdgeField<'a, R: Row> {
    Cursor,
    Node(Node<'a, R>),
}

enum PageInfoField {
    HasNextPage,
    HasPreviousPage,
    StartCursor,
    EndCursor,
}

fn connection<'a, R: Row>(
    ty: &'static str,
    selection: &'a SelectionSet,
) -> Option<Connection<'a, R>> {
    let page = Object::of(ty, selection, |name, selection| {
        Some(match name {
            "nodes" => ConnectionField::Nodes(node::<R>(selection)?),
            "edges" => ConnectionField::Edges(Object::of(R::EDGE, selection, edge_field)?),
            "pageInfo" => {
                let page_info = Object::of("PageInfo", selection, page_info_field);
                ConnectionField::PageInfo(page_info?)
            }
            _ => return None,
        })
    });
    page.map(Connection)
}

fn node<R: Row>(selection: &SelectionSet) -> Option<Node<'_, R>> {
    Object::of(R::TYPE, selection, R::field)
}

fn edge_field<'a, R: Row>(name: &str, selection: &'a SelectionSet) -> Option<EdgeField<'a, R>> {
    match name {
        "cursor" => Some(EdgeField::Cursor),
        "node" => node::<R>(selection).map(EdgeField::Node),
        _ => None,
    }
}

fn page_info_field(name: &str, _: &SelectionSet) -> Option<PageInfoField> {
    match name {
        "hasNextPage" => Some(PageInfoField::HasNextPage),
        "hasPreviousPage" => Some(PageInfoField::HasPreviousPage),
        "startCursor" => Some(PageInfoField::StartCursor),
        "endCursor" => Some(PageInfoField::EndCursor),
        _ => None,
    }
}

impl<R: Row> Connection<'_, R> {
    fn write(&self, page: &chat::Page<R>, viewer: Uuid, out: &mut Vec<u8>) {
        self.0.write(out, |out, field| match field {
            ConnectionField::Nodes(node) => write_list(out, &page.rows, |out, (_, row)| {
                node.write(out, |out, field| row.write(field, viewer, out));
            }),
            ConnectionField::Edges(edge) => write_list(out, &page.rows, |out, (cursor, row)| {
                edge.write(out, |out, field| match field {
                    EdgeField::Cursor => write_text(out, cursor),
                    EdgeField::Node(node) => {
                        node.write(out, |out, field| row.write(field, viewer, out));
                    }
                });
            }),
            ConnectionField::PageInfo(page_info) => page_info.write(out, |out, field| {
                let end = match field {
                    PageInfoField::HasNextPage => return write_json(out, &page.has_next),
                    PageInfoField::HasPreviousPage => return write_json(out, &page.has_previous),
                    PageInfoField::StartCursor => page.rows.first(),
                    PageInfoField::EndCursor => page.rows.last(),
                };
                match end {
                    Some((cursor, _)) => write_text(out, cursor),
                    None => out.extend(b"null"),
                }
            }),
        });
    }
}

impl Connection<'_, chat::Partner> {
    /// Whether anything is selected of the partners' last messages.
    fn last_messages(&self) -> LastMessages {
        let shown = |node: &Node<'_, chat::Partner>| {
            let mut fields = node.fields.iter();
            fields.any(|(_, field)| matches!(field, Some(PartnerField::LastMessage(_))))
        };
        let shown = self.0.fields.iter().any(|(_, field)| match field {
            Some(ConnectionField::Nodes(node)) => shown(node),
            Some(ConnectionField::Edges(edge)) => edge
                .fields
                .iter()
                .any(|(_, field)| matches!(field, Some(EdgeField::Node(node)) if shown(node))),
            Some(ConnectionField::PageInfo(_)) | None => false,
        });
        if shown {
            LastMessages::Shown
        } else {
            LastMessages::LeftOut
        }
    }
}

enum MessageField<'a> {
    Id,
    Sequence,
    Sender(Object<'a, UserField>),
    Recipient(Object<'a, UserField>),
    Content,
    SentAt,
    ReadAt,
    Unread,
    Formatted,
    ClientMessageId,
}

impl Row for chat::Message {
    const TYPE: &'static str = "Message";
    const EDGE: &'static str = "MessageEdge";
    type Field<'a> = MessageField<'a>;

    fn field<'a>(name: &str, selection: &'a SelectionSet) -> Option<MessageField<'a>> {
        Some(match name {
            "id" => MessageField::Id,
            "sequence" => MessageField::Sequence,
            "sender" => MessageField::Sender(Object::of("User", selection, user_field)?),
            "recipient" => MessageField::Recipient(Object::of("User", selection, user_field)?),
            "content" => MessageField::Content,
            "sentAt" => MessageField::SentAt,
            "readAt" => MessageField::ReadAt,
            "unread" => MessageField::Unread,
            "formatted" => MessageField::Formatted,
            "clientMessageId" => MessageField::ClientMessageId,
            _ => return None,
        })
    }

    fn write(&self, field: &MessageField<'_>, viewer: Uuid, out: &mut Vec<u8>) {
        let row = &self.row;
        match field {
            MessageField::Id => write_text(out, &NodeId::Message(MessageId::of(row))),
            MessageField::Sequence => write_json(out, &count(row.seq)),
            MessageField::Sender(user) => write_user(out, user, &self.sender),
            MessageField::Recipient(user) => write_user(out, user, &self.recipient),
            MessageField::Content => write_json(out, &row.content),
            MessageField::SentAt => write_text(out, &DateTime(row.sent_at)),
            MessageField::ReadAt => match row.read_at {
                Some(read_at) => write_text(out, &DateTime(read_at)),
                None => out.extend(b"null"),
            },
            MessageField::Unread => write_json(out, &row.read_at.is_none()),
            MessageField::Formatted => write_json(out, &self.formatted()),
            MessageField::ClientMessageId => write_json(out, &self.client_message_id(viewer)),
        }
    }
}

enum PartnerField<'a> {
    Id,
    User(Object<'a, UserField>),
    UnreadCount,
    LastMessage(Node<'a, chat::Message>),
}

impl Row for chat::Partner {
    const TYPE: &'static str = "ConversationPartner";
    const EDGE: &'static str = "ConversationPartnerEdge";
    type Field<'a> = PartnerField<'a>;

    fn field<'a>(name: &str, selection: &'a SelectionSet) -> Option<PartnerField<'a>> {
        Some(match name {
            "id" => PartnerField::Id,
            "user" => PartnerField::User(Object::of("User", selection, user_field)?),
            "unreadCount" => PartnerField::UnreadCount,
            "lastMessage" => PartnerField::LastMessage(node::<chat::Message>(selection)?),
            _ => return None,
        })
    }

    fn write(&self, field: &PartnerField<'_>, viewer: Uuid, out: &mut Vec<u8>) {
        match field {
            PartnerField::Id => write_text(out, &self.node_id()),
            PartnerField::User(user) => write_user(out, user, &self.user),
            PartnerField::UnreadCount => write_json(out, &count(self.row.unread_count)),
            PartnerField::LastMessage(node) => match &self.last_message {
                Some(message) => node.write(out, |out, field| message.write(field, viewer, out)),
                None => unreachable!("last messages are read where they are shown"),
            },
        }
    }
}

enum UserField {
    Id,
    Username,
}

fn user_field(name: &str, _: &SelectionSet) -> Option<UserField> {
    match name {
        "id" => Some(UserField::Id),
        "username" => Some(UserField::Username),
        _ => None,
    }
}

fn write_user(out: &mut Vec<u8>, selected: &Object<'_, UserField>, user: &user::Model) {
    selected.write(out, |out, field| match field {
        UserField::Id => write_json(out, &user.subject),
        UserField::Username => write_json(out, &user.username),
    });
}

/// The arguments, by name; none where one of them is no value, which the gate rules out.
fn arguments(field: &Field) -> Option<Vec<(&Name, Value)>> {
    let arguments = field.arguments.iter();
    let arguments = arguments.map(|(name, value)| {
        let value = value.node.clone().into_const()?;
        Some((&name.node, value))
    });
    arguments.collect()
}

/// The name in the answer. What the gate asks for itself is for the schema to answer.
fn key(field: &Field) -> Option<&str> {
    let alias = field.alias.as_ref().map(|alias| alias.node.as_str());
    match alias {
        Some(alias) if alias.starts_with("__") => None,
        Some(alias) => Some(alias),
        None => Some(field.name.node.as_str()),
    }
}

/// Names of GraphQL need no escapes.
fn write_key(out: &mut Vec<u8>, key: &str) {
    out.push(b'"');
    out.extend(key.as_bytes());
    out.extend(b"\":");
}

fn write_list<T>(out: &mut Vec<u8>, items: &[T], mut item: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (place, value) in items.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        item(out, value);
    }
    out.push(b']');
}

/// Ids, cursors and times need no escapes.
fn write_text(out: &mut Vec<u8>, text: &impl std::fmt::Display) {
    write!(out, "\"{text}\"").expect("memory takes it");
}

fn write_json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("memory takes it");
}
