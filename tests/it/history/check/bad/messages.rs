//! Sends and pages.

use std::sync::Arc;

use super::{bad, look, message, pages, sent, span, store, stored, to_recipient};
use crate::history::record::{Outcome, Shown};

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
fn a_send_that_fails() {
    bad("refused", |history| {
        let mut attempt = sent(&message(1), 0, 1);
        attempt.outcome = Outcome::Refused("INTERNAL".to_owned());
        history.attempts.push(attempt);
    });
}
