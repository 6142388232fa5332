//! The events of one subscription.

use async_graphql::{
    ServerError, Value,
    parser::types::{OperationType, SelectionSet},
};
use entity::signal::Kind;
use futures_util::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, stream};

use super::{
    Node, Object, Root, Row as _, UserField, arguments, node, user_field, write_text, write_user,
};
use crate::{
    chat::{self, Chat, Signal},
    graphql::{
        Operation, Progress,
        caller::Viewer,
        subscription::{Telling, Wanted},
    },
};

/// What one subscription tells.
pub(in crate::graphql) struct Events {
    wanted: Wanted,
    form: Form,
}

/// How it tells it.
struct Form {
    root: Root,
    event: Object<EventField>,
}

enum EventField {
    Cursor,
    Message(Node<chat::Message>),
    Sender(Object<UserField>),
    Recipient(Object<UserField>),
}

impl Events {
    /// The events, where nothing is selected but what they carry.
    pub(in crate::graphql) fn of(operation: &Operation) -> Option<Self> {
        let (root, field) = Root::of(operation, OperationType::Subscription)?;
        let (kind, ty) = match field.name.node.as_str() {
            "messageSent" => (Kind::Sent, "MessageSent"),
            "messageRead" => (Kind::Read, "MessageRead"),
            _ => return None,
        };
        let mut wanted = Wanted {
            kind,
            after: None,
            partner: None,
        };
        for (name, value) in arguments(field)? {
            match (name.as_str(), value) {
                ("after", Value::String(after)) => wanted.after = Some(after),
                ("partnerId", Value::String(partner)) => wanted.partner = Some(partner),
                (_, Value::Null) => {}
                _ => return None,
            }
        }
        let event = Object::of(ty, &field.selection_set.node, event_field)?;
        let form = Form { root, event };
        Some(Self { wanted, form })
    }

    /// Each event as a whole answer; the error that ends them, as the schema would have told it.
    pub(in crate::graphql) fn tell(
        self,
        chat: Chat,
        viewer: &Viewer,
        progress: Progress,
    ) -> impl Stream<Item = Result<String, ServerError>> + Send + 'static {
        let Self { wanted, form } = self;
        let viewer = viewer.id;
        let begin = async move {
            match Telling::begin(&chat, viewer, wanted, progress).await {
                Ok(telling) => Ok(telling.signals().map(move |signal| match signal {
                    Ok(signal) => Ok(form.write(&signal)),
                    Err(error) => Err(form.root.failed(error)),
                })),
                Err(error) => Err(form.root.failed(error)),
            }
        };
        stream::once(begin.boxed()).try_flatten()
    }
}

impl Form {
    fn write(&self, signal: &Signal) -> String {
        let (message, viewer) = (&signal.message, signal.cursor.user);
        let mut out = Vec::with_capacity(1_024);
        self.root.begin(&mut out);
        self.event.write(&mut out, |out, field| match field {
            EventField::Cursor => write_text(out, &signal.cursor),
            EventField::Message(node) => {
                node.write(out, |out, field| message.write(field, viewer, out));
            }
            EventField::Sender(user) => write_user(out, user, &message.sender),
            EventField::Recipient(user) => write_user(out, user, &message.recipient),
        });
        Root::end(&mut out);
        String::from_utf8(out).expect("JSON is UTF-8")
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

    fn is_written(query: &str) -> bool {
        let operation = Operation {
            document: parse_query(query).expect("a document"),
            signal_cursor: false,
            marks: Vec::new(),
        };
        Events::of(&operation).is_some()
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
