//! Python: the client `gql`, and hostile requests by Schemathesis and Hypothesis, against the real program. Afterwards
//! its log knows of no defect, and every counter is what the rows tell.

use crate::harness::{
    Fixture as _, SECRET,
    database::{Kind, TestDatabase},
    process::Process,
    tool::{bound, installing, path, run, suites_in},
};

/// Long enough for a busy machine to answer a ping in, and short enough for a test to wait for one.
const PING_SECONDS: &str = "2";

async fn suite(name: &'static str, kind: Kind) {
    let database = TestDatabase::new(kind).await;
    let flags = ["--graphiql", "--keep-alive", PING_SECONDS];
    let server = Process::serve(&database, &flags).await;
    let url = format!("http://{}", server.address);
    let tested = tokio::task::spawn_blocking(move || {
        let folder = path("tests/python");
        {
            let _alone = installing();
            run(bound("sh").arg("install.sh").current_dir(&folder));
        }
        run(bound(".venv/bin/python")
            .args(["-m", "pytest", &format!("test_{name}.py")])
            .current_dir(&folder)
            .env("SERVER_URL", url)
            .env("JWT_SECRET", SECRET)
            .env("SCHEMA", path("schema.graphql"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("HYPOTHESIS_STORAGE_DIRECTORY", ".venv/hypothesis"));
    });
    let tested = tested.await;
    let log = server.printed();
    let is_defect = |line: &&str| line.contains("panicked") || line.contains(" ERROR ");
    let defects: Vec<&str> = log.lines().filter(is_defect).collect();
    assert!(
        defects.is_empty(),
        "the server's log has defects:\n{}",
        defects.join("\n")
    );
    tested.unwrap();
    drop(server);
    database.finish().await;
}

macro_rules! suites {
    ($($name:ident on $($test:ident: $kind:ident),+;)*) => {
        const SUITES: &[&str] = &[$(stringify!($name)),*];
        $(mod $name {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                suite(stringify!($name), Kind::$kind).await;
            })+
        })*
    };
}

suites! {
    gql on sqlite: Sqlite;
    requests on sqlite: Sqlite, postgres: Postgres;
    schemathesis on sqlite: Sqlite, postgres: Postgres;
}

#[test]
fn every_suite_of_the_folder_is_run() {
    assert_eq!(suites_in("tests/python", "test_", ".py"), SUITES);
}
