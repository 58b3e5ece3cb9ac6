//! `werkbank audit export`: a decision with its proof.

use clap::Args;

use super::bar::Bar;
use super::verify::no_proof;
use super::{End, Keys};
use crate::audit::proof::{Bundle, export};
use crate::audit::tlog::note::Verifier;

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// Where the log is: file:///dir or s3://bucket/prefix
    log: String,
    /// The decision's id, as events, logs and `werkbank audit list` have it
    #[arg(long)]
    entry: String,
    #[command(flatten)]
    keys: Keys,
}

/// The bundle on stdout.
pub(super) async fn run(arguments: &ExportArguments) -> Result<String, End> {
    let bundle = bundle(&arguments.log, &arguments.entry, &arguments.keys.verifiers()?).await?;
    let text = serde_json::to_string_pretty(&bundle).map_err(|error| End::Unread(error.to_string()))?;
    Ok(format!("{text}\n"))
}

pub(super) async fn bundle(log: &str, id: &str, verifiers: &[Verifier]) -> Result<Bundle, End> {
    let mut bar = Bar::new();
    let exported = export(log, id, verifiers, |read| bar.read(read)).await;
    drop(bar);
    let exported = exported.map_err(|error| End::Arguments(error.to_string()))?;
    exported.map_err(no_proof)
}
