//! Listeners: each heard every signal of its user and kind after its cursor, in order, once.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Finding;
use crate::history::record::{Ending, Event, History, Kind, Session, Shown};

type Log<'a> = BTreeMap<i64, &'a Shown>;

pub(super) fn check(history: &History, findings: &mut Vec<Finding>) {
    let logs = known(history, findings);
    for session in &history.sessions {
        in_order(session, findings);
        without_gap(
            session,
            &logs[&(session.user.as_str(), session.kind)],
            findings,
        );
        well_ended(session, findings);
    }
    dense(history, &logs, findings);
    for (user, last) in &history.end.last {
        let logs = [Kind::Sent, Kind::Read].map(|kind| logs.get(&(user.as_str(), kind)));
        let told = logs.iter().flatten().filter_map(|log| log.last_key_value());
        let told = told.map(|(position, _)| *position).max().unwrap_or(0);
        if told != *last {
            let what = format!("{user}'s log ends at {last}, and the last that was told is {told}");
            findings.push(Finding::general("log", what));
        }
    }
    whole(history, findings);
}

/// Everything that anybody was told at each position, which has to be one thing.
fn known<'a>(
    history: &'a History,
    findings: &mut Vec<Finding>,
) -> HashMap<(&'a str, Kind), Log<'a>> {
    let mut logs: HashMap<(&str, Kind), Log> = HashMap::new();
    for session in &history.sessions {
        let user = session.user.as_str();
        let log = logs.entry((user, session.kind)).or_default();
        for event in &session.events {
            let first = log.entry(event.position).or_insert(&event.message);
            if first.id != event.message.id {
                let what = format!(
                    "{user}'s position {} was {first}, and {} to {}",
                    event.position, event.message, session.listener
                );
                findings.push(Finding::new("log", &event.message.content, what));
            }
        }
    }
    logs
}

/// Positions ascend, and their cursors with them.
fn in_order(session: &Session, findings: &mut Vec<Finding>) {
    let mut last = session.after;
    for event in &session.events {
        if event.position <= last {
            let what = format!(
                "{} was told {} at position {} after {last}",
                session.listener, event.message, event.position
            );
            findings.push(Finding::new("repeat", &event.message.content, what));
        }
        last = event.position;
    }
    if let Some((one, next)) = &session.disorder {
        let what = format!("{} was given {next} after {one}", session.listener);
        findings.push(Finding::general("cursor", what));
    }
}

/// Between its cursor and the last that it heard, a session heard everything that anybody ever heard.
fn without_gap(session: &Session, log: &Log, findings: &mut Vec<Finding>) {
    let Some(last) = session.events.last().map(|event| event.position) else {
        return;
    };
    if last <= session.after {
        return;
    }
    let heard: HashSet<i64> = session.events.iter().map(|event| event.position).collect();
    for (position, missed) in log.range(session.after + 1..=last) {
        if !heard.contains(position) {
            let what = format!(
                "{} went on at server {} from position {} to {last}, {} to {} ms, and was not told {missed} at {position}",
                session.listener,
                session.server,
                session.after,
                session.span.began / 1_000,
                session.span.ended / 1_000
            );
            findings.push(Finding::new("gap", &missed.content, what));
        }
    }
}

/// No subscription ends with an error but an expired cursor's, and each listener hears the end.
fn well_ended(session: &Session, findings: &mut Vec<Finding>) {
    match &session.ending {
        Ending::Dropped | Ending::Complete => {}
        Ending::Waiting => {
            let last = session.events.last();
            let last = last.map_or(session.after, |event| event.position);
            let what = format!(
                "{} at server {} heard nothing after position {last}",
                session.listener, session.server
            );
            findings.push(Finding::general("stuck", what));
        }
        Ending::Refused(code) if code == "CURSOR_EXPIRED" || code == "UNAVAILABLE" => {}
        Ending::Refused(code) => {
            let what = format!(
                "{} at server {} was ended with {code}",
                session.listener, session.server
            );
            findings.push(Finding::general("refused", what));
        }
    }
}

/// Positions that listeners of both kinds went over were told to one of them: the log has no holes.
fn dense(history: &History, logs: &HashMap<(&str, Kind), Log>, findings: &mut Vec<Finding>) {
    let mut covered: HashMap<(&str, Kind), Vec<(i64, i64)>> = HashMap::new();
    for session in &history.sessions {
        if let Some(last) = session.events.last() {
            let of = covered.entry((&session.user, session.kind)).or_default();
            of.push((session.after, last.position));
        }
    }
    for (user, kind) in covered.keys().copied().collect::<Vec<_>>() {
        if kind != Kind::Sent {
            continue;
        }
        let empty = (Vec::new(), Log::new());
        let reads = covered.get(&(user, Kind::Read)).unwrap_or(&empty.0);
        let read_log = logs.get(&(user, Kind::Read)).unwrap_or(&empty.1);
        let mut told_of: HashSet<i64> = HashSet::new();
        for (after, last) in merged(&covered[&(user, Kind::Sent)]) {
            for (other_after, other_last) in merged(reads) {
                for position in after.max(other_after) + 1..=last.min(other_last) {
                    let known = logs[&(user, Kind::Sent)].contains_key(&position)
                        || read_log.contains_key(&position);
                    if !known && told_of.insert(position) {
                        let what = format!("nobody was told of {user}'s position {position}");
                        findings.push(Finding::general("log", what));
                    }
                }
            }
        }
    }
}

/// Stretches that overlap or touch, made one.
fn merged(stretches: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut sorted = stretches.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (after, last) in sorted {
        match merged.last_mut() {
            Some(before) if after <= before.1 => before.1 = before.1.max(last),
            _ => merged.push((after, last)),
        }
    }
    merged
}

/// Who heard a whole log heard each message once as sent, and once as read where it was; in each conversation's order.
fn whole(history: &History, findings: &mut Vec<Finding>) {
    for session in &history.sessions {
        if session.after > 0 || session.ending != Ending::Complete {
            continue;
        }
        let Session {
            user,
            kind,
            events: log,
            ..
        } = session;
        let mut told: HashMap<&str, &Event> = HashMap::new();
        let mut latest: HashMap<(&str, &str), i64> = HashMap::new();
        for event in log {
            let message = event.message.as_ref();
            if let Some(before) = told.insert(&message.id, event) {
                let what = format!(
                    "{user} was told {message} at positions {} and {}",
                    before.position, event.position
                );
                findings.push(Finding::new("log", &message.content, what));
            }
            let latest = latest.entry((&message.from, &message.to)).or_default();
            if *kind == Kind::Sent && message.sequence <= *latest {
                let what = format!("{user} was told {message} after number {latest}");
                findings.push(Finding::new("log", &message.content, what));
            }
            *latest = message.sequence;
        }
        for ((viewer, _), [up, _]) in &history.end.pages {
            if viewer != user {
                continue;
            }
            for message in up {
                let expected = *kind == Kind::Sent || message.read_at.is_some();
                if expected != told.remove(message.id.as_str()).is_some() {
                    let what = if expected {
                        format!("{message} is not in {user}'s log as {kind:?}")
                    } else {
                        format!("{message} is in {user}'s log as {kind:?}")
                    };
                    findings.push(Finding::new("log", &message.content, what));
                }
            }
        }
        for event in told.values() {
            let what = format!("{user}'s log tells {}, which no page shows", event.message);
            findings.push(Finding::new("log", &event.message.content, what));
        }
    }
}
