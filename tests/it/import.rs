//! Messages in bulk, by the program's own command.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Output,
};

use entity::{conversation_partner, message, user};
use futures_util::{StreamExt as _, stream};
use sea_orm::{EntityTrait as _, PaginatorTrait as _};
use serde_json::Value;

use crate::{
    college::{FILE, Row, pair, rows},
    harness::{
        database::{TestDatabase, folder},
        process::run,
        server::{TestServer, tokens},
        user::User,
    },
};

fn import(database: &TestDatabase, file: &str) -> Output {
    run(&["import", "csv", file, "--database-url", &database.url])
}

/// A file with this text.
fn file(text: impl AsRef<[u8]>) -> String {
    let file = folder().join(format!("{}.csv", uuid::Uuid::new_v4().simple()));
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn succeeds(output: &Output, sentence: &str) {
    assert!(output.status.success(), "{}", told(output));
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(printed.trim(), sentence);
}

fn fails(output: &Output, words: &[&str]) {
    assert!(!output.status.success(), "this should fail: {words:?}");
    let told = told(output);
    for word in words {
        assert!(told.contains(word), "{word:?} is missing in: {told}");
    }
    assert!(!told.contains("panicked"), "{told}");
}

/// How many messages, sides of conversations and users there are.
async fn counts(database: &TestDatabase) -> [u64; 3] {
    let db = database.connect().await;
    let counts = [
        message::Entity::find().count(&db).await.unwrap(),
        conversation_partner::Entity::find()
            .count(&db)
            .await
            .unwrap(),
        user::Entity::find().count(&db).await.unwrap(),
    ];
    db.close().await.unwrap();
    counts
}

/// What the file itself tells of one user: per partner the messages to the user, all messages, and where the latest one
/// stands by time.
#[derive(Debug, Default)]
struct Expected {
    partners: BTreeMap<String, (u64, u64, usize)>,
}

fn expected(rows: &[Row]) -> BTreeMap<String, Expected> {
    let mut in_time: Vec<&Row> = rows.iter().collect();
    in_time.sort_by_key(|row| row.sent_at);
    let mut expected: BTreeMap<String, Expected> = BTreeMap::new();
    for (place, row) in in_time.into_iter().enumerate() {
        for (user, partner, unread) in [
            (&row.sender, &row.recipient, 0),
            (&row.recipient, &row.sender, 1),
        ] {
            let user = expected.entry(user.clone()).or_default();
            let side = user.partners.entry(partner.clone()).or_default();
            *side = (side.0 + unread, side.1 + 1, place);
        }
    }
    expected
}

fn student(server: &TestServer, id: &str) -> User {
    let token = tokens().mint(id, None, false, 3_600).unwrap();
    User::of(server.address, server.http.clone(), id, Some(token))
}

on_both_databases! {
    async fn every_real_message_goes_in(database: &TestDatabase) {
        succeeds(
            &import(database, FILE),
            "imported 59835 messages in 13838 conversations between 1899 users, 1899 of them new",
        );
        let rows = rows();
        let expected = expected(&rows);
        // A machine that builds something beside this is slow, not away.
        let server = TestServer::on(database, &["--connect-timeout", "60"]).await;
        let checks = stream::iter(&expected).map(async |(id, expected)| check(&student(&server, id), expected).await);
        checks.buffer_unordered(32).collect::<()>().await;

        // What the data's README tells.
        let partners = |user: &str| expected[user].partners.len();
        let busiest = expected.keys().max_by_key(|user| partners(user)).unwrap();
        assert_eq!(student(&server, busiest).partners(100).await.len(), 255);
        assert_eq!(student(&server, "1624").unread_count().await, 558);

        let mut conversations: BTreeMap<(String, String), Vec<&Row>> = BTreeMap::new();
        for row in &rows {
            conversations.entry(pair(&row.sender, &row.recipient)).or_default().push(row);
        }
        let ((one, other), mut longest) = conversations.into_iter().max_by_key(|(_, rows)| rows.len()).unwrap();
        longest.sort_by_key(|row| row.sent_at);
        let found = student(&server, &one).conversation(&student(&server, &other), 100, false).await;
        assert_eq!(found.len(), 184);
        for (sequence, (row, message)) in (1..).zip(longest.iter().zip(&found)) {
            let sent_at: jiff::Timestamp = message["sentAt"].as_str().unwrap().parse().unwrap();
            let seen = (message["sender"]["id"].as_str(), sent_at.as_second(), message["sequence"].as_i64());
            assert_eq!(seen, (Some(&*row.sender), row.sent_at, Some(sequence)), "{message}");
        }
        server.stop().await;

        fails(&import(database, FILE), &["line "]);
        assert_eq!(counts(database).await, [59_835, 2 * 13_838, 1_899]);
    }

    async fn a_broken_line_is_named_and_nothing_goes_in(database: &TestDatabase) {
        let cases: [(&[u8], &[&str]); 14] = [
            (b"sender,recipient,sent_at\n1,2,100\n1,3,soon\n", &["line 3", "sent_at", "soon"]),
            (b"sender,recipient,sent_at\n1,2,100\n\n1,1,100\n", &["line 4", "oneself"]),
            (b"sender,recipient,sent_at\n1,2\n", &["line 2", "2 fields"]),
            (b"sender,recipient,sent_at\n1,,100\n", &["line 2", "recipient is empty"]),
            (b"sender,recipient,sent_at\n1,dm_2,100\n", &["line 2", "dm_"]),
            (b"sender,recipient,sent_at,content\n1,2,100,hi\n1,2,101,  \n", &["line 3", "empty"]),
            (b"sender,recipient,sent_at,content\n1,2,100,a\0b\n", &["line 2", "NUL"]),
            (b"sender,recipient,sent_at,content\n1,2,100,\"two\nlines\"\n1,2,x,b\n", &["line 4", "sent_at"]),
            (b"sender,recipient,sent_at,content\n1,2,100,\"open\n1,2,101,b\n", &["line 2", "never closed"]),
            (b"sender,recipient,sent_at,content\n1,2,100,\xff\n", &["line 2", "UTF-8"]),
            (b"sender,recipient,sent_at,read_at\n1,2,100,99\n", &["line 2", "read_at lies before"]),
            (b"sender,recipient,sent_at\n1,2,1082040961000\n", &["line 2", "future"]),
            (b"sender,recipient,when\n1,2,100\n", &["line 1", "when"]),
            (b"", &["line 1", "empty"]),
        ];
        for (text, words) in cases {
            fails(&import(database, &file(text)), words);
        }
        let long = format!("sender,recipient,sent_at,content\n1,2,3,{}\n", "é".repeat(4_001));
        fails(&import(database, &file(long)), &["line 2", "4001", "4000"]);
        let many = format!("sender,recipient,sent_at\n1,2,3\n{}", "1,2,x\n".repeat(15));
        fails(&import(database, &file(many)), &["line 3:", "line 12:", "5 more"]);
        assert_eq!(counts(database).await, [0; 3]);
    }

    async fn what_is_read_and_written_comes_out(database: &TestDatabase) {
        let text = "read_at,content,sent_at,recipient,sender\n\
            ,\"third, \"\"quoted\"\"\nand é🙈\",2004-04-15T14:56:03Z,ben,ann\n\
            1082040963,first,1082040961,ben,ann\n\
            2004-04-15T14:56:02.500Z,second,2004-04-15T14:56:02Z,ann,ben\r\n";
        succeeds(
            &import(database, &file(text)),
            "imported 3 messages in 1 conversations between 2 users, 2 of them new",
        );
        let server = TestServer::on(database, &[]).await;
        let (ann, ben) = (student(&server, "ann"), student(&server, "ben"));
        let told: Vec<Value> = ben.conversation(&ann, 2, false).await;
        let found: Vec<_> = told
            .iter()
            .map(|m| (m["content"].as_str().unwrap(), m["sentAt"].as_str().unwrap(), m["readAt"].as_str()))
            .collect();
        assert_eq!(found, [
            ("first", "2004-04-15T14:56:01.000Z", Some("2004-04-15T14:56:03.000Z")),
            ("second", "2004-04-15T14:56:02.000Z", Some("2004-04-15T14:56:02.500Z")),
            ("third, \"quoted\"\nand é🙈", "2004-04-15T14:56:03.000Z", None),
        ]);
        assert_eq!((ann.unread_count().await, ben.unread_count().await), (0, 1));
        assert_eq!(ben.read_conversation(&ann, None).await, 1);
        server.stop().await;
    }

    async fn only_newer_messages_go_into_a_conversation(database: &TestDatabase) {
        let old = file("sender,recipient,sent_at\nann,ben,100\nben,ann,200\n");
        let first = import(database, &old);
        succeeds(&first, "imported 2 messages in 1 conversations between 2 users, 2 of them new");
        fails(&import(database, &old), &["line 2"]);
        let mixed = file("sender,recipient,sent_at\nben,carl,50\nben,ann,300\nann,ben,150\n");
        fails(&import(database, &mixed), &["line 4"]);
        assert_eq!(counts(database).await, [2, 2, 2]);

        let newer = file("sender,recipient,sent_at,content\nben,carl,50,c\nben,ann,300,b\nann,ben,250,a\n");
        succeeds(
            &import(database, &newer),
            "imported 3 messages in 2 conversations between 3 users, 1 of them new",
        );
        let server = TestServer::on(database, &[]).await;
        let (ann, ben) = (student(&server, "ann"), student(&server, "ben"));
        let list = ann.conversation(&ben, 100, false).await;
        assert_eq!(crate::harness::user::contents(&list), ["(no text)", "(no text)", "a", "b"]);

        ann.send(&ben, "now").await;
        fails(&import(database, &file("sender,recipient,sent_at\nben,ann,400\n")), &["line 2"]);
        server.stop().await;
        assert_eq!(counts(database).await, [6, 4, 3]);
    }

    async fn cursors_from_before_an_import_expire(database: &TestDatabase) {
        let server = TestServer::on(database, &["--slow-tick", "0.05"]).await;
        let people = [server.user("ann").await, server.user("ben").await, server.user("carl").await];
        let [ann, ben, carl] = &people;
        ann.send(ben, "before").await;
        carl.send(ann, "before").await;
        let (of_ann, of_carl) = (ann.signal_cursor().await, carl.signal_cursor().await);
        let mut live = ben.listen("messageSent", None).await;
        let mut quiet = carl.listen("messageSent", None).await;
        ann.send(ben, "live").await;
        assert_eq!(live.next().await["message"]["content"], "live");

        let text = "sender,recipient,sent_at\nann,ben,2099-01-01T00:00:00Z\n";
        fails(&import(database, &file(text)), &["line 2", "future"]);
        let text = "sender,recipient,sent_at\nann,dora,2004-01-01T00:00:00Z\nben,dora,2004-01-01T00:00:00Z\n";
        succeeds(
            &import(database, &file(text)),
            "imported 2 messages in 2 conversations between 3 users, 1 of them new",
        );

        assert_eq!(live.refusal().await, "CURSOR_EXPIRED", "also for who listens already");
        let mut late = ann.listen("messageSent", Some(&of_ann)).await;
        assert_eq!(late.refusal().await, "CURSOR_EXPIRED");
        let mut again = ann.listen("messageSent", None).await;
        carl.send(ann, "after").await;
        assert_eq!(again.next().await["message"]["content"], "after");
        assert_eq!(quiet.next().await["message"]["content"], "after", "carl is not in the file");
        let mut replay = carl.listen("messageSent", Some(&of_carl)).await;
        assert_eq!(replay.next().await["message"]["content"], "after");
        server.stop().await;
    }
}

/// One user's lists are what the file tells.
async fn check(user: &User, expected: &Expected) {
    let partners = user.partners(100).await;
    let mut order: Vec<(&String, &(u64, u64, usize))> = expected.partners.iter().collect();
    order.sort_by_key(|(_, (_, _, place))| std::cmp::Reverse(*place));
    let order: Vec<(&str, u64, u64)> = order
        .into_iter()
        .map(|(partner, (unread, all, _))| (partner.as_str(), *unread, *all))
        .collect();
    let found: Vec<(&str, u64, u64)> = partners
        .iter()
        .map(|partner| {
            let sequence = partner["lastMessage"]["sequence"].as_u64().unwrap();
            (
                partner["user"]["id"].as_str().unwrap(),
                partner["unreadCount"].as_u64().unwrap(),
                sequence,
            )
        })
        .collect();
    assert_eq!(found, order, "{}", user.id);
    let unread: u64 = order.iter().map(|(_, unread, _)| unread).sum();
    assert_eq!(
        u64::try_from(user.unread_count().await),
        Ok(unread),
        "{}",
        user.id
    );
    let distinct: BTreeSet<&str> = found.iter().map(|(partner, _, _)| *partner).collect();
    assert_eq!(distinct.len(), found.len());
}
