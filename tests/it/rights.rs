//! A PostgreSQL role that may use rows and nothing else, and databases in the wrong encoding.

use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

use crate::{
    doctor::doctor,
    harness::{
        Fixture as _, SECRET,
        database::{Kind, TestDatabase},
        process::{Process, run},
        socket::Listener,
        tool, until,
    },
};

/// Each right that `serve` needs.
const NEEDED: [(&str, &[&str]); 7] = [
    ("\"user\"", &["SELECT", "INSERT", "UPDATE"]),
    ("inbox", &["SELECT", "INSERT", "UPDATE"]),
    ("conversation_partner", &["SELECT", "INSERT", "UPDATE"]),
    ("message", &["SELECT", "INSERT", "UPDATE"]),
    ("signal", &["SELECT", "INSERT", "DELETE"]),
    ("epoch", &["SELECT"]),
    ("seaql_migrations", &["SELECT"]),
];

/// A migrated database, and the same for a role with the rights that docs/operate.md grants.
struct Limited {
    owned: TestDatabase,
    role: String,
    database: TestDatabase,
}

impl Limited {
    async fn new() -> Self {
        let owned = TestDatabase::new(Kind::Postgres).await;
        let role = format!("role_{}", owned.name);
        owned.execute(&format!("CREATE ROLE {role} LOGIN")).await;
        owned.execute(&grants().replace("chat_server", &role)).await;
        let database = TestDatabase {
            kind: Kind::Postgres,
            url: owned.url.replace("postgres@", &format!("{role}@")),
            name: owned.name.clone(),
        };
        Self {
            owned,
            role,
            database,
        }
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = run(&[arguments, &["--database-url", &self.database.url]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    async fn finish(self) {
        let role = &self.role;
        self.owned
            .execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
            .await;
        self.owned.finish().await;
    }
}

/// The statements of docs/operate.md.
fn grants() -> String {
    let page = std::fs::read_to_string(tool::path("docs/operate.md")).unwrap();
    let blocks = page.split("```sql\n").skip(1);
    let blocks: Vec<&str> = blocks
        .filter_map(|block| block.split("```").next())
        .collect();
    let granting = blocks.into_iter().find(|block| block.contains("GRANT"));
    granting.unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_with_rights_on_rows_only_serves() {
    let limited = Limited::new().await;
    for flags in [&["--no-migrate"][..], &[]] {
        let server = Process::serve(&limited.database, flags).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let mut listener = Listener::start(&ben, "messageSent", None, None).await;
        ann.send(&ben, "hello").await;
        assert_eq!(listener.take(1).await.len(), 1);
        assert_eq!(ben.unread_count().await, 1);
        assert_eq!(ben.read_conversation(&ann, None).await, 1);
    }
    let status = limited.succeeds(&["migrate", "status"]);
    assert!(status.starts_with("applied"), "{status}");
    limited.succeeds(&["migrate", "up"]);
    let db = limited.owned.connect().await;
    until("the signals are pruned", async || {
        limited.succeeds(&["prune", "--signal-retention", "1"]);
        let rows = Statement::from_string(DbBackend::Postgres, "SELECT 1 FROM signal");
        db.query_all_raw(rows).await.unwrap().is_empty()
    })
    .await;
    db.close().await.unwrap();
    limited.succeeds(&["verify"]);
    doctor(&limited.database.url, &["--no-migrate"])
        .await
        .is_well();
    limited.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_reports_each_right_that_is_missing() {
    let limited = Limited::new().await;
    let (owned, role) = (&limited.owned, &limited.role);
    for (table, rights) in NEEDED {
        for right in rights {
            owned
                .execute(&format!("REVOKE {right} ON {table} FROM {role}"))
                .await;
            let told = doctor(&limited.database.url, &[]).await;
            let grant = format!("GRANT {right} ON {table} TO {role};");
            told.has("failed", "rights", &[&grant]);
            owned.execute(&grant).await;
        }
    }
    owned
        .execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
        .await;
    owned
        .execute(&format!("REVOKE USAGE ON SCHEMA public FROM {role}"))
        .await;
    let told = doctor(&limited.database.url, &[]).await;
    let grant = format!("GRANT USAGE ON SCHEMA public TO {role};");
    told.has("failed", "rights", &[&grant]);
    owned.execute(&grant).await;
    let told = doctor(&limited.database.url, &[]).await;
    told.is_well();
    told.has("ok", "rights", &["what the server needs"]);
    limited.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_another_encoding_than_utf8_is_rejected() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let database = TestDatabase::in_encoding(encoding).await;
        let serve = ["serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET];
        for arguments in [&["migrate", "up"][..], &["verify"], &serve] {
            let output = run(&[arguments, &["--database-url", &database.url]].concat());
            let errors = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success(), "{arguments:?}");
            assert!(
                errors.contains(encoding) && errors.contains("--encoding UTF8"),
                "{errors}"
            );
        }
        let told = doctor(&database.url, &[]).await;
        told.has("failed", "database", &[encoding, "--encoding UTF8"]);
    }
}
