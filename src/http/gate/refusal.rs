use std::time::Duration;

use async_graphql::Pos;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    graphql::ErrorCode,
    http::{answer::whole_seconds, watch::RequestId},
};

/// The most errors that one answer tells.
const MOST: usize = 10;

/// Why a request does not run at all: its answer has no `data`.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    /// Where the code alone does not say it.
    pub(crate) status: Option<StatusCode>,
    /// How long to wait before the same is asked again.
    pub(crate) retry_after: Option<Duration>,
    /// Under which an internal error was logged.
    request_id: Option<String>,
    errors: Vec<(String, Option<Pos>)>,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::at(code, message, None)
    }

    pub(crate) fn at(code: ErrorCode, message: impl Into<String>, location: Option<Pos>) -> Self {
        Self::of_many(code, vec![(message.into(), location)])
    }

    /// With several errors, no more than [`MOST`].
    pub(super) fn of_many(code: ErrorCode, errors: Vec<(String, Option<Pos>)>) -> Self {
        Self {
            code,
            status: None,
            retry_after: None,
            request_id: None,
            errors,
        }
    }

    /// The same, answered with this status.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self {
            status: Some(status),
            ..self
        }
    }

    /// The same, with the advice to wait.
    pub(crate) fn after(self, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..self
        }
    }

    /// The same, with its request's id where it is a defect of ours.
    pub(in crate::http) fn known_as(mut self, id: &RequestId) -> Self {
        self.request_id = (self.code == ErrorCode::Internal).then(|| id.to_string());
        self
    }

    /// The `errors` of the answer.
    pub(crate) fn errors(&self) -> Value {
        let code = self.code.name();
        let retry_after = self.retry_after.map(whole_seconds);
        let errors = self.errors.iter().map(|(message, location)| {
            let mut error = json!({ "message": message });
            if let Some(at) = location {
                error["locations"] = json!([{ "line": at.line, "column": at.column }]);
            }
            error["extensions"] = json!({ "code": code });
            if let Some(request_id) = &self.request_id {
                error["extensions"]["requestId"] = json!(request_id);
            }
            if let Some(seconds) = retry_after {
                error["extensions"]["retryAfter"] = json!(seconds);
            }
            error
        });
        errors.collect()
    }

    /// For where only a line fits.
    pub(crate) fn first_message(&self) -> &str {
        self.errors.first().map_or("", |(message, _)| message)
    }

    /// The whole answer.
    pub(crate) fn body(&self) -> Value {
        json!({ "errors": self.errors() })
    }
}

impl From<crate::graphql::Error> for Refusal {
    fn from(error: crate::graphql::Error) -> Self {
        error.log();
        Self::new(error.code, error.message)
    }
}

/// Errors as they are found: the first few are told, and how many more there are.
#[derive(Default)]
pub(super) struct Errors {
    told: Vec<(String, Option<Pos>)>,
    found: usize,
}

impl Errors {
    /// One more; it is put into words only where it is told.
    pub(super) fn add(&mut self, error: impl FnOnce() -> (String, Option<Pos>)) {
        self.found += 1;
        if self.told.len() < MOST {
            self.told.push(error());
        }
    }

    pub(super) fn refuse_or<T>(mut self, code: ErrorCode, value: T) -> Result<T, Refusal> {
        if self.told.is_empty() {
            return Ok(value);
        }
        if self.found > MOST
            && let Some((last, _)) = self.told.last_mut()
        {
            let rest = self.found - MOST + 1;
            *last = format!("and {rest} errors more: mend those above first");
        }
        Err(Refusal::of_many(code, self.told))
    }
}
