//! `doctor`: what it finds wrong, and what it says to do, with the real programs.

mod machine;
mod postgres;

use std::process::Command;

use crate::harness::{
    Fixture as _, SECRET,
    database::{Kind, TestDatabase},
    process::{Process, program},
    server::client,
};

/// What `doctor` printed, and whether it was content.
pub(crate) struct Told {
    text: String,
    well: bool,
}

impl Told {
    /// A line with this verdict about this check, which holds all of these.
    pub(crate) fn has(&self, verdict: &str, check: &str, holds: &[&str]) {
        let found = self.text.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(verdict)
                && words.next() == Some(check)
                && holds.iter().all(|part| line.contains(part))
        });
        assert!(
            found,
            "{verdict} {check} with {holds:?} is not in:\n{}",
            self.text
        );
        assert!(
            verdict != "failed" || !self.well,
            "it ended well:\n{}",
            self.text
        );
    }

    /// Nothing failed.
    pub(crate) fn is_well(&self) {
        assert!(
            self.well && !self.text.contains("failed  "),
            "{}",
            self.text
        );
    }

    /// Nothing is to be done.
    pub(crate) fn is_content(&self) {
        self.is_well();
        assert!(!self.text.contains("warning  "), "{}", self.text);
    }
}

/// What it says of a database, with these flags too.
pub(crate) async fn doctor(url: &str, flags: &[&str]) -> Told {
    let fixed = ["doctor", "--jwt-secret", SECRET, "--database-url", url];
    let mut command = program(&[&fixed, flags].concat());
    // Unless a flag says otherwise: no test takes another's port.
    command.env("LISTEN", "127.0.0.1:0");
    run(command).await
}

pub(crate) async fn run(command: Command) -> Told {
    let output = tokio::process::Command::from(command).output().await;
    let output = output.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors, "", "{text}");
    assert!(!text.contains("hidden") && !text.contains(SECRET), "{text}");
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 1)), "{code:?}: {text}");
    let sum = text.lines().last().unwrap();
    assert_eq!(code == Some(0), sum.ends_with(", 0 failed"), "{text}");
    // One line for each finding, and the sum.
    for line in text.lines().filter(|line| *line != sum) {
        let verdict = line.split(' ').next().unwrap();
        assert!(["ok", "warning", "failed"].contains(&verdict), "{text}");
    }
    Told {
        text,
        well: code == Some(0),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_all_it_needs_is_told_so() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let told = doctor(&database.url, &[]).await;
    told.is_content();
    for (check, holds) in [
        ("settings", "each can be used"),
        ("keys", "JWT_SECRET: HS256"),
        ("database", "can be read and written"),
        ("disk", "MB are free"),
        ("migrations", "all 1 are applied"),
        ("clock", "this machine's"),
        ("bus", "one server"),
        ("sockets", "open files"),
        ("address", "127.0.0.1"),
    ] {
        told.has("ok", check, &[holds]);
    }
    // Beside the server too, with whose own settings it is asked.
    let server = Process::serve(&database, &[]).await;
    let listen = server.address.to_string();
    for (flag, check) in [("--listen", "address"), ("--metrics-listen", "metrics")] {
        let told = doctor(&database.url, &[flag, &listen]).await;
        told.is_well();
        told.has("warning", check, &["a program listens", &listen, flag]);
    }
    drop(server);
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_the_settings_of_serve_and_makes_nothing() {
    let database = TestDatabase::empty(Kind::Sqlite).await;
    let mut command = program(&["doctor"]);
    command.envs([
        ("JWT_SECRET", SECRET),
        ("DATABASE_URL", database.url.as_str()),
        ("LISTEN", "127.0.0.1:0"),
    ]);
    let told = run(command).await;
    told.is_content();
    told.has("ok", "database", &["not there yet"]);
    told.has("ok", "migrations", &["1 are pending"]);
    let file = database.url.strip_prefix("sqlite:").unwrap();
    assert!(!std::path::Path::new(file).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn health_asks_the_server_and_says_what_it_says() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let server = Process::serve(&database, &[]).await;
    let port = server.address.port();
    let health = async |arguments: &[&str], listen: &str| {
        let mut command = program(&[&["health"], arguments].concat());
        command.env("LISTEN", listen);
        let output = tokio::process::Command::from(command).output().await;
        let output = output.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), text)
    };
    // As a container's server listens: on every address.
    for listen in [format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}")] {
        for probe in ["live", "ready"] {
            let (code, told) = health(&[probe], &listen).await;
            assert!(
                code == 0 && told.starts_with("{\"status\":\"ok\""),
                "{told}"
            );
        }
    }
    let url = format!("http://{}/health/live", server.address);
    let live = client().get(url).send().await.unwrap().text().await;
    assert_eq!(live.unwrap(), "{\"status\":\"ok\"}");
    server.signal("STOP");
    let listen = format!("127.0.0.1:{port}");
    let (code, told) = health(&["live", "--timeout", "0.3"], &listen).await;
    assert!(code == 1 && told.contains("within 300ms"), "{told}");
    drop(server);
    let (code, told) = health(&[], &listen).await;
    assert!(code == 1 && told.contains("nothing answers at"), "{told}");
    database.finish().await;
}
