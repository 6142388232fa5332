//! From the bytes of a CSV file to messages that can be stored, or to what is wrong with it, line by line.

use std::str;

use csv::{ByteRecord, ReaderBuilder};
use jiff::Timestamp;

use super::{
    Faults, NO_TEXT,
    history::{History, Line},
};
use crate::chat::{Content, Error, Limits, Subject};

const DAY: i64 = 86_400_000;

/// Everything in the file, in the order of `sent_at`.
pub(super) fn parse(data: &[u8], limits: &Limits, now: i64) -> Result<History, Faults> {
    let mut records = Records::of(data);
    let mut faults = Faults::default();
    let parser = match records.header() {
        (_, Ok(columns)) => Parser {
            columns,
            content_limit: limits.content,
            // Clocks differ, but not by more: what lies beyond is a wrong unit.
            latest: now.saturating_add(DAY),
        },
        (line, Err(what)) => {
            faults.push(line, || what);
            return Err(faults);
        }
    };
    let mut history = History::default();
    while let Some((line, fields)) = records.next() {
        let message = fields.and_then(|fields| parser.message(line, &fields, &mut history));
        match message {
            Ok(message) => history.lines.push(message),
            Err(what) => faults.push(line, || what),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    // A stable sort: messages of one moment stay in the file's order.
    history.lines.sort_by_key(|line| line.sent_at);
    Ok(history)
}

/// The records of a file with the line that each begins on.
struct Records<'a> {
    data: &'a [u8],
    reader: csv::Reader<&'a [u8]>,
    /// Up to where lines were counted, and how many line breaks there are.
    counted: usize,
    breaks: u64,
}

impl<'a> Records<'a> {
    fn of(data: &'a [u8]) -> Self {
        let data = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(data);
        Self {
            data,
            reader,
            counted: 0,
            breaks: 0,
        }
    }

    fn header(&mut self) -> (u64, Result<Columns, String>) {
        match self.next() {
            Some((line, header)) => (line, header.and_then(|header| Columns::find(&header))),
            None => (1, Err("the file is empty: it needs a header".to_owned())),
        }
    }

    /// The next record that is not an empty line.
    fn next(&mut self) -> Option<(u64, Result<ByteRecord, String>)> {
        let begin = self.place();
        let mut record = ByteRecord::new();
        let read = self.reader.read_byte_record(&mut record);
        let raw = self.data.get(begin..self.place()).unwrap_or_default();
        // The reader gives a record the place where the one before ended: mostly the end of that one's line.
        let blank = raw.iter().take_while(|byte| is_line_end(**byte)).count();
        let line = self.line_at(begin + blank);
        match read {
            Ok(false) => None,
            Ok(true) => Some((line, check_quotes(&raw[blank..]).map(|()| record))),
            Err(error) => Some((line, Err(error.to_string()))),
        }
    }

    fn place(&self) -> usize {
        let byte = self.reader.position().byte();
        usize::try_from(byte).map_or(self.data.len(), |byte| byte.min(self.data.len()))
    }

    fn line_at(&mut self, place: usize) -> u64 {
        let passed = &self.data[self.counted..place];
        self.breaks += passed
            .iter()
            .map(|byte| u64::from(*byte == b'\n'))
            .sum::<u64>();
        self.counted = place;
        self.breaks + 1
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// The reader takes any use of quotes somehow, and a forgotten one swallows the lines that follow: only what RFC 4180
/// allows passes.
fn check_quotes(raw: &[u8]) -> Result<(), String> {
    enum State {
        Start,
        Bare,
        Quoted,
        Closed,
    }
    let mut state = State::Start;
    if !raw.contains(&b'"') {
        return Ok(());
    }
    for byte in raw {
        state = match (state, byte) {
            (State::Quoted, b'"') => State::Closed,
            (State::Start | State::Closed, b'"') | (State::Quoted, _) => State::Quoted,
            (State::Bare, b'"') => {
                return Err("a quote inside a field without quotes: put the field in quotes, and double the one in it".to_owned());
            }
            (_, b',' | b'\r' | b'\n') => State::Start,
            (State::Start | State::Bare, _) => State::Bare,
            (State::Closed, _) => {
                return Err("text after a closing quote: double a quote that is part of the text, and look for one that is missing".to_owned());
            }
        };
    }
    match state {
        State::Quoted => Err("a quote is opened here and never closed".to_owned()),
        State::Start | State::Bare | State::Closed => Ok(()),
    }
}

/// Where each column stands.
struct Columns {
    count: usize,
    sender: usize,
    recipient: usize,
    sent_at: usize,
    content: Option<usize>,
    read_at: Option<usize>,
}

impl Columns {
    const NAMES: [&'static str; 5] = ["sender", "recipient", "sent_at", "content", "read_at"];

    fn find(header: &ByteRecord) -> Result<Self, String> {
        let names: Vec<_> = header.iter().map(String::from_utf8_lossy).collect();
        let unknown: Vec<String> = names
            .iter()
            .filter(|name| !Self::NAMES.contains(&name.as_ref()))
            .map(|name| shorten(name))
            .collect();
        if !unknown.is_empty() {
            return Err(format!(
                "unknown column {}: a header names sender, recipient, sent_at, and content and read_at where they are \
                 there, separated by commas",
                unknown.join(", ")
            ));
        }
        let place = |wanted: &str| {
            let mut places = (0..).zip(&names).filter(|(_, name)| *name == wanted);
            match (places.next(), places.next()) {
                (place, None) => Ok(place.map(|(place, _)| place)),
                (_, Some(_)) => Err(format!("the column {wanted} is there twice")),
            }
        };
        let needed =
            |wanted: &str| place(wanted)?.ok_or_else(|| format!("there is no column {wanted}"));
        Ok(Self {
            count: names.len(),
            sender: needed("sender")?,
            recipient: needed("recipient")?,
            sent_at: needed("sent_at")?,
            content: place("content")?,
            read_at: place("read_at")?,
        })
    }
}

/// What makes a record a message.
struct Parser {
    columns: Columns,
    content_limit: usize,
    /// The latest time that is believed.
    latest: i64,
}

impl Parser {
    fn message(
        &self,
        line: u64,
        record: &ByteRecord,
        history: &mut History,
    ) -> Result<Line, String> {
        let columns = &self.columns;
        if record.len() != columns.count {
            return Err(format!(
                "{} fields, where the header has {}",
                record.len(),
                columns.count
            ));
        }
        let field = |place: usize| {
            str::from_utf8(&record[place])
                .map_err(|_| "it is not UTF-8: save the file in that encoding".to_owned())
        };
        let sender = person(field(columns.sender)?, "sender", history)?;
        let recipient = person(field(columns.recipient)?, "recipient", history)?;
        if sender == recipient {
            return Err(Error::CannotMessageSelf.to_string());
        }
        let sent_at = self.time(field(columns.sent_at)?, "sent_at")?;
        let read_at = match columns.read_at.map(field).transpose()?.map(str::trim) {
            None | Some("") => None,
            Some(text) => Some(self.time(text, "read_at")?),
        };
        if read_at.is_some_and(|read_at| read_at < sent_at) {
            return Err("read_at lies before sent_at".to_owned());
        }
        let content = columns.content.map_or(Ok(NO_TEXT), field)?;
        let content = Content::parse(content.to_owned(), self.content_limit)
            .map_err(|error| error.to_string())?;
        Ok(Line {
            number: line,
            sender,
            recipient,
            conversation: history.conversation(sender, recipient),
            content,
            sent_at,
            read_at,
        })
    }

    fn time(&self, text: &str, column: &str) -> Result<i64, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err(format!("{column} is empty"));
        }
        let at = match text.parse::<i64>() {
            Ok(seconds) => seconds.checked_mul(1_000),
            Err(_) => text
                .parse::<Timestamp>()
                .ok()
                .map(Timestamp::as_millisecond),
        };
        let Some(at) = at else {
            return Err(format!(
                "{column} {} is no time: give whole seconds since 1970, as 1082040961, or RFC 3339, as \
                 2004-04-15T14:56:01Z",
                shorten(text)
            ));
        };
        if at < 0 {
            return Err(format!("{column} {} lies before 1970", shorten(text)));
        }
        if at > self.latest {
            return Err(format!(
                "{column} {} lies in the future (whole numbers are seconds, not milliseconds)",
                shorten(text)
            ));
        }
        Ok(at)
    }
}

fn person(subject: &str, column: &str, history: &mut History) -> Result<usize, String> {
    if subject.is_empty() {
        return Err(format!("{column} is empty"));
    }
    if let Some(person) = history.find(subject) {
        return Ok(person);
    }
    let subject =
        Subject::parse(subject.to_owned()).map_err(|error| format!("{column}: {error}"))?;
    Ok(history.add(subject))
}

/// A field as it is shown in a fault: quoted, and not in full where it is long.
fn shorten(text: &str) -> String {
    let mut shown: String = text.chars().take(40).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}
