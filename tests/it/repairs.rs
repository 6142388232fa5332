//! What a repair leaves alone, whom it tells, and that it says what it did not mend.

use directmessages::chat::user_id;

use crate::harness::{
    Fixture as _,
    database::{Kind, TestDatabase},
    server::TestServer,
};

impl TestDatabase {
    /// Repairs, and tells whether all is well then, with the lines of one kind.
    async fn repair(&self, state: &str) -> (bool, Vec<String>) {
        let (lines, well) = self.verify(&["--repair"]).await;
        let lines = lines.iter().filter_map(|line| line.strip_prefix(state));
        (well, lines.map(str::to_owned).collect())
    }

    fn owner(&self, user: &str) -> String {
        let id = user_id(user);
        match self.kind {
            Kind::Sqlite => format!("WHERE user_id = x'{}'", id.simple()),
            Kind::Postgres => format!("WHERE user_id = '{id}'"),
        }
    }
}

on_both_databases! {
    async fn a_side_keeps_the_position_whose_signal_is_gone(database: &TestDatabase) {
        let server = TestServer::on(database, &[]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        ben.send(&ann, "received at 1").await;
        for _ in 0..3 {
            ann.send(&ben, "sent").await;
        }
        // As an import leaves it: the log ends at 60 without an entry, and what was there lies below its floor.
        let side = database.owner("ann");
        for sql in [
            "UPDATE inbox SET last_position = 60, log_floor = 60".to_owned(),
            format!("UPDATE conversation_partner SET last_position = 57 {side}"),
        ] {
            database.execute(&sql).await;
        }
        for gone in ["DELETE FROM signal WHERE position > 60", "DELETE FROM signal"] {
            database.execute(gone).await;
            database.is_right().await;
            database.execute(&format!("UPDATE conversation_partner SET unread_count = 9 {side}")).await;
            assert!(database.repair("mended: ").await.0);
            let stands = database.number(&format!("SELECT last_position FROM conversation_partner {side}")).await;
            assert_eq!(stands, 57, "{gone}");
        }
        server.stop().await;
    }

    async fn whoever_has_heard_all_of_a_wrong_log_reloads_too(database: &TestDatabase) {
        let server = TestServer::on(database, &["--slow-tick", "0.2"]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let start = ben.signal_cursor().await;
        for n in 0..5 {
            ann.send(&ben, &n.to_string()).await;
        }
        let end = ben.signal_cursor().await;
        let mut live = ben.listen("messageSent", Some(&start)).await;
        live.take(5).await;
        let of_ben = database.owner("ben");
        database.execute(&format!("UPDATE signal SET seq = 1000 {of_ben} AND position = 5")).await;
        assert!(database.repair("mended: ").await.0);
        database.is_right().await;
        assert_eq!(ben.listen("messageSent", Some(&end)).await.refusal().await, "CURSOR_EXPIRED");
        assert_eq!(live.refusal().await, "CURSOR_EXPIRED");
        let mut anew = ben.listen("messageSent", None).await;
        ann.send(&ben, "afterwards").await;
        assert_eq!(anew.contents_until("afterwards").await, ["afterwards"]);
        drop((live, anew));
        server.stop().await;
    }

    async fn a_log_that_was_lost_whole_begins_anew(database: &TestDatabase) {
        let server = TestServer::on(database, &[]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        ann.send(&ben, "hello").await;
        let of_ann = database.owner("ann");
        for sql in ["DELETE FROM signal", "UPDATE inbox SET last_position = 0", "UPDATE conversation_partner SET last_position = 0"] {
            database.execute(&format!("{sql} {of_ann}")).await;
        }
        let (well, mended) = database.repair("mended: ").await;
        assert!(well && mended.len() == 1, "{mended:?}");
        database.is_right().await;
        server.stop().await;
    }

    async fn what_a_repair_did_not_change_is_still_wrong(database: &TestDatabase) {
        let server = TestServer::on(database, &[]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        ann.send(&ben, "hello").await;
        let (keep, undo) = match database.kind {
            Kind::Sqlite => (
                "CREATE TRIGGER keep BEFORE UPDATE ON inbox BEGIN SELECT RAISE(IGNORE); END",
                "DROP TRIGGER keep",
            ),
            Kind::Postgres => (
                "CREATE RULE keep AS ON UPDATE TO inbox DO INSTEAD NOTHING",
                "DROP RULE keep ON inbox",
            ),
        };
        database.execute("UPDATE inbox SET unread_count = unread_count + 2").await;
        database.execute(keep).await;
        let (well, wrong) = database.repair("wrong: ").await;
        assert!(!well && wrong.len() == 2, "{wrong:?}");
        database.execute(undo).await;
        let (well, mended) = database.repair("mended: ").await;
        assert!(well && mended.len() == 2, "{mended:?}");
        server.stop().await;
    }

    async fn an_inbox_that_is_missing_is_told_once(database: &TestDatabase) {
        let server = TestServer::on(database, &[]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        ann.send(&ben, "hello").await;
        database.execute(&format!("DELETE FROM inbox {}", database.owner("ben"))).await;
        let (lines, _) = database.verify(&[]).await;
        let told = lines.iter().filter(|line| line.ends_with("there is no inbox"));
        assert_eq!(told.count(), 1, "{lines:#?}");
        assert!(database.repair("mended: ").await.0);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_under_way_does_not_write_by_a_number_that_was_wrong() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let server = TestServer::on(&database, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    for n in 0..10 {
        ann.send(&ben, &n.to_string()).await;
    }
    let of_ben = database.owner("ben");
    let set = |read: i64| format!("UPDATE conversation_partner SET read_seq = {read} {of_ben}");
    database.execute(&set(5)).await;
    let hold = database.hold("ben").await;
    let (reader, partner) = (ben.clone(), ann.clone());
    let reading = tokio::spawn(async move { reader.read_conversation(&partner, None).await });
    database.waits_for_locks(1).await;
    // A repair that comes first.
    database.execute(&set(0)).await;
    hold.release().await;
    assert_eq!(reading.await.unwrap(), 5);
    database.is_right().await;
    assert_eq!(ben.read_conversation(&ann, None).await, 5);
    server.stop().await;
    database.finish().await;
}
