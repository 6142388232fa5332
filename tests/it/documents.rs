//! Random documents, and what they cost.

use serde_json::json;

use crate::{
    harness::{Fixture as _, chance::Chance},
    price::{CONTENT, cashier, price, somebody},
    support::bombs::many,
};

/// A part of a random document, with all that its price needs.
enum Part {
    Field {
        text: String,
        root: bool,
        /// The size of the pages below it, where it sets one.
        page: Option<u64>,
        is_list: bool,
        below: Vec<Part>,
    },
    Inline(&'static str, bool, Vec<Part>),
    /// The type, and the number of a fragment on it.
    Spread(&'static str, usize, &'static str, bool),
}

const FRAGMENTS: usize = 3;
/// A type's fields: name, type, whether it takes a page size, whether it is a list.
type Fields = &'static [(&'static str, &'static str, bool, bool)];
const TYPES: [(&str, Fields); 5] = [
    (
        "Query",
        &[
            ("viewer", "User", false, false),
            ("unreadMessages", "UnreadMessageConnection", true, false),
        ],
    ),
    (
        "UnreadMessageConnection",
        &[
            ("totalCount", "", false, false),
            ("nodes", "Message", false, true),
            ("edges", "MessageEdge", false, true),
        ],
    ),
    (
        "MessageEdge",
        &[
            ("cursor", "", false, false),
            ("node", "Message", false, false),
        ],
    ),
    (
        "Message",
        &[
            ("content", "", false, false),
            ("sender", "User", false, false),
        ],
    ),
    (
        "User",
        &[("id", "", false, false), ("username", "", false, false)],
    ),
];
/// Directives, and whether they leave in what they stand on.
const DIRECTIVES: [(&str, bool); 5] = [
    ("", true),
    ("", true),
    (" @include(if: $on)", true),
    (" @skip(if: $on)", false),
    (" @include(if: $off)", false),
];
/// Page sizes as arguments, and what they mean with these variables: `n` is 4, `m` is left out and 7 by default, `gone` is left
/// out.
const PAGES: [(&str, u64); 8] = [
    ("", 50),
    ("(first: 3)", 3),
    ("(first: $n)", 4),
    ("(first: $m)", 7),
    ("(first: $gone)", 50),
    ("(first: null)", 50),
    ("(first: 1000)", 100),
    ("(first: -1)", 1),
];

struct Author {
    chance: Chance,
    aliases: usize,
}

impl Author {
    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.chance.below(choices.len())]
    }

    /// Some parts of a type, spreading only fragments from `from` on, so that none spreads itself.
    fn parts(&mut self, ty: &'static str, from: usize) -> Vec<Part> {
        let fields = TYPES.iter().find(|(name, _)| *name == ty).unwrap().1;
        let count = 1 + self.chance.below(3);
        let mut parts = Vec::with_capacity(count);
        for _ in 0..count {
            let (directive, included) = self.one_of(&DIRECTIVES);
            let part = match self.chance.below(4) {
                0 if from < FRAGMENTS => {
                    let number = from + self.chance.below(FRAGMENTS - from);
                    Part::Spread(ty, number, directive, included)
                }
                1 => {
                    let below = self.parts(ty, from);
                    Part::Inline(directive, included, below)
                }
                _ => {
                    let (name, of, paged, is_list) = self.one_of(fields);
                    self.aliases += 1;
                    let page = paged.then(|| self.one_of(&PAGES));
                    let arguments = page.map_or("", |(arguments, _)| arguments);
                    let field = Part::Field {
                        text: format!("f{}: {name}{arguments}", self.aliases),
                        root: ty == "Query",
                        page: page.map(|(_, size)| size),
                        is_list,
                        // The fragments of another type are all later than those of this one.
                        below: if of.is_empty() {
                            Vec::new()
                        } else {
                            self.parts(of, 0)
                        },
                    };
                    // Directives stand before the selection, so a field's are given by an inline fragment around it.
                    Part::Inline(directive, included, vec![field])
                }
            };
            parts.push(part);
        }
        parts
    }
}

fn text(parts: &[Part]) -> String {
    let parts = parts.iter().map(|part| match part {
        Part::Field {
            text: own, below, ..
        } if below.is_empty() => own.clone(),
        Part::Field {
            text: own, below, ..
        } => format!("{own} {{ {} }}", text(below)),
        Part::Inline(directive, _, below) => format!("...{directive} {{ {} }}", text(below)),
        Part::Spread(ty, number, directive, _) => format!("...{ty}{number}{directive}"),
    });
    parts.collect::<Vec<_>>().join(" ")
}

/// What a field costs by itself.
fn own_cost(text: &str, root: bool) -> u64 {
    match text {
        _ if root => 10,
        text if text.ends_with(": content") => CONTENT,
        _ => 1,
    }
}

/// The price as it is defined, every fragment walked wherever it is spread.
fn walked(parts: &[Part], fragments: &[(&str, usize, Vec<Part>)], page: u64) -> u64 {
    let prices = parts.iter().map(|part| match part {
        Part::Field {
            text: own_text,
            root,
            page: own,
            is_list,
            below,
        } => {
            let below = walked(below, fragments, own.unwrap_or(page));
            let items = if *is_list { page } else { 1 };
            own_cost(own_text, *root) + items * below
        }
        Part::Inline(_, false, _) | Part::Spread(_, _, _, false) => 0,
        Part::Inline(_, true, below) => walked(below, fragments, page),
        Part::Spread(ty, number, _, true) => {
            let of = |(of, at, _): &&(&str, usize, Vec<Part>)| of == ty && at == number;
            walked(&fragments.iter().find(of).unwrap().2, fragments, page)
        }
    });
    prices.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_price_of_any_document_is_that_of_walking_all_of_it() {
    let server = cashier().await;
    let user = somebody(&server);
    let mut author = Author {
        chance: Chance::fresh(),
        aliases: 0,
    };
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..150 {
        let mut fragments = Vec::new();
        for (ty, _) in TYPES {
            for number in 0..FRAGMENTS {
                fragments.push((ty, number, author.parts(ty, number + 1)));
            }
        }
        let root = author.parts("Query", 0);
        // Every variable and fragment is used, so that the document is valid.
        let spread = |ty: &str| many(0..FRAGMENTS, |at| format!(" ...{ty}{at}"));
        let rest = format!(
            "z1: viewer @include(if: $on) @skip(if: $off) {{ id }} z2: unreadMessages(first: $n) {{ totalCount }} \
             z3: unreadMessages(first: $m) {{ totalCount }} z4: unreadMessages(first: $gone) {{ totalCount }} \
             ... @skip(if: $on) {{ {} z5: unreadMessages {{ {} nodes {{ {} sender {{ {} }} }} edges {{ {} }} }} }}",
            spread("Query"),
            spread("UnreadMessageConnection"),
            spread("Message"),
            spread("User"),
            spread("MessageEdge"),
        );
        let definitions = fragments.iter().map(|(ty, number, parts)| {
            format!("fragment {ty}{number} on {ty} {{ {} }}", text(parts))
        });
        let document = format!(
            "query ($on: Boolean!, $off: Boolean!, $n: Int!, $m: Int = 7, $gone: Int) {{ {} {rest} }} {}",
            text(&root),
            definitions.collect::<Vec<_>>().join(" ")
        );
        let variables = json!({ "on": true, "off": false, "n": 4 });
        let expected = walked(&root, &fragments, 0) + 4 * 11;
        assert_eq!(
            price(&user, &document, variables).await,
            expected,
            "{document}"
        );
        seen.insert(expected);
    }
    assert!(seen.len() > 20, "the documents are all alike: {seen:?}");
    server.finish().await;
}
