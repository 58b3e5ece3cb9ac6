//! What is on the audit log of the decision that `kubectl werkbank why` explains, and that it is on it: the last lines of the explanation.

use clap::Args;

use super::CliError;
use super::audit::bar::Bar;
use super::audit::verifiers;
use super::audit::verify::told;
use crate::api::ModelDeployment;
use crate::audit::proof::{NoProof, of_number};

/// Where the record is, and whom it is believed.
#[derive(Debug, Args)]
pub struct Record {
    /// Show the last decision's entries on the audit log, and prove that they are on it: file:///dir or s3://bucket/prefix
    #[arg(long, value_name = "URL", env = "WERKBANK_AUDIT_LOG", requires = "keys")]
    audit_log: Option<String>,
    /// The log's public key, or a file with one in each line; several while keys change
    #[arg(id = "keys", long = "key", value_name = "KEY", env = "WERKBANK_AUDIT_KEY")]
    keys: Vec<String>,
}

/// The lines; none if nobody asks for them, or nothing has been decided.
pub(super) async fn lines(record: &Record, deployment: &ModelDeployment) -> Result<String, CliError> {
    let attempt = deployment.status.as_ref().and_then(|it| it.attempt.as_ref());
    let (Some(url), Some(attempt)) = (&record.audit_log, attempt) else { return Ok(String::new()) };
    let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
    let keys = verifiers(&record.keys).map_err(CliError::Record)?;
    let mut bar = Bar::new();
    let bundle = of_number(url, uid, attempt.decided, &keys, |read| bar.read(read)).await;
    drop(bar);
    let bundle = match bundle.map_err(|error| CliError::Record(error.to_string()))? {
        Ok(bundle) => bundle,
        // It will be there: that is no failure of what was asked for.
        Err(error @ (NoProof::Unsigned(_) | NoProof::Unknown(_))) => {
            return Ok(format!("  recorded  not yet: {error}\n"));
        }
        Err(error) => return Err(CliError::Record(error.to_string())),
    };
    let (checkpoint, entries) = bundle.check(&keys).map_err(|error| CliError::Record(error.to_string()))?;
    let mut lines = String::new();
    for (entry, proven) in entries.iter().zip(&bundle.entries) {
        lines.push_str(&format!(
            "  recorded  {}            entry {}, at {} of {} under the checkpoint of {}: proved\n",
            told(entry),
            entry.id(),
            proven.index,
            checkpoint.size,
            checkpoint.origin
        ));
    }
    Ok(lines)
}
