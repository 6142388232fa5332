use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use serde_json::json;
use tokio::time::Instant;

use super::{Server, accept::MediaType, answer};
use crate::{
    auth::KeysAtHand,
    chat::{self, Standing},
};

/// The process answers.
pub(super) async fn live() -> Response {
    answer::json(StatusCode::OK, MediaType::Json, &json!({ "status": "ok" }))
}

/// What one part of the server is like: a word, and where it is not well what that means.
struct Part {
    word: &'static str,
    wrong: Option<Wrong>,
}

enum Wrong {
    /// The server serves on: a balancer that took it away would take away all of them at once.
    Degraded(&'static str),
    /// It cannot serve.
    Unavailable(String),
}

const OK: Part = Part {
    word: "ok",
    wrong: None,
};

/// Whether the server can serve, and what is wrong where it cannot, or not well.
pub(super) async fn ready(State(server): State<Arc<Server>>) -> Response {
    let (database, migrations) = database(&server).await;
    let parts = [
        ("database", database),
        ("migrations", migrations),
        ("bus", bus(&server)),
        ("keys", keys(&server)),
    ];
    let checks: serde_json::Map<String, serde_json::Value> = parts
        .iter()
        .map(|(name, part)| ((*name).to_owned(), part.word.into()))
        .collect();
    let wrong = parts.iter().filter_map(|(_, part)| part.wrong.as_ref());
    let mut degraded = None;
    for wrong in wrong {
        match wrong {
            Wrong::Unavailable(reason) => {
                let body = json!({ "status": "unavailable", "reason": reason, "checks": checks });
                return answer::json(StatusCode::SERVICE_UNAVAILABLE, MediaType::Json, &body);
            }
            Wrong::Degraded(reason) => {
                degraded.get_or_insert(*reason);
            }
        }
    }
    let body = match degraded {
        Some(reason) => json!({ "status": "degraded", "reason": reason, "checks": checks }),
        None => json!({ "status": "ok", "checks": checks }),
    };
    answer::json(StatusCode::OK, MediaType::Json, &body)
}

/// How the database is, asked for once for all who wait for it: whoever likes may ask, as often as they like.
async fn standing(server: &Server) -> Result<Standing, chat::Error> {
    let came_at = Instant::now();
    let mut last = server.standing.lock().await;
    match &*last {
        Some((asked_at, standing)) if *asked_at >= came_at => standing.clone(),
        _ => {
            let asked_at = Instant::now();
            let standing = server.api.chat().standing().await;
            *last = Some((asked_at, standing.clone()));
            standing
        }
    }
}

async fn database(server: &Server) -> (Part, Part) {
    let unavailable = |reason: String| Some(Wrong::Unavailable(reason));
    let part = |word, wrong| Part { word, wrong };
    match standing(server).await {
        Ok(Standing::Ready) => (OK, OK),
        Ok(Standing::Pending) => {
            let reason = "the database's schema is not up to date: run `directmessages migrate up`";
            (OK, part("pending", unavailable(reason.to_owned())))
        }
        Ok(Standing::Busy) => {
            let reason = "every connection that reads is in use: requests wait for one";
            let busy = part("busy", Some(Wrong::Degraded(reason)));
            (busy, part("unknown", None))
        }
        Err(error) => {
            let (word, reason) = match &error {
                chat::Error::Internal(cause) => {
                    tracing::error!(%cause, "the database cannot be read");
                    (
                        "broken",
                        "the database cannot be read: the log says why".to_owned(),
                    )
                }
                _ => ("away", error.to_string()),
            };
            (part(word, unavailable(reason)), part("unknown", None))
        }
    }
}

fn bus(server: &Server) -> Part {
    let chat = server.api.chat();
    if chat.is_alone() {
        let reason = "hints between servers do not come through: signals of other servers come by the slow tick";
        return Part {
            word: "away",
            wrong: Some(Wrong::Degraded(reason)),
        };
    }
    let word = if chat.has_bus() { "ok" } else { "none" };
    Part { word, wrong: None }
}

fn keys(server: &Server) -> Part {
    match server.verifier.keys() {
        KeysAtHand::All => OK,
        KeysAtHand::Some => Part {
            word: "some",
            wrong: Some(Wrong::Degraded(
                "some keys could not be fetched yet: tokens that may be by them are refused for now",
            )),
        },
        KeysAtHand::None => Part {
            word: "none",
            wrong: Some(Wrong::Unavailable(
                "the keys that tokens are checked with could not be fetched yet".to_owned(),
            )),
        },
    }
}
