use std::str::FromStr;

/// Whose pages may connect from a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `*`: everybody's.
    Any,
    /// Those of one origin, written as browsers write it: lower case, and no port where it is the scheme's own.
    One(String),
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().to_ascii_lowercase();
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, authority) = text.split_once("://").unwrap_or_default();
        let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let authority_fits = !authority.is_empty()
            && authority
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c));
        if !scheme_fits || !authority_fits {
            return Err(
                "give scheme and host, and a port that is not the scheme's own, as in https://app.example or \
                 http://localhost:3000; or * for every origin"
                    .to_owned(),
            );
        }
        let authority = without_own_port(scheme, authority);
        Ok(Self::One(format!("{scheme}://{authority}")))
    }
}

/// An authority without the port that is its scheme's default.
#[must_use]
pub fn without_own_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let own = match scheme {
        "http" | "ws" => ":80",
        "https" | "wss" => ":443",
        _ => return authority,
    };
    authority.strip_suffix(own).unwrap_or(authority)
}
