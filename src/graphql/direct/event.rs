//! The events of one subscription.

use async_graphql::{
    ServerError, Value,
    parser::types::{Field, OperationType, Selection, SelectionSet},
};
use entity::signal::Kind;

use super::{
    Node, Object, Root, Row as _, UserField, arguments, node, user_field, write_json, write_key,
    write_separator, write_text, write_user,
};
use crate::{
    chat::{self, Signal, Subscribe},
    graphql::{Error, Operation, json::JsonWriter},
};

/// How the events of one subscription are written.
pub(in crate::graphql) struct Events {
    root: Root,
    event: Object<EventField>,
    limit: usize,
}

enum EventField {
    Cursor,
    Message(Node<chat::Message>),
    Sender(Object<UserField>),
    Recipient(Object<UserField>),
}

/// The root field of a subscription, and what it asks for.
pub(in crate::graphql) struct Subscribed<'a> {
    root: Root,
    field: &'a Field,
    ty: &'static str,
    pub(in crate::graphql) wanted: Subscribe,
}

impl<'a> Subscribed<'a> {
    /// Nothing for a document that is no subscription to signals, which the gate rules out.
    pub(in crate::graphql) fn of(operation: &'a Operation) -> Option<Self> {
        let (root, field) = Root::of(operation, OperationType::Subscription)?;
        let (kind, ty) = match field.name.node.as_str() {
            "messageSent" => (Kind::Sent, "MessageSent"),
            "messageRead" => (Kind::Read, "MessageRead"),
            _ => return None,
        };
        let mut wanted = Subscribe {
            kind,
            partner: None,
            after: None,
            contents: selects_contents(&field.selection_set.node),
        };
        for (name, value) in arguments(field)? {
            match (name.as_str(), value) {
                ("after", Value::String(after)) => wanted.after = Some(after),
                ("partnerId", Value::String(partner)) => wanted.partner = Some(partner),
                // An ID may be written as a number.
                ("partnerId", Value::Number(partner)) => wanted.partner = Some(partner.to_string()),
                _ => {}
            }
        }
        Some(Self {
            root,
            field,
            ty,
            wanted,
        })
    }

    /// How its events are written, where nothing is selected but what they carry.
    pub(in crate::graphql) fn events(self, limit: usize) -> Result<Events, Root> {
        match Object::of(self.ty, &self.field.selection_set.node, event_field) {
            Some(event) => Ok(Events {
                root: self.root,
                event,
                limit,
            }),
            None => Err(self.root),
        }
    }
}

/// Whether a message's content is anywhere in a selection.
fn selects_contents(selection: &SelectionSet) -> bool {
    selection.items.iter().any(|item| match &item.node {
        Selection::Field(field) => {
            let field = &field.node;
            matches!(field.name.node.as_str(), "content" | "formatted")
                || selects_contents(&field.selection_set.node)
        }
        // The gate spreads them out.
        Selection::FragmentSpread(_) | Selection::InlineFragment(_) => true,
    })
}

impl Events {
    /// A whole response with this event.
    ///
    /// # Errors
    /// `RESPONSE_TOO_LARGE`.
    pub(in crate::graphql) async fn write(&self, signal: &Signal) -> Result<String, Error> {
        let (message, viewer) = (&signal.message, signal.cursor.user);
        let mut out = JsonWriter::new(self.limit, 1_024);
        self.root.begin(&mut out);
        out.raw(b"{");
        for (place, (key, field)) in self.event.fields.iter().enumerate() {
            write_separator(&mut out, place);
            write_key(&mut out, key);
            match field {
                None => write_json(&mut out, self.event.ty),
                Some(EventField::Cursor) => write_text(&mut out, &signal.cursor),
                Some(EventField::Message(node)) => {
                    node.write(&mut out, |out, field| message.write(field, viewer, out));
                }
                Some(EventField::Sender(user)) => write_user(&mut out, user, &message.sender),
                Some(EventField::Recipient(user)) => write_user(&mut out, user, &message.recipient),
            }
            if !out.pause().await {
                break;
            }
        }
        out.raw(b"}");
        Root::end(&mut out);
        out.finish_text()
    }

    /// The error that ends them, as the schema would have answered it.
    pub(in crate::graphql) fn failed(&self, error: Error) -> ServerError {
        self.root.failed(error)
    }
}

fn event_field(name: &str, selection: &SelectionSet) -> Option<EventField> {
    Some(match name {
        "cursor" => EventField::Cursor,
        "message" => EventField::Message(node::<chat::Message>(selection)?),
        "sender" => EventField::Sender(Object::of("User", selection, user_field)?),
        "recipient" => EventField::Recipient(Object::of("User", selection, user_field)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn operation(query: &str) -> Operation {
        Operation {
            document: parse_query(query).expect("a document"),
            signal_cursor: false,
            marks: Vec::new(),
        }
    }

    #[test]
    fn contents_are_asked_for_where_they_are_selected() {
        let asks = |selection: &str| {
            let operation = operation(&format!("subscription {{ messageSent {selection} }}"));
            let subscribed = Subscribed::of(&operation);
            subscribed.is_some_and(|it| it.wanted.contents)
        };
        assert!(!asks("{ cursor message { id sender { username } } }"));
        assert!(asks("{ cursor message { id text: content } }"));
        assert!(asks("{ message { formatted } }"));
        assert!(asks("{ conversationPartner { lastMessage { content } } }"));
    }

    fn is_written(query: &str) -> bool {
        let operation = operation(query);
        let subscribed = Subscribed::of(&operation);
        subscribed.is_some_and(|it| it.events(usize::MAX).is_ok())
    }

    #[test]
    fn events_are_written_unless_more_is_asked_for_than_they_carry() {
        assert!(is_written(
            "subscription { other: messageSent(after: \"dm_s\", partnerId: null) { \
             __typename cursor message { id content sender { username } } recipient { id } } }"
        ));
        assert!(is_written("subscription { messageRead { cursor } }"));
        for beside in ["inbox { unreadCount }", "conversationPartner { id }"] {
            let query = format!("subscription {{ messageSent {{ cursor {beside} }} }}");
            assert!(!is_written(&query), "{beside}");
        }
        assert!(!is_written("{ messageSent { cursor } }"));
    }
}
