//! Who is asking: tokens, names, and the host application itself.

use data_encoding::BASE64URL_NOPAD;
use directmessages::auth::Tokens;
use serde_json::{Value, json};

use crate::harness::{database::TestDatabase, server::TestServer, until, user::User};

const UPSERT: &str = "mutation ($users: [UserInput!]!) { upsertUsers(input: { users: $users }) { users { id username } } }";
const NAME: &str = "query ($id: ID!) { user(id: $id) { username } }";

async fn name_of(user: &User, id: &str) -> Value {
    user.data(NAME, json!({ "id": id })).await["user"]["username"].clone()
}

/// A token with any claims, signed with the servers' key.
fn token(claims: &Value) -> String {
    sign(&json!({ "alg": "HS256", "typ": "JWT" }), claims)
}

fn sign(header: &Value, claims: &Value) -> String {
    use ring::hmac;
    let part = |json: &Value| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
    let signed = format!("{}.{}", part(header), part(claims));
    let algorithm = match header["alg"].as_str() {
        Some("HS512") => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    let key = hmac::Key::new(algorithm, crate::harness::SECRET.as_bytes());
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}

fn now() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

on_both_databases! {
    async fn without_a_token_every_field_of_a_viewer_is_unauthenticated(server: &TestServer) {
        server.user("ann").await;
        let nobody = server.bearer(None);
        let query = "{ viewer { id } inbox { id } unreadMessages { totalCount } conversationPartners { nodes { id } } \
            conversationPartner(partnerId: \"ann\") { id } conversation(partnerId: \"ann\", markRead: true) { nodes { id } } \
            message(id: \"x\") { id } user(id: \"ann\") { id } node(id: \"ann\") { id } signalCursor errorCodes }";
        let answer = nobody.ask(query, json!({})).await;
        assert_eq!(answer.status, 200);
        let fields = ["viewer", "inbox", "unreadMessages", "conversationPartners", "conversationPartner", "conversation", "message", "user", "node", "signalCursor"];
        let expected: Vec<_> = fields.iter().map(|field| ("UNAUTHENTICATED".to_owned(), (*field).to_owned())).collect();
        assert_eq!(answer.errors(), expected);
        for field in fields {
            assert_eq!(answer.body["data"][field], Value::Null, "{field}");
        }
        assert!(answer.body["data"]["errorCodes"].as_array().unwrap().len() > 10, "which anybody may know");
        let answer = nobody.sending("ann", "hello", None).await;
        assert_eq!(answer.errors(), [("UNAUTHENTICATED".to_owned(), "sendMessage".to_owned())]);
    }

    async fn claims_that_say_nothing_here_do_no_harm(server: &TestServer) {
        let exp = f64::from(u32::try_from(now()).unwrap()) + 60.5;
        let claims = json!({ "sub": "ann", "exp": exp, "iat": exp - 70.0, "role": ["admin", "service"], "name": 7 });
        let ann = server.bearer(Some(token(&claims)));
        assert_eq!(ann.data("{ viewer { id username } }", json!({})).await["viewer"], json!({ "id": "ann", "username": "ann" }));
        let upsert = ann.ask(UPSERT, json!({ "users": [] })).await;
        assert_eq!(upsert.code(), "FORBIDDEN", "a list of roles is not the role");
        let over = json!({ "sub": "ann", "exp": exp - 70.0 });
        assert_eq!(server.bearer(Some(token(&over))).ask("{ viewer { id } }", json!({})).await.status, 401);
    }

    async fn a_token_that_is_not_believed_is_answered_with_401(server: &TestServer) {
        let good = json!({ "sub": "ann", "exp": now() + 60 });
        let changed = {
            let token = token(&good);
            let mut parts: Vec<&str> = token.split('.').collect();
            let claims = BASE64URL_NOPAD.encode(json!({ "sub": "eve", "exp": now() + 60 }).to_string().as_bytes());
            parts[1] = &claims;
            parts.join(".")
        };
        let none = {
            let token = sign(&json!({ "alg": "none" }), &good);
            let (signed, _) = token.rsplit_once('.').unwrap();
            format!("{signed}.")
        };
        let forged = Tokens::hs256("a secret that this server has never heard of", None, None);
        let cases = [
            ("expired", token(&json!({ "sub": "ann", "exp": now() - 1 }))),
            ("of the future", token(&json!({ "sub": "ann", "exp": now() + 60, "nbf": now() + 60 }))),
            ("without exp", token(&json!({ "sub": "ann" }))),
            ("without sub", token(&json!({ "exp": now() + 60 }))),
            ("with a number for sub", token(&json!({ "sub": 1, "exp": now() + 60 }))),
            ("with an empty sub", token(&json!({ "sub": "", "exp": now() + 60 }))),
            ("with a sub that is too long", token(&json!({ "sub": "x".repeat(256), "exp": now() + 60 }))),
            ("with a sub like an id of ours", token(&json!({ "sub": "dm_x", "exp": now() + 60 }))),
            ("with NUL in sub", token(&json!({ "sub": "a\u{0}", "exp": now() + 60 }))),
            ("by another key", forged.mint("ann", None, false, 60).unwrap()),
            ("changed", changed),
            ("of another algorithm", sign(&json!({ "alg": "HS512", "typ": "JWT" }), &good)),
            ("without algorithm", none),
            ("with an extension that it calls critical", sign(&json!({ "alg": "HS256", "crit": ["exp"] }), &good)),
            ("no JWT", "rubbish".to_owned()),
            ("nothing", String::new()),
        ];
        for (what, token) in cases {
            let answer = server.bearer(Some(token)).ask("{ viewer { id } }", json!({})).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "UNAUTHENTICATED"), "{what}: {}", answer.body);
            assert!(answer.body.get("data").is_none(), "{what}: {}", answer.body);
        }
        assert_eq!(server.bearer(Some(token(&good))).data("{ viewer { id } }", json!({})).await["viewer"]["id"], "ann");
    }

    async fn the_newer_token_names_a_user(server: &TestServer) {
        let seen = async |name: Option<&str>, iat: Option<i64>| {
            let mut claims = json!({ "sub": "ann", "exp": now() + 60 });
            if let Some(name) = name {
                claims["preferred_username"] = json!(name);
            }
            if let Some(iat) = iat {
                claims["iat"] = json!(iat);
            }
            let data = server.bearer(Some(token(&claims))).data("{ viewer { username } }", json!({})).await;
            data["viewer"]["username"].as_str().unwrap().to_owned()
        };
        let start = now() - 100;
        assert_eq!(seen(None, Some(start)).await, "ann", "the id stands in");
        assert_eq!(seen(Some("Ann"), Some(start)).await, "Ann");
        assert_eq!(seen(Some("Older"), Some(start - 1)).await, "Ann");
        assert_eq!(seen(Some("Newer"), Some(start + 1)).await, "Newer");
        assert_eq!(seen(None, Some(start + 2)).await, "Newer", "a token without a name changes none");
        let plain = token(&json!({ "sub": "ann", "exp": now() + 60, "iat": start + 3, "name": "By name" }));
        let data = server.bearer(Some(plain)).data("{ viewer { username } }", json!({})).await;
        assert_eq!(data["viewer"]["username"], "By name");
    }

    async fn names_that_the_host_gives_stay_until_a_newer_token(server: &TestServer) {
        let service = server.service();
        let users = json!([{ "id": "ann", "username": "Ann A." }, { "id": "ben", "username": "Ben" }, { "id": "ben", "username": "Ben B." }]);
        let data = service.data(UPSERT, json!({ "users": users })).await;
        let ben = json!({ "id": "ben", "username": "Ben B." });
        assert_eq!(data["upsertUsers"]["users"], json!([{ "id": "ann", "username": "Ann A." }, ben, ben]));
        let old = token(&json!({ "sub": "ann", "exp": now() + 60, "iat": now() - 60, "preferred_username": "Old" }));
        let ann = server.bearer(Some(old));
        assert_eq!(name_of(&ann, "ann").await, "Ann A.");
        let nameless = token(&json!({ "sub": "ann", "exp": now() + 60, "iat": now() + 4 }));
        assert_eq!(name_of(&server.bearer(Some(nameless)), "ann").await, "Ann A.");
        let newer = token(&json!({ "sub": "ann", "exp": now() + 60, "iat": now() + 4, "preferred_username": "Newer" }));
        assert_eq!(name_of(&server.bearer(Some(newer)), "ann").await, "Newer");
    }

    async fn a_name_from_the_future_counts_as_given_now(server: &TestServer) {
        let seen = async |name: &str, iat: i64| {
            let claims = json!({ "sub": "ann", "exp": now() + 60, "iat": iat, "name": name });
            let data = server.bearer(Some(token(&claims))).data("{ viewer { username } }", json!({})).await;
            data["viewer"]["username"].as_str().unwrap().to_owned()
        };
        assert_eq!(seen("In milliseconds", now() * 1_000).await, "In milliseconds");
        let users = json!({ "users": [{ "id": "ann", "username": "By the host" }] });
        let data = server.service().data(UPSERT, users).await;
        assert_eq!(data["upsertUsers"]["users"][0]["username"], "By the host");
        assert_eq!(seen("Later", now() + 100).await, "Later");
    }

    async fn a_given_name_beats_one_that_stands_in(server: &TestServer) {
        let seen = async |claims: Value| {
            let data = server.bearer(Some(token(&claims))).data("{ viewer { username } }", json!({})).await;
            data["viewer"]["username"].as_str().unwrap().to_owned()
        };
        let exp = now() + 60;
        assert_eq!(seen(json!({ "sub": "ann", "exp": exp, "iat": now() })).await, "ann");
        assert_eq!(seen(json!({ "sub": "ann", "exp": exp, "name": "Ann" })).await, "Ann", "without an iat");
        assert_eq!(seen(json!({ "sub": "ann", "exp": exp })).await, "Ann");
        assert_eq!(seen(json!({ "sub": "ann", "exp": exp, "iat": 0, "name": "Oldest" })).await, "Ann");
    }

    async fn a_name_holds_nothing_that_deceives(server: &TestServer) {
        let deceptive = ["An\nn", "A\u{1b}[31mnn", "\u{202e}nnA", "A\u{2066}nn", "A\u{85}nn", "A\u{2028}nn"];
        for (username, iat) in deceptive.into_iter().zip(now() - 100..) {
            let users = json!({ "users": [{ "id": "ann", "username": username }] });
            assert_eq!(server.service().ask(UPSERT, users).await.code(), "BAD_USER_INPUT", "{username:?}");
            let claims = json!({ "sub": "ann", "exp": now() + 60, "iat": iat, "name": username });
            let data = server.bearer(Some(token(&claims))).data("{ viewer { username } }", json!({})).await;
            let stripped: String = username.chars().filter(|c| c.is_ascii() && !c.is_ascii_control()).collect();
            assert_eq!(data["viewer"]["username"], stripped, "{username:?}");
        }
        let odd = "e\u{202e}ve";
        let nameless = token(&json!({ "sub": odd, "exp": now() + 60 }));
        let data = server.bearer(Some(nameless)).data("{ viewer { id username } }", json!({})).await;
        assert_eq!(data["viewer"], json!({ "id": odd, "username": "eve" }));
        let plain = json!({ "users": [{ "id": "fay", "username": "فاي 🙈 e\u{301}" }] });
        server.service().data(UPSERT, plain).await;
    }

    async fn a_new_name_shows_at_once_here_and_soon_elsewhere(database: &TestDatabase) {
        let here = TestServer::on(database, &[]).await;
        let there = TestServer::on(database, &["--name-life", "0.5"]).await;
        let (ann, ben) = (here.user("ann").await, here.user("ben").await);
        ann.send(&ben, "Hello").await;
        let elsewhere = ben.at(there.address);
        let shown = async |ben: &User| {
            let query = "{ unreadMessages { nodes { formatted } } }";
            let data = ben.data(query, json!({})).await;
            data["unreadMessages"]["nodes"][0]["formatted"].as_str().unwrap().to_owned()
        };
        for name in ["Ann", "Ann A.", "Ann B."] {
            // What was shown before is not shown again.
            shown(&ben).await;
            shown(&elsewhere).await;
            let users = json!({ "users": [{ "id": "ann", "username": name }] });
            here.service().data(UPSERT, users).await;
            let expected = format!("{name}: Hello");
            assert_eq!(shown(&ben).await, expected);
            until("the other server shows it", async || shown(&elsewhere).await == expected).await;
        }
        here.stop().await;
        there.stop().await;
    }

    async fn only_the_host_upserts_users(server: &TestServer) {
        let ann = server.user("ann").await;
        let users = json!({ "users": [{ "id": "eve", "username": "Eve" }] });
        let forbidden = ann.ask(UPSERT, users.clone()).await;
        assert_eq!(forbidden.errors(), [("FORBIDDEN".to_owned(), "upsertUsers".to_owned())]);
        assert_eq!(server.bearer(None).ask(UPSERT, users).await.code(), "UNAUTHENTICATED");
        assert_eq!(ann.data(NAME, json!({ "id": "eve" })).await["user"], Value::Null);
        let long = "x".repeat(256);
        for (id, username) in [("", "Eve"), ("eve", ""), (long.as_str(), "Eve"), ("eve", long.as_str()), ("e\u{0}ve", "Eve"), ("eve", "E\u{0}ve"), ("dm_eve", "Eve")] {
            let users = json!({ "users": [{ "id": "fay", "username": "Fay" }, { "id": id, "username": username }] });
            assert_eq!(server.service().ask(UPSERT, users).await.code(), "BAD_USER_INPUT", "{id:?} {username:?}");
        }
        assert_eq!(ann.data(NAME, json!({ "id": "fay" })).await["user"], Value::Null, "all or nothing");
    }

    async fn how_many_users_at_once_is_a_setting(database: &TestDatabase) {
        let server = TestServer::on(database, &["--upsert-limit", "2"]).await;
        let users = |count| json!({ "users": (0..count).map(|n| json!({ "id": format!("{n}"), "username": "x" })).collect::<Vec<_>>() });
        assert_eq!(server.service().ask(UPSERT, users(3)).await.code(), "BAD_USER_INPUT");
        assert_eq!(server.service().data(UPSERT, users(2)).await["upsertUsers"]["users"].as_array().unwrap().len(), 2);
        assert_eq!(server.service().data(UPSERT, users(0)).await["upsertUsers"]["users"], json!([]));
        server.stop().await;
    }

    async fn the_host_acts_for_its_users_and_nobody_else_does(server: &TestServer) {
        let (ann, ben) = (server.named("ann", "Ann").await, server.user("ben ü/%").await);
        let service = server.service();
        let sent = service.acting_for("ann").sending(&ben.id, "by the host", None).await;
        assert_eq!(sent.data()["sendMessage"]["message"]["sender"]["id"], "ann");
        let encoded = service.acting_for("ben%20%C3%BC%2F%25");
        assert_eq!(encoded.data("{ viewer { id } }", json!({})).await["viewer"]["id"], ben.id);
        assert_eq!(name_of(&ann, "ann").await, "Ann", "acting renames nobody");
        let answer = service.acting_for("nobody").ask("{ viewer { id } }", json!({})).await;
        assert_eq!(answer.code(), "USER_NOT_FOUND");
        let answer = ann.acting_for("ben").ask("{ viewer { id } }", json!({})).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "FORBIDDEN"));
        let answer = server.bearer(None).acting_for("ann").ask("{ viewer { id } }", json!({})).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "FORBIDDEN"));
        let answer = service.ask("{ viewer { id } inbox { id } user(id: \"ann\") { id } signalCursor }", json!({})).await;
        let forbidden = |path: &str| ("FORBIDDEN".to_owned(), path.to_owned());
        assert_eq!(answer.errors(), [forbidden("viewer"), forbidden("inbox"), forbidden("signalCursor")]);
        assert_eq!(answer.body["data"]["user"]["id"], "ann");
        assert_eq!(service.sending("ann", "from nobody", None).await.code(), "FORBIDDEN");
        assert_eq!(ann.data(NAME, json!({ "id": "host" })).await["user"], Value::Null, "the host is no user");
    }
}
