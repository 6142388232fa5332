//! What is pure, for all inputs: ids and cursors.

use directmessages::chat::{
    ClientMessageId, Content, List, MessageId, NodeId, PageCursor, PageSize, SignalCursor, Stream,
    Subject, Username, conversation_id, user_id,
};
use entity::signal::Kind;
use proptest::prelude::*;
use uuid::Uuid;

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn list() -> impl Strategy<Value = List> {
    prop_oneof![
        Just(List::Conversation),
        Just(List::Unread),
        Just(List::Partners)
    ]
}

fn stream() -> impl Strategy<Value = Stream> {
    let kind = prop_oneof![Just(Kind::Sent), Just(Kind::Read)];
    let partner = proptest::option::of((1..=u128::MAX).prop_map(Uuid::from_u128));
    prop_oneof![
        Just(Stream::ANY),
        (kind, partner).prop_map(|(kind, partner)| Stream {
            kind: Some(kind),
            partner
        }),
    ]
}

fn cursor() -> impl Strategy<Value = SignalCursor> {
    (any::<i64>(), uuid(), 0..i64::MAX, stream()).prop_map(|(epoch, user, position, stream)| {
        SignalCursor {
            epoch,
            user,
            position,
            stream,
        }
    })
}

fn node() -> impl Strategy<Value = NodeId> {
    prop_oneof![
        "[^\u{0}]{1,60}"
            .prop_filter("a user's id", |id| !id.starts_with("dm_"))
            .prop_map(NodeId::User),
        (uuid(), any::<i64>())
            .prop_map(|(conversation, seq)| NodeId::Message(MessageId { conversation, seq })),
        (uuid(), uuid()).prop_map(|(user, partner)| NodeId::ConversationPartner { user, partner }),
        uuid().prop_map(NodeId::Inbox),
    ]
}

/// Texts that look like ours, and texts that look like nothing.
fn garbage() -> impl Strategy<Value = String> {
    prop_oneof![
        ".*",
        "dm_[a-z]?[A-Za-z0-9_-]{0,100}",
        "dm_s[0-9a-v]{70,90}",
        "\\PC{0,20}"
    ]
}

proptest! {
    #[test]
    fn an_id_reads_back_as_what_it_was(id in node()) {
        let text = id.to_string();
        prop_assert_eq!(text.parse::<NodeId>(), Ok(id.clone()));
        prop_assert_eq!(text.starts_with("dm_"), !matches!(id, NodeId::User(_)));
    }

    #[test]
    fn ids_of_different_things_differ(one in node(), other in node()) {
        prop_assert_eq!(one == other, one.to_string() == other.to_string());
    }

    #[test]
    fn a_conversation_is_the_same_from_both_sides(one in uuid(), other in uuid(), third in uuid()) {
        prop_assert_eq!(conversation_id(one, other), conversation_id(other, one));
        prop_assume!(third != other);
        prop_assert_ne!(conversation_id(one, other), conversation_id(one, third));
    }

    #[test]
    fn users_of_different_ids_differ(one in ".*", other in ".*") {
        prop_assert_eq!(one == other, user_id(&one) == user_id(&other));
    }

    #[test]
    fn a_pages_cursor_fits_its_own_list_only(list in list(), key in uuid(), place in any::<i64>(), elsewhere in uuid()) {
        let text = PageCursor { list, key, place }.to_string();
        prop_assert_eq!(PageCursor::parse(&text, list, key).ok(), Some(place));
        prop_assume!(elsewhere != key);
        prop_assert!(PageCursor::parse(&text, list, elsewhere).is_err());
        for other in [List::Conversation, List::Unread, List::Partners] {
            prop_assert_eq!(PageCursor::parse(&text, other, key).is_ok(), other == list);
        }
        prop_assert!(SignalCursor::parse(&text, key, Stream::ANY).is_err());
    }

    #[test]
    fn a_signals_cursor_fits_its_own_stream_only(cursor in cursor(), other in stream(), elsewhere in uuid()) {
        let text = cursor.to_string();
        prop_assert_eq!(SignalCursor::parse(&text, cursor.user, cursor.stream).ok(), Some(cursor));
        let fits = cursor.stream == Stream::ANY || cursor.stream == other;
        prop_assert_eq!(SignalCursor::parse(&text, cursor.user, other).is_ok(), fits);
        prop_assume!(elsewhere != cursor.user);
        prop_assert!(SignalCursor::parse(&text, elsewhere, cursor.stream).is_err());
    }

    #[test]
    fn cursors_of_one_user_compare_as_text_in_the_logs_order(
        cursor in cursor(), position in 0..i64::MAX, stream in stream(),
    ) {
        let other = SignalCursor { position, stream, ..cursor };
        prop_assert_eq!(other.to_string().len(), cursor.to_string().len());
        prop_assume!(position != cursor.position);
        prop_assert_eq!(other.to_string() < cursor.to_string(), position < cursor.position);
    }

    #[test]
    fn garbage_never_panics_and_what_is_accepted_is_canonical(text in garbage(), list in list(), key in uuid(), stream in stream()) {
        if let Ok(id) = text.parse::<NodeId>() {
            prop_assert_eq!(id.to_string(), text.clone());
        }
        if let Ok(place) = PageCursor::parse(&text, list, key) {
            prop_assert_eq!(PageCursor { list, key, place }.to_string(), text.clone());
        }
        if let Ok(cursor) = SignalCursor::parse(&text, key, stream) {
            prop_assert_eq!(cursor.to_string(), text.clone());
        }
        let _ = text.parse::<MessageId>();
        let _ = (Content::parse(text.clone(), 10), ClientMessageId::parse(text));
    }

    #[test]
    fn content_is_never_blank_too_long_or_with_nul(text in "[ \t\u{0}a-cé🙈]{0,8}", limit in 1..6_usize) {
        let fits = !text.trim().is_empty() && text.chars().count() <= limit && !text.contains('\0');
        prop_assert_eq!(Content::parse(text, limit).is_ok(), fits);
    }

    #[test]
    fn a_page_holds_one_to_a_hundred_rows(size in prop_oneof![-5..110, any::<i32>()]) {
        prop_assert_eq!(PageSize::parse(size, "limit").is_ok(), (1..=100).contains(&size));
    }

    #[test]
    fn ids_and_names_of_users_keep_their_bounds(text in prop_oneof!["(dm_|dm|)[aé\u{0}]{0,5}", "[aé]{120,260}"]) {
        let fits = (1..=255).contains(&text.len()) && !text.contains('\0');
        prop_assert_eq!(Username::parse(text.clone()).is_ok(), fits);
        prop_assert_eq!(Subject::parse(text.clone()).is_ok(), fits && !text.starts_with("dm_"));
    }

    #[test]
    fn a_servers_own_client_id_is_never_a_clients(text in ".{0,70}") {
        let drawn = ClientMessageId::draw();
        prop_assert_eq!(ClientMessageId::given(drawn.as_str()), None);
        prop_assert!(ClientMessageId::parse(drawn.as_str().to_owned()).is_err());
        if let Ok(given) = ClientMessageId::parse(text.clone()) {
            prop_assert_eq!(ClientMessageId::given(given.as_str()), Some(text.as_str()));
        }
    }
}
