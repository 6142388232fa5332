//! The program's own face: help, settings, and what it says when a setting is bad.

use std::{net::TcpListener, process::Output};

use clap::CommandFactory as _;
use directmessages::config::Cli;
use serde_json::{Value, json};

use crate::{
    harness::{
        Fixture as _, SECRET,
        database::{Kind, TestDatabase, folder},
        process::{Process, program, run},
        server::TestServer,
        until,
    },
    support::free_port,
};

const MANIFEST: &str = env!("CARGO_MANIFEST_DIR");

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The program refused to start, with a sentence that holds all of these.
fn refused(output: &Output, holds: &[&str]) {
    let told = text(&output.stderr);
    assert!(
        !output.status.success(),
        "{holds:?}: it started all the same: {told}"
    );
    for part in holds {
        assert!(told.contains(part), "{part:?} is not in: {told}");
    }
    assert!(
        !told.contains("panicked") && !told.contains("RUST_BACKTRACE"),
        "{told}"
    );
}

#[test]
fn help_names_every_setting_of_every_subcommand() {
    let mut commands = vec![(Vec::new(), Cli::command())];
    let mut seen = 0;
    while let Some((path, command)) = commands.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let output = run(&arguments);
        assert!(output.status.success());
        let help = text(&output.stdout);
        for argument in command.get_arguments() {
            let name = argument.get_id();
            assert!(
                argument.get_help().is_some(),
                "{name} of {path:?} is not described"
            );
            if let Some(long) = argument.get_long() {
                assert!(
                    help.contains(&format!("--{long}")),
                    "--{long} of {path:?}: {help}"
                );
            }
            if let Some(variable) = argument.get_env() {
                let variable = variable.to_str().unwrap();
                assert!(help.contains(variable), "{variable} of {path:?}: {help}");
                seen += 1;
            }
        }
        for below in command.get_subcommands() {
            let name = below.get_name().to_owned();
            assert!(help.contains(&name), "{name} of {path:?}: {help}");
            commands.push((path.iter().cloned().chain([name]).collect(), below.clone()));
        }
    }
    assert!(seen > 20, "only {seen} settings were found");
}

#[test]
fn the_settings_have_the_names_of_the_design() {
    let cli = Cli::command();
    let serve = cli.find_subcommand("serve").unwrap();
    for (flag, variable) in [
        ("database-url", "DATABASE_URL"),
        ("listen", "LISTEN"),
        ("jwt-secret", "JWT_SECRET"),
        ("jwt-public-key", "JWT_PUBLIC_KEY"),
        ("jwt-jwks-url", "JWT_JWKS_URL"),
        ("jwt-issuer", "JWT_ISSUER"),
        ("jwt-audience", "JWT_AUDIENCE"),
    ] {
        let found = serve
            .get_arguments()
            .find(|argument| argument.get_long() == Some(flag));
        assert_eq!(
            found.and_then(|argument| argument.get_env()),
            Some(variable.as_ref()),
            "--{flag}"
        );
    }
}

#[test]
fn the_readme_tells_every_setting_of_serve() {
    let readme = std::fs::read_to_string(format!("{MANIFEST}/README.md"));
    let readme =
        readme.unwrap_or_else(|error| panic!("README.md is for whoever runs the server: {error}"));
    for argument in Cli::command()
        .find_subcommand("serve")
        .unwrap()
        .get_arguments()
    {
        if let Some(variable) = argument.get_env() {
            let variable = variable.to_str().unwrap();
            assert!(
                readme.contains(variable),
                "README.md does not tell of {variable}"
            );
        }
    }
}

#[test]
fn the_committed_schema_is_what_the_program_prints() {
    let output = run(&["schema"]);
    assert!(output.status.success());
    let committed = std::fs::read(format!("{MANIFEST}/schema.graphql")).unwrap();
    assert!(
        committed == output.stdout,
        "schema.graphql is not what the program prints: cargo run -- schema >schema.graphql"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minted_token_signs_in() {
    let server = TestServer::with(Kind::Sqlite, &[]).await;
    let output = run(&["token", "ann", "--name", "Ann", "--jwt-secret", SECRET]);
    assert!(output.status.success());
    let token = text(&output.stdout).trim().to_owned();
    let data = server
        .bearer(Some(token))
        .data("{ viewer { id username } }", json!({}))
        .await;
    assert_eq!(data["viewer"], json!({ "id": "ann", "username": "Ann" }));
    let output = run(&["token", "host", "--service", "--jwt-secret", SECRET]);
    let service = server.bearer(Some(text(&output.stdout).trim().to_owned()));
    let acting = service
        .acting_for("ann")
        .data("{ viewer { id } }", json!({}))
        .await;
    assert_eq!(acting["viewer"]["id"], "ann");
    refused(&run(&["token", "dm_x", "--jwt-secret", SECRET]), &["dm_"]);
    refused(&run(&["token", "ann"]), &["JWT_SECRET"]);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_go_up_and_down_and_tell_where_they_stand() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let database = TestDatabase::empty(kind).await;
        let migrate = |direction: &str| {
            let output = run(&["migrate", direction, "--database-url", &database.url]);
            assert!(
                output.status.success(),
                "{kind:?} {direction}: {}",
                text(&output.stderr)
            );
            text(&output.stdout)
        };
        assert!(
            migrate("status")
                .lines()
                .all(|line| line.starts_with("pending"))
        );
        let serve = [
            "serve",
            "--no-migrate",
            "--jwt-secret",
            SECRET,
            "--database-url",
            &database.url,
            "--listen",
            "127.0.0.1:0",
        ];
        refused(&run(&serve), &["migrate up"]);
        assert!(
            migrate("up")
                .lines()
                .all(|line| line.starts_with("applied"))
        );
        assert!(
            migrate("status")
                .lines()
                .all(|line| line.starts_with("applied"))
        );
        let server = TestServer::on(&database, &["--no-migrate"]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        ann.send(&ben, "hello").await;
        server.stop().await;
        assert!(
            migrate("up")
                .lines()
                .all(|line| line.starts_with("applied")),
            "again is nothing"
        );
        assert!(
            migrate("down")
                .lines()
                .all(|line| line.starts_with("pending"))
        );
        assert!(
            migrate("up")
                .lines()
                .all(|line| line.starts_with("applied"))
        );
        let server = TestServer::on(&database, &[]).await;
        assert_eq!(
            server.user("ben").await.unread_count().await,
            0,
            "down loses everything"
        );
        server.stop().await;
        database.finish().await;
    }
}

#[test]
fn a_bad_setting_is_refused_by_its_name() {
    let serve = |flags: &[&str]| {
        let fixed = ["serve", "--jwt-secret", SECRET, "--listen", "127.0.0.1:0"];
        run(&fixed.iter().chain(flags).copied().collect::<Vec<_>>())
    };
    refused(&run(&["serve"]), &["--jwt-secret"]);
    refused(
        &run(&["serve", "--jwt-secret", "short"]),
        &["--jwt-secret", "32"],
    );
    refused(
        &serve(&["--database-url", "mysql://localhost/x"]),
        &["--database-url", "postgres://"],
    );
    refused(
        &serve(&["--database-url", "sqlite::memory:"]),
        &["--database-url", "memory"],
    );
    refused(
        &serve(&["--database-url", "sqlite:/dev/null/no/such.db"]),
        &["database", "/dev/null"],
    );
    let nobody = format!("postgres://ann:hidden@127.0.0.1:{}/x", free_port());
    refused(&serve(&["--database-url", &nobody]), &["database"]);
    let told = text(&serve(&["--database-url", &nobody]).stderr);
    assert!(!told.contains("hidden"), "a password was printed: {told}");
    refused(&serve(&["--no-such-flag"]), &["--no-such-flag"]);
    for (flag, value) in [
        ("--content-limit", "0"),
        ("--content-limit", "many"),
        ("--write-queue", "-1"),
        ("--writers", "0"),
        ("--read-connections", "1000000"),
        ("--write-timeout", "0"),
        ("--write-timeout", "soon"),
        ("--slow-tick", "inf"),
        ("--sqlite-synchronous", "never"),
    ] {
        let setting = format!("{flag}={value}");
        refused(&serve(&[&setting]), &[flag]);
    }
    let by_environment = |name: &str, value: &str| {
        let mut command = program(&["serve"]);
        command
            .env("JWT_SECRET", SECRET)
            .env(name, value)
            .output()
            .unwrap()
    };
    refused(
        &by_environment("LISTEN", "everywhere"),
        &["--listen", "everywhere"],
    );
    refused(&by_environment("JWT_SECRET", "short"), &["--jwt-secret"]);
    refused(
        &by_environment("DATABASE_URL", "rubbish"),
        &["--database-url"],
    );
}

#[test]
fn a_secret_is_never_printed() {
    let printed = |arguments: &[&str], name: &str, value: &str| {
        let output = program(arguments).env(name, value).output().unwrap();
        text(&output.stdout) + &text(&output.stderr)
    };
    for told in [
        printed(&["serve"], "JWT_SECRET", "hidden and short"),
        printed(&["serve", "--jwt-secret", "hidden and short"], "A", "B"),
        printed(
            &["serve", "--help"],
            "JWT_SECRET",
            "hidden, and long enough for a server to take",
        ),
        printed(
            &["serve", "--help"],
            "DATABASE_URL",
            "postgres://ann:hidden@localhost/x",
        ),
        printed(
            &["migrate", "status"],
            "DATABASE_URL",
            "postgre://ann:hidden@localhost/misspelt",
        ),
        printed(
            &["migrate", "status"],
            "DATABASE_URL",
            "postgres://ann:hidden@127.0.0.1:1/away",
        ),
    ] {
        assert!(!told.contains("hidden"), "{told}");
    }
}

#[test]
fn a_port_in_use_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, port) = (
        taken.local_addr().unwrap().to_string(),
        taken.local_addr().unwrap().port().to_string(),
    );
    refused(
        &run(&["serve", "--jwt-secret", SECRET, "--listen", &address]),
        &["--listen", &address],
    );
    let demo = folder().join("dev of a taken port");
    refused(
        &run(&["dev", "--port", &port, "--folder", demo.to_str().unwrap()]),
        &["--port", &port],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_runs_twice_and_its_curl_line_works_as_printed() {
    let demo = folder().join(format!("dev {}", uuid::Uuid::new_v4().simple()));
    let mut partners = Vec::new();
    for start in 1..=2 {
        let port = free_port().to_string();
        let command = program(&["dev", "--port", &port, "--folder", demo.to_str().unwrap()]);
        let mut dev = Process::start(command, format!("127.0.0.1:{port}").parse().unwrap());
        dev.ready().await;
        until("dev prints its greeting", async || {
            dev.printed().contains("Ctrl-C")
        })
        .await;
        let printed = dev.printed();
        let curl: Vec<&str> = printed
            .lines()
            .skip_while(|line| !line.trim_start().starts_with("curl "))
            .take_while(|line| !line.trim().is_empty())
            .collect();
        let curl = format!(
            "{} --silent --show-error --write-out '\\n%{{http_code}}'",
            curl.join("\n")
        );
        let output = std::process::Command::new("sh")
            .args(["-c", &curl])
            .output()
            .unwrap();
        let answer = text(&output.stdout);
        let (body, status) = answer.rsplit_once('\n').unwrap();
        assert_eq!(status, "200", "{curl}: {answer} {}", text(&output.stderr));
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            body["data"]["sendMessage"]["message"]["formatted"], "Ann: Hello from curl",
            "{body}"
        );

        let links: Vec<&str> = printed
            .split_whitespace()
            .filter(|word| word.contains("/graphiql#token="))
            .collect();
        assert!(links.len() > 1, "a link for each user: {printed}");
        let page = reqwest::get(links[0]).await.unwrap();
        assert_eq!(page.status(), 200);
        let token = links[1].split_once("#token=").unwrap().1;
        let user = crate::harness::user::User::of(
            dev.address,
            crate::harness::server::client(),
            "ben",
            Some(token.to_owned()),
        );
        let ben = user.data("{ __schema { queryType { name } } viewer { id } conversationPartners { nodes { user { id } lastMessage { content } } } }", json!({})).await;
        assert_eq!(ben["viewer"]["id"], "ben");
        assert_eq!(
            ben["conversationPartners"]["nodes"][0]["lastMessage"]["content"], "Hello from curl",
            "in start {start}"
        );
        partners.push(
            ben["conversationPartners"]["nodes"]
                .as_array()
                .unwrap()
                .len(),
        );
        dev.signal("TERM");
        assert!(dev.ended().await);
    }
    assert_eq!(partners[0], partners[1], "the history was not told twice");
}
