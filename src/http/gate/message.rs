//! What apollo-compiler found, in words for people: graphql-js's, where it has them.

use apollo_compiler::validation::DiagnosticList;
use async_graphql::Pos;

use super::{Refusal, refusal::Errors};
use crate::graphql::ErrorCode;

/// The most bytes of a client's own text that a message repeats.
const SHOWN: usize = 120;
/// The most bytes of a whole message.
const LONGEST: usize = 500;

/// A document that cannot be parsed: its first error only, since one mistake makes the parser stumble again and again.
pub(super) fn of_syntax(diagnostics: &DiagnosticList) -> Refusal {
    let first = diagnostics.iter().next();
    let message = first.as_ref().map(|first| first.error.to_string());
    let message = message.unwrap_or_default();
    let message = message.strip_prefix("syntax error: ").unwrap_or(&message);
    let mut message = message.to_owned();
    for (token, text) in TOKENS {
        message = message.replace(token, text);
    }
    let at = first.and_then(|first| Some(first.line_column_range()?.start));
    let at = at.map(|at| Pos {
        line: at.line,
        column: at.column,
    });
    let message = format!("Syntax Error: {}", capped(&message));
    Refusal::at(ErrorCode::GraphqlParseFailed, message, at.or(START))
}

/// The parser's names of what it expects, and what people call it.
const TOKENS: [(&str, &str); 14] = [
    ("L_CURLY", "\"{\""),
    ("R_CURLY", "\"}\""),
    ("L_PAREN", "\"(\""),
    ("R_PAREN", "\")\""),
    ("L_BRACK", "\"[\""),
    ("R_BRACK", "\"]\""),
    ("COLON", "\":\""),
    ("DOLLAR", "\"$\""),
    ("AT", "\"@\""),
    ("got EOF", "but the document ends"),
    ("Unexpected <EOF>", "the document is empty"),
    ("a valid Value", "a value"),
    (
        "expected a StringValue, Name or OperationDefinition",
        "expected query, mutation, subscription, fragment or \"{\"",
    ),
    (
        "expected definition",
        "expected query, mutation, subscription, fragment or \"{\"",
    ),
];

const START: Option<Pos> = Some(Pos { line: 1, column: 1 });

/// A document that does not fit the schema.
pub(super) fn of_validation(diagnostics: &DiagnosticList) -> Refusal {
    let mut errors = Errors::default();
    for diagnostic in diagnostics.iter() {
        let error = diagnostic.error;
        let at = || {
            let at = diagnostic.line_column_range()?.start;
            Some(Pos {
                line: at.line,
                column: at.column,
            })
        };
        let message = error.unstable_compat_message();
        let message = message.unwrap_or_else(|| error.to_string());
        errors.add(mended(error.unstable_error_name(), &message), || {
            at().or(START)
        });
    }
    match errors.refuse_or(ErrorCode::GraphqlValidationFailed, ()) {
        Err(refusal) => refusal,
        Ok(()) => Refusal::at(
            ErrorCode::GraphqlValidationFailed,
            "this document does not fit the schema",
            START,
        ),
    }
}

fn mended(name: Option<&str>, message: &str) -> String {
    let message = match name {
        Some("ConflictingFieldType") => message.replacen(" and \"", "\" and \"", 1),
        // No schema hints: the braces say enough.
        Some("MissingSubselection") => match message.split_once(" Did you mean") {
            Some((message, _)) => message.to_owned(),
            None => message.to_owned(),
        },
        Some("RecursionError" | "RecursionLimitError") => {
            "This document nests too deep to be checked: ask for less at a time.".to_owned()
        }
        _ => message.to_owned(),
    };
    let message = capped(&message);
    if message.ends_with(['.', '?', '!', '…']) {
        message
    } else {
        format!("{message}.")
    }
}

fn capped(message: &str) -> String {
    shortened(message, LONGEST)
}

/// As much of a client's text as a message repeats.
pub(super) fn cut(text: &str) -> String {
    shortened(text, SHOWN)
}

fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(most)])
}

/// A number as people read it: 12,345.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
