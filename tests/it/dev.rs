//! The demo, as somebody tries it who has just cloned the project.

use serde_json::json;

use crate::{
    harness::{
        Fixture as _,
        database::{Kind, folder},
        process::{Process, program},
        server::{TestServer, client},
        user::User,
    },
    support::free_port,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_listens_on_loopback_only_and_keeps_its_key_and_history() {
    let place = folder().join(format!("demo-{}", uuid::Uuid::new_v4().simple()));
    let mut counts = Vec::new();
    let mut key = None;
    for _ in 0..2 {
        let port = free_port();
        let arguments = [
            "dev",
            "--port",
            &port.to_string(),
            "--folder",
            place.to_str().unwrap(),
        ];
        let address = ([127, 0, 0, 1], port).into();
        let mut demo = Process::start(program(&arguments), address);
        demo.ready().await;
        assert_eq!(listening(port), ["0100007F"], "it listens on loopback only");

        let told = demo.printed();
        let first = told.split_whitespace().find(|word| word.contains("://"));
        let page = format!("http://{address}/#token=");
        assert!(first.unwrap().starts_with(&page), "{told}");
        for name in ["Ann", "Ben"] {
            let link = format!("http://{address}/graphiql#token=");
            assert!(
                told.lines()
                    .any(|line| line.contains(name) && line.contains(&link)),
                "{told}"
            );
        }
        let ben = signed_in(address, &told, "Ben");
        let data = ben
            .data(
                "{ list: conversation(partnerId: \"ann\", limit: 100) { nodes { content } } }",
                json!({}),
            )
            .await;
        let nodes = data["list"]["nodes"].as_array().unwrap();
        counts.push(nodes.len());

        let secret = std::fs::read_to_string(place.join("jwt-secret")).unwrap();
        assert_eq!(
            key.get_or_insert_with(|| secret.clone()),
            &secret,
            "the key stays"
        );
        demo.signal("TERM");
        assert!(demo.ended().await, "{}", demo.printed());
    }
    assert!(counts[0] > 5, "there is a history: {counts:?}");
    assert_eq!(counts[0], counts[1], "the history is told once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_was_cut_short_is_told_to_its_end() {
    let mut told = Vec::new();
    for stored in [0, 3] {
        let place = folder().join(format!("demo-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&place).unwrap();
        let history = include_str!("../../src/demo/history.tsv").lines();
        let lines = history.take(stored).map(|line| {
            let fields: Vec<_> = line.split('\t').collect();
            let text = fields[3].replace('"', "\"\"");
            format!(
                "{},{},2020-01-01T00:00:00Z,\"{text}\"\n",
                fields[1], fields[2]
            )
        });
        let csv = place.join("part.csv");
        let header = "sender,recipient,sent_at,content\n".to_owned();
        std::fs::write(&csv, header + &lines.collect::<String>()).unwrap();
        let url = format!("sqlite:{}", place.join("demo.db").display());
        let import = [
            "import",
            "csv",
            csv.to_str().unwrap(),
            "--database-url",
            &url,
        ];
        let imported = program(&import).output().unwrap();
        assert!(imported.status.success(), "{imported:?}");

        let port = free_port();
        let port_text = port.to_string();
        let arguments = [
            "dev",
            "--port",
            &port_text,
            "--folder",
            place.to_str().unwrap(),
        ];
        let address = ([127, 0, 0, 1], port).into();
        let mut demo = Process::start(program(&arguments), address);
        demo.ready().await;
        let ann = signed_in(address, &demo.printed(), "Ann");
        let query = "{ inbox { unreadCount } conversationPartners { nodes { user { id } unreadCount } }
            conversation(partnerId: \"ben\", limit: 100) { nodes { sequence content sender { id } } } }";
        told.push(ann.data(query, json!({})).await);
        demo.signal("TERM");
        assert!(demo.ended().await, "{}", demo.printed());
    }
    assert_eq!(told[0], told[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_has_no_pages_but_those_that_it_is_asked_for() {
    let of_both: [(&[&str], [u16; 2]); 3] = [
        (&[], [404, 404]),
        (&["--graphiql"], [404, 200]),
        (&["--demo-page"], [200, 200]),
    ];
    for (flags, expected) in of_both {
        let server = TestServer::with(Kind::Sqlite, flags).await;
        for (path, status) in ["/", "/graphiql"].into_iter().zip(expected) {
            let url = format!("http://{}{path}", server.address);
            let request = server.http.get(url).header("accept-encoding", "gzip");
            let page = request.send().await.unwrap();
            assert_eq!(page.status(), status, "{path} with {flags:?}");
            if status == 200 {
                for (name, value) in [
                    ("content-security-policy", "frame-ancestors 'none'"),
                    ("referrer-policy", "no-referrer"),
                    ("x-content-type-options", "nosniff"),
                ] {
                    assert_eq!(page.headers()[name], value, "{path}");
                }
            }
        }
        server.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_has_a_page_is_not_sent_it_again() {
    let server = TestServer::with(Kind::Sqlite, &["--demo-page"]).await;
    for path in ["/", "/graphiql"] {
        let ask = |known: String| {
            let url = format!("http://{}{path}", server.address);
            let request = server.http.get(url).header("accept-encoding", "gzip");
            request.header("if-none-match", known).send()
        };
        let page = ask("\"another\"".to_owned()).await.unwrap();
        let tag = page.headers()["etag"].to_str().unwrap().to_owned();
        assert_eq!(page.status(), 200);
        for known in [tag.clone(), format!("\"another\", W/{tag}"), "*".to_owned()] {
            let answer = ask(known).await.unwrap();
            assert_eq!(answer.status(), 304);
            assert_eq!(answer.headers()["etag"], tag);
            assert_eq!(answer.headers()["cache-control"], "no-cache");
            assert_eq!(answer.headers()["vary"], "accept-encoding");
            assert!(answer.bytes().await.unwrap().is_empty());
        }
    }
    server.finish().await;
}

/// Whoever has the token of this name's link.
fn signed_in(address: std::net::SocketAddr, told: &str, name: &str) -> User {
    let line = told
        .lines()
        .find(|line| line.trim_start().starts_with(name))
        .unwrap();
    let (_, token) = line.split_once("#token=").unwrap();
    User::of(address, client(), "", Some(token.trim().to_owned()))
}

/// The addresses (as Linux writes them) on which somebody listens at this port.
fn listening(port: u16) -> Vec<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"]
        .map(|file| std::fs::read_to_string(file).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines());
    lines
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (address, at) = fields.next()?.split_once(':')?;
            let state = fields.nth(1)?;
            let wanted = state == "0A" && u16::from_str_radix(at, 16) == Ok(port);
            wanted.then(|| address.to_owned())
        })
        .collect()
}
