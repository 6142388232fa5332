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
