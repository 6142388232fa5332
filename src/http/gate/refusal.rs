use std::time::Duration;

use apollo_compiler::{parser::LineColumn, validation::DiagnosticList};
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::{graphql::ErrorCode, http::answer::whole_seconds};

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
    errors: Vec<(String, Option<LineColumn>)>,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::at(code, message, None)
    }

    pub(crate) fn at(
        code: ErrorCode,
        message: impl Into<String>,
        location: Option<LineColumn>,
    ) -> Self {
        Self {
            code,
            status: None,
            retry_after: None,
            errors: vec![(message.into(), location)],
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

    /// Messages only, and a few of them: rendered whole, thousands are slow and help nobody.
    pub(crate) fn of_diagnostics(code: ErrorCode, diagnostics: &DiagnosticList) -> Self {
        let errors = diagnostics.iter().take(MOST).map(|diagnostic| {
            let message = diagnostic.error.to_string();
            let location = diagnostic.line_column_range().map(|range| range.start);
            (message, location)
        });
        Self {
            code,
            status: None,
            retry_after: None,
            errors: errors.collect(),
        }
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
        Self::new(error.code, error.message)
    }
}
