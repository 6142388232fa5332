//! What apollo-compiler found, in words for people: graphql-js's, where it has them.

use apollo_compiler::{
    diagnostic::{Diagnostic, ToCliReport as _},
    validation::{DiagnosticData, DiagnosticList},
};
use async_graphql::Pos;

use super::{Refusal, place, refusal::Errors};
use crate::graphql::ErrorCode;

/// The most bytes of a client's own text that a message repeats.
const SHOWN: usize = 120;
/// The most bytes of a whole message.
const LONGEST: usize = 500;

/// The parser's words for what it expects, and what people call it.
const WORDS: [(&str, &str); 21] = [
    ("L_CURLY", "\"{\""),
    ("R_CURLY", "\"}\""),
    ("L_PAREN", "\"(\""),
    ("R_PAREN", "\")\""),
    ("L_BRACK", "\"[\""),
    ("R_BRACK", "\"]\""),
    ("COLON", "\":\""),
    ("got EOF", "but the document ends"),
    ("Unexpected <EOF>.", "the document is empty"),
    ("a valid Value", "a value"),
    (
        "at least one Selection in Selection Set",
        "a field between the braces",
    ),
    ("a StringValue, Name or OperationDefinition", DEFINITION),
    ("an Operation Type or a Selection Set", DEFINITION),
    (
        "expected definition",
        "expected query, mutation, subscription, fragment or \"{\"",
    ),
    (
        "an Inline Fragment or a Fragment Spread",
        "a fragment's name, \"on\" or \"{\" after \"...\"",
    ),
    ("a Name in Type Condition", "a type's name after \"on\""),
    ("a Variable Definition", "a variable, as in $id: ID!"),
    ("an Argument", "an argument, as in first: 10"),
    (
        "unexpected variable value in a Const context",
        "a default cannot hold a variable",
    ),
    (" as integer suffix", " in a number"),
    (" as float suffix", " in a number"),
];

const DEFINITION: &str = "query, mutation, subscription, fragment or \"{\"";

const START: Option<Pos> = Some(Pos { line: 1, column: 1 });

/// A document that cannot be parsed: its first error only, since one mistake makes the parser stumble again and again.
pub(super) fn of_syntax(diagnostics: &DiagnosticList) -> Refusal {
    let first = diagnostics.iter().next();
    let message = first.as_ref().map(|first| first.error.to_string());
    let message = message.unwrap_or_default();
    let message = message.strip_prefix("syntax error: ").unwrap_or(&message);
    let mut message = capped(message);
    for (theirs, ours) in WORDS {
        message = message.replace(theirs, ours);
    }
    let mut letters = message.chars();
    let message: String = letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .chain(letters)
        .collect();
    let at = first.and_then(|first| start(&first)).or(START);
    Refusal::at(
        ErrorCode::GraphqlParseFailed,
        format!("Syntax Error: {message}"),
        at,
    )
}

/// Where the parser stopped at a limit: its last error, since it takes none after that.
pub(super) fn place_of_limit(diagnostics: &DiagnosticList) -> Option<Pos> {
    start(&diagnostics.iter().next_back()?).or(START)
}

/// A document that does not fit the schema.
pub(super) fn of_validation(diagnostics: &DiagnosticList) -> Refusal {
    let mut errors = Errors::default();
    // From the last to the first: whether an error only echoes another that stands within it is told by what follows.
    let mut following = None;
    let mut found = Vec::with_capacity(diagnostics.len());
    for diagnostic in diagnostics.iter().rev() {
        let at = diagnostic.error.location();
        let is_echo = diagnostic.error.unstable_error_name() == Some("MissingSubselection")
            && at.is_some_and(|at| following.is_some_and(|next| next < at.end_offset()));
        if !is_echo {
            following = at.map(|at| at.offset()).or(following);
            found.push(diagnostic);
        }
    }
    for diagnostic in found.into_iter().rev() {
        errors.add(|| (mended(diagnostic.error), start(&diagnostic).or(START)));
    }
    match errors.refuse_or(ErrorCode::GraphqlValidationFailed, ()) {
        Err(refusal) => refusal,
        Ok(()) => Refusal::at(
            ErrorCode::GraphqlValidationFailed,
            "This document does not fit the schema.",
            START,
        ),
    }
}

fn start(diagnostic: &Diagnostic<'_, DiagnosticData>) -> Option<Pos> {
    let at = diagnostic.error.location()?;
    place::of(diagnostic.sources, at.offset())
}

/// graphql-js's words, which the library has for most of its errors, put right where it departs from them.
fn mended(error: &DiagnosticData) -> String {
    let message = error
        .unstable_compat_message()
        .unwrap_or_else(|| error.to_string());
    let message = match error.unstable_error_name() {
        Some("ConflictingFieldType") => message.replacen(" and \"", "\" and \"", 1),
        Some("MissingSubselection") => {
            let field = message.split('"').nth(1).unwrap_or_default();
            format!("Field \"{field}\" must have a selection of subfields: \"{field} {{ ... }}\".")
        }
        Some("UnsupportedValueType") => {
            let plain = error.to_string();
            let ty = plain.strip_prefix("expected value of type ");
            let ty = ty.and_then(|rest| Some(rest.split_once(", found ")?.0));
            match (ty, message.split_once("cannot represent value: ")) {
                (Some(ty), Some((_, value))) => {
                    // A list is printed on several lines.
                    let words: Vec<&str> = value.split_whitespace().take(SHOWN).collect();
                    let value = cut(&words.join(" "));
                    format!("Expected value of type \"{ty}\", found {value}.")
                }
                _ => message,
            }
        }
        Some("UndefinedArgument") => message.replace("on field \"@", "on directive \"@"),
        Some("RequiredArgument" | "RequiredField") => message.replace(
            "but it was not provided",
            "but it was not provided or is null",
        ),
        Some("RecursionError" | "RecursionLimitError" | "DeeplyNestedType") => {
            "This document nests too deep to be checked: ask for less at a time.".to_owned()
        }
        _ => message,
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
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
