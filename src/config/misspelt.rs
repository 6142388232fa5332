use std::collections::BTreeSet;

use clap::CommandFactory as _;

use super::Cli;

/// The names of variables that are nearly those of settings: each with the setting that was probably meant.
#[must_use]
pub fn misspelt(variables: impl Iterator<Item = String>) -> Vec<(String, String)> {
    let known = known(&Cli::command());
    let given: BTreeSet<String> = variables.collect();
    let unknown = given.iter().filter(|name| !known.contains(*name));
    let near = unknown.filter_map(|name| {
        let mut nearest = known
            .iter()
            .filter(|setting| is_near(name, setting))
            // Where the right name is set too, the other is another program's.
            .filter(|setting| !given.contains(*setting));
        Some((name.clone(), nearest.next()?.clone()))
    });
    near.collect()
}

/// One letter in a short name, two in a long one, or an S too many or too few; in any case, with dashes too.
fn is_near(name: &str, setting: &str) -> bool {
    let name = name.to_ascii_uppercase().replace('-', "_");
    let letters = if setting.len() < 10 { 1 } else { 2 };
    name.len() > 5 && strsim::damerau_levenshtein(&name, setting) <= letters
}

fn known(command: &clap::Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(clap::Arg::get_env);
    let own = own.map(|name| name.to_string_lossy().into_owned());
    let below = command.get_subcommands().flat_map(known);
    own.chain(below).chain(["RUST_LOG".to_owned()]).collect()
}
