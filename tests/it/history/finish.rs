//! How things stand when everything is mended and quiet.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    listen::{Ends, Listener},
    record::{Kind, Outcome, Recorder, Target, position},
    workload::Client,
    world::World,
};
use crate::harness::user::MESSAGE;

/// How often a read is tried that has to succeed.
const TRIES: usize = 20;

/// Each one writes to the next, who reads it: what everyone is told of last, and by it knows that nothing is missing.
pub(super) async fn mark_the_end(clients: &[Client], recorder: &Recorder) -> Ends {
    let servers = clients[0].world.servers.len();
    let pairs: Vec<(&Client, &Client)> =
        clients.iter().zip(clients.iter().cycle().skip(1)).collect();
    let mut ids = Vec::new();
    for (place, (from, to)) in pairs.iter().enumerate() {
        let content = format!("the end of {}", from.me);
        from.send_surely(place % servers, &to.me, &content).await;
        let attempts = &recorder.history().attempts;
        let message = attempts
            .iter()
            .rev()
            .find_map(|attempt| match &attempt.outcome {
                Outcome::Done(message) if attempt.content == content => Some(message.id.clone()),
                Outcome::Done(_) | Outcome::Unknown | Outcome::Refused(_) => None,
            });
        // Where it was refused, that is found, and so is everyone who waits for it.
        ids.push(message.unwrap_or_default());
    }
    for ((_, to), id) in pairs.iter().zip(&ids) {
        for tries in 0..TRIES {
            let target = Target::Message(id.clone());
            if to.read(tries % servers, target, None).await {
                break;
            }
        }
    }
    let mut ends = HashMap::new();
    // In their order: what came later takes the place of what came before.
    for ((from, to), id) in pairs.into_iter().zip(ids) {
        for user in [from, to] {
            for kind in [Kind::Sent, Kind::Read] {
                ends.insert((user.me.clone(), kind), id.clone());
            }
        }
    }
    Some(Arc::new(ends))
}

/// What each one sees: their logs from the start, every page of every conversation both ways, and the counts.
pub(super) async fn look(
    world: &World,
    recorder: &Recorder,
    clients: &[Client],
    logs: Vec<Listener>,
) {
    futures_util::future::join_all(logs.into_iter().map(Listener::hear_all)).await;
    let query = format!(
        "query ($with: ID!, $reversed: Boolean!, $after: String) {{ list: conversation(partnerId: $with, limit: 100, \
         reversed: $reversed, after: $after) {{ nodes {{ {MESSAGE} }} pageInfo {{ hasNextPage endCursor }} }} }}"
    );
    for client in clients {
        for partner in clients.iter().filter(|partner| partner.me != client.me) {
            let mut ways = [false, true].map(|_| Vec::new());
            for (way, reversed) in ways.iter_mut().zip([false, true]) {
                let variables = json!({ "with": partner.me, "reversed": reversed });
                let nodes = pages(client, &query, variables).await;
                *way = nodes.iter().map(|node| recorder.shown(node)).collect();
            }
            ways[1].reverse();
            let between = (client.me.clone(), partner.me.clone());
            let side =
                "query ($with: ID!) { conversationPartner(partnerId: $with) { unreadCount } }";
            let data = client.ask_surely(side, json!({ "with": partner.me })).await;
            let count = data["conversationPartner"]["unreadCount"]
                .as_i64()
                .unwrap_or(0);
            let mut history = recorder.history();
            history.end.pages.insert(between.clone(), ways);
            history.end.unread_of.insert(between, count);
        }
        let data = client
            .ask_surely("{ inbox { unreadCount } signalCursor }", json!({}))
            .await;
        let query = "query ($after: String) { list: unreadMessages(first: 100, after: $after) \
                     { nodes { id } pageInfo { hasNextPage endCursor } } }";
        let list = pages(client, query, json!({})).await;
        let list = list
            .iter()
            .map(|node| node["id"].as_str().unwrap().to_owned());
        let (count, list) = (
            data["inbox"]["unreadCount"].as_i64().unwrap(),
            list.collect(),
        );
        let end = position(data["signalCursor"].as_str().unwrap());
        let mut history = recorder.history();
        history.end.unread.insert(client.me.clone(), (count, list));
        history.end.last.insert(client.me.clone(), end);
    }
    recorder.history().end.defects = defects(world).await;
}

async fn pages(client: &Client, query: &str, mut variables: Value) -> Vec<Value> {
    let mut nodes = Vec::new();
    loop {
        let data = client.ask_surely(query, variables.clone()).await;
        nodes.extend(data["list"]["nodes"].as_array().unwrap().iter().cloned());
        if data["list"]["pageInfo"]["hasNextPage"] == false {
            return nodes;
        }
        variables["after"] = data["list"]["pageInfo"]["endCursor"].clone();
    }
}

/// What the database and the logs give away.
async fn defects(world: &World) -> Vec<(&'static str, String)> {
    let mut defects = Vec::new();
    let url = world.database.url.clone();
    let recounting = tokio::spawn(async move {
        let db = crate::harness::database::connect(&url).await;
        crate::harness::recount::recount(&db).await;
        db.close().await.unwrap();
    });
    if let Err(error) = recounting.await {
        let panic = error.into_panic();
        let told = panic.downcast_ref::<String>().cloned();
        let told = told.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        defects.push(("recount", told.unwrap_or_default()));
    }
    if let Some(postgres) = &world.postgres {
        world.keep_log(&*postgres.lock().await);
        let log = world.postgres_logs.lock().unwrap();
        if let Some(line) = log.lines().find(|line| line.contains("deadlock detected")) {
            let count = log.matches("deadlock detected").count();
            defects.push(("deadlock", format!("{count} deadlocks: {line}")));
        }
    }
    for log in world.printed() {
        if let Some(line) = log.lines().find(|line| line.contains("panicked at")) {
            defects.push(("panic", line.to_owned()));
        }
    }
    defects
}
