//! Everything counted again: each thing that can go wrong is found, mended where it can be, and nothing else is said.

use directmessages::chat::{conversation_id, user_id};
use futures_util::future::join_all;
use uuid::Uuid;

use crate::harness::{
    database::{Kind, TestDatabase},
    load::chatter,
    process::program,
    server::TestServer,
    user::User,
};

/// What `verify` printed, line by line, and whether all is well.
struct Report {
    lines: Vec<String>,
    well: bool,
}

impl Report {
    /// The findings of one kind.
    fn told(&self, state: &str) -> Vec<&str> {
        let prefix = format!("{state}: ");
        let lines = self.lines.iter();
        lines
            .filter_map(|line| line.strip_prefix(&prefix))
            .collect()
    }
}

impl TestDatabase {
    pub(crate) async fn verify(&self, flags: &[&str]) -> (Vec<String>, bool) {
        let arguments = [&["verify", "--database-url", &self.url], flags].concat();
        let output = tokio::process::Command::from(program(&arguments)).output();
        let output = output.await.unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.is_empty(), "{told}");
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines = lines.lines().map(str::to_owned).collect();
        (lines, output.status.success())
    }

    async fn report(&self, flags: &[&str]) -> Report {
        let (lines, well) = self.verify(flags).await;
        Report { lines, well }
    }

    pub(crate) async fn is_right(&self) {
        let (lines, well) = self.verify(&[]).await;
        assert!(well && lines.len() == 1, "{lines:#?}");
        assert!(lines[0].ends_with("everything is right"), "{lines:#?}");
    }

    fn literal(&self, id: Uuid) -> String {
        match self.kind {
            Kind::Sqlite => format!("x'{}'", id.simple()),
            Kind::Postgres => format!("'{id}'"),
        }
    }
}

/// Eight people who wrote to each other, and read some of it.
async fn correspondence(server: &TestServer) -> Vec<User> {
    let people = join_all((0..8).map(async |n| server.user(&format!("user {n}")).await)).await;
    chatter(std::slice::from_ref(&people), 20).await;
    for (at, person) in people.iter().enumerate() {
        let next = &people[(at + 1) % people.len()];
        for _ in 0..3 {
            person.send(next, "unread, or read").await;
        }
        let unread = next.unread(100).await;
        next.read(unread.last().unwrap()).await;
        person.send(next, "unread").await;
    }
    people[1].read_conversation(&people[0], None).await;
    for _ in 0..3 {
        people[0].send(&people[1], "unread").await;
    }
    people
}

/// What is done to the rows, and what is told of it.
struct Harm {
    sql: String,
    told: &'static str,
    /// Whom it concerns.
    user: &'static str,
}

impl Harm {
    fn new(user: &'static str, told: &'static str, sql: String) -> Self {
        Self { sql, told, user }
    }
}

impl TestDatabase {
    fn id(&self, user: &str) -> String {
        self.literal(user_id(user))
    }

    fn where_user(&self, user: &str) -> String {
        format!("WHERE user_id = {}", self.id(user))
    }

    /// Sets something in one side of a conversation.
    fn set_side(&self, change: &str, user: &str, partner: &str) -> String {
        let (of, partner) = (self.where_user(user), self.id(partner));
        format!("UPDATE conversation_partner SET {change} {of} AND partner_id = {partner}")
    }

    fn set_inbox(&self, change: &str, user: &str) -> String {
        format!("UPDATE inbox SET {change} {}", self.where_user(user))
    }

    /// Deletes or changes one user's signal.
    fn harm_signal(&self, harm: &str, user: &str, position: &str) -> String {
        format!("{harm} {} AND position = {position}", self.where_user(user))
    }
}

/// Counts, and sides of conversations.
fn harms_to_sides(db: &TestDatabase) -> Vec<Harm> {
    let side = |change: &str| db.set_side(change, "user 1", "user 0");
    let of_another = db.literal(conversation_id(user_id("user 6"), user_id("user 7")));
    let names_another = format!("conversation_id = {of_another}");
    let (ann, nobody) = (db.id("user 0"), db.id("nobody yet"));
    let new = db.literal(conversation_id(user_id("user 0"), user_id("nobody yet")));
    let ben = format!(
        "{} AND partner_id = {}",
        db.where_user("user 0"),
        db.id("user 1")
    );
    vec![
        Harm::new(
            "user 0",
            "the unread count is",
            db.set_inbox("unread_count = unread_count + 5", "user 0"),
        ),
        Harm::new("user 1", "unread, and", side("unread_count = 0")),
        Harm::new(
            "user 1",
            "ends at number",
            side("last_seq = last_seq - 1, unread_count = 99"),
        ),
        Harm::new(
            "user 1",
            "is read up to number",
            side("read_seq = last_seq"),
        ),
        Harm::new("user 1", "is read up to number -1", side("read_seq = -1")),
        Harm::new("user 1", "stands at position 0", side("last_position = 0")),
        Harm::new(
            "user 0",
            "is missing",
            format!("DELETE FROM conversation_partner {ben}"),
        ),
        Harm::new(
            "user 0",
            "names another conversation",
            db.set_side(&names_another, "user 0", "user 1"),
        ),
        Harm::new(
            "user 0",
            "is a side with",
            format!(
                "INSERT INTO conversation_partner (user_id, partner_id, conversation_id, last_seq, last_position, \
                 unread_count, read_seq) VALUES ({ann}, {nobody}, {new}, 3, 1, 0, 0)"
            ),
        ),
    ]
}

/// Logs, inboxes and the epoch. Each user's log is whole before it is harmed.
fn harms_to_logs(db: &TestDatabase) -> Vec<Harm> {
    let last = |user: &str| {
        let of = db.where_user(user);
        format!("(SELECT last_position FROM inbox {of})")
    };
    let never_written = format!(
        "{}; {}",
        db.harm_signal("DELETE FROM signal", "user 0", &last("user 0")),
        db.set_inbox("last_position = last_position - 1", "user 0")
    );
    let conversation = db.literal(conversation_id(user_id("user 0"), user_id("user 1")));
    let ben = db.id("user 1");
    vec![
        Harm::new(
            "user 2",
            "the log ends at",
            db.set_inbox("last_position = last_position - 1", "user 2"),
        ),
        Harm::new(
            "user 3",
            "of the signals 1 to",
            db.harm_signal("DELETE FROM signal", "user 3", "5"),
        ),
        Harm::new(
            "user 4",
            "of the signals 1 to",
            db.harm_signal("DELETE FROM signal", "user 4", &last("user 4")),
        ),
        Harm::new(
            "user 5",
            "tell what did not happen",
            db.harm_signal("UPDATE signal SET seq = 1000", "user 5", "7"),
        ),
        Harm::new(
            "user 6",
            "tell what did not happen",
            db.harm_signal("UPDATE signal SET kind = 3 - kind", "user 6", "7"),
        ),
        Harm::new(
            "user 7",
            "there is no inbox",
            format!("DELETE FROM inbox {}", db.where_user("user 7")),
        ),
        Harm::new("user 0", "the log lacks a signal", never_written),
        Harm::new("", "there is no epoch", "DELETE FROM epoch".to_owned()),
        Harm::new(
            "user 1",
            "the unread count is",
            format!(
                "UPDATE message SET read_at = sent_at WHERE conversation_id = {conversation} \
                 AND recipient_id = {ben} AND read_at IS NULL"
            ),
        ),
    ]
}

on_both_databases! {
    async fn what_is_wrong_is_found_and_mended(database: &TestDatabase) {
        let server = TestServer::on(database, &[]).await;
        let people = correspondence(&server).await;
        database.is_right().await;
        for Harm { sql, told, user } in harms_to_sides(database).into_iter().chain(harms_to_logs(database)) {
            database.execute(&sql).await;
            let found = database.report(&[]).await;
            let wrong = found.told("wrong");
            assert!(!found.well && wrong.iter().any(|line| line.contains(told)), "{sql}: {:#?}", found.lines);
            assert!(wrong.iter().all(|line| line.contains(user)), "{sql}: {wrong:#?}");
            let again = database.report(&[]).await;
            assert_eq!(found.lines, again.lines, "{sql}: it was only looked at");
            let repair = database.report(&["--repair"]).await;
            assert!(repair.well, "{sql}: {:#?}", repair.lines);
            assert!(!repair.told("mended").is_empty(), "{sql}: {:#?}", repair.lines);
            database.is_right().await;
            database.recount().await;
        }
        // Everybody can go on.
        for person in &people {
            let other = usize::from(person.id == people[0].id);
            person.send(&people[other], "afterwards").await;
        }
        server.stop().await;
        database.is_right().await;
    }

    async fn what_cannot_be_mended_is_told(database: &TestDatabase) {
        let server = TestServer::on(database, &[]).await;
        correspondence(&server).await;
        let conversation = database.literal(conversation_id(user_id("user 0"), user_id("user 1")));
        let of = format!("WHERE conversation_id = {conversation} AND seq = 2");
        let last = format!("WHERE conversation_id = {conversation} AND seq");
        let read = format!("WHERE conversation_id = {conversation} AND read_at IS NOT NULL");
        let ann = database.literal(user_id("user 0"));
        for (told, harm, undo) in [
            ("were sent before", format!("UPDATE message SET sent_at = sent_at - 86400000 {of}"), format!("UPDATE message SET sent_at = sent_at + 86400000 {of}")),
            ("were read before", format!("UPDATE message SET read_at = read_at - 86400000 {read}"), format!("UPDATE message SET read_at = read_at + 86400000 {read}")),
            ("some were lost", format!("UPDATE message SET seq = 100000 {of}"), format!("UPDATE message SET seq = 2 {last} = 100000")),
            ("no user", format!("UPDATE \"user\" SET id = {} WHERE id = {ann}", database.literal(user_id("another"))), format!("UPDATE \"user\" SET id = {ann} WHERE id = {}", database.literal(user_id("another")))),
        ] {
            database.execute(&harm).await;
            let found = database.report(&[]).await;
            database.execute(&undo).await;
            assert!(!found.well && found.told("lost").iter().any(|line| line.contains(told)), "{told}: {:#?}", found.lines);
            database.is_right().await;
        }
        server.stop().await;
    }

    async fn a_log_with_a_hole_fails_its_listeners_until_it_is_mended(database: &TestDatabase) {
        let server = TestServer::on(database, &[]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let start = ben.signal_cursor().await;
        for n in 0..10 {
            ann.send(&ben, &n.to_string()).await;
        }
        database.execute("DELETE FROM signal WHERE position = 4").await;
        assert_eq!(ben.listen("messageSent", Some(&start)).await.refusal().await, "INTERNAL");
        assert!(database.report(&["--repair"]).await.well);
        assert_eq!(ben.listen("messageSent", Some(&start)).await.refusal().await, "CURSOR_EXPIRED");
        let mut listener = ben.listen("messageSent", None).await;
        ann.send(&ben, "afterwards").await;
        assert_eq!(listener.contents_until("afterwards").await, ["afterwards"]);
        drop(listener);
        server.stop().await;
    }

    async fn nothing_that_running_servers_do_looks_wrong(database: &TestDatabase) {
        let server = TestServer::on(database, &["--signal-retention", "1", "--prune-interval", "0.05"]).await;
        let people = join_all((0..6).map(async |n| server.user(&format!("user {n}")).await)).await;
        let talking = tokio::spawn(async move { chatter(&[people], 60).await });
        let mut looks = 0;
        while !talking.is_finished() || looks < 3 {
            database.is_right().await;
            looks += 1;
        }
        talking.await.unwrap();
        server.stop().await;
    }

    async fn what_is_wrong_is_mended_while_servers_run(database: &TestDatabase) {
        let server = TestServer::on(database, &[]).await;
        let people = join_all((0..6).map(async |n| server.user(&format!("user {n}")).await)).await;
        chatter(std::slice::from_ref(&people), 10).await;
        let talking = tokio::spawn(async move { chatter(&[people], 40).await });
        // Counts only: a command under way may have read a wrong read_seq before it was mended, and write by it afterwards.
        for _ in 0..3 {
            database.execute("UPDATE inbox SET unread_count = unread_count + 3").await;
            database.execute("UPDATE conversation_partner SET unread_count = unread_count + 2").await;
            let report = database.report(&["--repair"]).await;
            assert!(report.well && report.told("mended").len() >= 12, "{:#?}", report.lines);
        }
        talking.await.unwrap();
        database.is_right().await;
        server.stop().await;
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_made() {
    let database = TestDatabase::empty(Kind::Sqlite).await;
    for command in ["verify", "restored", "prune"] {
        let output = program(&[command, "--database-url", &database.url]).output();
        let output = output.unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("there is no database file"), "{told}");
    }
    let file = database.url.strip_prefix("sqlite:").unwrap();
    assert!(!std::path::Path::new(file).exists());
}
