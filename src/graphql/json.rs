//! Responses as JSON, bounded in bytes, and written in steps between which other tasks run.

use std::io;

use async_graphql::{Name, Response, ServerError, Value, indexmap};
use serde::Serialize;

use super::{Error, ErrorCode};

/// How many bytes are written before other tasks may run: some tens of microseconds' worth.
const STEP: usize = 65_536;

/// Takes JSON up to a number of bytes. What is written beyond it is dropped, and [`JsonWriter::finish`] fails.
#[derive(Debug)]
pub(crate) struct JsonWriter {
    bytes: Vec<u8>,
    limit: usize,
    /// Whether something was dropped.
    full: bool,
    /// How many bytes there were when other tasks last could run.
    paused_at: usize,
}

impl JsonWriter {
    pub(crate) fn new(limit: usize, capacity: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(capacity.min(limit)),
            limit,
            full: false,
            paused_at: 0,
        }
    }

    /// Everything that was written.
    ///
    /// # Errors
    /// `RESPONSE_TOO_LARGE` where that is more than the limit.
    pub(crate) fn finish(self) -> Result<Vec<u8>, Error> {
        if self.full {
            return Err(too_large(self.limit));
        }
        Ok(self.bytes)
    }

    /// The same, as text.
    ///
    /// # Errors
    /// As [`JsonWriter::finish`].
    pub(crate) fn finish_text(self) -> Result<String, Error> {
        let bytes = self.finish()?;
        Ok(String::from_utf8(bytes).expect("JSON is UTF-8"))
    }

    /// Writes JSON as it is.
    pub(crate) fn raw(&mut self, json: &[u8]) {
        if self.full || self.bytes.len() + json.len() > self.limit {
            self.full = true;
        } else {
            self.bytes.extend_from_slice(json);
        }
    }

    /// Writes a value.
    pub(crate) fn value(&mut self, value: &(impl Serialize + ?Sized)) {
        if self.full {
            return;
        }
        // It fails for values that JSON cannot hold, and those of a response all can be.
        serde_json::to_writer(self, value).expect("a response is JSON");
    }

    /// Lets other tasks run where much was written since they last could. Returns whether there is room for more.
    pub(crate) async fn pause(&mut self) -> bool {
        if self.bytes.len() - self.paused_at >= STEP {
            self.paused_at = self.bytes.len();
            tokio::task::yield_now().await;
        }
        !self.full
    }
}

impl io::Write for JsonWriter {
    fn write(&mut self, json: &[u8]) -> io::Result<usize> {
        self.raw(json);
        Ok(json.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn too_large(limit: usize) -> Error {
    let message = format!(
        "the response has more than {limit} bytes: ask for less at a time. A mutation in it was carried out"
    );
    Error::new(ErrorCode::ResponseTooLarge, message)
}

/// A whole response as JSON: `data`, and `errors` where there are some.
///
/// # Errors
/// `RESPONSE_TOO_LARGE` for more than `limit` bytes.
pub(crate) async fn encode(response: &Response, limit: usize) -> Result<String, Error> {
    let mut out = JsonWriter::new(limit, 1_024);
    out.raw(b"{\"data\":");
    write(&mut out, &response.data).await;
    write_errors(&mut out, &response.errors);
    out.raw(b"}");
    out.finish_text()
}

/// A response that is no larger than its errors.
pub(crate) fn encode_errors(errors: &[ServerError]) -> String {
    let mut out = JsonWriter::new(usize::MAX, 512);
    out.raw(b"{\"data\":null");
    write_errors(&mut out, errors);
    out.raw(b"}");
    out.finish_text().expect("there is no limit")
}

fn write_errors(out: &mut JsonWriter, errors: &[ServerError]) {
    if !errors.is_empty() {
        out.raw(b",\"errors\":");
        out.value(errors);
    }
}

/// A list or an object of which a part is written.
enum Open<'a> {
    List(std::slice::Iter<'a, Value>),
    Object(indexmap::map::Iter<'a, Name, Value>),
}

/// Writes a value without recursion, so that it can pause anywhere.
async fn write(out: &mut JsonWriter, value: &Value) {
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut next = Some(value);
    // Whether the next member is the first of what is open.
    let mut first;
    while out.pause().await {
        match next {
            Some(Value::List(items)) => {
                out.raw(b"[");
                open.push(Open::List(items.iter()));
                first = true;
            }
            Some(Value::Object(fields)) => {
                out.raw(b"{");
                open.push(Open::Object(fields.iter()));
                first = true;
            }
            Some(leaf) => {
                out.value(leaf);
                first = false;
            }
            None => first = false,
        }
        let Some(last) = open.last_mut() else {
            return;
        };
        let (key, value, end): (_, _, &[u8]) = match last {
            Open::List(items) => (None, items.next(), b"]"),
            Open::Object(fields) => match fields.next() {
                Some((key, value)) => (Some(key), Some(value), b"}"),
                None => (None, None, b"}"),
            },
        };
        if value.is_none() {
            out.raw(end);
            open.pop();
        } else if !first {
            out.raw(b",");
        }
        if let Some(key) = key {
            out.value(key.as_str());
            out.raw(b":");
        }
        next = value;
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{Pos, value};
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Boolean),
            any::<i32>().prop_map(Value::from),
            ".*".prop_map(Value::String),
            Just(Value::Enum(Name::new("NAME"))),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            let fields = proptest::collection::vec(("[a-z]{1,3}", inner.clone()), 0..6);
            prop_oneof![
                proptest::collection::vec(inner, 0..6).prop_map(Value::List),
                fields.prop_map(|fields| {
                    let fields = fields
                        .into_iter()
                        .map(|(key, value)| (Name::new(key), value));
                    Value::Object(fields.collect())
                }),
            ]
        })
    }

    fn encoded(response: &Response, limit: usize) -> Result<String, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(encode(response, limit))
    }

    proptest! {
        #[test]
        fn responses_are_encoded_as_serde_encodes_them(data in values(), fails: bool) {
            let mut response = Response::new(data);
            if fails {
                response.errors = vec![ServerError::new("no \"luck\"", Some(Pos { line: 1, column: 2 }))];
            }
            let expected = serde_json::to_string(&response).expect("a response is JSON");
            let written = encoded(&response, expected.len()).expect("it is no larger");
            prop_assert_eq!(&written, &expected);
            let error = encoded(&response, expected.len() - 1).expect_err("it is a byte too large");
            prop_assert_eq!(error.code, ErrorCode::ResponseTooLarge);
        }
    }

    #[tokio::test]
    async fn other_tasks_run_while_a_large_response_is_encoded() {
        let text = "x".repeat(STEP);
        let response = Response::new(value!({ "a": [text, text, text] }));
        let encoding = encode(&response, usize::MAX);
        let mut encoding = std::pin::pin!(encoding);
        let mut pauses = 0;
        while futures_util::poll!(encoding.as_mut()).is_pending() {
            pauses += 1;
        }
        assert_eq!(pauses, 3, "one after each text");
    }
}
