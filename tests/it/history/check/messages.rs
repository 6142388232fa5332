//! Sends and pages: what was acknowledged is there once, unchanged, in one order, and nothing else is.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use super::{Finding, Judged};
use crate::history::record::{Attempt, Outcome, Pair, Shown, pair};

pub(super) fn check(judged: &Judged, findings: &mut Vec<Finding>) {
    let mut sends: HashMap<&str, Vec<&Attempt>> = HashMap::new();
    for attempt in &judged.history.attempts {
        sends.entry(&attempt.content).or_default().push(attempt);
    }
    stored_as_told(judged, &sends, findings);
    nothing_else(judged, &sends, findings);
    shown_as_stored(judged, findings);
    one_order(judged, findings);
    in_real_time(judged, &sends, findings);
    never_stale(judged, findings);
}

/// Each acknowledged send is there once, under the id that it was acknowledged with.
fn stored_as_told(
    judged: &Judged,
    sends: &HashMap<&str, Vec<&Attempt>>,
    findings: &mut Vec<Finding>,
) {
    let mut stored: HashMap<&str, Vec<&Shown>> = HashMap::new();
    for message in judged.stored.values() {
        stored.entry(&message.content).or_default().push(message);
    }
    for (content, attempts) in sends {
        let copies = stored.get(content).map_or(&[][..], Vec::as_slice);
        if copies.len() > 1 {
            let numbers = copies.iter().map(|copy| copy.sequence.to_string());
            let numbers: Vec<String> = numbers.collect();
            let what = format!("{content:?} is stored as numbers {}", numbers.join(" and "));
            findings.push(Finding::new("doubled", content, what));
        }
        let acknowledged = attempts.iter().find_map(|attempt| match &attempt.outcome {
            Outcome::Done(message) => Some(message),
            Outcome::Unknown | Outcome::Refused(_) => None,
        });
        if let Some(message) = acknowledged
            && copies.is_empty()
        {
            let what = format!("{message} was acknowledged, and is not there");
            findings.push(Finding::new("lost", content, what));
        }
        for attempt in attempts {
            match &attempt.outcome {
                Outcome::Done(message) => {
                    let is_it = |copy: &&Shown| copy.id == message.id;
                    if !copies.is_empty() && !copies.iter().any(is_it) {
                        let what =
                            format!("{message} was acknowledged, and stored as {}", copies[0]);
                        findings.push(Finding::new("changed", content, what));
                    }
                    if attempt.stolen || message.content != **content {
                        let what = format!("{content:?} was answered with {message}");
                        findings.push(Finding::new("changed", content, what));
                    }
                }
                Outcome::Refused(code) if !attempt.stolen || code != "CLIENT_MESSAGE_ID_REUSED" => {
                    let what = format!("sending {content:?} was refused with {code}");
                    findings.push(Finding::new("refused", content, what));
                }
                Outcome::Refused(_) | Outcome::Unknown => {}
            }
        }
    }
}

/// Nothing is there that nobody sent, nor under another client id, nor twice under one.
fn nothing_else(
    judged: &Judged,
    sends: &HashMap<&str, Vec<&Attempt>>,
    findings: &mut Vec<Finding>,
) {
    let mut client_ids: HashMap<(&str, &str, &str), &Shown> = HashMap::new();
    for ((viewer, _), [up, _]) in &judged.history.end.pages {
        for message in up.iter().filter(|message| message.from == *viewer) {
            let attempts = sends.get(message.content.as_str());
            let maybe_stored = attempts.is_some_and(|attempts| {
                attempts.iter().any(|attempt| {
                    !attempt.stolen
                        && !matches!(attempt.outcome, Outcome::Refused(_))
                        && (&attempt.from, &attempt.to) == (&message.from, &message.to)
                        && (attempt.client_id.is_none() || attempt.client_id == message.client_id)
                })
            });
            if !maybe_stored {
                let client_id = message.client_id.as_deref().unwrap_or("none");
                let what = format!(
                    "{message} is there under the client id {client_id:?}, and nobody sent it so"
                );
                findings.push(Finding::new("phantom", &message.content, what));
            }
            let Some(client_id) = &message.client_id else {
                continue;
            };
            match client_ids.entry((&message.from, &message.to, client_id)) {
                Entry::Occupied(first) => {
                    let what = format!("{message} has the client id of {}", first.get());
                    findings.push(Finding::new("doubled", &message.content, what));
                }
                Entry::Vacant(place) => {
                    place.insert(message);
                }
            }
        }
    }
}

/// Whatever anybody was shown, at any time, is what is there at the end, but for being unread.
fn shown_as_stored(judged: &Judged, findings: &mut Vec<Finding>) {
    for (viewer, shown) in &judged.shown {
        let Some(stored) = judged.stored.get(shown.id.as_str()) else {
            let what = format!("{viewer} was shown {shown}, which is not there");
            findings.push(Finding::new("lost", &shown.content, what));
            continue;
        };
        let fixed = |message: &Shown| {
            let Shown {
                sequence,
                from,
                to,
                content,
                sent_at,
                ..
            } = message.clone();
            (sequence, from, to, content, sent_at)
        };
        if fixed(shown) != fixed(stored) {
            let what = format!("{viewer} was shown {shown}, which at the end is {stored}");
            findings.push(Finding::new("changed", &shown.content, what));
        }
        if *viewer != shown.from && *viewer != shown.to {
            let what = format!("{viewer} was shown {shown}");
            findings.push(Finding::new("leaked", &shown.content, what));
        }
    }
}

/// Both people see one order, whichever way they page; numbers are dense, and times never go back.
fn one_order(judged: &Judged, findings: &mut Vec<Finding>) {
    let ids = |messages: &[std::sync::Arc<Shown>]| -> Vec<String> {
        messages.iter().map(|message| message.id.clone()).collect()
    };
    for ((viewer, partner), [up, down]) in &judged.history.end.pages {
        let one = ids(judged.conversations[&pair(viewer, partner)]);
        for (way, page) in [("up", ids(up)), ("down", ids(down))] {
            if page != one {
                let place = page.iter().zip(&one).position(|(a, b)| a != b);
                let place = place.unwrap_or(page.len().min(one.len()));
                let what = format!(
                    "{viewer}, paging {way} with {partner}, sees {} messages, and the other side {}; they part at {place}",
                    page.len(),
                    one.len()
                );
                let about = page.get(place).or(one.get(place));
                findings.push(Finding::new(
                    "order",
                    about.map_or("", String::as_str),
                    what,
                ));
            }
        }
    }
    for messages in judged.conversations.values() {
        for (number, message) in (1..).zip(*messages) {
            if message.sequence != number {
                let what = format!("{message} is the conversation's message {number}");
                findings.push(Finding::new("order", &message.id, what));
                break;
            }
        }
        for two in messages.windows(2) {
            if two[1].sent_at < two[0].sent_at {
                let what = format!("{} comes after {}", two[1], two[0]);
                findings.push(Finding::new("time", &two[1].id, what));
            }
        }
    }
}

/// Of two messages of a conversation, one acknowledged before the other was sent at all, the first comes first.
fn in_real_time(
    judged: &Judged,
    sends: &HashMap<&str, Vec<&Attempt>>,
    findings: &mut Vec<Finding>,
) {
    for messages in judged.conversations.values() {
        let mut earliest: Option<(u64, &Shown)> = None;
        for message in messages.iter().rev() {
            let Some(attempts) = sends.get(message.content.as_str()) else {
                continue;
            };
            let began = attempts.iter().map(|attempt| attempt.span.began).min();
            let acknowledged = |attempt: &&&Attempt| matches!(attempt.outcome, Outcome::Done(_));
            let ended = attempts
                .iter()
                .filter(acknowledged)
                .map(|a| a.span.ended)
                .min();
            if let Some((ended, later)) = earliest
                && began.is_some_and(|began| ended < began)
            {
                let what = format!(
                    "{later} was acknowledged before {message} was sent, and comes after it"
                );
                findings.push(Finding::new("real-time order", &message.content, what));
            }
            if let Some(ended) = ended
                && earliest.is_none_or(|(before, _)| ended < before)
            {
                earliest = Some((ended, message));
            }
        }
    }
}

/// A page of the newest messages shows what was acknowledged before it was asked for, and nothing is left out between.
fn never_stale(judged: &Judged, findings: &mut Vec<Finding>) {
    let mut acknowledged: BTreeMap<Pair, Vec<(u64, i64, &str)>> = BTreeMap::new();
    for attempt in &judged.history.attempts {
        if let Outcome::Done(message) = &attempt.outcome {
            let of = acknowledged.entry(message.pair()).or_default();
            of.push((attempt.span.ended, message.sequence, &message.content));
        }
    }
    for ends in acknowledged.values_mut() {
        ends.sort_unstable();
        // From here on: the greatest number acknowledged until then.
        let mut greatest = (0, "");
        for (_, sequence, content) in ends {
            greatest = greatest.max((*sequence, content));
            (*sequence, *content) = greatest;
        }
    }
    for look in &judged.history.looks {
        let Some(partner) = &look.newest_with else {
            continue;
        };
        let numbers: Vec<i64> = look
            .messages
            .iter()
            .map(|message| message.sequence)
            .collect();
        if let Some([one, next, ..]) = numbers.windows(2).find(|two| two[0] != two[1] + 1) {
            let what = format!(
                "a page of {} with {partner} goes from {one} to {next}",
                look.by
            );
            findings.push(Finding::new("order", &look.messages[0].id, what));
        }
        let Some(ends) = acknowledged.get(&pair(&look.by, partner)) else {
            continue;
        };
        let before = ends.partition_point(|(ended, ..)| *ended < look.span.began);
        let Some((_, sequence, content)) = before.checked_sub(1).map(|last| ends[last]) else {
            continue;
        };
        let newest = numbers.first().copied().unwrap_or(0);
        if newest < sequence {
            let what = format!(
                "{} asked for the newest with {partner} and got number {newest}, after {content:?} was acknowledged as {sequence}",
                look.by
            );
            findings.push(Finding::new("stale", content, what));
        }
    }
}
