//! Where the database is: what of its address is shown, and which settings contradict it.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use directmessages::chat::DatabaseUrl;

use crate::{
    doctor::doctor,
    harness::{
        SECRET,
        database::folder,
        postgres::Postgres,
        process::{Process, program, run},
    },
    support::free_port,
};

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
        assert_eq!(parsed.as_str(), url, "it is kept as a whole");
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

#[test]
fn the_path_of_a_sqlite_file_is_read_once() {
    for (url, file) in [
        ("sqlite:chat.db", "chat.db"),
        ("sqlite://chat.db", "chat.db"),
        ("sqlite:/srv/chat.db", "/srv/chat.db"),
        ("sqlite:///srv/chat.db", "/srv/chat.db"),
        ("sqlite:////srv/chat.db", "//srv/chat.db"),
        (
            "sqlite:/srv/my%20chat/a%3Fb.db?mode=rwc",
            "/srv/my chat/a?b.db",
        ),
        ("sqlite:/srv/my chat/dm.db?mode=rw", "/srv/my chat/dm.db"),
        ("sqlite:100%25.db", "100%.db"),
        ("sqlite:100%2525.db", "100%25.db"),
        ("sqlite:/srv/:memory:/chat.db", "/srv/:memory:/chat.db"),
        ("sqlite:file:chat.db", "./file:chat.db"),
    ] {
        let parsed: DatabaseUrl = url.parse().unwrap();
        assert_eq!(parsed.file(), Some(Path::new(file)), "{url}");
    }
    for (url, reason) in [
        ("sqlite:", "name a file"),
        ("sqlite:?mode=rwc", "name a file"),
        ("sqlite::memory:", "in memory"),
        ("sqlite:chat.db?mode=memory", "in memory"),
        ("sqlite:chat.db?mode=ro", "only mode=rwc"),
        ("sqlite:chat.db?mode=rwc&cache=shared", "only mode=rwc"),
        ("sqlite:chat.db?immutable=1", "only mode=rwc"),
        ("sqlite:%ff.db", "UTF-8"),
        ("sqlite:%00.db", "name a file"),
    ] {
        let error = url.parse::<DatabaseUrl>().unwrap_err();
        assert!(error.contains(reason), "{url}: {error}");
    }
}

/// A new folder of this test's own.
fn place() -> PathBuf {
    let place = folder().join(uuid::Uuid::new_v4().simple().to_string());
    std::fs::create_dir(&place).unwrap();
    place
}

fn succeeds(arguments: &[&str]) {
    let output = run(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
}

/// What is in a folder, without the files beside a database.
fn names(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names
        .filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm"))
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_finds_the_file_that_the_address_names() {
    for (address, file) in [
        ("sqlite:///PLACE/my%20chat.db", "my chat.db"),
        ("sqlite:PLACE/100%25.db?mode=rwc", "100%.db"),
        ("sqlite:PLACE/100%2525.db", "100%25.db"),
        ("sqlite:PLACE/my chat.db", "my chat.db"),
    ] {
        let place = place();
        let url = address.replace("PLACE", place.to_str().unwrap());
        succeeds(&["migrate", "up", "--database-url", &url]);
        assert_eq!(names(&place), [file], "{address}");
        for command in ["verify", "prune", "restored"] {
            succeeds(&[command, "--database-url", &url]);
        }
        let told = doctor(&url, &[]).await;
        told.is_content();
        told.has("ok", "migrations", &["all 1 are applied"]);
        assert_eq!(names(&place), [file], "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_creation_a_missing_file_is_an_error() {
    let place = place();
    let url = format!("sqlite:{}/chat.db?mode=rw", place.display());
    let output = run(&["migrate", "up", "--database-url", &url]);
    assert!(!output.status.success());
    assert!(names(&place).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_takes_its_folder_as_it_is_written_and_keeps_it_to_its_owner() {
    let place = place();
    let folder = place.join("deep/100%25?");
    let port = free_port();
    let number = port.to_string();
    let mut command = Command::new("sh");
    command.args(["-c", "umask 000; exec \"$@\"", "sh"]);
    command
        .arg(program(&[]).get_program())
        .env_clear()
        .env("PATH", "/usr/bin:/bin");
    command.args([
        "dev",
        "--port",
        &number,
        "--folder",
        folder.to_str().unwrap(),
    ]);
    let mut demo = Process::start(command, ([127, 0, 0, 1], port).into());
    demo.ready().await;
    assert_eq!(names(&folder), ["demo.db", "jwt-secret"]);
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("demo.db")), 0o600);
    demo.signal("TERM");
    assert!(demo.ended().await, "{}", demo.printed());
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_is_readable_by_its_owner_only_whatever_the_umask_is() {
    for umask in ["000", "022", "277"] {
        let file = place().join("chat.db");
        let listen = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"]);
        command
            .arg(program(&[]).get_program())
            .env_clear()
            .env("PATH", "/usr/bin:/bin");
        command.args(["serve", "--listen", &listen, "--jwt-secret", SECRET]);
        command.args(["--database-url", &format!("sqlite:{}", file.display())]);
        let server = Process::start(command, listen.parse().unwrap());
        server.ready().await;
        for suffix in ["", "-wal", "-shm"] {
            let file = PathBuf::from(format!("{}{suffix}", file.display()));
            assert_eq!(mode(&file), 0o600, "{} with {umask}", file.display());
        }
    }
    // Whoever shared an older file may have had a reason.
    let file = place().join("chat.db");
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    succeeds(&[
        "migrate",
        "up",
        "--database-url",
        &format!("sqlite:{}", file.display()),
    ]);
    assert_eq!(mode(&file), 0o640);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_at_an_ipv6_address_serves() {
    let own = Postgres::new(&["listen_addresses=127.0.0.1,::1", "fsync=on"]).await;
    let mut database = own.database().await;
    let by_name = format!("127.0.0.1:{}", own.port());
    let away = free_port();
    let ipv4 = database.url.clone();
    for hosts in [
        format!("[::1]:{}", own.port()),
        format!("[::1]:{away},[::1]:{}", own.port()),
        format!("127.0.0.1:{away},[::1]:{}", own.port()),
    ] {
        for parameters in ["", "?application_name=a"] {
            database.url = format!("{}{parameters}", ipv4.replace(&by_name, &hosts));
            let told = doctor(&database.url, &[]).await;
            told.is_well();
            told.has(
                "ok",
                "database",
                &[&format!("postgres://[::1]:{}", own.port()), "takes writes"],
            );
            told.has("ok", "bus", &["LISTEN and NOTIFY"]);
        }
        let server = Process::serve(&database, &[]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        ann.send(&ben, "hello").await;
    }
}
