//! Backups, taken while clients send, and what is made of them.

use std::{
    collections::BTreeSet,
    process::Stdio,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};

use crate::harness::{
    Fixture as _,
    database::{Kind, TestDatabase, folder, postgres},
    postgres::path,
    process::program,
    server::TestServer,
    user::User,
};

async fn succeeds(mut command: tokio::process::Command) {
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
}

impl TestDatabase {
    /// A backup as the README says it, restored into a database of its own.
    async fn back_up(&self) -> Self {
        let backup = Self::empty(self.kind).await;
        match self.kind {
            Kind::Sqlite => {
                let file = backup.url.strip_prefix("sqlite:").unwrap();
                self.execute(&format!("VACUUM INTO '{file}'")).await;
            }
            Kind::Postgres => {
                let dump = folder().join(format!("{}.dump", self.name));
                let connection = ["-h", "127.0.0.1", "-U", "postgres", "-p"];
                let port = postgres().port().to_string();
                let tool = |name: &str| {
                    let mut tool = tokio::process::Command::new(path(name));
                    tool.args(connection).arg(&port);
                    tool
                };
                let mut dumping = tool("pg_dump");
                dumping.args(["-Fc", "-f"]).arg(&dump).arg(&self.name);
                succeeds(dumping).await;
                let mut restoring = tool("pg_restore");
                restoring.args(["-1", "-d", &backup.name]).arg(&dump);
                succeeds(restoring).await;
                std::fs::remove_file(dump).unwrap();
            }
        }
        backup
    }

    async fn restored(&self) {
        let command = program(&["restored", "--database-url", &self.url]);
        succeeds(command.into()).await;
    }
}

/// A user's lists, and where to listen on from.
async fn reload(user: &User, partner: &User) -> (BTreeSet<String>, String) {
    let cursor = user.signal_cursor().await;
    let messages = user.conversation(partner, 100, false).await;
    let ids = messages
        .iter()
        .map(|message| message["id"].as_str().unwrap().to_owned());
    (ids.collect(), cursor)
}

fn id(event: &Value) -> String {
    event["message"]["id"].as_str().unwrap().to_owned()
}

on_both_databases! {
    async fn a_backup_taken_while_clients_send_serves_again(database: &TestDatabase) {
        let server = TestServer::on(database, &[]).await;
        let (ann, ben) = (server.user("ann").await, server.user("ben").await);
        let mut acknowledged = BTreeSet::new();
        for n in 0..20 {
            acknowledged.insert(ann.send(&ben, &n.to_string()).await["id"].as_str().unwrap().to_owned());
        }
        let before = ben.signal_cursor().await;
        let stop = Arc::new(AtomicBool::new(false));
        let sending = (0..4).map(|_| {
            let (ann, ben, stop) = (ann.clone(), ben.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    ann.send(&ben, "meanwhile").await;
                }
            })
        });
        let sending: Vec<_> = sending.collect();
        let backup = database.back_up().await;
        stop.store(true, Ordering::SeqCst);
        for sending in sending {
            sending.await.unwrap();
        }
        for n in 0..20 {
            ann.send(&ben, &format!("after the backup, {n}")).await;
        }
        let after = ben.signal_cursor().await;
        server.stop().await;

        let again = TestServer::on(&backup, &[]).await;
        let ben = ben.at(again.address);
        let ann = ann.at(again.address);
        // Above the log's end: it is refused though nobody said that a backup was restored.
        assert_eq!(ben.listen("messageSent", Some(&after)).await.refusal().await, "CURSOR_EXPIRED");
        // One from before the backup would go on, and so would the first one once the log has grown: hence the command.
        let mut early = ben.listen("messageSent", Some(&before)).await;
        backup.restored().await;
        assert_eq!(ben.listen("messageSent", Some(&before)).await.refusal().await, "CURSOR_EXPIRED", "at once");
        backup.is_right().await;
        let (mut known, cursor) = reload(&ben, &ann).await;
        assert!(known.is_superset(&acknowledged), "what was acknowledged before the backup is in it");
        let mut listener = ben.listen("messageSent", Some(&cursor)).await;
        let marker = ann.send(&ben, "marker").await;
        known.insert(id(&listener.next().await));
        let all: BTreeSet<String> = reload(&ben, &ann).await.0;
        assert_eq!(known, all);
        assert!(all.contains(marker["id"].as_str().unwrap()));
        // Who listened all the while hears what was there, and is then told to reload.
        assert_eq!(early.last_refusal().await, "CURSOR_EXPIRED");
        drop((early, listener));
        again.stop().await;
        backup.finish().await;
    }

    async fn each_restore_turns_away_the_cursors_of_the_one_before(server: &TestServer) {
        let ann = server.user("ann").await;
        let mut cursors = vec![ann.signal_cursor().await];
        for _ in 0..3 {
            server.database().restored().await;
            let cursor = ann.signal_cursor().await;
            for old in &cursors {
                assert_eq!(ann.listen("messageSent", Some(old)).await.refusal().await, "CURSOR_EXPIRED");
            }
            let mut listener = ann.listen("messageSent", Some(&cursor)).await;
            listener.socket.settle().await;
            cursors.push(cursor);
        }
        let data = ann.data("{ viewer { id } }", json!({})).await;
        assert_eq!(data["viewer"]["id"], "ann");
    }
}
