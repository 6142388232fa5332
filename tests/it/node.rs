//! Real clients: the suites of tests/node against a server of ours, and the embedded pages against their sources.

use std::path::{Path, PathBuf};

use crate::harness::{
    Fixture as _, SECRET,
    database::Kind,
    process::PROGRAM,
    server::TestServer,
    tool::{self, bound, installing, run, suites_in},
};

fn folder(name: &str) -> PathBuf {
    let folder = tool::path(name);
    install(&folder);
    folder
}

/// `npm ci`, where nothing is installed yet.
fn install(folder: &Path) {
    let _alone = installing();
    if !folder.join("node_modules/.package-lock.json").exists() {
        let mut npm = bound("npm");
        run(npm
            .args(["ci", "--no-audit", "--no-fund"])
            .current_dir(folder));
    }
}

/// What the docs' Python client needs, where it is not there yet.
fn install_python() {
    let _alone = installing();
    run(bound("sh")
        .arg("install.sh")
        .current_dir(tool::path("tests/python")));
}

async fn suite(name: &str, flags: &[&str]) {
    let folder = folder("tests/node");
    install_python();
    let flags = [&["--demo-page", "--keep-alive", "2"], flags].concat();
    let server = TestServer::with(Kind::Sqlite, &flags).await;
    let mut node = bound("node");
    node.args(["--test", &format!("{name}.test.mjs")])
        .current_dir(&folder)
        .env("SERVER_URL", format!("http://{}", server.address))
        .env("JWT_SECRET", SECRET)
        .env("PROGRAM", PROGRAM)
        .env("SCHEMA", tool::path("schema.graphql"));
    tokio::task::spawn_blocking(move || run(&mut node))
        .await
        .unwrap();
    server.finish().await;
}

macro_rules! suites {
    ($($test:ident: $name:literal $([$($flag:literal),*])?,)*) => {
        const SUITES: &[&str] = &[$($name),*];
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                suite($name, &[$($($flag),*)?]).await;
            }
        )*
    };
}

suites! {
    apollo_client_listens: "apollo",
    the_demos_page_keeps_two_people_together: "chat",
    the_clients_of_the_docs_tell_of_every_message_once: "clients",
    typescript_is_generated_and_compiles: "codegen",
    differential_documents_get_the_verdicts_of_graphql_js: "differential",
    the_docs_are_complete_and_their_commands_run: "docs",
    graphql_sse_listens: "events",
    answers_are_those_of_graphql_js: "execution",
    a_gateway_joins_the_subgraph_with_another: "federation" ["--federation"],
    graphiql_works_signed_in: "graphiql",
    graphql_over_http_is_spoken: "http" ["--allowed-origins", "https://app.example,https://other.example:8443"],
    the_demos_page_keeps_what_a_refetch_gives: "mailbox",
    the_demos_page_stands_a_bad_network: "network",
    the_schema_loads_in_graphql_js: "schema",
    graphql_ws_listens: "subscriptions",
}

#[test]
fn every_suite_of_the_folder_is_run() {
    assert_eq!(suites_in("tests/node", "", ".test.mjs"), SUITES);
}

#[test]
fn the_embedded_pages_are_what_their_sources_build() {
    let folder = folder("web");
    run(bound("npm")
        .args(["run", "--silent", "check"])
        .current_dir(folder));
}
