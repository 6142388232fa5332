//! How a server stops: what was begun is finished, and those who listen are sent away one by one.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use crate::harness::{
    Fixture as _,
    database::{Kind, TestDatabase},
    server::TestServer,
    socket::{Heard, Socket},
    until,
    user::{send_mutation, send_variables},
    within,
};

#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_closed_at_moments_of_their_own() {
    const SPREAD: f64 = 1.0;
    let spread = SPREAD.to_string();
    let server = TestServer::with(Kind::Sqlite, &["--shutdown-spread", &spread]).await;
    let ann = server.user("ann").await;
    let mut sockets = Vec::new();
    for _ in 0..40 {
        let mut listener = ann.listen("messageSent", None).await;
        listener.socket.settle().await;
        sockets.push(listener.socket);
    }
    let start = Instant::now();
    let closing = sockets.iter_mut().map(async |socket| {
        assert_eq!(socket.closed().await, 1012);
        start.elapsed()
    });
    let (moments, database) = tokio::join!(join_all(closing), server.stop());
    let first = *moments.iter().min().unwrap();
    let last = *moments.iter().max().unwrap();
    // Of forty moments drawn from a second, all within half of it: once in 10^10 times.
    let half = first + Duration::from_secs_f64(SPREAD / 2.0);
    assert!(last > half, "{moments:?}");
    database.unwrap().finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_before_sigterm_is_answered_and_stored() {
    let database = TestDatabase::new(Kind::Postgres).await;
    let server = TestServer::on(&database, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let address = server.address;
    let mut socket = Socket::of(&ann).await;
    let hold = database.hold("ben").await;
    let by_request = tokio::spawn({
        let ann = ann.clone();
        async move { ann.sending("ben", "by request", None).await }
    });
    database.waits_for_locks(1).await;
    let variables = send_variables("ben", "by socket", None);
    socket.subscribe("1", &send_mutation(), variables).await;
    socket.settle().await;

    let stopping = tokio::spawn(server.stop());
    until("nothing new is taken", async || {
        tokio::net::TcpStream::connect(address).await.is_err()
    })
    .await;
    hold.release().await;
    let answer = within("the answer", by_request).await.unwrap();
    let sent = &answer.data()["sendMessage"]["message"];
    assert_eq!(sent["content"], "by request");
    let next = socket.message().await;
    let sent = &next["payload"]["data"]["sendMessage"]["message"];
    assert_eq!(sent["content"], "by socket", "{next}");
    assert_eq!(
        socket.message().await,
        json!({ "type": "complete", "id": "1" })
    );
    assert_eq!(socket.hear().await, Heard::Closed(1012));
    within("the server to stop", stopping).await.unwrap();

    let again = TestServer::on(&database, &[]).await;
    assert_eq!(ben.at(again.address).unread_count().await, 2);
    again.stop().await;
    database.finish().await;
}
