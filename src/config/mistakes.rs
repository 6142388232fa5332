//! What is wrong with what the program was given: all of it at once, each with what to give instead.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt,
};

use clap::{
    Arg, CommandFactory as _, FromArgMatches as _,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{
    Cli, Command,
    value::{is_quoted, without_line_break},
};

/// What is wrong with one setting, or with several that do not go together. Its `Display` holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The flags that it is about.
    about: Vec<String>,
    told: String,
}

impl Mistake {
    /// About these flags.
    #[must_use]
    pub fn new(about: &[&str], told: impl Into<String>) -> Self {
        Self {
            about: about.iter().map(ToString::to_string).collect(),
            told: told.into(),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told)
    }
}

/// The variable of a flag whose own is not to be read: nobody can set one with such a name from a shell.
const NO_VARIABLE: &str = "left out";

/// Why the program does not run.
pub(super) enum Refusal {
    /// What clap says itself: help, the version, a subcommand that there is not.
    Clap(clap::Error),
    /// Settings that cannot be used.
    Mistakes(Vec<Mistake>),
}

/// Reads what was given, and goes on past each setting that cannot be used, to find the others.
pub(super) fn read(
    arguments: Vec<OsString>,
    check: impl FnOnce(&Command) -> Vec<Mistake>,
) -> Result<Cli, Refusal> {
    let mut reading = Reading {
        command: Cli::command(),
        arguments,
        shortened: BTreeMap::new(),
        trimmed: Vec::new(),
        left_out: BTreeSet::new(),
        mistakes: Vec::new(),
    };
    reading.clean_arguments();
    reading.clean_variables();
    let cli = loop {
        let parsed = reading.command.clone();
        let parsed = parsed.try_get_matches_from(&reading.arguments);
        match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
            Ok(cli) => break Some(cli),
            Err(error) => match reading.pass(&error) {
                Pass::On => {}
                Pass::End => break None,
                Pass::No => return Err(Refusal::Clap(error)),
            },
        }
    };
    let mut mistakes = reading.mistakes;
    if let Some(cli) = &cli {
        // What was left out may be missed, or its default may contradict: neither is the operator's mistake.
        let known = |mistake: &Mistake| !mistake.about.iter().any(|f| reading.left_out.contains(f));
        mistakes.extend(check(&cli.command).into_iter().filter(known));
    }
    match cli {
        Some(cli) if mistakes.is_empty() => Ok(Cli {
            trimmed: reading.trimmed,
            ..cli
        }),
        _ => Err(Refusal::Mistakes(mistakes)),
    }
}

/// What is read, less what cannot be used.
struct Reading {
    command: clap::Command,
    arguments: Vec<OsString>,
    /// By their flags: the values of variables that end in a line break, without it.
    shortened: BTreeMap<String, String>,
    /// The variables and flags whose value ended in a line break.
    trimmed: Vec<String>,
    /// The flags that cannot be used, left out wherever they were given.
    left_out: BTreeSet<String>,
    mistakes: Vec<Mistake>,
}

/// Whether more can be read after an error.
enum Pass {
    On,
    End,
    No,
}

impl Reading {
    /// Takes the line break off each flag's value, and rejects a value in quotes.
    fn clean_arguments(&mut self) {
        let mut flag = None;
        let mut quoted = Vec::new();
        for argument in self.arguments.iter_mut().skip(1) {
            let before = flag.take();
            let Some(text) = argument.to_str() else {
                continue;
            };
            let (name, value) = match text.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name.to_owned(), value),
                _ if text.starts_with("--") => {
                    flag = Some(text.to_owned());
                    continue;
                }
                _ => match before {
                    Some(name) => (name, text),
                    None => continue,
                },
            };
            let shorter = without_line_break(value);
            if is_quoted(shorter.unwrap_or(value)) {
                quoted.push(name);
            } else if let Some(shorter) = shorter {
                let begin = text.strip_suffix(value).unwrap_or_default();
                *argument = format!("{begin}{shorter}").into();
                self.trimmed.push(name);
            }
        }
        for name in quoted {
            let flag = name.trim_start_matches('-').to_owned();
            let setting = find(&self.command, &flag).filter(|arg| arg.get_env().is_some());
            if let Some(arg) = setting.cloned() {
                self.reject_quotes(&flag, &named(&arg, true));
                self.without(&name, arg.get_action().takes_values());
            }
        }
        self.command = self.command();
    }

    /// The same for each variable that the subcommand reads. A flag goes before its variable.
    fn clean_variables(&mut self) {
        let variables: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        let original = Cli::command();
        let mut used = &original;
        for argument in self.arguments.iter().skip(1) {
            used = used.find_subcommand(argument).unwrap_or(used);
        }
        for arg in used.get_arguments() {
            let flag = arg.get_long().unwrap_or_default();
            let name = format!("--{flag}");
            let given = arg.get_env().and_then(|variable| variables.get(variable));
            let (Some(value), Some(variable)) =
                (given.and_then(|value| value.to_str()), arg.get_env())
            else {
                continue;
            };
            if self.left_out.contains(flag)
                || self.arguments.iter().any(|given| is_flag(given, &name))
            {
                continue;
            }
            let shorter = without_line_break(value);
            if is_quoted(shorter.unwrap_or(value)) {
                self.reject_quotes(flag, &named(arg, false));
            } else if let Some(shorter) = shorter {
                self.shortened.insert(flag.to_owned(), shorter.to_owned());
                self.trimmed.push(variable.to_string_lossy().into_owned());
            }
        }
        self.command = self.command();
    }

    fn reject_quotes(&mut self, flag: &str, setting: &str) {
        let told = format!(
            "{setting} is in quotes, which count as part of the value: leave them out (docker's --env-file keeps them)"
        );
        if self.left_out.insert(flag.to_owned()) {
            self.mistakes.push(Mistake::new(&[flag], told));
        }
    }

    /// The command, which reads no variable of what was left out, nor a value with a line break.
    fn command(&self) -> clap::Command {
        let command = Cli::command();
        let command = self.left_out.iter().fold(command, |command, flag| {
            change(command, flag, &|arg| arg.env(NO_VARIABLE))
        });
        let shortened = self.shortened.iter();
        let shortened = shortened.filter(|(flag, _)| !self.left_out.contains(*flag));
        // There is no other way to hand clap a value that is in no variable.
        shortened.fold(command, |command, (flag, value)| {
            change(command, flag, &|arg| {
                let takes_value = arg.get_action().takes_values();
                let arg = arg.env(NO_VARIABLE).required(false);
                arg.default_value(value.clone())
                    .hide_default_value(takes_value)
            })
        })
    }

    fn pass(&mut self, error: &clap::Error) -> Pass {
        let refused = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(refused)) => refused.clone(),
            Some(ContextValue::Strings(missing)) => return self.miss(missing),
            _ => String::new(),
        };
        let name = refused.split(['=', ' ', '[']).next().unwrap_or_default();
        let flag = name.strip_prefix("--").unwrap_or_default();
        let known = find(&self.command, flag).cloned();
        match (error.kind(), known) {
            (ErrorKind::UnknownArgument, known) if self.left_out.insert(name.to_owned()) => {
                let meant = match error.get(ContextKind::SuggestedArg) {
                    _ if known.is_some() => "give it after the command that takes it".to_owned(),
                    Some(ContextValue::String(meant)) => format!("did you mean {meant}?"),
                    _ => "see --help for what there is".to_owned(),
                };
                // What stands there without a flag may be a secret whose flag was forgotten.
                let what = if name.starts_with('-') {
                    name
                } else {
                    "an argument without a flag"
                };
                let told = format!("{what} is not known here: {meant}");
                self.left_out.insert(flag.to_owned());
                self.mistakes.push(Mistake::new(&[flag], told));
                self.without(name, !flag.is_empty());
                Pass::On
            }
            (_, Some(arg)) if self.left_out.insert(flag.to_owned()) => {
                let told = self.value(error, &arg);
                self.mistakes.push(Mistake::new(&[flag], told));
                self.without(name, arg.get_action().takes_values());
                self.command = self.command();
                Pass::On
            }
            _ if self.mistakes.is_empty() => Pass::No,
            _ => Pass::End,
        }
    }

    /// What a value is, and what to give instead.
    fn value(&self, error: &clap::Error, arg: &Arg) -> String {
        let flag = arg.get_long().unwrap_or_default();
        let name = format!("--{flag}");
        let given_as_flag = self.arguments.iter().any(|given| is_flag(given, &name));
        let original = Cli::command();
        let setting = named(find(&original, flag).unwrap_or(arg), given_as_flag);
        let given = match error.get(ContextKind::InvalidValue) {
            // A key that was pasted where a file is asked for is a secret too.
            _ if arg.is_hide_env_values_set() || arg.get_id() == "jwt_public_key" => String::new(),
            Some(ContextValue::String(given)) => format!(" is {given:?}"),
            _ => String::new(),
        };
        let instead = match error.get(ContextKind::ValidValue) {
            _ if error.kind() == ErrorKind::ArgumentConflict => "give it once".to_owned(),
            _ if error.kind() == ErrorKind::TooManyValues => {
                "give the flag by itself, or not at all".to_owned()
            }
            Some(ContextValue::Strings(valid)) if !valid.is_empty() => {
                format!("give one of {}", valid.join(", "))
            }
            _ => match std::error::Error::source(error) {
                Some(reason) => reason.to_string(),
                None => "give a value".to_owned(),
            },
        };
        format!("{setting}{given}: {instead}")
    }

    /// What is needed, and not there: unless it was left out, or may have been taken for an unknown flag's value.
    fn miss(&mut self, missing: &[String]) -> Pass {
        if self.mistakes.is_empty() && missing.iter().any(|name| !name.starts_with("--")) {
            return Pass::No;
        }
        for name in missing {
            let flag = name.split(' ').next().unwrap_or_default();
            let flag = flag.trim_start_matches("--");
            if let Some(arg) = find(&self.command, flag)
                && !self.left_out.contains(flag)
            {
                let variable = arg.get_env().map(|name| name.to_string_lossy());
                let variable = variable.map_or(String::new(), |name| format!(" ({name})"));
                let told = format!("--{flag}{variable} is needed, and not given");
                self.mistakes.push(Mistake::new(&[flag], told));
            }
        }
        Pass::End
    }

    /// Takes a flag out of the arguments, with the value that follows it.
    fn without(&mut self, name: &str, has_value: bool) {
        let mut kept = Vec::new();
        let mut given = std::mem::take(&mut self.arguments).into_iter().peekable();
        while let Some(argument) = given.next() {
            if !is_flag(&argument, name) {
                kept.push(argument);
            } else if argument == name && has_value {
                given.next_if(|value| {
                    let value = value.to_string_lossy();
                    !value.starts_with("--") && !has_subcommand(&self.command, &value)
                });
            }
        }
        self.arguments = kept;
    }
}

/// Whether an argument is this flag, by itself or with a value.
fn is_flag(argument: &OsString, flag: &str) -> bool {
    let argument = argument.to_string_lossy();
    let rest = argument.strip_prefix(flag);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

fn find<'a>(command: &'a clap::Command, flag: &str) -> Option<&'a Arg> {
    let own = command.get_arguments().find(|a| a.get_long() == Some(flag));
    let mut below = command.get_subcommands();
    own.or_else(|| below.find_map(|command| find(command, flag)))
}

fn has_subcommand(command: &clap::Command, name: &str) -> bool {
    let mut below = command.get_subcommands();
    below.any(|below| below.get_name() == name || has_subcommand(below, name))
}

/// A setting by its flag and its variable, first the one that was used.
fn named(arg: &Arg, given_as_flag: bool) -> String {
    let flag = format!("--{}", arg.get_long().unwrap_or_default());
    match arg.get_env().map(|name| name.to_string_lossy()) {
        Some(variable) if given_as_flag => format!("{flag} ({variable})"),
        Some(variable) => format!("{variable} ({flag})"),
        None => flag,
    }
}

/// The same command with another definition of this flag, in each subcommand that has it.
fn change(command: clap::Command, flag: &str, by: &impl Fn(Arg) -> Arg) -> clap::Command {
    let names: Vec<String> = command
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    let own = command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(flag));
    let own = own.map(|arg| arg.get_id().clone());
    let command = match own {
        Some(id) => command.mut_arg(id, by),
        None => command,
    };
    names.iter().fold(command, |command, name| {
        command.mut_subcommand(name, |below| change(below, flag, by))
    })
}
