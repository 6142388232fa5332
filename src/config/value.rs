//! What tools add to a value on its way to the program: the line break of a secret's file, and the quotes of an
//! environment file.

/// The value without one trailing line break, where it has one.
pub(super) fn without_line_break(value: &str) -> Option<&str> {
    let value = value.strip_suffix('\n')?;
    Some(value.strip_suffix('\r').unwrap_or(value))
}

/// Whether the whole value stands in quotes.
pub(super) fn is_quoted(value: &str) -> bool {
    ['"', '\'']
        .into_iter()
        .any(|quote| value.len() > 1 && value.starts_with(quote) && value.ends_with(quote))
}
