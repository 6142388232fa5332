//! Every counter, position and number, counted again from the rows.

use std::collections::{BTreeMap, HashMap, HashSet};

use entity::{conversation_partner, inbox, message, signal, signal::Kind};
use sea_orm::{DatabaseConnection, EntityTrait as _};
use uuid::Uuid;

/// Panics where a counter, a position or a number is not what the rows tell.
pub(crate) async fn recount(db: &DatabaseConnection) {
    let inboxes = inbox::Entity::find().all(db).await.unwrap();
    let messages = message::Entity::find().all(db).await.unwrap();
    let signals = signal::Entity::find().all(db).await.unwrap();
    let sides = conversation_partner::Entity::find().all(db).await.unwrap();
    let floors: HashMap<Uuid, i64> = inboxes.iter().map(|i| (i.user_id, i.log_floor)).collect();

    check_messages(&messages);
    check_inboxes(&inboxes, &messages, &signals);
    check_signals(&messages, &signals, &floors);
    check_sides(&sides, &messages, &signals, &floors);
}

/// Numbers are dense, times never go back, client ids are used once.
fn check_messages(messages: &[message::Model]) {
    let mut conversations: BTreeMap<Uuid, Vec<&message::Model>> = BTreeMap::new();
    let mut client_ids = HashSet::new();
    for message in messages {
        conversations
            .entry(message.conversation_id)
            .or_default()
            .push(message);
        let key = (
            message.conversation_id,
            message.sender_id,
            &message.client_message_id,
        );
        assert!(
            client_ids.insert(key),
            "a client id was used twice: {message:?}"
        );
        let pair = directmessages::chat::conversation_id(message.sender_id, message.recipient_id);
        assert_eq!(
            pair, message.conversation_id,
            "a message is in the wrong conversation"
        );
        assert!(
            message
                .read_at
                .is_none_or(|read_at| read_at >= message.sent_at),
            "a message was read before it was sent: {message:?}"
        );
    }
    for messages in conversations.values_mut() {
        messages.sort_by_key(|message| message.seq);
        for (seq, message) in (1..).zip(messages.iter()) {
            assert_eq!(message.seq, seq, "a conversation's numbers have a gap");
        }
        assert!(
            messages.is_sorted_by_key(|message| message.sent_at),
            "a conversation's times go back"
        );
        for recipient in messages
            .iter()
            .map(|m| m.recipient_id)
            .collect::<HashSet<_>>()
        {
            let mut to = messages.iter().filter(|m| m.recipient_id == recipient);
            let ordered = to
                .by_ref()
                .map(|m| m.recipient_position)
                .collect::<Vec<_>>();
            assert!(
                ordered.is_sorted_by(|a, b| a < b),
                "positions do not rise with a conversation's numbers"
            );
        }
    }
}

/// `unread_count` and `last_position` are what the rows tell, and every log is dense above its floor.
fn check_inboxes(inboxes: &[inbox::Model], messages: &[message::Model], signals: &[signal::Model]) {
    let mut unread: HashMap<Uuid, i64> = HashMap::new();
    for message in messages.iter().filter(|m| m.read_at.is_none()) {
        *unread.entry(message.recipient_id).or_default() += 1;
    }
    let mut logs: HashMap<Uuid, Vec<i64>> = HashMap::new();
    for signal in signals {
        logs.entry(signal.user_id)
            .or_default()
            .push(signal.position);
    }
    for inbox in inboxes {
        let user = inbox.user_id;
        let expected = unread.get(&user).copied().unwrap_or(0);
        assert_eq!(inbox.unread_count, expected, "the unread count of {user}");
        let mut log = logs.remove(&user).unwrap_or_default();
        log.sort_unstable();
        log.retain(|position| *position > inbox.log_floor);
        let dense: Vec<i64> = (inbox.log_floor + 1..=inbox.last_position).collect();
        assert_eq!(
            log, dense,
            "the log of {user} has gaps, or does not end at last_position"
        );
    }
    assert!(
        logs.is_empty(),
        "there are signals of users without an inbox"
    );
}

/// Each message has one signal per user that it was sent, and one that it was read where it was.
fn check_signals(
    messages: &[message::Model],
    signals: &[signal::Model],
    floors: &HashMap<Uuid, i64>,
) {
    let mut told: HashMap<(Uuid, Uuid, i64, bool), i64> = HashMap::new();
    // What lies below a floor is nobody's any more, and goes when it is pruned.
    let above = |signal: &&signal::Model| signal.position > floors[&signal.user_id];
    for signal in signals.iter().filter(above) {
        let key = (
            signal.user_id,
            signal.conversation_id,
            signal.seq,
            signal.kind == Kind::Read,
        );
        let before = told.insert(key, signal.position);
        assert!(before.is_none(), "{key:?} was signalled twice");
    }
    for message in messages {
        for user in [message.sender_id, message.recipient_id] {
            let key = |read| (user, message.conversation_id, message.seq, read);
            let sent = told.remove(&key(false));
            let read = told.remove(&key(true));
            if floors[&user] > 0 {
                continue;
            }
            let sent = sent.unwrap_or_else(|| panic!("{message:?} has no signal for {user}"));
            assert_eq!(
                read.is_some(),
                message.read_at.is_some(),
                "{message:?} of {user}"
            );
            assert!(
                read.is_none_or(|read| read > sent),
                "{message:?} was read before it was sent"
            );
            if user == message.recipient_id {
                assert_eq!(sent, message.recipient_position, "{message:?}");
            }
        }
    }
    assert!(told.is_empty(), "there are signals of no message: {told:?}");
}

/// Both sides of every conversation stand as its messages tell.
fn check_sides(
    sides: &[conversation_partner::Model],
    messages: &[message::Model],
    signals: &[signal::Model],
    floors: &HashMap<Uuid, i64>,
) {
    let mut by_conversation: HashMap<Uuid, Vec<&message::Model>> = HashMap::new();
    for message in messages {
        by_conversation
            .entry(message.conversation_id)
            .or_default()
            .push(message);
    }
    assert_eq!(
        sides.len(),
        by_conversation.len() * 2,
        "every conversation has two sides"
    );
    let latest: HashMap<(Uuid, Uuid), i64> = signals
        .iter()
        .filter(|signal| signal.kind == Kind::Sent)
        .fold(HashMap::new(), |mut latest, signal| {
            let key = (signal.user_id, signal.conversation_id);
            let position = latest.entry(key).or_insert(0);
            *position = signal.position.max(*position);
            latest
        });
    for side in sides {
        let messages = &by_conversation[&side.conversation_id];
        let last = messages.iter().map(|message| message.seq).max();
        assert_eq!(Some(side.last_seq), last, "{side:?}");
        let unread = || {
            messages
                .iter()
                .filter(|m| m.recipient_id == side.user_id && m.read_at.is_none())
        };
        assert_eq!(
            usize::try_from(side.unread_count),
            Ok(unread().count()),
            "{side:?}"
        );
        assert!(side.read_seq <= side.last_seq, "{side:?}");
        assert!(
            unread().all(|message| message.seq > side.read_seq),
            "unread below read_seq: {side:?}"
        );
        if floors[&side.user_id] == 0 {
            let position = latest[&(side.user_id, side.conversation_id)];
            assert_eq!(side.last_position, position, "{side:?}");
        }
    }
}
