//! A client harms only itself: by what it does not read, what it asks for, and what it leaves open.

use futures_util::{SinkExt as _, StreamExt as _, future::join_all, stream::FuturesUnordered};
use serde_json::{Value, json};
use socket2::{Domain, Socket as RawSocket, Type};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use crate::{
    harness::{
        Fixture as _,
        database::Kind,
        server::TestServer,
        socket::{Heard, Socket},
        until,
        user::User,
    },
    statements::{Log, logged},
    support::bombs::many,
};

/// As long as a content may be, of the characters that weigh most.
fn longest() -> String {
    "🙈".repeat(4_000)
}

const PAGE: &str = "{ conversation(partnerId: \"ben\", limit: 100) { nodes { content } } }";

/// So many pages at one time that there are not enough connections to read them.
fn pages() -> String {
    let pages = many(0..10, |at| {
        format!("p{at}: conversation(partnerId: \"ben\", limit: 100) {{ nodes {{ content }} }} ")
    });
    format!("{{ {pages} }}")
}

/// A socket that takes in as little as the system allows.
async fn narrow_socket(user: &User) -> WebSocketStream<TcpStream> {
    let raw = RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    raw.set_recv_buffer_size(1).unwrap();
    raw.connect(&user.address.into()).unwrap();
    raw.set_nonblocking(true).unwrap();
    let stream = TcpStream::from_std(raw.into()).unwrap();
    let mut request = format!("ws://{}/graphql", user.address)
        .into_client_request()
        .unwrap();
    let headers = request.headers_mut();
    headers.insert(
        "sec-websocket-protocol",
        "graphql-transport-ws".parse().unwrap(),
    );
    let bearer = format!("Bearer {}", user.token.as_ref().unwrap());
    headers.insert("authorization", bearer.parse().unwrap());
    let (mut socket, _) = client_async(request, stream).await.unwrap();
    send(&mut socket, json!({ "type": "connection_init" })).await;
    let acknowledged = socket.next().await.unwrap().unwrap();
    assert!(acknowledged.to_text().unwrap().contains("connection_ack"));
    socket
}

async fn send(socket: &mut WebSocketStream<TcpStream>, message: Value) {
    socket
        .send(Message::text(message.to_string()))
        .await
        .unwrap();
}

/// How many statements of a server's are under way.
async fn connections_in_use(metrics: &str) -> u64 {
    let text = reqwest::get(format!("{metrics}/metrics"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let line = "directmessages_database_connections{role=\"read\",state=\"in_use\"} ";
    let count = text.lines().find_map(|it| it.strip_prefix(line));
    count.unwrap().parse().unwrap()
}

async fn everybody_else_reads(kind: Kind) {
    let metrics = crate::support::free_port();
    let listen = format!("127.0.0.1:{metrics}");
    let flags = ["--read-connections", "2", "--metrics-listen", &listen];
    let server = TestServer::with(kind, &flags).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let content = longest();
    for _ in 0..20 {
        ann.send(&ben, &content).await;
    }
    let mut deaf = narrow_socket(&ann).await;
    for id in 0..100 {
        let id = id.to_string();
        send(
            &mut deaf,
            json!({ "type": "subscribe", "id": id, "payload": { "query": pages() } }),
        )
        .await;
    }
    for _ in 0..200 {
        assert_eq!(ben.unread_count().await, 20);
    }
    let metrics = format!("http://{listen}");
    until("no statement waits for the socket", async || {
        connections_in_use(&metrics).await == 0
    })
    .await;
    let ready = server
        .http
        .get(format!("http://{}/health/ready", server.address));
    assert_eq!(ready.send().await.unwrap().status(), 200);
    drop(deaf);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_stops_reading_keeps_no_connection_of_sqlite() {
    everybody_else_reads(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_stops_reading_keeps_no_connection_of_postgres() {
    everybody_else_reads(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_many_reads_takes_turns_with_the_others() {
    let server = TestServer::with(Kind::Sqlite, &["--read-connections", "1"]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    for _ in 0..100 {
        ann.send(&ben, "x").await;
    }
    let greedy = (0..200).map(|_| ann.data(PAGE, json!({})));
    let mut greedy: FuturesUnordered<_> = greedy.collect();
    // The first of them is answered: the others wait.
    greedy.next().await;
    let mut answered = 1;
    let modest = ben.unread_count();
    let mut modest = std::pin::pin!(modest);
    loop {
        tokio::select! {
            biased;
            count = &mut modest => {
                assert_eq!(count, 100);
                break;
            }
            Some(_) = greedy.next() => answered += 1,
        }
    }
    assert!(answered < 150, "{answered} of 200 came first");
    assert_eq!(answered + greedy.count().await, 200);
    server.finish().await;
}

/// Sends, and asks for nothing of the message.
async fn post(from: &User, to: &User, content: &str) {
    let mutation =
        "mutation ($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }";
    let input = json!({ "recipientId": to.id, "content": content });
    from.data(mutation, json!({ "input": input })).await;
}

/// A page of a list, with everything under `nodes` and `edges`.
fn everything(list: &str, node: &str) -> String {
    let message = "id sequence content sentAt readAt unread formatted clientMessageId \
        sender { id username } recipient { id username }";
    let node = node.replace("MESSAGE", message);
    format!(
        "{{ {list} {{ nodes {{ {node} }} edges {{ cursor node {{ {node} }} }} pageInfo {{ endCursor }} }} }}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_100_with_everything_is_within_the_default_limits() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let ben = server.user("ben").await;
    let content = longest();
    let senders = join_all((0..100).map(async |number| {
        let sender = server.user(&format!("sender {number}")).await;
        sender.send(&ben, &content).await;
        sender
    }));
    let senders = senders.await;
    for _ in 0..99 {
        senders[0].send(&ben, &content).await;
    }
    let of_partner = "id user { id username } unreadCount lastMessage { MESSAGE }";
    for (list, node) in [
        (
            "conversation(partnerId: \"sender 0\", limit: 100)",
            "MESSAGE",
        ),
        ("unreadMessages(first: 100)", "MESSAGE"),
        ("conversationPartners(first: 100)", of_partner),
    ] {
        let data = ben.data(&everything(list, node), json!({})).await;
        let page = data.as_object().unwrap().values().next().unwrap();
        assert_eq!(page["nodes"].as_array().unwrap().len(), 100, "{list}");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_document_for_a_huge_response_is_too_complex() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let ann = server.user("ann").await;
    let aliases = many(0..97, |at| format!("c{at}: content "));
    let document = format!(
        "{{ conversation(partnerId: \"ben\", limit: 100) {{ nodes {{ ...F }} edges {{ node {{ ...F }} }} }} }} \
         fragment F on Message {{ {aliases} }}"
    );
    assert!(document.len() < 1_500);
    let answer = ann.ask(&document, json!({})).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (400, "QUERY_TOO_COMPLEX")
    );
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_bounded_in_bytes_whichever_way_it_goes() {
    let server = TestServer::with(Kind::Sqlite, &["--response-limit", "5000"]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let content = "x".repeat(4_000);
    post(&ann, &ben, &content).await;
    let once = "{ conversation(partnerId: \"ben\") { nodes { content } } }";
    let twice = "{ conversation(partnerId: \"ben\") { nodes { content again: content } } }";
    // Beside another field it goes through the schema.
    let beside =
        "{ viewer { id } conversation(partnerId: \"ben\") { nodes { content again: content } } }";
    let mutation = format!(
        "mutation {{ sendMessage(input: {{ recipientId: \"ben\", content: \"{content}\" }}) {{ message {{ content formatted }} }} }}"
    );
    assert!(ann.data(once, json!({})).await["conversation"].is_object());
    let mut socket = Socket::of(&ann).await;
    for document in [twice, beside, &mutation] {
        let too_large = ann.ask(document, json!({})).await;
        assert_eq!(too_large.status, 200, "{document}");
        assert_eq!(too_large.code(), "RESPONSE_TOO_LARGE", "{document}");
        assert_eq!(too_large.body["data"], Value::Null);
        socket.subscribe("1", document, json!({})).await;
        let message = socket.message().await;
        assert_eq!(message["payload"], too_large.body, "{document}");
        assert_eq!(socket.message().await["type"], "complete");
        let stream = ann.stream(document, json!({}), &[]).await;
        let stream = stream.text().await.unwrap();
        assert!(stream.contains("RESPONSE_TOO_LARGE"), "{stream}");
    }
    assert_eq!(ben.unread_count().await, 4, "each mutation was carried out");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_too_large_is_an_error_and_the_next_one_comes() {
    let server = TestServer::with(Kind::Sqlite, &["--response-limit", "1000"]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    for beside in ["", "inbox { unreadCount }"] {
        let document =
            format!("subscription {{ messageSent {{ cursor message {{ content }} {beside} }} }}");
        let mut socket = Socket::of(&ben).await;
        socket.subscribe("1", &document, json!({})).await;
        socket.settle().await;
        post(&ann, &ben, &"x".repeat(2_000)).await;
        post(&ann, &ben, "small").await;
        let large = socket.message().await;
        assert_eq!(large["type"], "next", "{large}");
        let code = &large["payload"]["errors"][0]["extensions"]["code"];
        assert_eq!(code, "RESPONSE_TOO_LARGE", "{large}");
        let small = socket.message().await;
        let content = &small["payload"]["data"]["messageSent"]["message"]["content"];
        assert_eq!(content, "small", "{small}");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_is_flooded_gets_every_event_late_and_nobody_else_does() {
    const EVENTS: u32 = 60;
    // Each event has some 1,000 bytes, so that the last of them is due a second or so after the first.
    let flags = ["--event-rate", "50000", "--cost-rate", "300000"];
    let server = TestServer::with(Kind::Sqlite, &flags).await;
    let (ann, ben, cid) = (
        server.user("ann").await,
        server.user("ben").await,
        server.user("cid").await,
    );
    let mut flooded = ben.listen("messageSent", None).await;
    let mut other = cid.listen("messageSent", None).await;
    let contents: Vec<String> = (0..EVENTS).map(|at| format!("{at:0600}")).collect();
    for content in &contents {
        ann.send(&ben, content).await;
    }
    ann.send(&cid, "for cid").await;
    assert_eq!(other.contents_until("for cid").await, ["for cid"]);
    // The flooder spent nothing of ben's own rates.
    assert_eq!(ben.unread_count().await, i64::from(EVENTS));
    assert_eq!(
        flooded.contents_until(&contents[contents.len() - 1]).await,
        contents
    );
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_so_many_subscriptions_and_no_more() {
    let flags = ["--subscriptions-per-user", "3"];
    let server = TestServer::with(Kind::Sqlite, &flags).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let document = "subscription { messageSent { cursor } }";
    let mut sockets = [Socket::of(&ann).await, Socket::of(&ann).await];
    sockets[0].subscribe("1", document, json!({})).await;
    sockets[0].subscribe("2", document, json!({})).await;
    sockets[0].settle().await;
    let stream = ann.stream(document, json!({}), &[]).await;
    assert_eq!(stream.status(), 200);
    sockets[1].subscribe("3", document, json!({})).await;
    let rejected = sockets[1].message().await;
    let code = &rejected["payload"][0]["extensions"]["code"];
    assert_eq!(code, "RATE_LIMITED", "{rejected}");
    assert_eq!(ann.stream(document, json!({}), &[]).await.status(), 429);
    // Queries are none, and another user has as many.
    assert_eq!(ann.unread_count().await, 0);
    assert_eq!(ben.stream(document, json!({}), &[]).await.status(), 200);
    sockets[0]
        .send(json!({ "type": "complete", "id": "1" }))
        .await;
    sockets[0].settle().await;
    sockets[1].subscribe("3", document, json!({})).await;
    sockets[1].settle().await;
    drop(stream);
    server.finish().await;
}

/// How often a user's log was read.
fn log_reads(log: &Log<'_>) -> usize {
    let statements = log.statements().into_iter();
    statements
        .filter(|it| it.contains("LEFT JOIN signal s"))
        .count()
}

/// How often somebody's side of a conversation was read.
fn side_reads(log: &Log<'_>) -> usize {
    let statements = log.statements().into_iter();
    statements
        .filter(|it| it.contains("JOIN inbox i ON i.user_id = r.viewer_id"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_read_once_for_all_subscriptions_of_its_user() {
    const SUBSCRIPTIONS: usize = 40;
    let database = logged().await;
    let server = TestServer::on(&database, &[]).await;
    let log = Log {
        database: &database.name,
    };
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let mut sockets = Vec::new();
    for _ in 0..4 {
        let mut socket = Socket::of(&ben).await;
        for id in 0..SUBSCRIPTIONS / 4 {
            let document =
                "subscription { messageSent { message { content } inbox { unreadCount } } }";
            socket.subscribe(&id.to_string(), document, json!({})).await;
        }
        socket.settle().await;
        sockets.push(socket);
    }
    let before = (log_reads(&log), side_reads(&log));
    for text in ["one", "two", "three"] {
        ann.send(&ben, text).await;
        for socket in &mut sockets {
            for _ in 0..SUBSCRIPTIONS / 4 {
                let event = socket.message().await;
                let content = &event["payload"]["data"]["messageSent"]["message"]["content"];
                assert_eq!(content, text, "{event}");
            }
        }
    }
    let reads = (log_reads(&log) - before.0, side_reads(&log) - before.1);
    // One finds the signal, and one or two its end; a socket that is woken later may ask once more.
    assert!(reads.0 <= 3 * 6, "{reads:?} statements for 120 events");
    // The sends ask for a side, too.
    assert!(
        reads.1 <= 3 * (4 + 1),
        "{reads:?} statements for 120 events"
    );
    server.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_are_read_for_subscriptions_that_select_them_only() {
    let database = logged().await;
    let server = TestServer::on(&database, &[]).await;
    let log = Log {
        database: &database.name,
    };
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let reads_contents = || {
        let statements = log.statements().into_iter();
        let reads = statements.filter(|it| it.contains("LEFT JOIN signal s"));
        reads.filter(|it| it.contains("m.content")).count()
    };
    for (selected, expected) in [("cursor message { id }", 0), ("message { formatted }", 1)] {
        let mut socket = Socket::of(&ben).await;
        let document = format!("subscription {{ messageSent {{ {selected} }} }}");
        socket.subscribe("1", &document, json!({})).await;
        socket.settle().await;
        ann.send(&ben, "hello").await;
        assert_eq!(socket.message().await["type"], "next");
        assert_eq!(usize::from(reads_contents() > 0), expected, "{selected}");
    }
    server.stop().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_on_a_socket_before_its_init() {
    let server = TestServer::with(Kind::Sqlite, &["--socket-init-timeout", "60"]).await;
    for message in [
        json!({ "type": "ping", "payload": { "x": "x".repeat(120_000) } }),
        json!({ "type": "pong" }),
        json!({ "type": "complete", "id": "1" }),
    ] {
        let mut socket = Socket::open(server.address).await;
        socket.send(message.clone()).await;
        assert_eq!(
            socket.hear().await,
            Heard::Closed(4401),
            "{}",
            message["type"]
        );
    }
    let mut socket = Socket::open(server.address).await;
    for _ in 0..9 {
        socket.send_frame(Message::Ping("x".into())).await;
    }
    assert_eq!(socket.closed().await, 4401);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_sends_more_than_its_rate_is_read_later_and_stays() {
    // One point in a second or so, once the bucket is empty.
    let flags = ["--cost-rate", "100"];
    let server = TestServer::with(Kind::Sqlite, &flags).await;
    let ann = server.user("ann").await;
    let mut socket = Socket::of(&ann).await;
    let ping = json!({ "type": "ping", "payload": { "x": "x".repeat(30_000) } });
    for _ in 0..4 {
        socket.send(ping.clone()).await;
    }
    for _ in 0..4 {
        assert_eq!(socket.message().await["type"], "pong");
    }
    socket.subscribe("1", "{ viewer { id } }", json!({})).await;
    let refused = socket.message().await;
    let code = &refused["payload"][0]["extensions"]["code"];
    assert_eq!(code, "RATE_LIMITED", "{refused}");
    server.finish().await;
}
