//! One page of a list.

use async_graphql::{
    Name, Response, Value,
    parser::types::{OperationType, SelectionSet},
};
use uuid::Uuid;

use super::{
    Node, Object, Root, Row, UserField, arguments, key, node, user_field, write_json, write_key,
    write_separator, write_text, write_user,
};
use crate::{
    chat::{self, Chat, LastMessages, PageCursor, PageSize},
    graphql::{
        ConversationArguments, Error, Operation, caller::Viewer, json::JsonWriter, partner::count,
    },
};

/// One page that an operation asks for.
pub(in crate::graphql) struct Page {
    root: Root,
    list: List,
}

enum List {
    Conversation(ConversationArguments, Connection<chat::Message>),
    Unread(Slice, Connection<chat::Message>),
    Partners(Slice, Connection<chat::Partner>),
}

/// Which part of a list.
struct Slice {
    first: i32,
    after: Option<String>,
}

impl Page {
    /// The page, where the operation asks for nothing else.
    pub(in crate::graphql) fn of(operation: &Operation) -> Option<Self> {
        if !operation.marks.is_empty() {
            return None;
        }
        let (root, field) = Root::of(operation, OperationType::Query)?;
        key(field)?;
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
        Some(Self { root, list })
    }

    /// The whole response; where the page cannot be read, as the schema would have answered.
    pub(in crate::graphql) async fn write(
        self,
        chat: &Chat,
        viewer: &Viewer,
        limit: usize,
    ) -> Result<JsonWriter, Response> {
        let mut out = JsonWriter::new(limit, 16_384);
        self.root.begin(&mut out);
        let written = self.list.write(chat, viewer.id, &mut out).await;
        written.map_err(|error| Response::from_errors(vec![self.root.failed(error)]))?;
        Root::end(&mut out);
        Ok(out)
    }
}

impl List {
    async fn write(&self, chat: &Chat, viewer: Uuid, out: &mut JsonWriter) -> Result<(), Error> {
        match self {
            Self::Conversation(arguments, connection) => {
                let page = arguments.read(chat, viewer).await?;
                connection.write(&page, viewer, out).await;
            }
            Self::Unread(slice, connection) => {
                let page = chat.unread(viewer, slice.size()?, slice.after()).await?;
                connection.write(&page, viewer, out).await;
            }
            Self::Partners(slice, connection) => {
                let last_messages = connection.last_messages();
                let page = chat.partners(viewer, slice.size()?, slice.after(), last_messages);
                connection.write(&page.await?, viewer, out).await;
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

/// What is selected of a page.
struct Connection<R: Row>(Object<ConnectionField<R>>);

enum ConnectionField<R: Row> {
    Nodes(Node<R>),
    Edges(Object<EdgeField<R>>),
    PageInfo(Object<PageInfoField>),
}

enum EdgeField<R: Row> {
    Cursor,
    Node(Node<R>),
}

#[derive(Clone, Copy)]
enum PageInfoField {
    HasNextPage,
    HasPreviousPage,
    StartCursor,
    EndCursor,
}

fn connection<R: Row>(ty: &'static str, selection: &SelectionSet) -> Option<Connection<R>> {
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

fn edge_field<R: Row>(name: &str, selection: &SelectionSet) -> Option<EdgeField<R>> {
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

impl<R: Row> Connection<R> {
    async fn write(&self, page: &chat::Page<R>, viewer: Uuid, out: &mut JsonWriter) {
        let Self(object) = self;
        out.raw(b"{");
        for (place, (key, field)) in object.fields.iter().enumerate() {
            write_separator(out, place);
            write_key(out, key);
            match field {
                None => write_json(out, object.ty),
                Some(ConnectionField::Nodes(node)) => {
                    let row = |out: &mut JsonWriter, (_, row): &(PageCursor, R)| {
                        node.write(out, |out, field| row.write(field, viewer, out));
                    };
                    write_list(out, &page.rows, row).await;
                }
                Some(ConnectionField::Edges(edge)) => {
                    let row = |out: &mut JsonWriter, (cursor, row): &(PageCursor, R)| {
                        edge.write(out, |out, field| match field {
                            EdgeField::Cursor => write_text(out, cursor),
                            EdgeField::Node(node) => {
                                node.write(out, |out, field| row.write(field, viewer, out));
                            }
                        });
                    };
                    write_list(out, &page.rows, row).await;
                }
                Some(ConnectionField::PageInfo(page_info)) => {
                    page_info.write(out, |out, field| write_page_info(out, *field, page));
                }
            }
        }
        out.raw(b"}");
    }
}

fn write_page_info<R>(out: &mut JsonWriter, field: PageInfoField, page: &chat::Page<R>) {
    let end = match field {
        PageInfoField::HasNextPage => return write_json(out, &page.has_next),
        PageInfoField::HasPreviousPage => return write_json(out, &page.has_previous),
        PageInfoField::StartCursor => page.rows.first(),
        PageInfoField::EndCursor => page.rows.last(),
    };
    match end {
        Some((cursor, _)) => write_text(out, cursor),
        None => out.raw(b"null"),
    }
}

impl Connection<chat::Partner> {
    /// Whether anything is selected of the partners' last messages.
    fn last_messages(&self) -> LastMessages {
        let shown = |node: &Node<chat::Partner>| {
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

pub(super) enum PartnerField {
    Id,
    User(Object<UserField>),
    UnreadCount,
    LastMessage(Node<chat::Message>),
}

impl Row for chat::Partner {
    const TYPE: &'static str = "ConversationPartner";
    const EDGE: &'static str = "ConversationPartnerEdge";
    type Field = PartnerField;

    fn field(name: &str, selection: &SelectionSet) -> Option<PartnerField> {
        Some(match name {
            "id" => PartnerField::Id,
            "user" => PartnerField::User(Object::of("User", selection, user_field)?),
            "unreadCount" => PartnerField::UnreadCount,
            "lastMessage" => PartnerField::LastMessage(node::<chat::Message>(selection)?),
            _ => return None,
        })
    }

    fn write(&self, field: &PartnerField, viewer: Uuid, out: &mut JsonWriter) {
        match field {
            PartnerField::Id => write_text(out, &self.node_id()),
            PartnerField::User(user) => write_user(out, user, &self.user),
            PartnerField::UnreadCount => write_json(out, &count(self.unread_count)),
            PartnerField::LastMessage(node) => match &self.last_message {
                Some(message) => node.write(out, |out, field| message.write(field, viewer, out)),
                None => unreachable!("last messages are read where they are shown"),
            },
        }
    }
}

async fn write_list<T>(out: &mut JsonWriter, items: &[T], item: impl Fn(&mut JsonWriter, &T)) {
    out.raw(b"[");
    for (place, value) in items.iter().enumerate() {
        write_separator(out, place);
        item(out, value);
        if !out.pause().await {
            return;
        }
    }
    out.raw(b"]");
}
