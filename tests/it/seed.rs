//! What django-directmessages did, call by call, and where this server differs.

use serde_json::json;

use crate::harness::{server::TestServer, user::contents};

on_both_databases! {
    /// `Inbox.send_message(from_user, to_user, message)`: the message and True.
    async fn send_message(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let message = ann.send(&ben, "Hello").await;
        assert_eq!(message["content"], "Hello");
        assert_eq!((&message["sender"]["id"], &message["recipient"]["id"]), (&json!("ann"), &json!("ben")));
        assert!(message["sentAt"].is_string() && message["readAt"].is_null());
        // `Inbox.send_message(ann, ann, …)` raised "You can't send messages to yourself!".
        assert_eq!(ann.sending("ann", "Hello", None).await.code(), "CANNOT_MESSAGE_SELF");
    }

    /// `Inbox.get_unread_messages(user)`: what nobody has read yet.
    async fn get_unread_messages(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        ann.send(&ben, "one").await;
        ann.send(&ben, "two").await;
        ben.send(&ann, "three").await;
        assert_eq!(contents(&ben.unread(50).await), ["one", "two"]);
        assert_eq!(contents(&ann.unread(50).await), ["three"]);
        assert_eq!(ben.unread_count().await, 2);
    }

    /// `Inbox.read_message(message_id)` gave the content and marked it; an unknown id gave an empty string, here an error.
    async fn read_message(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let message = ann.send(&ben, "Hello").await;
        let read = ben.read(&message).await;
        assert_eq!((&read["content"], &read["unread"]), (&json!("Hello"), &json!(false)));
        assert!(ben.unread(50).await.is_empty());
        assert_eq!(ben.reading("dm_unknown").await.code(), "MESSAGE_NOT_FOUND");
        // There, anybody could read; here only the recipient.
        assert_eq!(ann.reading(message["id"].as_str().unwrap()).await.code(), "MESSAGE_NOT_FOUND");
    }

    /// `Inbox.read_message_formatted(message_id)`: "<user>: <message>".
    async fn read_message_formatted(server: &TestServer) {
        let (ann, ben) = (server.named("ann", "Ann").await, server.user("ben").await);
        let message = ann.send(&ben, "Hello").await;
        assert_eq!(ben.read(&message).await["formatted"], "Ann: Hello");
    }

    /// `Inbox.get_conversations(user)`: everyone written with, whoever wrote.
    async fn get_conversations(server: &TestServer) {
        let (ann, ben, cid) = (server.user("ann").await, server.user("ben").await, server.user("cid").await);
        server.user("dan").await;
        ann.send(&ben, "Hello").await;
        ann.send(&ben, "Hello again").await;
        cid.send(&ann, "Hi").await;
        let partners = ann.partners(50).await;
        let names: Vec<&str> = partners.iter().map(|partner| partner["user"]["id"].as_str().unwrap()).collect();
        assert_eq!(names, ["cid", "ben"]);
    }

    /// `Inbox.get_conversation(user1, user2, limit=None, reversed=False, mark_read=False)`.
    async fn get_conversation(server: &TestServer) {
        let (ann, ben, cid) = (server.user("ann").await, server.user("ben").await, server.user("cid").await);
        ann.send(&ben, "one").await;
        ben.send(&ann, "two").await;
        ann.send(&ben, "three").await;
        ann.send(&cid, "elsewhere").await;
        let ask = async |arguments: &str| {
            let query = format!("{{ conversation(partnerId: \"ann\" {arguments}) {{ nodes {{ content unread }} }} }}");
            ben.data(&query, json!({})).await["conversation"]["nodes"].as_array().unwrap().clone()
        };
        assert_eq!(contents(&ask("").await), ["one", "two", "three"]);
        assert_eq!(contents(&ask("limit: 2").await), ["one", "two"]);
        assert_eq!(contents(&ask("reversed: true").await), ["three", "two", "one"]);
        assert_eq!(contents(&ask("limit: 2, reversed: true").await), ["three", "two"]);
        assert_eq!(ben.unread_count().await, 2, "looking marks nothing");
        // There, the caller's own messages were marked too; here only what was sent to the viewer.
        let marked = ask("markRead: true").await;
        let unread: Vec<bool> = marked.iter().map(|message| message["unread"].as_bool().unwrap()).collect();
        assert_eq!(unread, [false, true, false]);
        assert_eq!((ben.unread_count().await, ann.unread_count().await), (0, 1));
    }

    /// `Message.unread`: True until it is read.
    async fn message_unread(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let message = ann.send(&ben, "Hello").await;
        assert_eq!(message["unread"], true);
        let read = ben.read(&message).await;
        assert_eq!(read["unread"], false);
        assert!(read["readAt"].is_string());
        let again = ben.read(&message).await;
        assert_eq!(again["readAt"], read["readAt"], "the first time counts");
    }

    /// The signals `message_sent` and `message_read`: from, to and the message.
    async fn message_sent_and_message_read(server: &TestServer) {
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let mut sent = ben.listen("messageSent", None).await;
        let mut read = ann.listen("messageRead", None).await;
        let message = ann.send(&ben, "Hello").await;
        ben.read(&message).await;
        ben.read(&message).await;
        for event in [sent.next().await, read.next().await] {
            assert_eq!((&event["sender"]["id"], &event["recipient"]["id"]), (&json!("ann"), &json!("ben")));
            assert_eq!((&event["message"]["id"], &event["message"]["content"]), (&message["id"], &json!("Hello")));
        }
        let marker = ann.send(&ben, "marker").await;
        ben.read(&marker).await;
        assert_eq!(read.contents_until("marker").await, ["marker"], "reading again signals nothing");
    }
}
