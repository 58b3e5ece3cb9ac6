//! `werkbank audit verify`: the whole log, or one decision's proof.

use std::path::PathBuf;

use clap::Args;

use super::bar::Bar;
use super::list::plain;
use super::{End, Keys};
use crate::audit::proof::{Bundle, NoProof};
use crate::audit::verify::{Unverified, Verified, verify};
use crate::audit::{Entry, is_of_words};

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// Where the log is: file:///dir or s3://bucket/prefix
    #[arg(required_unless_present = "proof", conflicts_with = "proof")]
    log: Option<String>,
    /// A proof bundle that `werkbank audit export` wrote: verified by itself, without the log
    #[arg(long)]
    proof: Option<PathBuf>,
    /// A copy of an earlier checkpoint of the log: verify that the log still begins with what it says
    #[arg(long, conflicts_with = "proof")]
    since: Option<PathBuf>,
    /// Say of the entry with this id, too, that it is on the log
    #[arg(long, conflicts_with = "proof")]
    entry: Option<String>,
    #[command(flatten)]
    keys: Keys,
}

pub(super) async fn run(arguments: &VerifyArguments) -> Result<String, End> {
    let verifiers = arguments.keys.verifiers()?;
    if let Some(path) = &arguments.proof {
        let text =
            std::fs::read_to_string(path).map_err(|error| End::Arguments(format!("{}: {error}", path.display())))?;
        let (checkpoint, entries) = Bundle::parse(&text).and_then(|it| it.check(&verifiers)).map_err(no_proof)?;
        let entries: String = entries.iter().map(told).collect();
        return Ok(format!(
            "{entries}on the log {}, under its checkpoint of {} entries. That there is no more of this decision is not proved\n",
            checkpoint.origin, checkpoint.size
        ));
    }
    let log = arguments.log.as_deref().unwrap_or_default();
    let mut bar = Bar::new();
    let earlier = arguments.since.as_ref().map(std::fs::read).transpose();
    let earlier = earlier.map_err(|error| End::Arguments(format!("--since: {error}")))?;
    let verified = verify(log, &verifiers, earlier.as_deref(), |done, of| bar.at(done, of)).await;
    drop(bar);
    let verified = verified.map_err(|error| End::Arguments(error.to_string()))?.map_err(unverified)?;
    let mut page = page(&verified);
    if let Some(id) = &arguments.entry {
        let bundle = super::export::bundle(log, id, &verifiers).await?;
        let (_, entries) = bundle.check(&verifiers).map_err(no_proof)?;
        page.extend(entries.iter().map(told));
    }
    Ok(page)
}

fn page(verified: &Verified) -> String {
    let Verified { checkpoint, signed_by, since, beyond, slots } = verified;
    let since = since.map(|size| format!("it begins with the {size} entries of the earlier checkpoint\n"));
    let since = since.unwrap_or_default();
    let beyond = match beyond {
        0 => String::new(),
        count => format!("; {count} more in slots, which no checkpoint covers yet"),
    };
    format!(
        "verified: {} entries of the log {}, signed by {}\n{slots} slots hold the same entries{beyond}\n{since}",
        checkpoint.size,
        checkpoint.origin,
        signed_by.join(" and "),
    )
}

/// An entry in a line.
pub(in crate::cli) fn told(entry: &Entry) -> String {
    let Entry { kind, decision, subject_kind, namespace, name, revision, weight, time, reason, .. } = entry;
    let what = if is_of_words(decision) { "said" } else { "approved" };
    let approved = entry.consents.iter().map(|it| format!("; {what} as {} by {}", it.role, it.actor));
    let asked = (!entry.asked_by.is_empty()).then(|| format!("; asked for by {}", entry.asked_by));
    let people: String = approved.chain(asked).collect();
    let to = if revision.is_empty() { String::new() } else { format!(", {revision} at {weight}") };
    let time = time.format("%Y-%m-%dT%H:%M:%SZ");
    plain(&format!("{time} {kind:?} {decision} of {subject_kind} {namespace}/{name}{to}: {reason}{people}")) + "\n"
}

fn unverified(error: Unverified) -> End {
    match error {
        Unverified::Wrong { findings, count } => {
            let more = count - findings.len().min(count);
            let mut lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
            lines.extend((more > 0).then(|| format!("and {more} more")));
            End::Wrong(format!("the log is not what was signed:\n  {}", lines.join("\n  ")))
        }
        Unverified::Unread(why) | Unverified::Nothing(why) => End::Unread(why),
    }
}

/// How a proof that is none ends the command.
pub(super) fn no_proof(error: NoProof) -> End {
    match error {
        NoProof::Unread(why) => End::Unread(why),
        NoProof::Unknown(_) | NoProof::Unsigned(_) => End::Unknown(error.to_string()),
        NoProof::Damaged(why) => End::Wrong(why),
        NoProof::Checkpoint(_) | NoProof::Malformed(_) | NoProof::Elsewhere(_) => {
            End::Wrong(format!("nothing is proved: {error}"))
        }
    }
}
