//! Real clients: the suites of tests/node against a server of ours, and the embedded page against its sources.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Mutex,
};

use crate::harness::{Fixture as _, SECRET, database::Kind, server::TestServer};

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    install(&folder);
    folder
}

/// `npm ci`, where nothing is installed yet; one at a time.
fn install(folder: &Path) {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _alone = INSTALLING
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if !folder.join("node_modules/.package-lock.json").exists() {
        let mut npm = bound("npm");
        run(npm
            .args(["ci", "--no-audit", "--no-fund"])
            .current_dir(folder));
    }
}

/// A command that ends with this process, however that ends: it is killed when its standard input closes.
fn bound(program: &str) -> Command {
    let mut command = Command::new("sh");
    let script = "exec 3<&0; \"$@\" </dev/null & child=$!; \
                  (cat <&3; kill -9 $child) >/dev/null 2>&1 & watcher=$!; \
                  wait $child; code=$?; kill $watcher 2>/dev/null; exit $code";
    command.args(["-c", script, "sh", program]);
    command
}

/// Runs a command, and shows what it printed: as cargo does, only where it fails or `--nocapture` asks for it.
fn run(command: &mut Command) {
    let output = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .and_then(finish);
    let output = output.unwrap_or_else(|error| {
        panic!(
            "{command:?} cannot run ({error}): Node.js 20 with npm is needed, ./test installs it"
        )
    });
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(
        output.status.success(),
        "{command:?} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Waits for a child without closing its standard input, which would end it.
fn finish(mut child: Child) -> std::io::Result<Output> {
    let held = child.stdin.take();
    let output = child.wait_with_output();
    drop(held);
    output
}

async fn suite(name: &str, flags: &[&str]) {
    let folder = folder("tests/node");
    let flags = [&["--graphiql", "--keep-alive", "2"], flags].concat();
    let server = TestServer::with(Kind::Sqlite, &flags).await;
    let mut node = bound("node");
    node.args(["--test", &format!("{name}.test.mjs")])
        .current_dir(&folder)
        .env("SERVER_URL", format!("http://{}", server.address))
        .env("JWT_SECRET", SECRET)
        .env(
            "SCHEMA",
            Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.graphql"),
        );
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
    typescript_is_generated_and_compiles: "codegen",
    differential_documents_get_the_verdicts_of_graphql_js: "differential",
    graphql_sse_listens: "events",
    answers_are_those_of_graphql_js: "execution",
    graphiql_works_signed_in: "graphiql",
    graphql_over_http_is_spoken: "http" ["--allowed-origins", "https://app.example,https://other.example:8443"],
    the_schema_loads_in_graphql_js: "schema",
    graphql_ws_listens: "subscriptions",
}

#[test]
fn every_suite_of_the_folder_is_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node");
    let files = std::fs::read_dir(folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut suites: Vec<String> = names
        .filter_map(|name| Some(name.strip_suffix(".test.mjs")?.to_owned()))
        .collect();
    suites.sort();
    assert_eq!(suites, SUITES);
}

#[test]
fn the_embedded_page_is_what_its_sources_build() {
    let folder = folder("web");
    run(bound("npm")
        .args(["run", "--silent", "check"])
        .current_dir(folder));
}
