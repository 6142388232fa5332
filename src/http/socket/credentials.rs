//! What `connection_init` says about its sender.

use serde_json::{Map, Value};

use super::protocol::Code;

/// A payload's credentials; what else stands in it is ignored.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Credentials {
    /// `Bearer <token>`.
    pub(super) authorization: Option<String>,
    /// The user whom the application acts for.
    pub(super) act_as: Option<String>,
}

impl Credentials {
    /// Takes `authorization`, in any case, and `actAs`.
    ///
    /// # Errors
    /// The code and reason to close the socket with: for a value that is no string, for two authorizations, and for a name that
    /// is meant for `actAs`, which must not be ignored: its sender would speak for itself instead of the user.
    pub(super) fn of(payload: Map<String, Value>) -> Result<Self, (Code, String)> {
        let mut credentials = Self::default();
        for (key, value) in payload {
            let invalid = |why: &str| {
                let reason = format!("Invalid connection_init: {why}");
                (Code::InvalidMessage, reason)
            };
            if key.eq_ignore_ascii_case("authorization") {
                let Value::String(token) = value else {
                    let reason = "Forbidden: authorization is no string: send Bearer <token>";
                    return Err((Code::Forbidden, reason.to_owned()));
                };
                if credentials.authorization.replace(token).is_some() {
                    return Err(invalid("authorization is given twice"));
                }
            } else if key == "actAs" {
                let Value::String(user) = value else {
                    return Err(invalid("actAs is no string: send a user's id"));
                };
                credentials.act_as = Some(user);
            } else if matches!(bare(&key).as_str(), "actas" | "xactas") {
                return Err(invalid("the user to act for is named by actAs alone"));
            }
        }
        Ok(credentials)
    }
}

/// A name without what its spellings differ in: case, `-` and `_`.
fn bare(name: &str) -> String {
    let letters = name.chars().filter(|letter| !matches!(letter, '-' | '_'));
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}
