use std::fmt;

use async_graphql::{Description, InputValueError, InputValueResult, Scalar, ScalarType, Value};

/// The largest whole number that every JSON writer and reader keeps exactly, and the smallest but for its sign: RFC 8259,
/// section 6.
pub const SAFE_INTEGER: u64 = (1 << 53) - 1;

/// A moment in UTC, as RFC 3339 writes it, to the millisecond: `2026-11-22T10:28:53.125Z`.
#[derive(Clone, Copy, Debug, Description)]
pub(crate) struct DateTime(pub(crate) i64);

#[Scalar(
    name = "DateTime",
    use_type_description,
    specified_by_url = "https://scalars.graphql.org/andimarek/date-time"
)]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else {
            return Err(InputValueError::expected_type(value));
        };
        let moment: jiff::Timestamp = text.parse()?;
        Ok(Self(moment.as_millisecond()))
    }

    fn to_value(&self) -> Value {
        Value::String(self.to_string())
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = jiff::Timestamp::from_millisecond(self.0).unwrap_or_default();
        write!(f, "{moment:.3}")
    }
}
