//! Claims as other people's tokens write them.

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Number, Value};

/// RFC 7519 lets a date have a fraction of a second, which is left off.
pub(super) fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    whole(&Number::deserialize(from)?).ok_or_else(|| D::Error::custom("no date"))
}

pub(super) fn seconds_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    let number = Option::<Number>::deserialize(from)?;
    Ok(number.as_ref().and_then(whole))
}

/// What is no text, such as a list of roles, says nothing to this server.
pub(super) fn text_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(text) => Some(text),
        _ => None,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the fraction is what is left off, and what is too large saturates"
)]
fn whole(number: &Number) -> Option<i64> {
    number
        .as_i64()
        .or_else(|| number.as_f64().map(|seconds| seconds as i64))
}
