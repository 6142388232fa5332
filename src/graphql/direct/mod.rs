//! Pages and events written straight to JSON. The rows of a page share one selection, as the events of a subscription do: it
//! is looked through once, and each is written by it, without the executor's future for every field and its map for every
//! object, and without what it keeps for every listener.
//!
//! Only an operation for a single page or stream of events is known here, of whatever rows and fields these have by
//! themselves; for everything else [`Page::of`] and [`Subscribed::events`] give nothing, and the operation goes through the schema.
//! `tests/it/direct.rs` holds both to the same bytes.

mod event;
mod page;

use std::io::Write as _;

use async_graphql::{
    Name, PathSegment, Pos, ServerError, Value,
    parser::types::{DocumentOperations, Field, OperationType, Selection, SelectionSet},
};
use entity::user;
use serde::Serialize;
use uuid::Uuid;

pub(super) use self::{event::Subscribed, page::Page};
use super::{Error, Operation, json::JsonWriter, partner::count, scalar::DateTime};
use crate::chat::{self, NodeId};

/// The only root field of an operation.
pub(super) struct Root {
    key: Name,
    at: Pos,
}

impl Root {
    fn of(operation: &Operation, ty: OperationType) -> Option<(Self, &Field)> {
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
        let (at, field) = (field.pos, &field.node);
        let key = field.alias.as_ref().unwrap_or(&field.name);
        let key = (definition.ty == ty).then(|| key.node.clone())?;
        Some((Self { key, at }, field))
    }

    /// What an answer has before the field's value.
    fn begin(&self, out: &mut JsonWriter) {
        out.raw(b"{\"data\":{");
        write_key(out, &self.key);
    }

    /// And what after.
    fn end(out: &mut JsonWriter) {
        out.raw(b"}}");
    }

    /// The error that the schema would have answered with.
    pub(super) fn failed(&self, error: Error) -> ServerError {
        let error: async_graphql::Error = error.into();
        let mut error = error.into_server_error(self.at);
        error.path = vec![PathSegment::Field(self.key.to_string())];
        error
    }
}

/// What is selected of an object, by key; nothing stands for `__typename`.
struct Object<F> {
    ty: &'static str,
    fields: Vec<(Name, Option<F>)>,
}

impl<F> Object<F> {
    /// Where `field` knows every field by its name and what is selected of it.
    fn of(
        ty: &'static str,
        selection: &SelectionSet,
        field: impl Fn(&str, &SelectionSet) -> Option<F>,
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

    fn write(&self, out: &mut JsonWriter, mut value: impl FnMut(&mut JsonWriter, &F)) {
        out.raw(b"{");
        for (place, (key, field)) in self.fields.iter().enumerate() {
            write_separator(out, place);
            write_key(out, key);
            match field {
                Some(field) => value(out, field),
                None => write_json(out, self.ty),
            }
        }
        out.raw(b"}");
    }
}

/// What a list is made of.
trait Row: Sized {
    const TYPE: &'static str;
    const EDGE: &'static str;
    type Field;

    fn field(name: &str, selection: &SelectionSet) -> Option<Self::Field>;

    fn write(&self, field: &Self::Field, viewer: Uuid, out: &mut JsonWriter);
}

type Node<R> = Object<<R as Row>::Field>;

fn node<R: Row>(selection: &SelectionSet) -> Option<Node<R>> {
    Object::of(R::TYPE, selection, R::field)
}

enum MessageField {
    Id,
    Sequence,
    Sender(Object<UserField>),
    Recipient(Object<UserField>),
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
    type Field = MessageField;

    fn field(name: &str, selection: &SelectionSet) -> Option<MessageField> {
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

    fn write(&self, field: &MessageField, viewer: Uuid, out: &mut JsonWriter) {
        match field {
            MessageField::Id => write_text(out, &NodeId::Message(self.id)),
            MessageField::Sequence => write_json(out, &count(self.id.seq)),
            MessageField::Sender(user) => write_user(out, user, &self.sender),
            MessageField::Recipient(user) => write_user(out, user, &self.recipient),
            MessageField::Content => write_json(out, self.content()),
            MessageField::SentAt => write_text(out, &DateTime(self.sent_at)),
            MessageField::ReadAt => match self.read_at {
                Some(read_at) => write_text(out, &DateTime(read_at)),
                None => out.raw(b"null"),
            },
            MessageField::Unread => write_json(out, &self.read_at.is_none()),
            MessageField::Formatted => write_json(out, &self.formatted()),
            MessageField::ClientMessageId => write_json(out, &self.client_message_id(viewer)),
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

fn write_user(out: &mut JsonWriter, selected: &Object<UserField>, user: &user::Model) {
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
fn key(field: &Field) -> Option<Name> {
    let key = field.alias.as_ref().unwrap_or(&field.name);
    let asked_by_gate = field.alias.is_some() && key.node.starts_with("__");
    (!asked_by_gate).then(|| key.node.clone())
}

/// What stands before each member of a list or an object but the first.
fn write_separator(out: &mut JsonWriter, place: usize) {
    if place > 0 {
        out.raw(b",");
    }
}

/// Names of GraphQL need no escapes.
fn write_key(out: &mut JsonWriter, key: &str) {
    out.raw(b"\"");
    out.raw(key.as_bytes());
    out.raw(b"\":");
}

/// Ids, cursors and times need no escapes.
fn write_text(out: &mut JsonWriter, text: &impl std::fmt::Display) {
    write!(out, "\"{text}\"").expect("the writer takes everything");
}

fn write_json(out: &mut JsonWriter, value: &(impl Serialize + ?Sized)) {
    out.value(value);
}
