//! Small bad histories: each check fails on the one that was made for it, and by its own name.

mod listeners;
mod messages;
mod reads;

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
