//! The messages that the benchmark loads: skewed as real ones are, and the same in every run.

use std::{
    collections::HashMap,
    io::{BufWriter, Write as _},
    path::Path,
};

/// How many people write.
pub(crate) const USERS: usize = 2_000;
/// How many others somebody writes with on either side: few get most of it.
const CIRCLE: usize = 60;
/// Over how many seconds the messages are spread, from when.
const SPAN: usize = 600 * 86_400;
const START: usize = 1_700_000_000;

/// One message between two users, by their numbers.
pub(crate) struct Line {
    pub(crate) sender: usize,
    pub(crate) recipient: usize,
    read: bool,
}

/// Messages in the order in which they were sent.
pub(crate) struct Data(pub(crate) Vec<Line>);

/// A user's id in the host application.
pub(crate) fn name(user: usize) -> String {
    format!("user-{user}")
}

impl Data {
    pub(crate) fn draw(messages: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(20_261_122);
        let lines = std::iter::repeat_with(|| {
            let (sender, recipient) = pair(&mut random);
            Line {
                sender,
                recipient,
                read: random.u8(..10) < 4,
            }
        });
        Self(lines.take(messages).collect())
    }

    /// As `import csv` takes them.
    pub(crate) fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut random = fastrand::Rng::with_seed(20_261_123);
        let mut file = BufWriter::new(std::fs::File::create(path)?);
        writeln!(file, "sender,recipient,sent_at,content,read_at")?;
        for (index, line) in self.0.iter().enumerate() {
            let at = START + index * SPAN / self.0.len();
            let (sender, recipient) = (name(line.sender), name(line.recipient));
            let content = content(&mut random);
            let read_at = if line.read {
                (at + 60).to_string()
            } else {
                String::new()
            };
            writeln!(file, "{sender},{recipient},{at},{content},{read_at}")?;
        }
        file.flush()
    }

    /// How many messages each pair of users has, the smaller number first.
    pub(crate) fn conversations(&self) -> HashMap<(usize, usize), usize> {
        let mut counts = HashMap::new();
        for line in &self.0 {
            *counts.entry(both(line)).or_default() += 1;
        }
        counts
    }

    /// How many unread messages each user has.
    pub(crate) fn unread(&self) -> HashMap<usize, usize> {
        let mut counts = HashMap::new();
        for line in self.0.iter().filter(|line| !line.read) {
            *counts.entry(line.recipient).or_default() += 1;
        }
        counts
    }
}

/// A sender and a recipient.
pub(crate) fn pair(random: &mut fastrand::Rng) -> (usize, usize) {
    let sender = skewed(random, USERS);
    let step = 1 + skewed(random, CIRCLE);
    let step = if random.bool() { step } else { USERS - step };
    (sender, (sender + step) % USERS)
}

/// 20 to 180 characters.
pub(crate) fn content(random: &mut fastrand::Rng) -> String {
    const WORDS: &str = "the quick brown fox jumps over the lazy dog while nobody looks at what it does all day long in the \
                         garden behind the house where we used to meet on Sundays before the rain came and took the bridge";
    let length = 20 + skewed(random, 161);
    let start = random.usize(..WORDS.len() - 180);
    WORDS[start..start + length].trim().to_owned()
}

pub(crate) fn both(line: &Line) -> (usize, usize) {
    (
        line.sender.min(line.recipient),
        line.sender.max(line.recipient),
    )
}

/// Below `end`, the small ones more often: one in ten draws is of the lowest hundredth.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small numbers"
)]
fn skewed(random: &mut fastrand::Rng, end: usize) -> usize {
    let drawn = random.f64();
    (drawn * drawn * end as f64) as usize
}
