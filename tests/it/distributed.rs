//! Beyond one database: the tables spread by their keys, and every statement read as a distributed PostgreSQL would.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;

use crate::{
    harness::{
        Fixture as _,
        database::TestDatabase,
        distribution::{Remark, check},
        process::PROGRAM,
        server::TestServer,
        tool,
        user::ids,
    },
    model, signals,
    statements::{Log, logged},
    writer,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_model_holds_on_spread_tables() {
    let server = TestServer::over(TestDatabase::partitioned().await, &[]).await;
    model::whatever_happens_is_what_the_model_says::story(&server).await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_miss_nothing_on_spread_tables() {
    let server = TestServer::over(TestDatabase::partitioned().await, &[]).await;
    signals::listeners_that_break_off_under_load_miss_and_repeat_nothing::story(&server).await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writers_rules_hold_on_spread_tables() {
    let server = TestServer::over(TestDatabase::partitioned().await, &[]).await;
    writer::a_bad_command_in_a_batch_fails_alone::story(&server).await;
    server.finish().await;
    let database = TestDatabase::partitioned().await;
    writer::two_servers_under_load_keep_every_number_exact::story(&database).await;
    writer::the_same_client_id_on_two_servers_sends_one_message::story(&database).await;
    database.finish().await;
}

/// The unread list goes by recipient, over all conversations: the one statement that no key routes. A global index
/// (`CockroachDB`, `YugabyteDB`) makes it one look-up; Citus asks every node, as `deploy/citus.md` tells.
fn fan_outs() -> BTreeSet<Remark> {
    let table = "message".to_owned();
    BTreeSet::from([Remark::FanOut { table }])
}

/// What is shown beside a row of another key: a partner's latest message, and a signal's.
fn look_ups() -> BTreeSet<Remark> {
    let by = ["conversation_partner", "signal"].map(|other| format!("{other}.conversation_id"));
    let table = "message".to_owned();
    by.map(|by| Remark::LookUp {
        table: table.clone(),
        by,
    })
    .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_says_where_its_rows_are() {
    let database = logged().await;
    let server = TestServer::on(&database, &["--slow-tick", "0.1"]).await;
    use_everything(&server).await;
    let log = Log {
        database: &database.name,
    };
    let serving = Reading::of(log.statements());
    server.stop().await;
    let expected = [
        "INSERT conversation_partner",
        "INSERT inbox",
        "INSERT message",
        "INSERT signal",
        "INSERT user",
        "SELECT",
        "UPDATE conversation_partner",
        "UPDATE inbox",
        "UPDATE message",
    ];
    assert_eq!(
        serving.used,
        expected.map(str::to_owned).into(),
        "everything was used"
    );
    assert_eq!(
        serving.remarks,
        fan_outs().union(&look_ups()).cloned().collect()
    );
    // What is older than a second is pruned.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let before = log.statements().len();
    database.prune(&["--signal-retention", "1"]).await;
    let pruned = Reading::of(log.statements().split_off(before));
    let expected = ["DELETE signal", "SELECT", "UPDATE inbox"];
    assert_eq!(pruned.used, expected.map(str::to_owned).into());
    assert_eq!(
        pruned.remarks,
        ["inbox", "signal"]
            .map(|table| Remark::FanOut {
                table: table.to_owned()
            })
            .into(),
        "every user's log is looked at"
    );
    database.finish().await;
}

/// Statements, read as a distributed PostgreSQL would.
#[derive(Default)]
struct Reading {
    remarks: BTreeSet<Remark>,
    /// What they do, and to which table.
    used: BTreeSet<String>,
}

impl Reading {
    fn of(statements: Vec<String>) -> Self {
        let mut reading = Self::default();
        let statements: BTreeSet<String> = statements.into_iter().collect();
        let ours = statements.iter().filter(|sql| {
            let sql = sql.to_ascii_uppercase();
            let control = [
                "BEGIN", "COMMIT", "ROLLBACK", "SET ", "SHOW ", "LISTEN ", "NOTIFY ",
            ];
            let migrating = [
                "SEAQL_MIGRATIONS",
                "INFORMATION_SCHEMA",
                "PG_CATALOG",
                "PG_CLASS",
            ];
            !control.iter().any(|begin| sql.starts_with(begin))
                && !migrating.iter().any(|table| sql.contains(table))
                && !sql.is_empty()
        });
        for sql in ours {
            reading.read(sql);
        }
        reading
    }

    fn read(&mut self, sql: &str) {
        match check(sql) {
            Ok(more) => self.remarks.extend(more),
            Err(why) => panic!("{why}: {sql}"),
        }
        let words: Vec<&str> = sql.split_whitespace().collect();
        if words[0] == "SELECT" {
            self.used.insert("SELECT".to_owned());
        }
        // One statement may write several tables.
        for part in words.windows(3) {
            match part {
                [verb, "INTO", table] if verb.ends_with("INSERT") => {
                    self.used
                        .insert(format!("INSERT {}", table.trim_matches('"')));
                }
                [verb, "FROM", table] if verb.ends_with("DELETE") => {
                    self.used.insert(format!("DELETE {table}"));
                }
                [verb, table, "SET"] if verb.ends_with("UPDATE") => {
                    self.used.insert(format!("UPDATE {table}"));
                }
                _ => {}
            }
        }
    }
}

/// Every operation once, so that every statement that is run often runs.
async fn use_everything(server: &TestServer) {
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let upsert = "mutation { upsertUsers(input: { users: [{ id: \"cid\", username: \"Cid\" }] }) { users { id } } }";
    server.service().data(upsert, json!({})).await;
    let start = ben.signal_cursor().await;
    let mut listener = ben.listen("messageSent", Some(&start)).await;
    for n in 0..3 {
        ann.send_as(&ben, "hello", &n.to_string()).await.unwrap();
        ann.send_as(&ben, "hello", &n.to_string()).await.unwrap();
        ben.send(&ann, "hello to you").await;
    }
    listener.contents_until("hello").await;
    let message = &ben.unread(2).await[0];
    let id = ids(std::slice::from_ref(message))[0].to_owned();
    ben.read(message).await;
    ben.read(message).await;
    ben.partners(1).await;
    for reversed in [false, true] {
        ben.conversation(&ann, 2, reversed).await;
    }
    let page = "{ conversation(partnerId: \"ann\", limit: 2, markRead: true) { nodes { content } inbox { unreadCount } } }";
    ben.data(page, json!({})).await;
    let rest = format!(
        "{{ viewer {{ id }} user(id: \"ann\") {{ id }} message(id: \"{id}\") {{ content }} node(id: \"{id}\") {{ id }} \
         inbox {{ unreadCount }} conversationPartner(partnerId: \"ann\") {{ unreadCount lastMessage {{ content }} }} }}"
    );
    ben.data(&rest, json!({})).await;
    ben.read_conversation(&ann, None).await;
    drop(listener);
}

#[test]
fn a_statement_that_does_not_say_where_its_rows_are_is_found() {
    let fine = [
        "SELECT m.seq FROM message m WHERE m.conversation_id = $1 AND m.seq > 3",
        "SELECT * FROM \"user\" u JOIN unnest($1::uuid[]) AS r(id) ON u.id = r.id",
        "SELECT * FROM inbox i LEFT JOIN signal s ON s.user_id = i.user_id WHERE i.user_id = $1",
        "SELECT user_id FROM inbox WHERE user_id IN (SELECT r.user_id FROM unnest($1::uuid[]) AS r(user_id)) FOR UPDATE",
        "UPDATE inbox SET unread_count = 0 FROM unnest($1::uuid[]) AS r(u) WHERE inbox.user_id = r.u",
        "INSERT INTO signal (user_id, position) SELECT user_id, position FROM unnest($1::uuid[], $2::bigint[]) AS r(user_id, position)",
        "INSERT INTO inbox (user_id) VALUES ($1) ON CONFLICT (user_id) DO NOTHING",
        "DELETE FROM signal WHERE user_id = $1 AND position < 7",
        "SELECT value FROM epoch",
        "WITH w0 AS (UPDATE inbox SET unread_count = 0 WHERE user_id = $1) INSERT INTO signal (user_id) VALUES ($1)",
    ];
    for sql in fine {
        assert_eq!(check(sql), Ok(BTreeSet::new()), "{sql}");
    }
    let remarked = [
        "SELECT * FROM message WHERE recipient_id = $1",
        "SELECT * FROM message WHERE conversation_id = $1 OR sender_id = $2",
        "SELECT * FROM message WHERE conversation_id > $1",
        "SELECT * FROM message WHERE NOT conversation_id = $1",
        "SELECT * FROM message WHERE conversation_id = recipient_id",
        "SELECT * FROM message WHERE conversation_id IN (SELECT conversation_id FROM signal WHERE user_id = $1)",
        "SELECT * FROM signal s JOIN inbox i ON i.last_position = s.position WHERE i.user_id = $1",
        "SELECT * FROM inbox i JOIN conversation_partner p ON p.user_id = i.user_id",
        "SELECT m.seq FROM conversation_partner p JOIN message m ON m.conversation_id = p.conversation_id WHERE p.user_id = $1",
        "SELECT (SELECT count(*) FROM message) FROM inbox WHERE user_id = $1",
        "SELECT 1 FROM (SELECT * FROM message) AS m",
        "SELECT 1 FROM (SELECT * FROM signal WHERE user_id = $1) AS s JOIN message m ON m.conversation_id = s.conversation_id",
        "UPDATE message SET read_at = 1 WHERE seq = 3",
        "DELETE FROM signal WHERE position < 7",
    ];
    for sql in remarked {
        assert!(
            check(sql).is_ok_and(|remarks| !remarks.is_empty()),
            "{sql}: {:?}",
            check(sql)
        );
    }
    let refused = [
        "INSERT INTO message (seq, content) VALUES (1, 'x')",
        "INSERT INTO \"user\" (id, subject) VALUES ($1, $2) ON CONFLICT (subject) DO NOTHING",
        "INSERT INTO inbox (user_id) VALUES ($1) ON CONFLICT DO NOTHING",
        "UPDATE inbox SET user_id = $2 WHERE user_id = $1",
        "WITH w0 AS (INSERT INTO signal (position) VALUES (1)) INSERT INTO inbox (user_id) VALUES ($1)",
        "WITH w0 AS (UPDATE inbox SET log_floor = 1 WHERE user_id = $1) UPDATE inbox SET unread_count = 0 WHERE user_id = $1",
        "SELECT nextval('position') FROM inbox WHERE user_id = $1",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT pg_notify('hints', 'x')",
        "SELECT * FROM outbox WHERE user_id = $1",
        "NOTIFY hints",
        "LOCK TABLE message",
        "CREATE TEMPORARY TABLE rows (id int)",
    ];
    for sql in refused {
        assert!(check(sql).is_err(), "{sql}: {:?}", check(sql));
    }
}

/// The settings of `serve`, by their environment variables.
fn settings() -> BTreeSet<String> {
    let help = std::process::Command::new(PROGRAM)
        .args(["serve", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let settings = help.split("[env: ").skip(1);
    let names = settings.map(|rest| rest.split([']', '=']).next().unwrap().to_owned());
    names.chain(["RUST_LOG".to_owned()]).collect()
}

#[test]
fn the_compose_file_names_only_settings_that_there_are() {
    let folder = tool::path("tests/python");
    {
        let _alone = tool::installing();
        tool::run(tool::bound("sh").arg("install.sh").current_dir(&folder));
    }
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let output = std::process::Command::new(folder.join(".venv/bin/python"))
        .args(["-c", script])
        .arg(tool::path("deploy/compose.yaml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let compose: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let services = compose["services"].as_object().unwrap();
    let settings = settings();
    let mut servers = 0;
    for (name, service) in services
        .iter()
        .filter(|(name, _)| name.starts_with("server"))
    {
        servers += 1;
        for variable in service["environment"].as_object().unwrap().keys() {
            assert!(
                settings.contains(variable),
                "{name}: {variable} is no setting"
            );
        }
        for other in service["depends_on"].as_object().unwrap().keys() {
            assert!(services.contains_key(other), "{name} depends on {other}");
        }
    }
    assert_eq!(servers, 3);
    assert!(services.contains_key("nats") && services.contains_key("postgres"));
}
