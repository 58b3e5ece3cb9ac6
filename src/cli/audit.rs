//! `werkbank audit`: the audit log for who keeps it and who checks it.
//!
//! None of it talks to a cluster: a log is read where it is stored, and believed as far as its key has signed it. Whoever has a
//! proof bundle and the public key needs not even the log.

pub(super) mod bar;
mod export;
mod forget;
mod key;
mod list;
#[cfg(test)]
mod tests;
pub(super) mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::audit::tlog::note::Verifier;

const EXIT_CODES: &str = "Exit codes: 0 done, and what was to be verified is; 1 the log, or the proof, is not what was signed; \
2 wrong arguments; 3 the log cannot be read, or there is none that is signed; 4 no such entry, or nobody of that name.";

/// The audit log.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct AuditArguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key that signs the log, as a Secret for the operator.
    Key(key::KeyArguments),
    /// Verify the log, or with --proof what export wrote: that it is what its key has signed.
    Verify(verify::VerifyArguments),
    /// Show what is on the log.
    List(list::ListArguments),
    /// Write a decision with its proof, to be verified by somebody who has only the public key.
    Export(export::ExportArguments),
    /// Delete what is kept of a person, so that nobody can tell any more which entries are theirs; the log still verifies.
    Forget(forget::ForgetArguments),
}

/// The public keys that are believed.
#[derive(Debug, Args)]
struct Keys {
    /// The log's public key, or a file with one in each line; several while keys change
    #[arg(long = "key", env = "WERKBANK_AUDIT_KEY", required = true)]
    keys: Vec<String>,
}

impl Keys {
    fn verifiers(&self) -> Result<Vec<Verifier>, End> {
        verifiers(&self.keys).map_err(End::Arguments)
    }
}

/// The public keys of a log, each given as it is or as a file of them.
///
/// # Errors
/// One is none, there is none at all, or they are of different logs.
pub(super) fn verifiers(keys: &[String]) -> Result<Vec<Verifier>, String> {
    let mut verifiers = Vec::new();
    for given in keys {
        if let Ok(verifier) = Verifier::parse(given) {
            verifiers.push(verifier);
            continue;
        }
        let text = std::fs::read_to_string(given).map_err(|error| {
            format!("--key {given} is no public key (<name>+<id>+<key>), and cannot be read as a file of keys: {error}")
        })?;
        for line in text.lines().filter(|it| !it.trim().is_empty() && !it.starts_with('#')) {
            verifiers.push(Verifier::parse(line).map_err(|error| format!("{given}: {error}"))?);
        }
    }
    let Some(first) = verifiers.first() else { return Err("--key names no key".into()) };
    let origin = &first.id().name;
    match verifiers.iter().find(|it| it.id().name != *origin) {
        Some(other) => {
            let other = &other.id().name;
            Err(format!("the keys are of {origin} and of {other}: one log at a time"))
        }
        None => Ok(verifiers),
    }
}

/// Why a command ends without having done it.
#[derive(Debug)]
enum End {
    /// It is not what was signed.
    Wrong(String),
    Arguments(String),
    Unread(String),
    Unknown(String),
}

impl End {
    /// The exit code, and why.
    fn told(&self) -> (u8, &str) {
        match self {
            Self::Wrong(why) => (1, why),
            Self::Arguments(why) => (2, why),
            Self::Unread(why) => (3, why),
            Self::Unknown(why) => (4, why),
        }
    }
}

/// Runs it.
pub async fn run(arguments: AuditArguments) -> ExitCode {
    let printed = done(arguments.command).await.and_then(|text| {
        super::print(&mut std::io::stdout().lock(), &text).map_err(|error| End::Unread(error.to_string()))
    });
    let Err(end) = printed else { return ExitCode::SUCCESS };
    let (code, why) = end.told();
    eprintln!("werkbank audit: {why}");
    ExitCode::from(code)
}

/// What it prints.
async fn done(command: Command) -> Result<String, End> {
    match command {
        Command::Key(arguments) => key::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments).await,
        Command::List(arguments) => list::run(&arguments).await,
        Command::Export(arguments) => export::run(&arguments).await,
        Command::Forget(arguments) => forget::run(&arguments).await,
    }
}
