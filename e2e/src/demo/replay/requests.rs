//! The recorded requests: what is sent, and apart from it what happened next.

use std::path::Path;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// One customer on one morning.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    /// The request's body; the outcome is not in it.
    pub(super) request: Bytes,
    /// Whether the customer bought again within the horizon.
    pub(super) bought: bool,
}

#[derive(Deserialize)]
struct Line<'a> {
    snapshot: String,
    #[serde(borrow)]
    request: &'a RawValue,
    outcome: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    bought: bool,
}

/// Reads `requests.jsonl`, refusing a file that is not in time order.
pub(super) async fn read(path: &Path) -> anyhow::Result<Vec<Recorded>> {
    let text = tokio::fs::read_to_string(path)
        .await
        .with_context(|| format!("cannot read {}; write it with examples/churn/train.py", path.display()))?;
    let mut recorded = Vec::new();
    let mut before = String::new();
    for (n, line) in (1..).zip(text.lines()) {
        let line: Line<'_> = serde_json::from_str(line).with_context(|| {
            format!("line {n} of {} is not a recorded request; write it with examples/churn/train.py", path.display())
        })?;
        ensure!(line.snapshot >= before, "line {n} of {} goes back in time; sort it by snapshot", path.display());
        before = line.snapshot;
        let request = Bytes::copy_from_slice(line.request.get().as_bytes());
        recorded.push(Recorded { request, bought: line.outcome.bought });
    }
    ensure!(!recorded.is_empty(), "{} has no requests; write it with examples/churn/train.py", path.display());
    Ok(recorded)
}
