//! How it is run: the systemd unit, the compose file and the image's health check, shells' completions, manual pages.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use clap::CommandFactory as _;
use directmessages::config::{Cli, Serve};
use serde_json::Value;

use crate::{
    harness::{
        SECRET,
        database::{folder, postgres},
        nats::Nats,
        process::{PROGRAM, Process, program, run},
        server::client,
        tool, until,
    },
    support::free_port,
};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn ran(command: &mut Command) -> Output {
    let output = command.output();
    output.unwrap_or_else(|error| panic!("{command:?} cannot run: {error}; ./test installs it"))
}

/// The variables of `serve`.
fn settings() -> Vec<String> {
    let cli = Cli::command();
    let serve = cli.find_subcommand("serve").unwrap();
    let variables = serve.get_arguments().filter_map(clap::Arg::get_env);
    let variables = variables.map(|name| name.to_str().unwrap().to_owned());
    variables.chain(["RUST_LOG".to_owned()]).collect()
}

/// A folder of the test's own.
fn own_folder() -> PathBuf {
    let folder = folder().join(uuid::Uuid::new_v4().simple().to_string());
    std::fs::create_dir(&folder).unwrap();
    folder
}

/// A command's default, in seconds.
fn seconds(pick: impl Fn(&Serve) -> Duration) -> u64 {
    let arguments = ["directmessages", "serve", "--jwt-secret", SECRET];
    let cli = <Cli as clap::Parser>::try_parse_from(arguments).unwrap();
    match cli.command {
        directmessages::config::Command::Serve(settings) => pick(&settings).as_secs(),
        other => panic!("serve was asked for, not {other:?}"),
    }
}

/// How long stopping may take, whoever stops it.
fn stopping() -> u64 {
    let requests = seconds(|serve| serve.bounds.sockets.shutdown_timeout);
    // The connections of two pools take 2 s each at most, the last traces 5 s.
    requests + 2 * seconds(|serve| serve.bounds.write_timeout) + 2 * 2 + 5
}

#[test]
fn the_systemd_unit_is_valid_hardened_and_leaves_time_to_stop() {
    let unit = std::fs::read_to_string(tool::path("deploy/directmessages.service")).unwrap();
    // Whether its program is there is looked at too: it stands elsewhere here.
    let unit = unit.replace("/usr/local/bin/directmessages", PROGRAM);
    let file = own_folder().join("directmessages.service");
    std::fs::write(&file, &unit).unwrap();
    let verify = ["verify", "--man=no", file.to_str().unwrap()];
    let verified = ran(Command::new("systemd-analyze").args(verify));
    assert!(
        verified.status.success() && verified.stderr.is_empty(),
        "{verified:?}"
    );
    // Tenths of the exposure that docs/operate.md tells; 10.0 is a unit that says nothing.
    let security = ["security", "--offline=true", "--no-pager", "--threshold=12"];
    let judged = ran(Command::new("systemd-analyze").args(security).arg(&file));
    assert!(judged.status.success(), "{}", text(&judged.stdout));
    let timeout = unit.lines().find_map(|l| l.strip_prefix("TimeoutStopSec="));
    let timeout: u64 = timeout.unwrap().trim_end_matches('s').parse().unwrap();
    assert!(timeout > stopping(), "{timeout} s are too few");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_file_is_what_serve_takes() {
    let file = std::fs::read_to_string(tool::path("deploy/directmessages.env")).unwrap();
    let known = settings();
    let mut given = BTreeMap::new();
    let mut offered = 0;
    for line in file.lines() {
        let bare = line.strip_prefix('#').unwrap_or(line);
        let Some((name, value)) = bare.split_once('=') else {
            continue;
        };
        if name.contains(' ') {
            continue;
        }
        assert!(known.contains(&name.to_owned()), "{name} is no setting");
        offered += 1;
        if !line.starts_with('#') {
            given.insert(name, value.to_owned());
        }
    }
    assert!(offered > 5, "only {offered} settings were found");
    // As it is, it says what is missing.
    let refused = program(&["serve"]).envs(&given).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("JWT_SECRET"), "{refused:?}");

    // With a secret it serves, from the folder that systemd makes, and stops in time.
    let port = free_port().to_string();
    given.insert("JWT_SECRET", SECRET.to_owned());
    let listen = given["LISTEN"].replace("8000", &port);
    given.insert("LISTEN", listen.clone());
    let mut command = program(&["serve"]);
    let state = own_folder();
    command.envs(&given).current_dir(&state);
    let mut server = Process::start(command, listen.parse().unwrap());
    server.ready().await;
    assert!(state.join("directmessages.db").exists());
    server.signal("TERM");
    assert!(server.ended().await, "{}", server.printed());
}

/// A YAML file, read by Python.
fn yaml(name: &str) -> Value {
    let tests = tool::path("tests/python");
    {
        let _alone = tool::installing();
        tool::run(tool::bound("sh").arg("install.sh").current_dir(&tests));
    }
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let mut python = Command::new(tests.join(".venv/bin/python"));
    let output = ran(python.args(["-c", script]).arg(tool::path(name)));
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A health check runs this program, with these arguments.
fn health_check(check: &Value) -> Vec<String> {
    let words = check.as_array().unwrap().iter();
    let words: Vec<String> = words.map(|w| w.as_str().unwrap().to_owned()).collect();
    assert_eq!(words[..2], ["CMD", "directmessages"], "{words:?}");
    words[2..].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compose_file_s_parts_started_by_hand_work_together() {
    let compose = yaml("deploy/compose.yaml");
    let server = &compose["services"]["server1"];
    let grace = server["stop_grace_period"].as_str().unwrap();
    let grace: u64 = grace.trim_end_matches('s').parse().unwrap();
    assert!(grace > stopping(), "{grace} s are too few");

    // PostgreSQL as its image makes it from these variables: a user that owns a database of the same name.
    let variables = &compose["services"]["postgres"]["environment"];
    let user = variables["POSTGRES_USER"].as_str().unwrap();
    let db = crate::harness::database::connect(&postgres().url("postgres")).await;
    for sql in [
        format!("CREATE ROLE {user} LOGIN SUPERUSER PASSWORD 'of the test'"),
        format!("CREATE DATABASE {user} OWNER {user}"),
    ] {
        sea_orm::ConnectionTrait::execute_unprepared(&db, &sql)
            .await
            .unwrap();
    }
    let nats = Nats::start(1, &[]).await;

    // The names of the network, and what is asked for, become what is here; all else is as it stands there.
    let port = free_port();
    let here = |value: &str| {
        value
            .replace("${POSTGRES_PASSWORD:?}", "of%20the%20test")
            .replace("${JWT_SECRET:?}", SECRET)
            .replace("@postgres/", &format!("@127.0.0.1:{}/", postgres().port()))
            .replace("nats://nats:4222", &nats.url())
            .replace(":8000", &format!(":{port}"))
    };
    let environment = server["environment"].as_object().unwrap().iter();
    let environment: Vec<(&String, String)> = environment
        .map(|(name, value)| (name, here(value.as_str().unwrap())))
        .collect();
    assert!(
        environment.iter().all(|(_, value)| !value.contains("${")),
        "{environment:?}"
    );
    let with = |arguments: &[String]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = program(&arguments);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command
    };
    let ask = async |arguments: &[String]| {
        let mut command = tokio::process::Command::from(with(arguments));
        command.output().await.unwrap()
    };
    let checks = [
        health_check(&server["healthcheck"]["test"]),
        image_health_check(),
    ];
    for check in &checks {
        let output = ask(check).await;
        assert_eq!(output.status.code(), Some(1), "nothing runs: {output:?}");
    }
    let mut process = Process::start(with(&["serve".to_owned()]), ([127, 0, 0, 1], port).into());
    process.ready().await;
    for check in &checks {
        until("it is healthy", async || {
            let output = ask(check).await;
            output.status.success() && text(&output.stdout).starts_with("{\"status\":\"ok\"")
        })
        .await;
    }
    let doctor = ask(&["doctor".to_owned()]).await;
    assert!(doctor.status.success(), "{}", text(&doctor.stdout));
    let (ann, ben) = (process.user("ann").await, process.user("ben").await);
    ann.send(&ben, "through the compose file's parts").await;
    assert_eq!(ben.unread_count().await, 1);
    process.signal("TERM");
    assert!(process.ended().await, "{}", process.printed());
    for sql in [
        format!("DROP DATABASE {user} WITH (FORCE)"),
        format!("DROP ROLE {user}"),
    ] {
        sea_orm::ConnectionTrait::execute_unprepared(&db, &sql)
            .await
            .unwrap();
    }
    db.close().await.unwrap();
}

/// What the image's health check runs.
fn image_health_check() -> Vec<String> {
    let image = std::fs::read_to_string(tool::path("deploy/Dockerfile")).unwrap();
    let entry = image.lines().find_map(|l| l.strip_prefix("ENTRYPOINT "));
    assert_eq!(entry, Some("[\"directmessages\"]"));
    assert!(image.contains(":nonroot\n"), "it does not run as root");
    let line = image.lines().find(|line| line.starts_with("HEALTHCHECK"));
    let (_, words) = line.unwrap().split_once(" CMD ").unwrap();
    let words: Vec<String> = serde_json::from_str(words).unwrap();
    assert_eq!(words[0], "directmessages");
    words[1..].to_vec()
}

#[test]
fn shells_complete_what_the_program_takes() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        let script = text(&output.stdout);
        assert!(output.status.success(), "{shell}: {output:?}");
        for word in ["doctor", "jwt-secret", "database-url"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    // The one shell that every machine has here really completes by it.
    let script = own_folder().join("completions");
    std::fs::write(&script, run(&["completions", "bash"]).stdout).unwrap();
    let complete = "source \"$1\"; COMP_WORDS=(directmessages \"${@:2}\"); COMP_CWORD=$(($# - 1)); \
                    _directmessages directmessages \"${@: -1}\" \"${@: -2:1}\"; echo \"${COMPREPLY[*]}\"";
    for (typed, completed) in [
        (vec!["doc"], "doctor"),
        (vec!["serve", "--jwt-sec"], "--jwt-secret"),
        (vec!["migrate", "st"], "status"),
    ] {
        let mut bash = Command::new("bash");
        bash.args(["-c", complete, "bash"])
            .arg(&script)
            .args(&typed);
        let output = ran(&mut bash);
        assert_eq!(text(&output.stdout).trim(), completed, "{output:?}");
    }
}

#[test]
fn the_manual_pages_tell_every_subcommand_and_setting() {
    let main = text(&run(&["man"]).stdout);
    let folder = own_folder().join("man1");
    let written = run(&["man", "--out", folder.to_str().unwrap()]);
    assert!(written.status.success(), "{written:?}");
    let page = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(page("directmessages.1"), main);
    assert!(main.contains(".TH directmessages 1"), "{main}");
    for command in Cli::command().get_subcommands() {
        let page = page(&format!("directmessages-{}.1", command.get_name()));
        for variable in command.get_arguments().filter_map(clap::Arg::get_env) {
            let variable = variable.to_str().unwrap();
            assert!(page.contains(variable), "{variable}: {page}");
        }
    }
    let nowhere = run(&["man", "--out", "/dev/null/man"]);
    assert!(text(&nowhere.stderr).contains("/dev/null/man"));
    assert_eq!(nowhere.status.code(), Some(1));
}

#[test]
fn a_reader_may_stop_where_it_has_seen_enough() {
    for arguments in ["completions zsh", "man", "schema", "schema --federation"] {
        // The reader is gone before a word is written.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let output = ran(program(&arguments).stdout(writer));
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        assert_eq!(text(&output.stderr), "", "{arguments:?}");
    }
    // What is not written for another reason is told.
    let full = std::fs::File::options().write(true).open("/dev/full");
    let output = ran(program(&["schema"]).stdout(full.unwrap()));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        text(&output.stderr).contains("standard output cannot be written: No space left"),
        "{output:?}"
    );
}

#[test]
fn an_address_that_is_taken_is_told_with_the_setting_to_change() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (port, folder) = (address.port().to_string(), own_folder());
    let dev = ["dev", "--folder", folder.to_str().unwrap(), "--port", &port];
    let address = address.to_string();
    let serve = ["serve", "--jwt-secret", SECRET, "--listen", &address];
    for (arguments, setting) in [(&serve, "--listen (LISTEN)"), (&dev, "--port")] {
        let output = ran(&mut program(arguments));
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        for part in ["Address already in use", setting, &port] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_needs_no_file_beside_it() {
    let place = own_folder();
    let copy = place.join("directmessages");
    // By another process: a test that starts a program at this moment would hand it the file, open for writing, and what is
    // open for writing cannot be executed.
    let copied = ran(Command::new("cp").arg(PROGRAM).arg(&copy));
    assert!(copied.status.success(), "{copied:?}");
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(&copy);
    command.env_clear().current_dir(&place);
    command.args(["serve", "--graphiql", "--listen", &address]);
    command.args(["--jwt-secret", SECRET]);
    let mut server = Process::start(command, address.parse().unwrap());
    server.ready().await;
    let url = format!("http://{address}/graphiql");
    let page = client().get(url).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(
        page.text().await.unwrap().len() > 100_000,
        "the page is in it"
    );
    server.signal("TERM");
    assert!(server.ended().await, "{}", server.printed());
}
