//! Small bad histories: each check fails on the one that was made for it, and by its own name.

use std::sync::Arc;

use super::check;
use crate::history::record::{
    Attempt, Ending, Event, History, Kind, Look, Outcome, Reading, Session, Shown, Span, Target,
};

fn span(began: u64, ended: u64) -> Span {
    Span { began, ended }
}

/// A message of Ann's to Ben.
fn message(sequence: i64) -> Shown {
    Shown {
        id: format!("id {sequence}"),
        sequence,
        from: "ann".to_owned(),
        to: "ben".to_owned(),
        content: format!("content {sequence}"),
        client_id: Some(format!("content {sequence}")),
        sent_at: format!("12:00:0{sequence}"),
        read_at: None,
    }
}

fn to_recipient(message: &Shown) -> Shown {
    Shown {
        client_id: None,
        ..message.clone()
    }
}

fn sent(message: &Shown, began: u64, ended: u64) -> Attempt {
    Attempt {
        from: message.from.clone(),
        to: message.to.clone(),
        content: message.content.clone(),
        client_id: message.client_id.clone(),
        stolen: false,
        server: 0,
        span: span(began, ended),
        outcome: Outcome::Done(Arc::new(message.clone())),
    }
}

fn session(user: &str, kind: Kind, messages: &[(i64, Shown)]) -> Session {
    let events = messages.iter().map(|(position, message)| Event {
        position: *position,
        message: Arc::new(message.clone()),
        at: 50,
    });
    Session {
        listener: format!("{user}'s"),
        user: user.to_owned(),
        kind,
        server: 0,
        after: 0,
        span: span(0, 90),
        events: events.collect(),
        disorder: None,
        ending: Ending::Complete,
    }
}

fn look(by: &str, began: u64, newest_with: Option<&str>, messages: &[Shown]) -> Look {
    Look {
        by: by.to_owned(),
        server: 0,
        span: span(began, began + 1),
        newest_with: newest_with.map(str::to_owned),
        messages: messages.iter().cloned().map(Arc::new).collect(),
    }
}

/// Both sides' pages, and counts that fit them.
fn store(history: &mut History, messages: &[Shown]) {
    let unread: Vec<String> = messages
        .iter()
        .filter(|message| message.read_at.is_none())
        .map(|message| message.id.clone())
        .collect();
    let count = i64::try_from(unread.len()).unwrap();
    let as_seen = |seen: fn(&Shown) -> Shown| -> [Vec<Arc<Shown>>; 2] {
        [(); 2].map(|()| messages.iter().map(seen).map(Arc::new).collect())
    };
    let end = &mut history.end;
    for (one, other, count, list, pages) in [
        ("ann", "ben", 0, Vec::new(), as_seen(Shown::clone)),
        ("ben", "ann", count, unread, as_seen(to_recipient)),
    ] {
        let between = (one.to_owned(), other.to_owned());
        end.pages.insert(between.clone(), pages);
        end.unread_of.insert(between, count);
        end.unread.insert(one.to_owned(), (count, list));
        end.last.insert(one.to_owned(), 4);
    }
}

/// Three messages one after the other, the first of which Ben read: nothing is wrong.
fn good() -> History {
    let mut messages = [1, 2, 3].map(message);
    let mut history = History::default();
    for (at, message) in (0..).zip(&messages) {
        history.attempts.push(sent(message, at * 10, at * 10 + 5));
    }
    let unread = messages.clone();
    messages[0].read_at = Some("12:00:09".to_owned());
    history.looks.push(look(
        "ben",
        30,
        Some("ann"),
        &[3, 2, 1].map(message).map(|m| to_recipient(&m)),
    ));
    history.readings.push(Reading {
        by: "ben".to_owned(),
        target: Target::Message("id 1".to_owned()),
        span: span(40, 45),
        outcome: Outcome::Done(()),
    });
    let events: Vec<(i64, Shown)> = (1..).zip(unread.iter().map(to_recipient)).collect();
    let own: Vec<(i64, Shown)> = (1..).zip(unread).collect();
    history.sessions.push(session("ann", Kind::Sent, &own));
    history.sessions.push(session("ben", Kind::Sent, &events));
    history
        .sessions
        .push(session("ann", Kind::Read, &[(4, messages[0].clone())]));
    history.sessions.push(session(
        "ben",
        Kind::Read,
        &[(4, to_recipient(&messages[0]))],
    ));
    store(&mut history, &messages);
    history
}

/// The good history, changed, is found to be bad by this check.
fn bad(check_name: &str, change: impl FnOnce(&mut History)) {
    let mut history = good();
    change(&mut history);
    let findings = check(&history);
    let names: Vec<&str> = findings.iter().map(|finding| finding.check).collect();
    assert!(
        names.contains(&check_name),
        "{check_name:?} is not in {names:?}: {findings:#?}"
    );
}

/// Both sides' pages, as they are at the end.
fn pages(history: &mut History) -> impl Iterator<Item = &mut Vec<Arc<Shown>>> {
    history.end.pages.values_mut().flatten()
}

fn stored(read: i64) -> Vec<Shown> {
    let read_at = |sequence| (sequence == read).then(|| "12:00:09".to_owned());
    [1, 2, 3]
        .map(|n| Shown {
            read_at: read_at(n),
            ..message(n)
        })
        .to_vec()
}

#[test]
fn nothing_is_found_in_a_good_history() {
    let findings = check(&good());
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn an_acknowledged_message_that_is_gone() {
    bad("lost", |history| {
        pages(history).for_each(|page| drop(page.pop()));
    });
}

#[test]
fn a_message_that_was_only_shown_and_is_gone() {
    bad("lost", |history| {
        history.attempts[2].outcome = Outcome::Unknown;
        pages(history).for_each(|page| drop(page.pop()));
    });
}

#[test]
fn one_send_stored_twice() {
    bad("doubled", |history| {
        let again = Shown {
            content: "content 1".to_owned(),
            ..message(4)
        };
        store(history, &[stored(1), vec![again]].concat());
    });
}

#[test]
fn one_client_id_on_two_messages() {
    bad("doubled", |history| {
        let again = Shown {
            client_id: Some("content 1".to_owned()),
            ..message(4)
        };
        history.attempts.push(sent(&again, 30, 35));
        store(history, &[stored(1), vec![again]].concat());
    });
}

#[test]
fn an_acknowledgement_of_another_message() {
    bad("changed", |history| {
        let other = Shown {
            id: "id 9".to_owned(),
            ..message(2)
        };
        history.attempts[1].outcome = Outcome::Done(Arc::new(other));
    });
}

#[test]
fn a_stolen_client_id_that_is_taken() {
    bad("changed", |history| {
        let mut attempt = sent(&message(1), 30, 35);
        (attempt.content, attempt.stolen) = ("another content".to_owned(), true);
        history.attempts.push(attempt);
    });
}

#[test]
fn a_message_that_changes() {
    bad("changed", |history| {
        let other = Shown {
            sent_at: "12:00:03".to_owned(),
            ..to_recipient(&message(2))
        };
        history.looks.push(look("ben", 60, None, &[other]));
    });
}

#[test]
fn a_message_that_nobody_sent() {
    bad("phantom", |history| drop(history.attempts.pop()));
}

#[test]
fn a_message_that_was_refused() {
    bad("phantom", |history| {
        history.attempts[2].outcome = Outcome::Refused("CONTENT_EMPTY".to_owned());
    });
}

#[test]
fn a_message_under_a_client_id_that_nobody_gave() {
    bad("phantom", |history| {
        history.attempts[2].outcome = Outcome::Unknown;
        let last = Shown {
            client_id: Some("drawn".to_owned()),
            ..message(3)
        };
        store(history, &[stored(1)[..2].to_vec(), vec![last]].concat());
    });
}

#[test]
fn a_message_shown_to_a_stranger() {
    bad("leaked", |history| {
        history
            .looks
            .push(look("eva", 60, None, &[to_recipient(&message(2))]));
    });
}

#[test]
fn two_sides_that_see_two_orders() {
    bad("order", |history| {
        let [up, _] = history
            .end
            .pages
            .get_mut(&("ben".to_owned(), "ann".to_owned()))
            .unwrap();
        up.swap(0, 1);
    });
}

#[test]
fn numbers_with_a_hole() {
    bad("order", |history| {
        pages(history).for_each(|page| drop(page.remove(1)));
    });
}

#[test]
fn a_page_with_a_hole() {
    bad("order", |history| {
        history
            .looks
            .push(look("ann", 60, Some("ben"), &[message(3), message(1)]));
    });
}

#[test]
fn times_that_go_back() {
    bad("time", |history| {
        for page in pages(history) {
            page[2] = Arc::new(Shown {
                sent_at: "12:00:00".to_owned(),
                ..page[2].as_ref().clone()
            });
        }
    });
}

#[test]
fn a_later_send_that_comes_first() {
    bad("real-time order", |history| {
        history.attempts[0].span = span(28, 29);
    });
}

#[test]
fn a_page_from_before_an_acknowledgement() {
    bad("stale", |history| {
        history
            .looks
            .push(look("ann", 60, Some("ben"), &[message(2), message(1)]));
    });
}

#[test]
fn a_message_read_at_two_times() {
    bad("read twice", |history| {
        let read = Shown {
            read_at: Some("12:00:08".to_owned()),
            ..to_recipient(&message(1))
        };
        history.looks.push(look("ben", 60, None, &[read]));
    });
}

#[test]
fn a_message_read_before_it_was_sent() {
    bad("time", |history| {
        for page in pages(history) {
            page[0] = Arc::new(Shown {
                read_at: Some("11:00:00".to_owned()),
                ..page[0].as_ref().clone()
            });
        }
    });
}

#[test]
fn a_read_message_that_is_shown_as_unread() {
    bad("unread again", |history| {
        history
            .looks
            .push(look("ben", 60, None, &[to_recipient(&message(1))]));
    });
}

#[test]
fn a_read_message_that_ends_as_unread() {
    bad("unread again", |history| store(history, &stored(0)));
}

#[test]
fn a_message_that_turns_read_by_itself() {
    bad("read by nobody", |history| history.readings.clear());
}

#[test]
fn a_read_conversation_with_an_unread_message() {
    bad("read lost", |history| {
        history.readings.push(Reading {
            by: "ben".to_owned(),
            target: Target::Conversation("ann".to_owned(), None),
            span: span(60, 65),
            outcome: Outcome::Done(()),
        });
    });
}

#[test]
fn a_count_that_is_wrong() {
    bad("unread count", |history| {
        history.end.unread.get_mut("ben").unwrap().0 = 3;
    });
}

#[test]
fn an_unread_list_that_lacks_one() {
    bad("unread count", |history| {
        drop(history.end.unread.get_mut("ben").unwrap().1.pop());
    });
}

#[test]
fn a_partner_s_count_that_is_wrong() {
    bad("unread count", |history| {
        history
            .end
            .unread_of
            .insert(("ben".to_owned(), "ann".to_owned()), 1);
    });
}

#[test]
fn a_listener_that_missed_one() {
    bad("gap", |history| {
        let mut other = history.sessions[1].clone();
        other.events.remove(1);
        history.sessions.push(other);
    });
}

#[test]
fn a_listener_that_resumed_too_far() {
    bad("gap", |history| {
        let mut other = history.sessions[1].clone();
        (other.after, other.ending) = (1, Ending::Dropped);
        other.events.drain(..2);
        history.sessions.push(other);
    });
}

#[test]
fn a_position_that_no_listener_was_told_of() {
    bad("log", |history| {
        for session in &mut history.sessions {
            session.events.retain(|event| event.position != 2);
        }
    });
}

#[test]
fn a_log_that_ends_before_the_cursor() {
    bad("log", |history| {
        *history.end.last.get_mut("ben").unwrap() = 5;
    });
}

#[test]
fn one_position_with_two_messages() {
    bad("log", |history| {
        let mut other = history.sessions[1].clone();
        other.events[1].message = Arc::new(to_recipient(&message(3)));
        history.sessions.push(other);
    });
}

#[test]
fn a_message_twice_in_a_log() {
    bad("log", |history| {
        for session in history.sessions.iter_mut().filter(|s| s.kind == Kind::Sent) {
            let again = session.events[1].message.clone();
            session.events.push(Event {
                position: 5,
                message: again,
                at: 60,
            });
        }
    });
}

#[test]
fn a_read_message_that_no_log_tells() {
    bad("log", |history| {
        for session in history.sessions.iter_mut().filter(|s| s.kind == Kind::Read) {
            session.events.clear();
        }
    });
}

#[test]
fn a_listener_that_was_told_twice() {
    bad("repeat", |history| {
        let again = history.sessions[1].events[2].clone();
        history.sessions[1].events.push(again);
    });
}

#[test]
fn cursors_that_do_not_ascend_as_text() {
    bad("cursor", |history| {
        history.sessions[1].disorder = Some(("b".to_owned(), "a".to_owned()));
    });
}

#[test]
fn a_listener_that_never_hears_the_end() {
    bad("stuck", |history| {
        history.sessions[1].ending = Ending::Waiting;
    });
}

#[test]
fn a_subscription_that_fails() {
    bad("refused", |history| {
        history.sessions[1].ending = Ending::Refused("INTERNAL".to_owned());
    });
}

#[test]
fn a_send_that_fails() {
    bad("refused", |history| {
        let mut attempt = sent(&message(1), 0, 1);
        attempt.outcome = Outcome::Refused("INTERNAL".to_owned());
        history.attempts.push(attempt);
    });
}
