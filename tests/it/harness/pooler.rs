//! The real pgbouncer, in transaction mode, before the run's PostgreSQL.

use super::{
    database::{TestDatabase, folder, postgres},
    postgres::ordinary,
    process::Process,
    until,
};
use crate::support::free_port;

pub(crate) struct Pooler {
    process: Process,
}

impl Pooler {
    /// One that keeps so few connections to the database that everybody shares them.
    pub(crate) async fn start(connections: usize) -> Self {
        let port = free_port();
        let name = format!("pgbouncer-{}", uuid::Uuid::new_v4().simple());
        let (users, settings) = (
            folder().join(format!("{name}.txt")),
            folder().join(format!("{name}.ini")),
        );
        std::fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\nauth_file = {}\npool_mode = transaction\n\
             default_pool_size = {connections}\nmax_client_conn = 500\n",
            postgres().port(),
            users.display()
        )
        // With any authentication everybody is one user, who has to be named.
        .replace("port=", "user=postgres port=");
        std::fs::write(&settings, text).unwrap();
        let mut command = ordinary("pgbouncer".as_ref());
        command.arg(&settings);
        let process = Process::start(command, ([127, 0, 0, 1], port).into());
        until("pgbouncer answers", async || {
            tokio::net::TcpStream::connect(process.address)
                .await
                .is_ok()
        })
        .await;
        Self { process }
    }

    /// The database's address through it.
    pub(crate) fn url(&self, database: &TestDatabase) -> String {
        let (address, name) = (self.process.address, &database.name);
        format!("postgres://postgres@{address}/{name}?sslmode=disable")
    }

    pub(crate) fn log(&self) -> String {
        self.process.printed()
    }
}
