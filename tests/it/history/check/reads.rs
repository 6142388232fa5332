//! Reads: a message turns read once, because its recipient read it, and stays so; the counts say how many did not.

use std::collections::{HashMap, HashSet};

use super::{Finding, Judged};
use crate::history::record::{Attempt, Outcome, Reading, Shown, Target};

pub(super) fn check(judged: &Judged, findings: &mut Vec<Finding>) {
    turned_once(judged, findings);
    stays_read(judged, findings);
    read_as_told(judged, findings);
    counts(judged, findings);
}

/// Nobody sees two times at which one message was read, nor one before it was sent.
fn turned_once(judged: &Judged, findings: &mut Vec<Finding>) {
    let mut times: HashMap<&str, &Shown> = HashMap::new();
    for (_, shown) in &judged.shown {
        let Some(read_at) = &shown.read_at else {
            continue;
        };
        let first = times.entry(&shown.id).or_insert(shown);
        if first.read_at != shown.read_at {
            let other = first.read_at.as_deref().unwrap_or_default();
            let what = format!("{shown} was shown as read at {other} too");
            findings.push(Finding::new("read twice", &shown.content, what));
        }
        if *read_at < shown.sent_at {
            let what = format!("{shown} was read before it was sent");
            findings.push(Finding::new("time", &shown.content, what));
        }
    }
}

/// What somebody was shown as read is shown as unread to nobody who asks afterwards.
fn stays_read(judged: &Judged, findings: &mut Vec<Finding>) {
    // When each message was known to be read at the latest.
    let mut known: HashMap<&str, u64> = HashMap::new();
    let mut learn = |id, at: u64| {
        let known = known.entry(id).or_insert(at);
        *known = at.min(*known);
    };
    for look in &judged.history.looks {
        for message in look.messages.iter().filter(|m| m.read_at.is_some()) {
            learn(message.id.as_str(), look.span.ended);
        }
    }
    for session in &judged.history.sessions {
        for event in session
            .events
            .iter()
            .filter(|e| e.message.read_at.is_some())
        {
            learn(event.message.id.as_str(), event.at);
        }
    }
    for reading in &judged.history.readings {
        if let (Target::Message(id), Outcome::Done(())) = (&reading.target, &reading.outcome) {
            learn(id.as_str(), reading.span.ended);
        }
    }
    for look in &judged.history.looks {
        for message in look.messages.iter().filter(|m| m.read_at.is_none()) {
            if let Some(known) = known.get(message.id.as_str())
                && *known < look.span.began
            {
                let what = format!(
                    "{message} was shown to {} at {} ms, and was known to be read at {} ms",
                    look.by,
                    look.span.began / 1_000,
                    known / 1_000
                );
                findings.push(Finding::new("unread again", &message.content, what));
            }
        }
    }
    for stored in judged.stored.values().filter(|m| m.read_at.is_none()) {
        if known.contains_key(stored.id.as_str()) {
            let what = format!("{stored} was read before the end");
            findings.push(Finding::new("unread again", &stored.content, what));
        }
    }
}

/// What was acknowledged as read is read, and what is read was read by its recipient.
fn read_as_told(judged: &Judged, findings: &mut Vec<Finding>) {
    let mut single: HashSet<(&str, &str)> = HashSet::new();
    let mut any: HashSet<(&str, &str)> = HashSet::new();
    let mut through: HashMap<(&str, &str), Vec<&Reading>> = HashMap::new();
    for reading in &judged.history.readings {
        let by = reading.by.as_str();
        if let Outcome::Refused(code) = &reading.outcome {
            let what = format!(
                "a read of {by}, {:?}, was refused with {code}",
                reading.target
            );
            findings.push(Finding::general("refused", what));
            continue;
        }
        match &reading.target {
            Target::Message(id) => {
                single.insert((by, id));
            }
            Target::Page(partner) => {
                any.insert((by, partner));
            }
            Target::Conversation(partner, up_to) => {
                any.insert((by, partner));
                if up_to.is_none() && reading.outcome == Outcome::Done(()) {
                    through.entry((by, partner)).or_default().push(reading);
                }
            }
        }
    }
    let mut sent: HashMap<&str, u64> = HashMap::new();
    for Attempt { span, outcome, .. } in &judged.history.attempts {
        if let Outcome::Done(message) = outcome {
            let at = sent.entry(&message.id).or_insert(span.ended);
            *at = span.ended.min(*at);
        }
    }
    for stored in judged.stored.values() {
        let (to, from) = (stored.to.as_str(), stored.from.as_str());
        if stored.read_at.is_some() {
            if !single.contains(&(to, stored.id.as_str())) && !any.contains(&(to, from)) {
                let what = format!("{stored}, and {to} never read it");
                findings.push(Finding::new("read by nobody", &stored.content, what));
            }
            continue;
        }
        let Some(sent) = sent.get(stored.id.as_str()) else {
            continue;
        };
        let whole = through.get(&(to, from)).into_iter().flatten();
        if let Some(reading) = whole.into_iter().find(|reading| reading.span.began > *sent) {
            let what = format!(
                "{stored}, though {to} read the whole conversation from {} to {} ms, and it was sent by {} ms",
                reading.span.began / 1_000,
                reading.span.ended / 1_000,
                sent / 1_000
            );
            findings.push(Finding::new("read lost", &stored.content, what));
        }
    }
}

/// The counts, and the unread list, are what the messages tell.
fn counts(judged: &Judged, findings: &mut Vec<Finding>) {
    let mut unread: HashMap<&str, HashSet<&str>> = HashMap::new();
    let mut unread_of: HashMap<(&str, &str), i64> = HashMap::new();
    for message in judged.stored.values().filter(|m| m.read_at.is_none()) {
        unread.entry(&message.to).or_default().insert(&message.id);
        *unread_of.entry((&message.to, &message.from)).or_default() += 1;
    }
    for (user, (count, list)) in &judged.history.end.unread {
        let expected = unread.remove(user.as_str()).unwrap_or_default();
        if usize::try_from(*count) != Ok(expected.len()) {
            let what = format!(
                "{user} has {count} unread messages by the count, and {} by the pages",
                expected.len()
            );
            findings.push(Finding::general("unread count", what));
        }
        let listed: HashSet<&str> = list.iter().map(String::as_str).collect();
        if listed != expected || listed.len() != list.len() {
            let what = format!(
                "{user}'s unread list has {} messages, and {} are unread",
                list.len(),
                expected.len()
            );
            let about = listed.symmetric_difference(&expected).next();
            findings.push(Finding::new("unread count", about.unwrap_or(&""), what));
        }
    }
    for ((user, partner), count) in &judged.history.end.unread_of {
        let expected = unread_of
            .get(&(user.as_str(), partner.as_str()))
            .copied()
            .unwrap_or(0);
        if *count != expected {
            let what = format!(
                "{user} has {count} unread of {partner} by the count, and {expected} by the pages"
            );
            findings.push(Finding::general("unread count", what));
        }
    }
}
