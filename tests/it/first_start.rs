//! SQLite files that are not migrated yet: new ones, whose first start is cut short, and files of another application.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::Duration,
};

use crate::{
    doctor::doctor,
    harness::{
        SECRET,
        database::{Kind, TestDatabase, folder},
        process::{Process, program, run},
    },
};

/// What the first version of this program executed one by one, without a transaction.
const STATEMENTS: [&str; 11] = [
    r#"CREATE TABLE IF NOT EXISTS "seaql_migrations" ( "version" varchar NOT NULL PRIMARY KEY, "applied_at" integer NOT NULL )"#,
    r#"CREATE TABLE "user" ( "id" blob NOT NULL, "subject" text NOT NULL, "username" text NOT NULL, "named_at" integer NOT NULL, "created_at" integer NOT NULL, PRIMARY KEY ("id") ) WITHOUT ROWID"#,
    r#"CREATE TABLE "inbox" ( "user_id" blob NOT NULL, "last_position" integer NOT NULL, "log_floor" integer NOT NULL, "unread_count" integer NOT NULL, PRIMARY KEY ("user_id") ) WITHOUT ROWID"#,
    r#"CREATE TABLE "conversation_partner" ( "user_id" blob NOT NULL, "partner_id" blob NOT NULL, "conversation_id" blob NOT NULL, "last_seq" integer NOT NULL, "last_position" integer NOT NULL, "unread_count" integer NOT NULL, "read_seq" integer NOT NULL, PRIMARY KEY ("user_id", "partner_id") ) WITHOUT ROWID"#,
    r#"CREATE TABLE "message" ( "conversation_id" blob NOT NULL, "seq" integer NOT NULL, "sender_id" blob NOT NULL, "recipient_id" blob NOT NULL, "content" text NOT NULL, "sent_at" integer NOT NULL, "read_at" integer NULL, "client_message_id" text NOT NULL, "recipient_position" integer NOT NULL, PRIMARY KEY ("conversation_id", "seq") ) WITHOUT ROWID"#,
    r#"CREATE TABLE "signal" ( "user_id" blob NOT NULL, "position" integer NOT NULL, "kind" smallint NOT NULL, "conversation_id" blob NOT NULL, "seq" integer NOT NULL, "created_at" integer NOT NULL, PRIMARY KEY ("user_id", "position") ) WITHOUT ROWID"#,
    r#"CREATE TABLE "epoch" ( "id" integer NOT NULL, "value" integer NOT NULL, PRIMARY KEY ("id") ) WITHOUT ROWID"#,
    r#"CREATE INDEX "conversation_partner_by_activity" ON "conversation_partner" ("user_id", "last_position")"#,
    r#"CREATE UNIQUE INDEX "message_by_client_id" ON "message" ("conversation_id", "sender_id", "client_message_id")"#,
    r#"CREATE INDEX "message_unread" ON "message" ("recipient_id", "recipient_position") WHERE "read_at" IS NULL"#,
    r#"INSERT INTO "epoch" ("id", "value") VALUES (1, 7358708371471876992)"#,
];

/// The first version's way back, as well one by one.
const DROPPED: [&str; 6] = [
    "epoch",
    "signal",
    "message",
    "conversation_partner",
    "inbox",
    "user",
];

/// A SQLite file that is removed at the end.
struct Place(TestDatabase);

impl Place {
    async fn new() -> Self {
        Self(TestDatabase::empty(Kind::Sqlite).await)
    }

    /// In a file that another program created, with these statements executed.
    async fn with(statements: &[&str]) -> Self {
        let place = Self::new().await;
        std::fs::write(place.file(), "").unwrap();
        for statement in statements {
            place.0.execute(statement).await;
        }
        place
    }

    fn file(&self) -> PathBuf {
        folder().join(&self.0.name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        run(&[arguments, &["--database-url", &self.0.url]].concat())
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, arguments: &[&str], holds: &[&str]) {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}");
        for part in holds {
            assert!(errors.contains(part), "{arguments:?}: {errors}");
        }
    }

    /// The next start succeeds, and everything is there.
    async fn starts(&self) {
        let migrated = self.succeeds(&["migrate", "up"]);
        assert!(migrated.starts_with("applied") && !migrated.contains("pending"));
        self.succeeds(&["verify"]);
        doctor(&self.0.url, &[]).await.is_content();
    }

    /// The file itself and what is beside it, byte by byte.
    fn bytes(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = std::fs::read_dir(folder())
            .unwrap()
            .map(|file| file.unwrap().path());
        let own = files.filter(|file| file.display().to_string().contains(&self.0.name));
        own.map(|file| (file.clone(), std::fs::read(&file).unwrap()))
            .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for file in self.bytes().into_keys() {
            let _ = std::fs::remove_file(file);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_on_a_disk_without_room_leaves_a_file_that_starts() {
    let mut cut_short = 0;
    for bytes in (1_024..=40_960).step_by(1_024) {
        let place = Place::new().await;
        let mut command = Command::new("prlimit");
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command.arg(format!("--fsize={bytes}"));
        command.arg(program(&[]).get_program());
        command.args(["migrate", "up", "--database-url", &place.0.url]);
        cut_short += usize::from(!command.output().unwrap().status.success());
        place.starts().await;
    }
    assert!((10..40).contains(&cut_short), "{cut_short}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_that_is_killed_leaves_a_file_that_starts() {
    for milliseconds in (0..60).step_by(3) {
        let place = Place::new().await;
        let mut command = program(&["migrate", "up", "--database-url", &place.0.url]);
        let mut first = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        first.kill().unwrap();
        first.wait().unwrap();
        place.starts().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_first_start_was_cut_short_in_the_first_version_is_finished() {
    for executed in 0..=STATEMENTS.len() {
        let place = Place::with(&STATEMENTS[..executed]).await;
        let status = place.succeeds(&["migrate", "status"]);
        assert!(status.starts_with("pending"), "{executed}: {status}");
        place.fails(&["verify"], &["migrate up"]);
        let told = doctor(&place.0.url, &[]).await;
        told.is_well();
        told.has("ok", "migrations", &["1 are pending"]);
        if executed > 1 {
            told.has("warning", "migrations", &["cut short"]);
        }
        place.starts().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_way_back_was_cut_short_in_the_first_version_is_reported_and_can_be_finished()
{
    for dropped in 1..=DROPPED.len() {
        let place = Place::new().await;
        place.succeeds(&["migrate", "up"]);
        for table in &DROPPED[..dropped] {
            place.0.execute(&format!("DROP TABLE \"{table}\"")).await;
        }
        let told = doctor(&place.0.url, &[]).await;
        told.has(
            "failed",
            "database",
            &["tables are missing", "epoch", "migrate down"],
        );
        place.fails(&["verify"], &["tables are missing", "migrate down"]);
        place.fails(&["migrate", "up"], &["tables are missing", "migrate down"]);
        place.succeeds(&["migrate", "down"]);
        place.starts().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_application_is_left_as_it_was() {
    let with_a_row = [
        &STATEMENTS[..3],
        &[r#"INSERT INTO "user" VALUES (x'00', 'ann', 'Ann', 0, 0)"#],
    ]
    .concat();
    let other_seaorm = [
        STATEMENTS[0],
        "INSERT INTO seaql_migrations VALUES ('m2020_shop', 0)",
    ];
    for (statements, table) in [
        (
            &[
                r#"CREATE TABLE "user" (id integer PRIMARY KEY, name text)"#,
                r#"INSERT INTO "user" VALUES (1, 'Ann')"#,
            ][..],
            "user",
        ),
        (
            &["CREATE TABLE invoice (id integer PRIMARY KEY)"],
            "invoice",
        ),
        (
            &[
                STATEMENTS[0],
                STATEMENTS[1],
                "CREATE VIEW people AS SELECT * FROM user",
            ],
            "people",
        ),
        (&with_a_row, "user"),
        (&other_seaorm, "seaql_migrations"),
    ] {
        let place = Place::with(statements).await;
        let before = place.bytes();
        let csv = folder().join("nobody.csv").display().to_string();
        let serve = ["serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET];
        for arguments in [
            &["migrate", "up"][..],
            &["migrate", "down"],
            &["migrate", "status"],
            &["import", "csv", &csv],
            &["verify", "--repair"],
            &["prune"],
            &["restored"],
            &serve,
        ] {
            place.fails(arguments, &["another application", table, "DATABASE_URL"]);
        }
        let told = doctor(&place.0.url, &[]).await;
        told.has("failed", "database", &["another application", table]);
        assert!(place.bytes() == before, "{statements:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_replication_tool_do_not_matter() {
    let place =
        Place::with(&["CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)"]).await;
    place.starts().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_start_at_once_on_a_new_file_all_serve() {
    for _ in 0..5 {
        let place = Place::new().await;
        let serving = (0..3).map(|_| Process::serve(&place.0, &["--connect-timeout", "60"]));
        let servers = futures_util::future::join_all(serving).await;
        let (ann, ben) = (servers[0].user("ann").await, servers[1].user("ben").await);
        ann.send(&ben, "hello").await;
        drop(servers);
        place.succeeds(&["verify"]);
    }
}
