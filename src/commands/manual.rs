use anyhow::Context as _;
use clap::CommandFactory as _;
use directmessages::config::{Cli, Completions, Man};

use super::print;

/// Prints what a shell completes arguments with.
pub(crate) fn completions(settings: &Completions) -> anyhow::Result<()> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(settings.shell, &mut command, name, &mut script);
    print(String::from_utf8(script)?)
}

/// Prints the manual page, or writes all pages into a folder.
pub(crate) fn man(settings: &Man) -> anyhow::Result<()> {
    // What `help` does, --help does too, and it has no page.
    let command = Cli::command()
        .disable_help_subcommand(true)
        .propagate_version(true);
    match &settings.out {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            print(String::from_utf8(page)?)
        }
        Some(folder) => {
            let unusable = || format!("the folder {} cannot be used", folder.display());
            std::fs::create_dir_all(folder).with_context(unusable)?;
            clap_mangen::generate_to(command, folder).with_context(unusable)
        }
    }
}
