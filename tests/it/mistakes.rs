//! Mistakes in the settings: all of them at once, each with what to give instead, and no secret among them.

use crate::{
    harness::{
        Fixture as _, SECRET,
        database::{Kind, TestDatabase, folder},
        process::{Process, program},
        until,
    },
    support::free_port,
};

/// What the program says of these arguments and variables, which it does not start with.
fn told(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = program(arguments);
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
    assert_eq!(output.stdout, b"", "{arguments:?}");
    assert!(
        !told.contains("hidden") && !told.contains("panicked"),
        "{told}"
    );
    told
}

/// The lines that tell of a mistake.
fn mistakes(told: &str) -> Vec<&str> {
    told.lines()
        .filter_map(|line| line.strip_prefix("  "))
        .collect()
}

#[test]
fn mistakes_of_every_kind_are_told_at_once() {
    let told = told(
        &["serve", "--slow-tick", "soon", "--lisen", "127.0.0.1:0"],
        &[
            ("WRITERS", "many"),
            ("JWT_PUBLIC_KEY", "/no/such.pem"),
            ("DATABASE_POOLED", "yes"),
            ("DOCUMENTS", "/no/such.json"),
            ("NATS_CA", "/no/ca.pem"),
        ],
    );
    let mistakes = mistakes(&told);
    for (begins, holds) in [
        ("--lisen", "did you mean --listen?"),
        (
            "--slow-tick (SLOW_TICK) is \"soon\"",
            "give a number of seconds",
        ),
        (
            "WRITERS (--writers) is \"many\"",
            "a whole number from 1 to 64",
        ),
        ("--jwt-public-key (JWT_PUBLIC_KEY)", "/no/such.pem"),
        (
            "--database-pooled (DATABASE_POOLED)",
            "leave it out, or give postgres://",
        ),
        ("--documents (DOCUMENTS)", "/no/such.json"),
        (
            "--nats-ca (NATS_CA) is for NATS",
            "give --nats-url (NATS_URL) too",
        ),
        ("--nats-ca (NATS_CA): the file", "/no/ca.pem"),
    ] {
        let mut lines = mistakes.iter();
        let found = lines.any(|line| line.starts_with(begins) && line.contains(holds));
        assert!(found, "{begins:?} with {holds:?} is not in: {told}");
    }
    assert_eq!(mistakes.len(), 8, "{told}");
    assert!(told.starts_with("error: 8 settings"), "{told}");
    assert!(told.contains("directmessages serve --help"), "{told}");
}

#[test]
fn what_follows_from_a_mistake_is_no_other() {
    // The address that cannot be read is not taken for SQLite's, nor a key for none, nor NATS for left out.
    let away = told(
        &["serve"],
        &[
            ("DATABASE_URL", "postgre://ann:hidden@one/chat"),
            ("DATABASE_POOLED", "true"),
            ("JWT_SECRET", "hidden, short"),
            ("NATS_URL", "http://ann:hidden@nats"),
            ("NATS_CA", "/dev/null"),
        ],
    );
    assert_eq!(mistakes(&away).len(), 3, "{away}");
    for name in ["DATABASE_URL", "JWT_SECRET", "NATS_URL"] {
        assert!(away.contains(name), "{away}");
    }
    // The value of a flag that there is not, and a flag that is repeated.
    let flags = [
        "serve",
        "--no-such",
        "value",
        "--writers",
        "3",
        "--writers=4",
    ];
    let flags = told(&flags, &[("JWT_SECRET", SECRET)]);
    assert_eq!(mistakes(&flags).len(), 2, "{flags}");
    assert!(flags.contains("give it once"), "{flags}");
}

#[test]
fn a_single_mistake_says_what_to_give() {
    for (variable, value, holds) in [
        ("LISTEN", "localhost:80", "127.0.0.1:8000"),
        ("SEND_RATE", "-1", "from 0 up"),
        ("READ_CONNECTIONS", "1001", "from 1 to 1000"),
        ("COMPLEXITY_LIMIT", "0", "from 1 up"),
        ("TRUSTED_PROXIES", "one", "from 0 up"),
        ("PERSISTED_QUERIES", "all", "from 0 up"),
        ("SQLITE_SYNCHRONOUS", "never", "full, normal"),
        ("GRAPHIQL", "maybe", "true or false"),
        ("ALLOWED_ORIGINS", "app.example", "https://app.example"),
        ("JWT_REFRESH", "0", "0.001"),
    ] {
        let told = told(&["serve"], &[("JWT_SECRET", SECRET), (variable, value)]);
        let mistakes = mistakes(&told);
        assert_eq!(mistakes.len(), 1, "{told}");
        let expected = format!("{variable} (--");
        assert!(mistakes[0].starts_with(&expected), "{told}");
        assert!(
            mistakes[0].contains(value) && mistakes[0].contains(holds),
            "{told}"
        );
    }
    let before = told(
        &["--lisen", "serve", "--send-rate", "many"],
        &[("JWT_SECRET", SECRET)],
    );
    let before = mistakes(&before);
    assert_eq!(
        before.len(),
        2,
        "the command that follows is no value: {before:?}"
    );
    let nothing = told(&["serve", "--jwt-secret"], &[]);
    assert!(nothing.contains("give a value"), "{nothing}");
    let switch = told(
        &["serve", "--graphiql=yes"],
        &[("JWT_SECRET", SECRET), ("INTROSPECTION", "on")],
    );
    assert!(switch.contains("by itself"), "{switch}");
    // Where a secret is missing or broken, others are told too.
    let token = told(
        &["token", "ann", "--expires-in", "soon"],
        &[("JWT_SECRET", "hidden")],
    );
    assert_eq!(mistakes(&token).len(), 2, "{token}");
    let token = told(&["token", "ann", "--expires-in", "soon"], &[]);
    assert_eq!(mistakes(&token).len(), 2, "{token}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_variable_is_warned_of_and_switches_are_read_as_people_write_them() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let mut command = program(&["serve"]);
    command.envs([
        ("JWT_SECRET", SECRET),
        ("LISTEN", &listen),
        ("DATABASE_URL", &database.url),
        ("GRAPHIQL", "1"),
        ("NO_MIGRATE", ""),
        ("DATABASE_POOLED", "off"),
        ("READ_CONECTIONS", "hidden"),
        ("WRITER", "hidden"),
        // Another program's, beside ours.
        ("JWT_SECRETS", "hidden"),
        ("LISTEN_PID", "hidden"),
        ("HOME", "hidden"),
    ]);
    let mut process = Process::start(command, listen.parse().unwrap());
    process.ready().await;
    until("it warns", async || process.printed().contains("serving")).await;
    let told = process.printed();
    for (name, meant) in [
        ("READ_CONECTIONS", "READ_CONNECTIONS"),
        ("WRITER", "WRITERS"),
    ] {
        let warning = format!("the variable {name} is no setting, and not read: is {meant} meant?");
        assert!(told.contains(&warning), "{told}");
    }
    assert_eq!(told.matches("is no setting").count(), 2, "{told}");
    assert!(!told.contains("hidden"), "{told}");
    let page = reqwest::get(format!("http://{listen}/graphiql")).await;
    assert_eq!(page.unwrap().status(), 200);
    process.signal("TERM");
    assert!(process.ended().await);
    database.finish().await;
}

#[test]
fn a_key_that_may_not_be_read_is_told_with_the_rest() {
    let folder = folder().join(format!("keys-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir(&folder).unwrap();
    // A folder is no file, also to root.
    let path = folder.to_str().unwrap();
    let told = told(
        &["serve", "--jwt-public-key", path, "--nats-key", path],
        &[("NATS_URL", "nats://127.0.0.1:1")],
    );
    assert_eq!(mistakes(&told).len(), 3, "{told}");
    assert_eq!(told.matches("Is a directory").count(), 2, "{told}");
}

#[test]
fn what_stands_in_the_wrong_place_is_not_repeated() {
    let before = told(&["--jwt-secret=hidden", "serve"], &[]);
    let lines = mistakes(&before);
    assert_eq!(lines.len(), 1, "a key was given: {before}");
    assert!(
        lines[0].contains("--jwt-secret is not known here: give it after"),
        "{before}"
    );
    let url = "postgres://ann:hidden@one/chat";
    let stray = told(&["serve", url], &[("JWT_SECRET", SECRET)]);
    assert_eq!(mistakes(&stray).len(), 1, "{stray}");
    assert!(stray.contains("an argument without a flag"), "{stray}");
}

#[test]
fn an_empty_claim_and_a_collector_without_a_host_are_refused() {
    for (variable, value, holds) in [
        ("JWT_ISSUER", "", "or leave it out"),
        ("JWT_AUDIENCE", "", "or leave it out"),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "hidden:4318",
            "http://localhost:4318",
        ),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://",
            "http://localhost:4318",
        ),
        ("METRICS_LISTEN", "127.0.0.1:8000", "give another"),
    ] {
        let told = told(&["serve"], &[("JWT_SECRET", SECRET), (variable, value)]);
        let mistakes = mistakes(&told);
        assert_eq!(mistakes.len(), 1, "{told}");
        assert!(
            mistakes[0].contains(variable) && mistakes[0].contains(holds),
            "{told}"
        );
    }
}

#[test]
fn metrics_at_a_port_in_use_are_told_with_their_flag() {
    let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listening.local_addr().unwrap();
    let address = taken.to_string();
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        &address,
    ];
    let output = program(&arguments)
        .env("JWT_SECRET", SECRET)
        .output()
        .unwrap();
    drop(listening);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains(&address) && told.contains("METRICS_LISTEN"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_takes_nothing_of_what_is_for_serve() {
    let port = free_port().to_string();
    let place = folder().join(format!("demo-{}", uuid::Uuid::new_v4().simple()));
    let mut command = program(&["dev", "--port", &port, "--folder", place.to_str().unwrap()]);
    command.envs(
        ["JWT_SECRET", "NATS_URL", "METRICS_LISTEN", "WRITE_BATCH"].map(|name| (name, "hidden")),
    );
    let listen = format!("127.0.0.1:{port}");
    let mut process = Process::start(command, listen.parse().unwrap());
    process.ready().await;
    process.signal("TERM");
    assert!(process.ended().await, "{}", process.printed());
    assert!(
        !process.printed().contains("hidden"),
        "{}",
        process.printed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_break_at_the_end_of_a_value_is_left_out_with_a_warning() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let listen = format!("127.0.0.1:{}", free_port());
    let given = [
        ("JWT_SECRET", format!("{SECRET}\n")),
        ("DATABASE_URL", format!("{}\r\n", database.url)),
        ("GRAPHIQL", "true\n".to_owned()),
        ("CONTENT_LIMIT", "7\n".to_owned()),
        (
            "ALLOWED_ORIGINS",
            "https://a.example,https://b.example\n".to_owned(),
        ),
    ];
    let with_break = format!("{listen}\n");
    let mut command = program(&["serve", "--listen", &with_break, "--writers=3\n"]);
    command.envs(given.iter().map(|(name, value)| (name, value)));
    let server = Process::start(command, listen.parse().unwrap());
    server.ready().await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    ann.send(&ben, "seven..").await;
    let answer = ann.sending(&ben.id, "eight...", None).await;
    assert_eq!(answer.code(), "CONTENT_TOO_LONG", "{}", answer.body);
    let page = reqwest::get(format!("http://{listen}/graphiql"))
        .await
        .unwrap();
    assert_eq!(page.status(), 200);
    let log = server.printed();
    let names = given
        .iter()
        .map(|(name, _)| *name)
        .chain(["--listen", "--writers"]);
    for name in names {
        let warning = format!("the value of {name} ends in a line break");
        assert!(log.contains(&warning), "{name}: {log}");
    }
    assert!(!log.contains(SECRET), "{log}");
    drop(server);
    let mut command = program(&["doctor", "--listen", "127.0.0.1:0"]);
    command.envs(given.iter().map(|(name, value)| (name, value)));
    let told = crate::doctor::run(command).await;
    told.is_well();
    told.has("warning", "settings", &["JWT_SECRET", "line break"]);
    database.finish().await;
}

#[test]
fn what_is_wrong_before_a_line_break_is_told_with_the_variable() {
    let told = told(
        &["serve", "--slow-tick", "soon\n"],
        &[
            ("WRITERS", "many\n"),
            ("JWT_SECRET", "hidden\n"),
            ("DATABASE_POOLED", "maybe\n"),
        ],
    );
    let mut lines = mistakes(&told);
    lines.sort_unstable();
    begin_with(
        &lines,
        &[
            "--slow-tick (SLOW_TICK) is \"soon\": give",
            "DATABASE_POOLED (--database-pooled) is \"maybe\": give true or false",
            "JWT_SECRET (--jwt-secret): it has 6 bytes",
            "WRITERS (--writers) is \"many\": give",
        ],
    );
}

#[test]
fn a_value_in_quotes_is_told_for_every_setting_at_once() {
    use clap::CommandFactory as _;
    let cli = directmessages::config::Cli::command();
    let serve = cli.find_subcommand("serve").unwrap();
    let settings = serve.get_arguments().filter_map(|argument| {
        let variable = argument.get_env()?.to_str()?.to_owned();
        Some((variable, argument.get_long()?.to_owned()))
    });
    let settings: Vec<(String, String)> = settings.collect();
    let quoted = ["\"hidden\"", "'hidden'", "\"hidden\"\n"];
    let values = quoted.iter().cycle();
    let environment: Vec<(&str, &str)> = settings
        .iter()
        .zip(values)
        .map(|((name, _), value)| (name.as_str(), *value))
        .collect();
    let by_variables = told(&["serve"], &environment);
    let lines = mistakes(&by_variables);
    assert_eq!(lines.len(), settings.len(), "{by_variables}");
    for (variable, flag) in &settings {
        let begins = format!("{variable} (--{flag}) is in quotes");
        assert!(
            lines.iter().any(|line| line.starts_with(&begins)),
            "{begins}: {by_variables}"
        );
    }
    // A flag goes before its variable.
    let by_flags = told(
        &[
            "serve",
            "--jwt-secret='hidden'",
            "--writers",
            "\"2\"",
            "--slow-tick",
            "1",
        ],
        &[("JWT_SECRET", "\"hidden\""), ("SLOW_TICK", "'hidden'")],
    );
    let mut lines = mistakes(&by_flags);
    lines.sort_unstable();
    begin_with(
        &lines,
        &[
            "--jwt-secret (JWT_SECRET) is in quotes",
            "--writers (WRITERS) is in quotes",
        ],
    );
    let token = told(&["token", "ann"], &[("JWT_SECRET", "\"hidden\"")]);
    begin_with(
        &mistakes(&token),
        &["JWT_SECRET (--jwt-secret) is in quotes"],
    );
}

/// Each line begins so, and there is no other.
fn begin_with(lines: &[&str], begin: &[&str]) {
    assert_eq!(lines.len(), begin.len(), "{lines:#?}");
    for (line, begin) in lines.iter().zip(begin) {
        assert!(line.starts_with(begin), "{begin:?}: {lines:#?}");
    }
}
