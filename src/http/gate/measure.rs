//! What can be told of a document before it is validated: its numbers of aliases, directives and fragments, and to how many
//! fields it spreads. Each fragment is walked once, so this takes time in proportion to the document; validation takes
//! time in proportion to what is counted here, and so does spreading it out.

use apollo_compiler::{
    Name, Node,
    ast::{self, Definition, DirectiveList, Document, Selection},
    collections::HashMap,
    parser::SourceSpan,
};

use super::{Limits, Refusal, check::NESTING, message::grouped, place};
use crate::graphql::ErrorCode;

/// # Errors
/// `QUERY_TOO_COMPLEX` for what is over a limit; `GRAPHQL_VALIDATION_FAILED` for a fragment that spreads itself, which has no
/// size, and for introspection where it is off.
pub(super) fn measure(document: &Document, limits: &Limits) -> Result<(), Refusal> {
    let mut measure = Measure::new(document);
    let mut spread: u64 = 0;
    let mut fragments = Count::default();
    for definition in &document.definitions {
        match definition {
            Definition::OperationDefinition(operation) => {
                measure.directives(&operation.directives);
                for variable in &operation.variables {
                    measure.directives(&variable.directives);
                }
                let fields = measure.selections(&operation.selection_set, 1)?;
                spread = spread.saturating_add(fields.count);
            }
            Definition::FragmentDefinition(fragment) => {
                fragments.add(fragment.location());
                measure.directives(&fragment.directives);
                measure.fragment(&fragment.name, fragment.location(), 0)?;
            }
            // Nothing else can be executed, which is told by validation.
            _ => {}
        }
    }
    if let Some((name, at)) = &measure.introspected
        && !limits.introspection
    {
        return Err(Refusal::at(
            ErrorCode::GraphqlValidationFailed,
            format!(
                "introspection is off on this server, and the document asks for {name}: leave it out, or ask whoever runs \
                 the server for the schema"
            ),
            at.and_then(|at| place::of(&document.sources, at.offset())),
        ));
    }
    let prices = &limits.prices;
    let over = [
        fragments.over(prices.fragment_limit, "fragments", "define fewer"),
        measure.aliases.over(prices.alias_limit, "aliases", "use fewer, or several requests"),
        measure.directives.over(prices.directive_limit, "directives", "use fewer"),
        (spread > prices.field_limit).then(|| {
            let message = format!(
                "this document spreads to {} fields and fragments, and the limit is {}: select fewer, and spread a fragment \
                 less often",
                grouped(spread),
                grouped(prices.field_limit)
            );
            (message, None)
        }),
    ];
    let over: Vec<_> = over
        .into_iter()
        .flatten()
        .map(|(message, at)| {
            let at = at.map_or(0, |at: SourceSpan| at.offset());
            (message, place::of(&document.sources, at))
        })
        .collect();
    if over.is_empty() {
        return Ok(());
    }
    Err(Refusal::of_many(ErrorCode::QueryTooComplex, over))
}

/// A refusal that says so; where, if that is known.
pub(super) fn nests_too_deep(at: Option<async_graphql::Pos>) -> Refusal {
    let message = format!(
        "this document nests more than {NESTING} levels deep, through its fragments and values: ask for less at a time"
    );
    Refusal::at(ErrorCode::QueryTooComplex, message, at)
}

/// Where something stands in the document, each time.
#[derive(Default)]
struct Count(Vec<Option<SourceSpan>>);

impl Count {
    fn add(&mut self, at: Option<SourceSpan>) {
        self.0.push(at);
    }

    fn over(&self, limit: u64, what: &str, advice: &str) -> Option<(String, Option<SourceSpan>)> {
        let first = usize::try_from(limit)
            .ok()
            .and_then(|limit| self.0.get(limit))?;
        let message = format!(
            "this document has {} {what} and the limit is {}: {advice}",
            grouped(self.0.len() as u64),
            grouped(limit)
        );
        Some((message, *first))
    }
}

struct Measure<'a> {
    document: &'a Document,
    definitions: HashMap<&'a Name, &'a Node<ast::FragmentDefinition>>,
    /// To how many fields and spreads each fragment comes; nothing while it is walked.
    fragments: HashMap<&'a Name, Option<Spread>>,
    /// The fragments that are walked now, each spread by the one before.
    path: Vec<&'a Name>,
    aliases: Count,
    directives: Count,
    /// The first field that asks for the schema.
    introspected: Option<(&'a Name, Option<SourceSpan>)>,
}

/// What a set of selections comes to.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    /// Its fields and fragments, each fragment counted wherever it is spread.
    count: u64,
    /// How deep it nests.
    height: usize,
}

impl<'a> Measure<'a> {
    fn new(document: &'a Document) -> Self {
        let fragments = document.definitions.iter().rev();
        let fragments = fragments.filter_map(Definition::as_fragment_definition);
        Self {
            document,
            definitions: fragments
                .map(|fragment| (&fragment.name, fragment))
                .collect(),
            fragments: HashMap::default(),
            path: Vec::new(),
            aliases: Count::default(),
            directives: Count::default(),
            introspected: None,
        }
    }

    fn directives(&mut self, directives: &DirectiveList) {
        for directive in directives {
            self.directives.add(directive.location());
        }
    }

    fn selections(&mut self, set: &'a [Selection], nesting: usize) -> Result<Spread, Refusal> {
        let mut whole = Spread::default();
        for selection in set {
            let below = match selection {
                Selection::Field(field) => {
                    self.directives(&field.directives);
                    if field.alias.is_some() {
                        self.aliases.add(field.location());
                    }
                    if matches!(field.name.as_str(), "__schema" | "__type") {
                        self.introspected
                            .get_or_insert((&field.name, field.location()));
                    }
                    self.below(&field.selection_set, selection, nesting)?
                }
                Selection::InlineFragment(fragment) => {
                    self.directives(&fragment.directives);
                    self.below(&fragment.selection_set, selection, nesting)?
                }
                Selection::FragmentSpread(spread) => {
                    self.directives(&spread.directives);
                    self.fragment(&spread.fragment_name, spread.location(), nesting)?
                }
            };
            whole.count = whole.count.saturating_add(1).saturating_add(below.count);
            whole.height = whole.height.max(1 + below.height);
        }
        Ok(whole)
    }

    fn below(
        &mut self,
        set: &'a [Selection],
        of: &Selection,
        nesting: usize,
    ) -> Result<Spread, Refusal> {
        self.bound(nesting, of.location())?;
        self.selections(set, nesting + 1)
    }

    fn bound(&self, nesting: usize, at: Option<SourceSpan>) -> Result<(), Refusal> {
        if nesting > NESTING {
            return Err(nests_too_deep(self.place(at)));
        }
        Ok(())
    }

    fn fragment(
        &mut self,
        name: &'a Name,
        at: Option<SourceSpan>,
        nesting: usize,
    ) -> Result<Spread, Refusal> {
        match self.fragments.get(name).copied() {
            Some(Some(spread)) => {
                self.bound(nesting + spread.height, at)?;
                return Ok(spread);
            }
            Some(None) => return Err(self.spreads_itself(name, at)),
            None => {}
        }
        // One that is not there is told of by validation.
        let Some(fragment) = self.definitions.get(name).copied() else {
            return Ok(Spread::default());
        };
        self.bound(nesting, at)?;
        self.fragments.insert(name, None);
        self.path.push(name);
        let spread = self.selections(&fragment.selection_set, nesting + 1)?;
        self.path.pop();
        self.fragments.insert(name, Some(spread));
        Ok(spread)
    }

    fn spreads_itself(&self, name: &Name, at: Option<SourceSpan>) -> Refusal {
        let through = self
            .path
            .iter()
            .skip_while(|walked| **walked != name)
            .skip(1);
        let through: Vec<String> = through.map(|name| format!("\"{name}\"")).collect();
        let through = match through.as_slice() {
            [] => String::new(),
            some => format!(" via {}", some.join(", ")),
        };
        Refusal::at(
            ErrorCode::GraphqlValidationFailed,
            format!("Cannot spread fragment \"{name}\" within itself{through}."),
            self.place(at),
        )
    }

    fn place(&self, at: Option<SourceSpan>) -> Option<async_graphql::Pos> {
        place::of(&self.document.sources, at?.offset())
    }
}
