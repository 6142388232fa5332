//! Where the database is: what of its address is shown, and which settings contradict it.

use directmessages::chat::DatabaseUrl;

use crate::harness::{SECRET, process::run};

#[test]
fn an_address_is_shown_without_what_may_be_a_password() {
    for (url, shown) in [
        ("postgres://ann:hidden@one/chat", "postgres://one/chat"),
        (
            "postgresql://ann:hid%40den@one:6432/chat",
            "postgresql://one:6432/chat",
        ),
        ("postgres://ann:hid@den@one/chat", "postgres://one/chat"),
        (
            "postgres://ann:hidden@one:1,two:2/chat?sslmode=disable",
            "postgres://one:1,two:2/chat",
        ),
        (
            "postgres://one/chat?user=ann&password=hidden",
            "postgres://one/chat",
        ),
        (
            "postgres://ann:hidden@one/chat?application_name=a@b",
            "postgres://one/chat",
        ),
        (
            "postgres://one/chat?user=ann&password=hidden@two/chat",
            "postgres://one/chat",
        ),
        ("postgres://ann:1/hidden@one/chat", "postgres://one/chat"),
        ("postgres://ann:12#hidden@one/chat", "postgres://…"),
        ("postgres://ann:12?hidden@one/chat", "postgres://…"),
        ("postgres://one?password=hidden", "postgres://one"),
        ("postgres://one/chat", "postgres://one/chat"),
        ("sqlite:/a@b/chat.db?mode=rwc", "sqlite:/a@b/chat.db"),
        ("sqlite://chat.db", "sqlite://chat.db"),
    ] {
        let parsed: DatabaseUrl = url.parse().unwrap();
        assert_eq!(format!("{parsed:?}"), shown, "of {url}");
        assert_eq!(parsed.as_str(), url, "the driver gets all of it");
    }
}

#[test]
fn what_is_for_postgresql_is_refused_for_sqlite() {
    let refused = |command: &[&str], flags: &[&str], told: &str| {
        let output = run(&[command, flags].concat());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {errors}");
        assert!(errors.contains(told), "{flags:?}: {errors}");
        assert!(!errors.contains("hidden"), "{errors}");
    };
    let serve = ["serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET];
    let postgres = "postgres://ann:hidden@127.0.0.1:1/chat";
    for flags in [
        [
            "--database-url",
            postgres,
            "--direct-database-url",
            "sqlite:hidden.db",
        ],
        [
            "--database-url",
            "sqlite:a.db",
            "--direct-database-url",
            "sqlite:hidden.db",
        ],
    ] {
        refused(&serve, &flags, "which only PostgreSQL has");
    }
    let sqlite = ["--database-url", "sqlite:a.db"];
    let direct = [&sqlite[..], &["--direct-database-url", postgres]].concat();
    refused(&serve, &direct, "names a SQLite file");
    let pooled = [&sqlite[..], &["--database-pooled"]].concat();
    for command in [
        &serve[..],
        &["migrate", "status"],
        &["verify"],
        &["prune"],
        &["restored"],
        &["import", "csv", "a.csv"],
    ] {
        refused(command, &pooled, "names a SQLite file");
    }
    // Also where SQLite is what is taken because nothing is said.
    refused(&serve, &["--database-pooled"], "names a SQLite file");
}
