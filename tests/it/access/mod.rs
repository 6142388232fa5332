//! Who may see what: the tables of [`table`], held complete against the contract and really run, cell by cell.

mod run;
mod table;
mod twins;
mod walk;
mod world;

use std::collections::BTreeSet;

use serde_json::json;

use self::{
    run::Row,
    walk::{Contract, Coordinates, Seen},
    world::{Caller, World},
};
use crate::harness::{Fixture as _, database::Kind, server::TestServer};

/// A table's rows, by their cells, without its head.
fn rows(table: &str) -> Vec<Vec<&str>> {
    let lines = table.trim().lines().skip(1);
    lines
        .map(|line| line.split('|').map(str::trim).collect())
        .collect()
}

/// A row of the first table: what is asked, and its cells by the callers.
fn asked<'a>(cells: &[&'a str]) -> (Row<'a>, Vec<&'a str>) {
    let [_, asked, cells @ ..] = cells else {
        panic!("no row: {cells:?}");
    };
    let (call, path) = asked.split_once(" → ").unwrap_or((asked, ""));
    let path = path.split('.').filter(|name| !name.is_empty()).collect();
    assert_eq!(
        cells.len(),
        Caller::ALL.len(),
        "a cell for each caller: {call}"
    );
    (Row { call, path }, cells.to_vec())
}

/// What the tables name and the contract does not hold, and the other way round.
fn differences(contract: &Contract) -> Vec<String> {
    let Coordinates { asked, shown } = contract.coordinates();
    let mut found = Vec::new();
    for (table, expected) in [(table::ASKED, asked), (table::SHOWN, shown)] {
        let named = rows(table).into_iter().map(|cells| cells[0].to_owned());
        let named: BTreeSet<String> = named.collect();
        let missing = expected.difference(&named);
        found.extend(missing.map(|name| format!("{name} has no row: say who may see it")));
        let gone = named.difference(&expected);
        found.extend(gone.map(|name| format!("{name} has a row, and is not in the contract")));
    }
    found
}

#[test]
fn the_tables_name_whatever_the_contract_holds_and_nothing_else() {
    let found = differences(&Contract::read());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn whatever_is_new_in_the_contract_is_missed_in_the_tables() {
    let sdl = include_str!("../../../schema.graphql");
    let with = |old: &str, new: &str| {
        assert!(sdl.contains(old), "{old}");
        differences(&Contract::of(&sdl.replacen(old, new, 1)))
    };
    let missing = |name: &str| format!("{name} has no row: say who may see it");
    for (old, new, name) in [
        (
            "type Inbox implements Node {",
            "type Inbox implements Node { secret: Int",
            "Inbox.secret",
        ),
        ("type Query {", "type Query { secret: Int", "Query.secret"),
        (
            "type Mutation {",
            "type Mutation { secret: Int",
            "Mutation.secret",
        ),
        (
            "type Subscription {",
            "type Subscription { secret: Int",
            "Subscription.secret",
        ),
        (
            "  viewer: User",
            "  viewer(secret: Int): User",
            "Query.viewer(secret:)",
        ),
        (
            "  sequence: Int!",
            "  sequence(secret: Int): Int!",
            "Message.sequence(secret:)",
        ),
        (
            "input UserInput {",
            "input UserInput { secret: Int",
            "UserInput.secret",
        ),
        (
            "enum ErrorCode {",
            "enum Secret { ONE }\nenum ErrorCode {",
            "Secret",
        ),
        (
            "scalar DateTime",
            "scalar Secret\nscalar DateTime",
            "Secret",
        ),
    ] {
        assert_eq!(with(old, new), [missing(name)]);
    }
    let gone = "UnreadMessageConnection.totalCount has a row, and is not in the contract";
    let renamed = missing("UnreadMessageConnection.count");
    assert_eq!(
        with("  totalCount: Int!", "  count: Int!"),
        [renamed, gone.to_owned()]
    );
}

on_both_databases! {
    async fn every_caller_gets_what_the_tables_say(server: &TestServer) {
        let contract = Contract::read();
        let world = World::new(server).await;
        let mut seen = Seen::default();
        let mut wrong = Vec::new();
        for cells in rows(table::ASKED) {
            let (row, expected) = asked(&cells);
            for (caller, expected) in Caller::ALL.into_iter().zip(expected) {
                let got = row.run(&contract, server, &world, caller, &mut seen).await;
                if got != expected {
                    wrong.push(format!("{} to {caller:?}: {got} instead of {expected}", cells[1]));
                }
            }
        }
        for cells in rows(table::SHOWN) {
            for (caller, expected) in Caller::ALL.into_iter().zip(&cells[1..]) {
                let values = seen.values.remove(&(cells[0].to_owned(), caller));
                let got = values.unwrap_or_default().into_iter().collect::<Vec<_>>().join(" ");
                let got = if got.is_empty() { "-" } else { &got };
                if got != *expected {
                    wrong.push(format!("{} shows {caller:?}: {got} instead of {expected}", cells[0]));
                }
            }
        }
        let untried = contract.ways().into_iter().filter(|way| !seen.ways.contains(way));
        wrong.extend(untried.map(|way| format!("no caller ever came to {way}: add a call that leads there")));
        assert!(wrong.is_empty(), "{} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_gets_what_its_caller_does() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let server = TestServer::with(kind, &["--federation"]).await;
        let world = World::new(&server).await;
        let mut wrong = Vec::new();
        for cells in rows(table::BY_A_GATEWAY) {
            let (row, expected) = asked(&cells);
            for (caller, expected) in Caller::ALL.into_iter().zip(expected) {
                let got = row.run_as_gateway(&world, caller).await;
                if got != expected {
                    wrong.push(format!(
                        "{} to {caller:?}: {got} instead of {expected}",
                        cells[1]
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        server.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_answers_as_a_request_does() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let contract = Contract::read();
    let world = World::new(&server).await;
    for caller in Caller::ALL {
        let user = world.user(caller);
        let mut socket = match run::open(&user).await {
            Ok(socket) => socket,
            Err(code) => {
                assert_eq!(code, 4403);
                assert!(
                    [Caller::Nobody, Caller::Expired].contains(&caller),
                    "{caller:?}"
                );
                continue;
            }
        };
        for cells in rows(table::ASKED) {
            let (row, _) = asked(&cells);
            let Some(query) = row.reading(&contract, &world, caller) else {
                continue;
            };
            socket.subscribe("1", &query, json!({})).await;
            let told = socket.message().await;
            assert_eq!(told["type"], "next", "{told}");
            assert_eq!(
                told["payload"],
                user.ask(&query, json!({})).await.body,
                "{query}"
            );
            assert_eq!(socket.message().await["type"], "complete");
        }
    }
    server.finish().await;
}
