//! Content negotiation: what a client says it takes, and what it is given.

use axum::http::{HeaderMap, header::ACCEPT};
use headers_accept::Accept;
use mediatype::{
    MediaType as Type, MediaTypeBuf, Name,
    names::{self, APPLICATION, TEXT},
};

const JSON: Type<'static> = Type::new(APPLICATION, names::JSON);
const GRAPHQL_RESPONSE: Type<'static> = Type::from_parts(
    APPLICATION,
    Name::new_unchecked("graphql-response"),
    Some(names::JSON),
    &[],
);
const EVENT_STREAM: Type<'static> = Type::new(TEXT, names::EVENT_STREAM);

const ANSWERS: &[Type<'static>] = &[JSON, GRAPHQL_RESPONSE];
const EVENTS: &[Type<'static>] = &[EVENT_STREAM];
const ALL: &[Type<'static>] = &[JSON, GRAPHQL_RESPONSE, EVENT_STREAM];

/// The two media types of a GraphQL answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    /// `application/graphql-response+json`: the status tells of request errors.
    GraphqlResponse,
    /// `application/json`, as ever: 200 for every well-formed GraphQL request.
    Json,
}

/// What a client's `Accept` header comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepts {
    /// For an answer in one piece; nothing where the client takes neither type.
    pub(super) answer: Option<MediaType>,
    /// Whether server-sent events are named, as clients do for subscriptions.
    pub(super) events: bool,
    /// Whether server-sent events are preferred to an answer in one piece.
    pub(super) events_first: bool,
}

impl Accepts {
    /// By RFC 9110, section 12.5.1: the highest `q`, of the most specific range; among equals the first that the client
    /// names. Plain JSON where it takes anything, or says nothing. What is no media range is passed over.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let named = headers.get_all(ACCEPT).iter();
        let named: Vec<&str> = named.filter_map(|value| value.to_str().ok()).collect();
        if named.is_empty() {
            return Self {
                answer: Some(MediaType::Json),
                events: false,
                events_first: false,
            };
        }
        let named = named.join(",").to_ascii_lowercase();
        let ranges: Vec<String> = named
            .split(',')
            .map(without_charset)
            .filter(|range| range.parse::<MediaTypeBuf>().is_ok())
            .collect();
        let accept: Option<Accept> = ranges.join(",").parse().ok();
        let best = |types: &'static [Type<'static>]| -> Option<&Type<'static>> {
            accept.as_ref()?.negotiate(types)
        };
        let answer = best(ANSWERS).map(|best| {
            if *best == JSON {
                MediaType::Json
            } else {
                MediaType::GraphqlResponse
            }
        });
        let by_name = ranges
            .iter()
            .any(|range| range.split(';').next() == Some("text/event-stream"));
        let events = by_name && best(EVENTS).is_some();
        let first = best(ALL);
        Self {
            answer,
            events,
            events_first: events && first == Some(&EVENT_STREAM),
        }
    }

    /// For an answer that has to be given whatever the client takes.
    pub(super) fn answer_or_json(self) -> MediaType {
        self.answer.unwrap_or(MediaType::Json)
    }
}

/// A media range without the charset that every answer has: nobody needs to tell it apart.
fn without_charset(range: &str) -> String {
    let parts = range.split(';').map(str::trim);
    let parts: Vec<&str> = parts
        .filter(|part| !matches!(*part, "charset=utf-8" | "charset=\"utf-8\""))
        .collect();
    parts.join(";")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn accepts(header: &'static str) -> Accepts {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(header));
        Accepts::of(&headers)
    }

    #[test]
    fn the_client_s_order_and_weights_decide() {
        let json = Some(MediaType::Json);
        let graphql = Some(MediaType::GraphqlResponse);
        for (header, answer) in [
            ("", None),
            ("*/*", json),
            ("application/*", json),
            ("application/json", json),
            ("APPLICATION/JSON; Charset=\"UTF-8\"", json),
            ("application/json; charset=utf-16", None),
            ("application/graphql-response+json", graphql),
            ("application/graphql-response+json; charset=utf-8", graphql),
            ("application/json, application/graphql-response+json", json),
            (
                "application/graphql-response+json, application/json",
                graphql,
            ),
            (
                "application/json;q=0.5, application/graphql-response+json;q=0.9",
                graphql,
            ),
            (
                "application/graphql-response+json;q=0.5, application/json;q=0.9",
                json,
            ),
            ("application/json;q=0, */*", graphql),
            ("application/json;q=0", None),
            ("*/*;q=0", None),
            ("text/html", None),
            ("text/html, image/gif, *; q=.2, */*; q=.2", json),
            ("garbage, application/graphql-response+json", graphql),
            ("garbage", None),
        ] {
            assert_eq!(accepts(header).answer, answer, "{header}");
        }
        assert_eq!(Accepts::of(&HeaderMap::new()).answer, json);
    }

    #[test]
    fn events_are_for_those_who_name_them() {
        for (header, events, first) in [
            ("text/event-stream", true, true),
            ("text/event-stream;q=0", false, false),
            ("*/*", false, false),
            ("text/*", false, false),
            ("text/event-streams, */*", false, false),
            ("text/event-stream, application/json", true, true),
            ("application/json, text/event-stream", true, false),
            ("application/json;q=0.5, text/event-stream", true, true),
        ] {
            let accepts = accepts(header);
            assert_eq!(
                (accepts.events, accepts.events_first),
                (events, first),
                "{header}"
            );
        }
    }
}
