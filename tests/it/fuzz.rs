//! What parses what strangers send, on the corpus of `fuzz/` and on random input: the same targets that cargo-fuzz runs for
//! hours (`fuzz/run`), without a second build of anything.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use data_encoding::{BASE32HEX_NOPAD, BASE64URL_NOPAD};
use directmessages::fuzz::{Fuzz, TARGETS, Target};
use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestCaseError, TestRunner},
};

static FUZZ: LazyLock<Fuzz> = LazyLock::new(Fuzz::new);

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

/// A target's corpus, by the names of its files.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder("corpus").join(target);
    let files = names(&folder).into_iter();
    let files = files.map(|name| (name.clone(), std::fs::read(folder.join(name)).unwrap()));
    files.collect()
}

/// The words that inputs are made of.
fn words() -> Vec<Vec<u8>> {
    let dictionary = std::fs::read_to_string(folder("words.dict")).unwrap();
    let lines = dictionary.lines().filter(|line| !line.starts_with('#'));
    let words = lines.map(|line| {
        let mut characters = line
            .strip_prefix('"')
            .unwrap()
            .strip_suffix('"')
            .unwrap()
            .chars();
        let mut word = Vec::new();
        while let Some(character) = characters.next() {
            match (character, characters.as_str().as_bytes()) {
                ('\\', [b'x', ..]) => {
                    let code = &characters.as_str()[1..3];
                    word.push(u8::from_str_radix(code, 16).unwrap());
                    characters.nth(2);
                }
                ('\\', _) => word.push(u8::try_from(characters.next().unwrap()).unwrap()),
                _ => word.push(u8::try_from(character).unwrap()),
            }
        }
        word
    });
    words.collect()
}

#[test]
fn every_target_has_a_corpus_and_a_program() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&folder("corpus")), targets);
    let programs = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&folder("fuzz_targets")), programs);
    let manifest = std::fs::read_to_string(folder("Cargo.toml")).unwrap();
    for target in targets {
        assert!(corpus(&target).len() >= 5, "{target} needs more examples");
        assert!(
            manifest.contains(&format!("name = \"{target}\"\n")),
            "{target}"
        );
        let program = folder("fuzz_targets").join(format!("{target}.rs"));
        let program = std::fs::read_to_string(program).unwrap();
        assert!(
            program.contains(&format!("target!(\"{target}\")")),
            "{target}"
        );
    }
}

#[test]
fn the_corpus_passes() {
    let mut failed = Vec::new();
    for (name, target) in TARGETS {
        for (file, data) in corpus(name) {
            if std::panic::catch_unwind(|| target(&FUZZ, &data)).is_err() {
                failed.push(format!("fuzz/corpus/{name}/{file}"));
            }
        }
    }
    assert!(failed.is_empty(), "these fail: {failed:#?}");
}

/// A change of an input.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Cut(Index, Index),
    Repeat(Index, Index, usize),
}

impl Change {
    fn apply(&self, data: &mut Vec<u8>) {
        let range = |from: &Index, to: &Index| {
            let (from, to) = (from.index(data.len() + 1), to.index(data.len() + 1));
            from.min(to)..from.max(to)
        };
        match self {
            Self::Set(at, byte) if !data.is_empty() => {
                let at = at.index(data.len());
                data[at] = *byte;
            }
            Self::Set(..) => {}
            Self::Insert(at, word) => {
                let at = at.index(data.len() + 1);
                data.splice(at..at, word.iter().copied());
            }
            Self::Cut(from, to) => {
                data.drain(range(from, to));
            }
            Self::Repeat(from, to, times) => {
                let range = range(from, to);
                let end = range.end;
                let part = data[range].repeat(*times);
                data.splice(end..end, part);
            }
        }
    }
}

fn change(words: Vec<Vec<u8>>) -> impl Strategy<Value = Change> {
    prop_oneof![
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        4 => (any::<Index>(), proptest::sample::select(words)).prop_map(|(at, word)| Change::Insert(at, word)),
        2 => any::<(Index, Index)>().prop_map(|(from, to)| Change::Cut(from, to)),
        1 => (any::<(Index, Index)>(), 1..4_usize)
            .prop_map(|((from, to), times)| Change::Repeat(from, to, times)),
    ]
}

/// Texts that pass every check but the last ones: ids and cursors of any key, and claims of any kind.
fn well_formed(name: &str) -> BoxedStrategy<Vec<u8>> {
    let opaque = |kinds: &'static [char], longest: usize| {
        let bytes = proptest::collection::vec(any::<u8>(), longest - 1..=longest);
        let text = (proptest::sample::select(kinds), bytes).prop_map(|(kind, bytes)| {
            let text = BASE64URL_NOPAD.encode(&bytes);
            format!("dm_{kind}{text}").into_bytes()
        });
        text.boxed()
    };
    match name {
        "id" => prop_oneof![
            opaque(&['m', 'i'], 24),
            opaque(&['p'], 32),
            opaque(&['i'], 16),
        ]
        .boxed(),
        "page_cursor" => opaque(&['c', 'u', 'l'], 24),
        "signal_cursor" => {
            let parts = (any::<[u8; 32]>(), 0..4_u8, any::<[u8; 16]>());
            let text = parts.prop_map(|(start, kind, partner)| {
                let bytes = [&start, [kind].as_slice(), &partner].concat();
                let text = BASE32HEX_NOPAD.encode(&bytes).to_ascii_lowercase();
                format!("dm_s{text}").into_bytes()
            });
            text.boxed()
        }
        "token" => {
            let value = || {
                let values = [
                    "null",
                    "1",
                    "4000000000",
                    "-1",
                    "1.5",
                    "1e300",
                    "\"ann\"",
                    "\"\"",
                    "\"service\"",
                    "[]",
                    "{}",
                    "true",
                ];
                proptest::sample::select(values.to_vec())
            };
            let names = vec![
                "sub",
                "exp",
                "nbf",
                "iat",
                "role",
                "name",
                "preferred_username",
                "iss",
                "aud",
            ];
            let claims =
                proptest::collection::vec((proptest::sample::select(names), value()), 0..6);
            let claims = claims.prop_map(|claims| {
                let claims = claims
                    .iter()
                    .map(|(name, value)| format!("\"{name}\":{value}"));
                let good = [
                    r#""sub":"ann""#.to_owned(),
                    r#""exp":4000000000"#.to_owned(),
                ];
                // Named twice, a claim is refused: what was drawn stands in for what would be good.
                let mut all: Vec<String> = claims.collect();
                for claim in good {
                    let name = claim.split(':').next().unwrap();
                    if !all.iter().any(|other| other.starts_with(name)) {
                        all.push(claim);
                    }
                }
                format!("{{\"alg\":\"HS256\"}}\n{{{}}}", all.join(",")).into_bytes()
            });
            claims.boxed()
        }
        _ => Just(Vec::new()).boxed(),
    }
}

/// Bytes that are anything, words in any order, a corpus's entries, and what is well formed; the latter two changed here
/// and there.
fn input(name: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let entries: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, data)| data).collect();
    let words = words();
    let soup = proptest::collection::vec(proptest::sample::select(words.clone()), 0..40);
    let start = prop_oneof![proptest::sample::select(entries), well_formed(name)];
    let changed = (start, proptest::collection::vec(change(words), 0..5));
    prop_oneof![
        1 => proptest::collection::vec(any::<u8>(), 0..300),
        1 => soup.prop_map(|words| words.join(&b' ')),
        6 => changed.prop_map(|(mut data, changes)| {
            for change in changes {
                change.apply(&mut data);
            }
            data
        }),
    ]
}

/// What is judged by the schema takes a hundred times as long as a cursor.
const BY_THE_SCHEMA: [&str; 5] = ["document", "request", "selection", "socket_message", "url"];

fn run_at_random(name: &str) {
    let (_, target) = TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    let target: Target = *target;
    let mut runner = TestRunner::new(Config {
        cases: if BY_THE_SCHEMA.contains(&name) {
            300
        } else {
            2_000
        },
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    });
    let ran = runner.run(&input(name), |data| {
        std::panic::catch_unwind(|| target(&FUZZ, &data))
            .map_err(|_| TestCaseError::fail(String::from_utf8_lossy(&data).into_owned()))
    });
    if let Err(error) = ran {
        panic!("{name} fails: {error}\nadd this input to fuzz/corpus/{name}");
    }
}

macro_rules! at_random {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                run_at_random(stringify!($name));
            }
        )*

        #[test]
        fn every_target_runs_at_random() {
            let run: BTreeSet<&str> = [$(stringify!($name)),*].into();
            assert_eq!(run, TARGETS.iter().map(|(name, _)| *name).collect());
        }
    };
}

mod at_random {
    use super::*;

    at_random! {
        content document headers id import jwks page_cursor request selection signal_cursor socket_message token url user
    }
}
