//! The layers: what each module may name, read from the sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Each module, the crates it may name, and the modules of this crate. What is not here may not be named.
const MAY_NAME: [(&str, &[&str], &[&str]); 11] = [
    ("entity/src", &["sea_orm"], &[]),
    (
        "migration/src",
        &[
            "sea_orm",
            "sea_orm_migration",
            "entity",
            "uuid",
            "async_trait",
        ],
        &[],
    ),
    (
        "src/chat",
        &[
            "async_trait",
            "csv",
            "data_encoding",
            "entity",
            "futures_util",
            "jiff",
            "migration",
            "percent_encoding",
            "quick_cache",
            "sea_orm",
            "serde_json",
            "sqlx",
            "thiserror",
            "tokio",
            "tokio_util",
            "tracing",
            "uuid",
        ],
        &["signals", "chat", "observe"],
    ),
    (
        "src/signals",
        &[
            "async_nats",
            "data_encoding",
            "futures_util",
            "percent_encoding",
            "sea_orm",
            "sqlx",
            "thiserror",
            "tokio",
            "tokio_util",
            "tracing",
            "uuid",
        ],
        &["signals"],
    ),
    (
        "src/graphql",
        &[
            "async_graphql",
            "entity",
            "futures_util",
            "jiff",
            "serde",
            "serde_json",
            "tokio",
            "tracing",
            "uuid",
        ],
        &["auth", "chat", "graphql"],
    ),
    (
        "src/http",
        &[
            "apollo_compiler",
            "apollo_parser",
            "async_graphql",
            "axum",
            "data_encoding",
            "fastrand",
            "futures_util",
            "governor",
            "headers_accept",
            "http_body_util",
            "hyper",
            "hyper_util",
            "mediatype",
            "percent_encoding",
            "quick_cache",
            "ring",
            "serde",
            "serde_json",
            "socket2",
            "thiserror",
            "tokio",
            "tokio_util",
            "tower",
            "tower_http",
            "tracing",
            "tungstenite",
            "uuid",
        ],
        &["auth", "chat", "config", "graphql", "http", "observe"],
    ),
    (
        "src/auth",
        &[
            "data_encoding",
            "http_body_util",
            "hyper",
            "hyper_rustls",
            "hyper_util",
            "jsonwebtoken",
            "quick_cache",
            "ring",
            "rustls",
            "serde",
            "serde_json",
            "spki",
            "thiserror",
            "tokio",
            "tokio_util",
            "tracing",
        ],
        &[],
    ),
    (
        "src/config",
        &["clap", "clap_complete", "strsim"],
        &["auth", "chat", "config", "observe", "signals"],
    ),
    (
        "src/observe",
        &[
            "async_trait",
            "axum",
            "clap",
            "http_body_util",
            "hyper_rustls",
            "hyper_util",
            "opentelemetry",
            "opentelemetry_http",
            "opentelemetry_otlp",
            "opentelemetry_sdk",
            "prometheus_client",
            "rustls",
            "thiserror",
            "tokio",
            "tokio_util",
            "tracing",
            "tracing_opentelemetry",
            "tracing_subscriber",
        ],
        &["observe"],
    ),
    (
        "src/demo.rs",
        &["tokio_util", "uuid"],
        &["chat", "config", "signals"],
    ),
    (
        "src/fuzz.rs",
        &[
            "data_encoding",
            "entity",
            "jsonwebtoken",
            "serde_json",
            "tokio",
            "tokio_util",
            "uuid",
        ],
        &["auth", "chat", "http"],
    ),
];

/// Where `sea_orm` may be named for one thing only.
const SQLX_ONLY: &str = "src/signals";

#[test]
fn each_module_names_only_what_its_layer_may() {
    let known = known_crates();
    let mut faults = Vec::new();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for file in sources() {
        let path = file
            .strip_prefix(ROOT)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let text = without_comments(&std::fs::read_to_string(&file).unwrap());
        let Some((module, crates, modules)) = MAY_NAME
            .iter()
            .find(|(module, ..)| path.starts_with(module))
        else {
            assert!(
                ["src/lib.rs", "src/main.rs"].contains(&path.as_str())
                    || path.starts_with("src/commands/"),
                "{path} stands in no layer"
            );
            continue;
        };
        for (root, below) in paths(&text) {
            let fault = if root == "crate" {
                path.starts_with("src/") && !modules.contains(&below.as_str())
            } else {
                known.contains(&root) && !crates.contains(&root.as_str())
            };
            if fault {
                faults.push(format!("{path} names {root}::{below}"));
            }
            if *module == SQLX_ONLY && root == "sea_orm" && below != "sqlx" {
                faults.push(format!(
                    "{path} names {root}::{below}, and may only name its sqlx"
                ));
            }
            *seen.entry(module).or_default() += 1;
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(
        seen.len(),
        MAY_NAME.len(),
        "a layer was not found: {seen:?}"
    );
}

#[test]
fn nothing_is_global() {
    for file in sources() {
        let text = without_comments(&std::fs::read_to_string(&file).unwrap());
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            let global = line.starts_with("static ")
                || line.starts_with("pub static ")
                || line.contains("thread_local!");
            let allocator = line.starts_with("static ALLOCATOR:");
            assert!(
                !global || allocator,
                "{}:{}: {line}",
                file.display(),
                number + 1
            );
        }
    }
}

#[test]
fn the_reader_of_paths_sees_what_it_should() {
    let text = "use sea_orm::{Set, sqlx};\nuse crate::{chat::{Chat, Error}, auth};\nfn f() { crate::http::x(); a.b::<axum::Json>() }";
    let seen: Vec<String> = paths(text)
        .into_iter()
        .map(|(root, below)| format!("{root}::{below}"))
        .collect();
    let expected = [
        "sea_orm::Set",
        "sea_orm::sqlx",
        "crate::chat",
        "crate::auth",
        "crate::http",
        "axum::Json",
    ];
    for path in expected {
        assert!(
            seen.iter().any(|seen| seen == path),
            "{path} is not in {seen:?}"
        );
    }
    assert_eq!(
        without_comments("a // crate::http\n/// axum::x\nb").replace('\n', ""),
        "a b"
    );
}

/// Every dependency, by the name that code gives it, and our own crates.
fn known_crates() -> BTreeSet<String> {
    let manifest = std::fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).unwrap();
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap();
    let dependencies = dependencies.split("\n[").next().unwrap();
    let names = dependencies
        .lines()
        .filter_map(|line| line.split(['=', '.', ' ']).next());
    let names = names
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"));
    names
        .chain(["directmessages".to_owned(), "sea_orm_migration".to_owned()])
        .collect()
}

fn sources() -> Vec<PathBuf> {
    let mut folders = ["entity/src", "migration/src", "src"]
        .map(|folder| Path::new(ROOT).join(folder))
        .to_vec();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 30, "only {} sources were found", files.len());
    files
}

fn without_comments(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// Every path's first name with what follows it: of a group, each of its members.
fn paths(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = String::new();
    // What stands in the groups of a `use` belongs to its first name.
    for (number, part) in format!("\n{text}").split("use ").enumerate() {
        let (used, after) = if number == 0 {
            ("", part)
        } else {
            part.split_once(';').unwrap_or((part, ""))
        };
        if let Some((root, below)) = used.split_once("::") {
            found.extend(below_of(root, below));
        }
        rest.push_str(after);
    }
    for (at, _) in rest.match_indices("::") {
        let before = &rest[..at];
        let start = before.rfind(|c: char| !is_word(c)).map_or(0, |end| end + 1);
        let root = &before[start..];
        if !root.is_empty() && !before[..start].ends_with("::") {
            found.extend(below_of(root, &rest[at + 2..]));
        }
    }
    found
}

fn below_of(root: &str, below: &str) -> Vec<(String, String)> {
    let names = match below.strip_prefix('{') {
        Some(group) => members(group),
        None => vec![word(below)],
    };
    names
        .into_iter()
        .map(|name| (root.to_owned(), name))
        .collect()
}

/// The first names in a group, at its own depth.
fn members(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut start) = (0, Vec::new(), 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(word(group[start..at].trim_start()));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(word(group[start..at].trim_start()));
                start = at + 1;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| is_word(*c)).collect()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}
