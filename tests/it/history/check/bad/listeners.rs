//! Listeners and logs.

use std::sync::Arc;

use super::{bad, message, to_recipient};
use crate::history::record::{Ending, Event, Kind};

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
