use clap::Args;

use super::{defaults, whole};

/// What one operation may cost, told before it runs. The defaults leave several times what GraphiQL, introspection by
/// graphql-js and an application's largest pages need.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Price of an operation")]
pub struct Prices {
    /// The most tokens in a document: words, punctuation, blanks and comments.
    // Every operation of a whole application in one document has a thousand, introspection has 350. Validation and
    // spreading out take less than 20 ms below this.
    #[arg(long, env = "TOKEN_LIMIT", default_value_t = 5_000, value_parser = whole(1..=u64::MAX))]
    pub token_limit: u64,
    /// The most fragments that a document may define.
    // The API has a dozen types; an application with a fragment for each of its components asks for some thirty at a time.
    #[arg(long, env = "FRAGMENT_LIMIT", default_value_t = 100, value_parser = whole(1..=u64::MAX))]
    pub fragment_limit: u64,
    /// The most aliases in a document.
    // Clients write them by hand, or one for each root field of a batch.
    #[arg(long, env = "ALIAS_LIMIT", default_value_t = 100, value_parser = whole(1..=u64::MAX))]
    pub alias_limit: u64,
    /// The most directives in a document.
    // Clients write `@include` and `@skip` by hand.
    #[arg(long, env = "DIRECTIVE_LIMIT", default_value_t = 100, value_parser = whole(1..=u64::MAX))]
    pub directive_limit: u64,
    /// The most fields and fragments that a document may spread to, each fragment counted wherever it is spread.
    // Introspection comes to 200, every operation of a whole application in one document to 400. What is counted here is
    // what validation walks.
    #[arg(long, env = "FIELD_LIMIT", default_value_t = 2_000, value_parser = whole(1..=u64::MAX))]
    pub field_limit: u64,
    /// The most levels of fields in an operation.
    // The deepest page has 8, introspection has 15.
    #[arg(long, env = "DEPTH_LIMIT", default_value_t = 30, value_parser = whole(1..=u64::MAX))]
    pub depth_limit: u64,
    /// The most root fields that an operation may run.
    // Each asks the database once or more. A start page has about five.
    #[arg(long, env = "ROOT_FIELD_LIMIT", default_value_t = 30, value_parser = whole(1..=u64::MAX))]
    pub root_field_limit: u64,
    /// The most entities that a gateway may ask for in an operation (`_entities`), with --federation.
    // A gateway asks for each once; a screen of an application's has a few hundred at most.
    #[arg(long, env = "ENTITY_LIMIT", default_value_t = 1_000, value_parser = whole(1..=u64::MAX))]
    pub entity_limit: u64,
    /// The most that an operation may cost: 1 for each field, 10 for each root field, 1 for each 250 characters that a content
    /// may have, and a list its page size times its item.
    // Everything that can be asked of 100 messages costs 9,000, of 100 partners 10,200, of both and the unread 28,000 in one
    // operation, under `nodes` and `edges` both; introspection costs 12,700.
    #[arg(long, env = "COMPLEXITY_LIMIT", default_value_t = 30_000, value_parser = whole(1..=u64::MAX))]
    pub complexity_limit: u64,
}

impl Default for Prices {
    fn default() -> Self {
        defaults()
    }
}
