//! Reads and counts.

use std::sync::Arc;

use super::{bad, look, message, pages, span, store, stored, to_recipient};
use crate::history::record::{Outcome, Reading, Shown, Target};

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
