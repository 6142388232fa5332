//! Absent and not-yours are the same answer: byte for byte, apart from the id that was asked for, and by the same
//! statements, so that neither the words nor the time tell one from the other.

use directmessages::chat::{List, MessageId, NodeId, PageCursor, SignalCursor, Stream, user_id};
use serde_json::json;
use uuid::Uuid;

use super::world::{Caller, World};
use crate::{
    harness::{
        Fixture as _,
        server::TestServer,
        socket::{Heard, Socket},
        user::User,
    },
    statements::{Log, logged},
};

/// What is asked with either id in the place of `ID`, and by whom; what is somebody else's, and its absent twin.
struct Twins {
    asked: &'static str,
    caller: Caller,
    not_yours: String,
    absent: String,
}

fn twins(world: &World) -> Vec<Twins> {
    let [ann, ben, eve] = [Caller::Sender, Caller::Recipient, Caller::Stranger].map(|caller| {
        let id = world.user(caller).id;
        (user_id(&id), id)
    });
    let nobody = Uuid::from_u128(1);
    let message = |id: MessageId| NodeId::Message(id).to_string();
    let theirs = world.message;
    let elsewhere = MessageId {
        conversation: nobody,
        ..theirs
    };
    let later = MessageId { seq: 99, ..theirs };
    let inbox = |user| NodeId::Inbox(user).to_string();
    let side = |user, partner| NodeId::ConversationPartner { user, partner }.to_string();
    let page = |list, key| {
        PageCursor {
            list,
            key,
            place: 0,
        }
        .to_string()
    };
    let mut twins = Vec::new();
    let mut pair = |asked, caller, not_yours: String, absent: String| {
        twins.push(Twins {
            asked,
            caller,
            not_yours,
            absent,
        });
    };
    for asked in [
        "{ message(id: ID) { content } }",
        "{ node(id: ID) { id } }",
        "mutation { readMessage(input: { id: ID }) { message { content } } }",
        "mutation { readConversation(input: { partnerId: \"PARTNER\", upTo: ID }) { readCount } }",
    ] {
        for absent in [elsewhere, later] {
            pair(asked, Caller::Stranger, message(theirs), message(absent));
        }
    }
    // One's own is not one's own to read.
    let read = "mutation { readMessage(input: { id: ID }) { message { content } } }";
    pair(read, Caller::Sender, message(theirs), message(later));
    let node = "{ node(id: ID) { id } }";
    pair(node, Caller::Stranger, inbox(ben.0), inbox(nobody));
    pair(node, Caller::Sender, inbox(ben.0), inbox(nobody));
    pair(
        node,
        Caller::Stranger,
        side(ben.0, ann.0),
        side(nobody, ann.0),
    );
    pair(
        node,
        Caller::Sender,
        side(ben.0, ann.0),
        side(nobody, ann.0),
    );
    pair(
        node,
        Caller::Stranger,
        side(eve.0, ben.0),
        side(eve.0, nobody),
    );
    let unread = "{ unreadMessages(after: ID) { totalCount } }";
    pair(
        unread,
        Caller::Stranger,
        page(List::Unread, ben.0),
        page(List::Unread, nobody),
    );
    let partners = "{ conversationPartners(after: ID) { nodes { id } } }";
    pair(
        partners,
        Caller::Stranger,
        page(List::Partners, ben.0),
        page(List::Partners, nobody),
    );
    let conversation = "{ conversation(partnerId: \"PARTNER\", after: ID) { nodes { id } } }";
    let list = List::Conversation;
    pair(
        conversation,
        Caller::Stranger,
        page(list, theirs.conversation),
        page(list, nobody),
    );
    twins
}

/// Status, headers and body as they came, without the date and the request's random id.
async fn answer(server: &TestServer, user: &User, query: &str) -> String {
    let request = server
        .http
        .post(format!("http://{}/graphql", server.address));
    let request = request.bearer_auth(user.token.as_deref().unwrap());
    let response = request
        .json(&json!({ "query": query }))
        .send()
        .await
        .unwrap();
    let mut headers: Vec<String> = response
        .headers()
        .iter()
        .filter(|(name, _)| *name != "date" && *name != "x-request-id")
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    let status = response.status();
    let body = response.text().await.unwrap();
    format!("{status}\n{}\n\n{body}", headers.join("\n"))
}

on_both_databases! {
    async fn absent_and_not_yours_are_one_answer(server: &TestServer) {
        let world = World::new(server).await;
        let ann = world.user(Caller::Sender).id;
        for Twins { asked, caller, not_yours, absent } in twins(&world) {
            let asked = asked.replace("PARTNER", &ann);
            let user = world.user(caller);
            let mut answers = Vec::new();
            for id in [&not_yours, &absent] {
                let query = asked.replace("ID", &format!("\"{id}\""));
                answers.push(answer(server, &user, &query).await.replace(id.as_str(), "ID"));
            }
            assert_eq!(answers[0], answers[1], "{asked} to {caller:?}");
            assert!(!answers[0].contains("ann-ben"), "{}", answers[0]);
        }
    }

    async fn whom_one_may_not_act_for_need_not_exist(server: &TestServer) {
        let world = World::new(server).await;
        let eve = world.user(Caller::Stranger);
        let mut answers = Vec::new();
        for id in [world.user(Caller::Recipient).id, "nobody".to_owned()] {
            let answer = eve.acting_for(&id).ask("{ viewer { id } }", json!({})).await;
            assert_eq!((answer.status, answer.code().as_str()), (403, "FORBIDDEN"));
            answers.push(answer);
        }
        assert_eq!(answers[0], answers[1]);
    }

    async fn anothers_stream_is_refused_like_one_that_is_not_there(server: &TestServer) {
        let world = World::new(server).await;
        let (ben, eve) = (world.user(Caller::Recipient), world.user(Caller::Stranger));
        let bens = ben.signal_cursor().await;
        let parsed = SignalCursor::parse(&bens, user_id(&ben.id), Stream::ANY).unwrap();
        let absent = SignalCursor { user: Uuid::from_u128(1), ..parsed }.to_string();
        let mut socket = Socket::of(&eve).await;
        for field in ["messageSent", "messageRead"] {
            let mut heard = Vec::new();
            for after in [&bens, &absent] {
                let query = format!("subscription {{ {field}(after: \"{after}\") {{ cursor }} }}");
                socket.subscribe("1", &query, json!({})).await;
                let Heard::Message(message) = socket.hear().await else {
                    panic!("the socket stays open");
                };
                heard.push(socket.failed(&message).await);
            }
            assert_eq!(heard[0], heard[1]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_and_not_yours_cost_the_same_statements() {
    let database = logged().await;
    let log = Log {
        database: &database.name,
    };
    let server = TestServer::on(&database, &["--name-life", "0"]).await;
    let world = World::new(&server).await;
    let ann = world.user(Caller::Sender).id;
    let mut some_ran = false;
    for Twins {
        asked,
        caller,
        not_yours,
        absent,
    } in twins(&world)
    {
        let asked = asked.replace("PARTNER", &ann);
        let user = world.user(caller);
        let mut ran = Vec::new();
        for id in [&not_yours, &absent] {
            let query = asked.replace("ID", &format!("\"{id}\""));
            let before = log.asked().len();
            answer(&server, &user, &query).await;
            ran.push(log.asked().split_off(before));
        }
        assert_eq!(ran[0], ran[1], "{asked} to {caller:?}");
        some_ran |= !ran[0].is_empty();
    }
    assert!(some_ran, "the log tells what runs");
    server.stop().await;
    database.finish().await;
}
