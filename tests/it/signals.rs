//! Subscriptions: replay, then live, without a gap and without a repeat, whatever breaks.

use serde_json::{Value, json};

use crate::harness::{
    Fixture as _,
    chance::Chance,
    database::{Kind, TestDatabase},
    server::TestServer,
    socket::{Heard, Socket, subscription},
    user::User,
    within,
};

fn cursor(event: &Value) -> &str {
    event["cursor"].as_str().unwrap()
}

/// Listens again and again, each time for a few events, and goes on from the last cursor.
async fn listen_with_breaks(user: User, after: String, last: &'static str) -> Vec<String> {
    let mut chance = Chance::fresh();
    let (mut after, mut heard) = (after, Vec::new());
    loop {
        let mut listener = user.listen("messageSent", Some(&after)).await;
        for _ in 0..=chance.below(20) {
            let event = listener.next().await;
            let content = event["message"]["content"].as_str().unwrap().to_owned();
            assert!(cursor(&event) > after.as_str(), "cursors rise as text");
            cursor(&event).clone_into(&mut after);
            let over = content == last;
            heard.push(content);
            if over {
                return heard;
            }
        }
    }
}

on_both_databases! {
    async fn both_people_are_told_of_a_message_sent_and_read(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let mut sent = [ann.listen("messageSent", None).await, ben.listen("messageSent", None).await];
        let mut read = [ann.listen("messageRead", None).await, ben.listen("messageRead", None).await];
        let message = ann.send(&ben, "hello").await;
        for (listener, (partner, unread)) in sent.iter_mut().zip([("ben", 0), ("ann", 1)]) {
            let event = listener.next().await;
            assert_eq!(event["message"]["id"], message["id"]);
            assert_eq!(event["message"]["content"], "hello");
            assert_eq!(event["message"]["unread"], true);
            assert_eq!((&event["sender"]["id"], &event["recipient"]["id"]), (&json!("ann"), &json!("ben")));
            assert_eq!(event["conversationPartner"]["user"]["id"], partner);
            assert_eq!(event["conversationPartner"]["unreadCount"], unread);
            assert_eq!(event["conversationPartner"]["lastMessage"]["id"], message["id"]);
            assert_eq!(event["inbox"]["unreadCount"], unread);
        }
        ben.read(&message).await;
        for listener in &mut read {
            let event = listener.next().await;
            assert_eq!(event["message"]["id"], message["id"]);
            assert_eq!(event["message"]["unread"], false);
            assert_eq!((&event["sender"]["id"], &event["recipient"]["id"]), (&json!("ann"), &json!("ben")));
            assert_eq!(event["inbox"]["unreadCount"], 0);
        }
    }

    async fn a_stranger_is_told_nothing(server: &TestServer) {
        let (ann, ben, eve) = (server.user("ann").await, server.user("ben").await, server.user("eve").await);
        let mut listener = eve.listen("messageSent", None).await;
        ann.send(&ben, "secret").await;
        ann.send(&eve, "marker").await;
        assert_eq!(listener.contents_until("marker").await, ["marker"]);
    }

    async fn a_cursor_replays_what_came_after_it(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        ann.send(&ben, "before").await;
        let start = ben.signal_cursor().await;
        for n in 0..300 {
            if n % 50 == 0 {
                ben.send(&ann, &format!("{n}")).await;
            } else {
                ann.send(&ben, &format!("{n}")).await;
            }
        }
        let expected: Vec<String> = (0..300).map(|n| n.to_string()).collect();
        let mut listener = ben.listen("messageSent", Some(&start)).await;
        let events = listener.take(300).await;
        let contents = events.iter().map(|event| event["message"]["content"].as_str().unwrap());
        assert_eq!(contents.collect::<Vec<_>>(), expected);
        let mut listener = ben.listen("messageSent", Some(cursor(&events[296]))).await;
        assert_eq!(listener.contents_until("299").await, ["297", "298", "299"]);
        ann.send(&ben, "live").await;
        assert_eq!(listener.contents_until("live").await, ["live"]);
    }

    async fn listeners_that_break_off_under_load_miss_and_repeat_nothing(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let listening = [
            tokio::spawn(listen_with_breaks(ann.clone(), ann.signal_cursor().await, "last")),
            tokio::spawn(listen_with_breaks(ben.clone(), ben.signal_cursor().await, "last")),
        ];
        let sending = (0..4).map(|sender| {
            let (from, to) = if sender % 2 == 0 { (&ann, &ben) } else { (&ben, &ann) };
            async move {
                for n in 0..60 {
                    from.send(to, &format!("{sender}: {n}")).await;
                }
            }
        });
        futures_util::future::join_all(sending).await;
        ann.send(&ben, "last").await;
        let expected = ann.conversation(&ben, 100, false).await;
        let expected: Vec<&str> = expected.iter().map(|m| m["content"].as_str().unwrap()).collect();
        assert_eq!(expected.len(), 241);
        for listening in listening {
            assert_eq!(within("the listener", listening).await.unwrap(), expected);
        }
    }

    async fn without_a_cursor_a_subscription_begins_now(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        ann.send(&ben, "before").await;
        let mut socket = Socket::of(&ben).await;
        socket.subscribe("1", &subscription("messageSent"), json!({})).await;
        let (event, ()) = tokio::join!(socket.message(), async {
            // The first is heard whose sending began after the subscription did; so there is one that is.
            for n in 0..200 {
                ann.send(&ben, &format!("later {n}")).await;
            }
        });
        let content = &event["payload"]["data"]["messageSent"]["message"]["content"];
        assert!(content.as_str().unwrap().starts_with("later"), "{event}");
    }

    async fn a_partner_filters_what_is_told(server: &TestServer) {
        let (ann, ben, cid) = (server.user("ann").await, server.user("ben").await, server.user("cid").await);
        let mut sent = ann.listen_to("messageSent", None, &ben).await;
        let mut read = ann.listen_to("messageRead", None, &ben).await;
        let from_cid = cid.send(&ann, "from cid").await;
        ann.send(&cid, "to cid").await;
        ann.read(&from_cid).await;
        ann.send(&ben, "to ben").await;
        let from_ben = ben.send(&ann, "from ben").await;
        ann.read(&from_ben).await;
        assert_eq!(sent.contents_until("from ben").await, ["to ben", "from ben"]);
        assert_eq!(read.contents_until("from ben").await, ["from ben"]);
    }

    async fn a_cursor_of_another_stream_or_user_is_refused(server: &TestServer) {
        let (ann, ben, cid) = (server.user("ann").await, server.user("ben").await, server.user("cid").await);
        let start = ann.signal_cursor().await;
        let message = ben.send(&ann, "hello").await;
        ann.read(&message).await;
        let sent = ann.listen("messageSent", Some(&start)).await.next().await;
        let read = ann.listen("messageRead", Some(&start)).await.next().await;
        let of_ben = ann.listen_to("messageSent", Some(&start), &ben).await.next().await;
        let foreign = ben.signal_cursor().await;
        let page = ann.data("{ unreadMessages { pageInfo { endCursor } } conversationPartners { pageInfo { endCursor } } }", json!({})).await;
        let list = page["conversationPartners"]["pageInfo"]["endCursor"].as_str().unwrap();
        let cut = &start[..start.len() - 1];
        let refused = [
            ("messageRead", cursor(&sent), None),
            ("messageSent", cursor(&read), None),
            ("messageSent", cursor(&of_ben), None),
            ("messageSent", cursor(&of_ben), Some(&cid)),
            ("messageSent", cursor(&sent), Some(&ben)),
            ("messageSent", foreign.as_str(), None),
            ("messageSent", list, None),
            ("messageSent", cut, None),
            ("messageSent", "", None),
            ("messageSent", "rubbish", None),
            ("messageSent", "dm_s", None),
        ];
        for (field, after, partner) in refused {
            let mut listener = match partner {
                Some(partner) => ann.listen_to(field, Some(after), partner).await,
                None => ann.listen(field, Some(after)).await,
            };
            assert_eq!(listener.refusal().await, "BAD_USER_INPUT", "{field} {after} {partner:?}");
            // One error is the end of it: the id is free, and the socket goes on.
            listener.socket.subscribe("1", "{ viewer { id } }", json!({})).await;
            assert_eq!(listener.socket.message().await["type"], "next");
        }
        let mut listener = ann.listen("messageSent", Some(cursor(&sent))).await;
        ben.send(&ann, "marker").await;
        assert_eq!(listener.contents_until("marker").await, ["marker"], "its own cursor fits");
    }

    async fn an_unknown_partner_and_oneself_cannot_be_listened_to(server: &TestServer) {
        let ann = server.user("ann").await;
        let nobody = ann.called("nobody");
        assert_eq!(ann.listen_to("messageSent", None, &nobody).await.refusal().await, "USER_NOT_FOUND");
        assert_eq!(ann.listen_to("messageSent", None, &ann).await.refusal().await, "CANNOT_MESSAGE_SELF");
    }

    async fn a_cursor_below_the_floor_has_expired(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let old = ben.signal_cursor().await;
        for n in 0..3 {
            ann.send(&ben, &format!("{n}")).await;
        }
        let young = ben.listen("messageSent", Some(&old)).await.take(2).await;
        let floor = "UPDATE inbox SET log_floor = 2 WHERE last_position = 3 AND unread_count = 3";
        server.database().execute(floor).await;
        assert_eq!(ben.listen("messageSent", Some(&old)).await.refusal().await, "CURSOR_EXPIRED");
        let mut listener = ben.listen("messageSent", Some(cursor(&young[1]))).await;
        assert_eq!(listener.contents_until("2").await, ["2"], "the floor itself is not lost");
    }

    async fn a_listener_whose_log_was_pruned_past_it_is_told(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let mut listener = ben.listen("messageSent", None).await;
        ann.send(&ben, "first").await;
        assert_eq!(listener.contents_until("first").await, ["first"]);
        server.database().execute("UPDATE inbox SET log_floor = 5, last_position = 5").await;
        server.database().execute("DELETE FROM signal").await;
        ann.send(&ben, "second").await;
        assert_eq!(listener.refusal().await, "CURSOR_EXPIRED");
        // As it was, for the recount.
        server.database().execute("UPDATE message SET recipient_position = 1 WHERE seq = 1").await;
    }

    async fn a_cursor_from_before_a_restore_has_expired(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let before = ben.signal_cursor().await;
        ann.send(&ben, "hello").await;
        server.database().execute("UPDATE epoch SET value = value + 1").await;
        assert_eq!(ben.listen("messageSent", Some(&before)).await.refusal().await, "CURSOR_EXPIRED");
        let mut listener = ben.listen("messageSent", None).await;
        ann.send(&ben, "marker").await;
        assert_eq!(listener.contents_until("marker").await, ["marker"]);
    }

    async fn a_cursor_above_the_end_has_expired(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        ann.send(&ben, "hello").await;
        let end = ben.signal_cursor().await;
        for table in ["signal", "message", "conversation_partner"] {
            server.database().execute(&format!("DELETE FROM {table}")).await;
        }
        server.database().execute("UPDATE inbox SET last_position = 0, unread_count = 0").await;
        assert_eq!(ben.listen("messageSent", Some(&end)).await.refusal().await, "CURSOR_EXPIRED");
    }

    async fn pings_tell_a_quiet_listener_how_far_it_is(database: &TestDatabase) {
        let server = TestServer::on(database, &["--keep-alive", "0.5"]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let start = ben.signal_cursor().await;
        let mut listener = ben.listen("messageRead", Some(&start)).await;
        let message = ann.send(&ben, "hello").await;
        let end = ben.signal_cursor().await;
        let progress = loop {
            let Heard::Message(told) = listener.socket.hear_all().await else { panic!("it was closed") };
            assert_eq!(told["type"], "ping", "nothing was read yet: {told}");
            let cursor = told["payload"]["cursors"]["1"].as_str().unwrap_or_default().to_owned();
            // The position stands before what tells the streams apart.
            if cursor.len() == end.len() && cursor[..50] >= end[..50] {
                break cursor;
            }
        };
        assert!(progress > start);
        ben.read(&message).await;
        assert_eq!(listener.contents_until("hello").await, ["hello"]);
        let mut again = ben.listen("messageRead", Some(&progress)).await;
        assert_eq!(again.contents_until("hello").await, ["hello"], "its progress is a cursor of its own");
        drop((listener, again));
        server.stop().await;
    }

    async fn a_lost_hint_is_made_up_for_by_the_slow_tick(database: &TestDatabase) {
        // Servers that share a SQLite file tell each other nothing; neither does a test that writes itself.
        let (one, two) = (TestServer::on(database, &["--slow-tick", "0.05"]).await, TestServer::on(database, &[]).await);
        let (ann, ben) = (two.user("ann").await, two.user("ben").await);
        let mut listener = ben.at(one.address).listen("messageSent", None).await;
        for n in 0..5 {
            let text = format!("{n}");
            ann.send(&ben, &text).await;
            assert_eq!(listener.contents_until(&text).await, [text]);
        }
        drop(listener);
        one.stop().await;
        two.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_on_one_postgres_hint_each_other() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let flags = ["--slow-tick", "86400"];
    let (one, two) = (
        TestServer::on(&database, &flags).await,
        TestServer::on(&database, &flags).await,
    );
    let (ann, ben) = (two.user("ann").await, two.user("ben").await);
    listens(&database, 2).await;
    let mut listener = ben.at(one.address).listen("messageSent", None).await;
    for n in 0..20 {
        let text = format!("{n}");
        ann.send(&ben, &text).await;
        assert_eq!(listener.contents_until(&text).await, [text]);
    }
    drop(listener);
    one.stop().await;
    two.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_come_back_after_their_connections_were_lost() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let flags = ["--slow-tick", "86400"];
    let (one, two) = (
        TestServer::on(&database, &flags).await,
        TestServer::on(&database, &flags).await,
    );
    let (ann, ben) = (two.user("ann").await, two.user("ben").await);
    listens(&database, 2).await;
    let mut listener = ben.at(one.address).listen("messageSent", None).await;
    database
        .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        .await;
    listens(&database, 2).await;
    // Pooled connections that died are found one by one.
    crate::harness::until("the server is back", async || {
        let answer = ann.sending("ben", "after", Some("1")).await;
        answer.body.get("errors").is_none()
    })
    .await;
    assert_eq!(listener.contents_until("after").await, ["after"]);
    drop(listener);
    one.stop().await;
    two.stop().await;
    database.finish().await;
}

/// Waits until so many connections listen: a server that does not yet is told by its slow tick only.
async fn listens(database: &TestDatabase, count: i64) {
    use sea_orm::ConnectionTrait as _;
    let db = database.connect().await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    crate::harness::until("both servers listen", async || {
        let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql);
        let row = db.query_one_raw(statement).await.unwrap().unwrap();
        row.try_get_by_index::<i64>(0).unwrap() == count
    })
    .await;
    db.close().await.unwrap();
}
