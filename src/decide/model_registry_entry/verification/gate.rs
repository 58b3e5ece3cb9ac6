//! What follows from what is known of an artifact: the condition of its entry, and whether it may be rolled out.

use super::answer::reason_of;
use super::{AWAITED, CONDITION, UNAVAILABLE, visible};
use crate::api::artifact_failure::ArtifactFailureReason as Reason;
use crate::api::verification::{FailedLook, Verification};
use crate::api::{ModelRegistryEntry, condition};
use crate::decide::Missing;
use crate::decide::live_job::LiveJob;

/// What is known of the artifact: that it is right, or what keeps it from being taken for that. `hindered`: why nobody looks, if somebody
/// should.
pub(super) fn conclude(
    known: &Verification,
    under_way: Option<&LiveJob>,
    hindered: Option<String>,
) -> Result<String, Missing> {
    let unseen = known.unseen.as_ref().map(|it| it.message.clone());
    let since = |message: String| match hindered.clone().or(unseen.clone()).or_else(|| stuck(under_way)) {
        Some(why) => format!("{message}; since then nobody could look at it: {why}"),
        None => message,
    };
    if let Some(FailedLook { reason, message, .. }) = &known.wrong {
        return Err(Missing { reason: named(reason), message: since(message.clone()), is_final: true });
    }
    if known.checked_at.is_some() {
        return Ok(since(format!("all {} bytes are the registered ones", known.bytes.unwrap_or_default())));
    }
    let needs_a_person = |it: &&FailedLook| reason_of(&it.reason).is_some_and(|it| !it.is_transient());
    if let Some(FailedLook { reason, message, .. }) = known.unseen.as_ref().filter(needs_a_person) {
        let message = hindered.map_or_else(|| message.clone(), |why| format!("{message}; nobody looks again: {why}"));
        return Err(Missing { reason: named(reason), message, is_final: true });
    }
    let before = unseen.map(|it| format!("; the last time: {it}")).unwrap_or_default();
    let message = hindered.unwrap_or_else(|| awaited(under_way));
    Err(Missing { reason: AWAITED, message: format!("{message}{before}"), is_final: false })
}

fn awaited(under_way: Option<&LiveJob>) -> String {
    let Some(it) = under_way else { return "a Job is about to read the artifact".into() };
    let name = it.name();
    stuck(under_way).unwrap_or_else(|| match it.pods.is_empty() {
        true => format!(
            "Job {name} has no pod yet; if that stays so, kubectl describe job {name} says which quota or policy is in the way"
        ),
        false => format!("Job {name} reads the artifact; status.artifact.reading of the entry says how far it is, and so does kubectl logs job/{name}"),
    })
}

/// Why a Job cannot begin, if somebody has to do something about that.
fn stuck(under_way: Option<&LiveJob>) -> Option<String> {
    let it = under_way?;
    let see = "; see artifact.secretRef, artifact.serviceAccountName and the operator's image";
    let see = if it.stuck().is_some() { see } else { "" };
    Some(format!("Job {} cannot begin: {}{see}", it.name(), it.why_stuck()?))
}

/// Of those that a Job can give, the operator's own word for it.
fn named(word: &str) -> &'static str {
    reason_of(word).map_or(UNAVAILABLE, Reason::as_str)
}

/// Whether a condition with this reason says that somebody has seen that it is wrong.
pub(super) fn is_verdict(reason: &str) -> bool {
    reason_of(reason).is_some_and(Reason::is_verdict)
}

/// Whether it is the reason of [`missing`].
#[must_use]
pub fn is_reason(reason: &str) -> bool {
    reason == AWAITED || reason == UNAVAILABLE || reason_of(reason).is_some()
}

/// What keeps a deployment from rolling the entry `name` out, where artifacts are verified.
#[must_use]
pub fn missing(name: &str, entry: &ModelRegistryEntry) -> Option<Missing> {
    visible(entry)?;
    let said = entry.status.as_ref().and_then(|it| condition::find(&it.conditions, CONDITION));
    match said {
        Some(it) if it.status == true.into() => None,
        Some(it) if it.reason != AWAITED => {
            let what =
                if is_verdict(&it.reason) { "is not the registered one, or not there" } else { "cannot be verified" };
            let message = format!("the artifact of entry {name} {what}: {}", it.message);
            Some(Missing { reason: named(&it.reason), message, is_final: true })
        }
        other => {
            let why = other.map(|it| format!(": {}", it.message)).unwrap_or_default();
            let message = format!("the artifact of entry {name} is not verified yet{why}");
            Some(Missing { reason: AWAITED, message, is_final: false })
        }
    }
}
