//! What has to hold of every history: pure functions from what was written down to what was found.
//!
//! Two orders are known for sure: the numbers that the server gave, and real time (one thing ended before another began).

mod bad;
mod listeners;
mod messages;
mod reads;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use super::record::{History, Outcome, Pair, Shown, pair};

/// One thing that must not be.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    /// The rule that was broken, by its name.
    pub(super) check: &'static str,
    /// What is wrong, in a sentence.
    pub(super) what: String,
    /// The message that it is about: its id or its content.
    pub(super) about: Option<String>,
}

impl Finding {
    fn new(check: &'static str, about: &str, what: impl Into<String>) -> Self {
        Self {
            check,
            what: what.into(),
            about: Some(about.to_owned()),
        }
    }

    fn general(check: &'static str, what: impl Into<String>) -> Self {
        Self {
            check,
            what: what.into(),
            about: None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.check, self.what)
    }
}

/// A history with what several checks look up in it.
struct Judged<'a> {
    history: &'a History,
    /// Every conversation at the end, as one side of it pages up.
    conversations: BTreeMap<Pair, &'a [Arc<Shown>]>,
    /// The messages of the end, by id.
    stored: HashMap<&'a str, &'a Shown>,
    /// Every way in which a message was ever shown, with whom to.
    shown: Vec<(&'a str, &'a Shown)>,
}

/// Everything that is wrong with a history.
pub(super) fn check(history: &History) -> Vec<Finding> {
    let mut conversations: BTreeMap<Pair, &[Arc<Shown>]> = BTreeMap::new();
    for ((viewer, partner), [up, _]) in &history.end.pages {
        conversations.entry(pair(viewer, partner)).or_insert(up);
    }
    let stored = conversations.values().flat_map(|messages| messages.iter());
    let stored = stored.map(|message| (message.id.as_str(), message.as_ref()));
    let judged = Judged {
        stored: stored.collect(),
        conversations,
        history,
        shown: all_shown(history),
    };
    let mut findings = Vec::new();
    messages::check(&judged, &mut findings);
    reads::check(&judged, &mut findings);
    listeners::check(history, &mut findings);
    for (what, code) in &history.refusals {
        findings.push(Finding::general(
            "refused",
            format!("{what} was refused with {code}"),
        ));
    }
    for (check, what) in &history.end.defects {
        findings.push(Finding::general(check, what));
    }
    findings
}

fn all_shown(history: &History) -> Vec<(&str, &Shown)> {
    let mut shown: Vec<(&str, &Arc<Shown>)> = Vec::new();
    for attempt in &history.attempts {
        if let Outcome::Done(message) = &attempt.outcome {
            shown.push((&attempt.from, message));
        }
    }
    for look in &history.looks {
        shown.extend(look.messages.iter().map(|m| (look.by.as_str(), m)));
    }
    for session in &history.sessions {
        let events = session.events.iter();
        shown.extend(events.map(|event| (session.user.as_str(), &event.message)));
    }
    for ((viewer, _), pages) in &history.end.pages {
        shown.extend(pages.iter().flatten().map(|m| (viewer.as_str(), m)));
    }
    // The recorder keeps equal ones once, so that most of these are one and the same.
    let mut seen = HashSet::new();
    shown.retain(|(viewer, message)| seen.insert((*viewer, Arc::as_ptr(message))));
    shown
        .into_iter()
        .map(|(viewer, message)| (viewer, message.as_ref()))
        .collect()
}
