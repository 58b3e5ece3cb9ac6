//! Whether there is a way out of a vendor: the model that takes its place is registered, ready, allowed the same, and has been
//! examined as the vendor's entry says.
//!
//! Each finding has a reason of its own in the condition `ExitReady`; the first gives it, and the message holds them all.
//!
//! | reason | found when |
//! |---|---|
//! | `FallbackNotFound` | there is no such entry |
//! | `FallbackWithoutEnd` | vendors fall back on each other in a circle, or more than [`MOST`] stand one behind the other |
//! | `FallbackRetired` | it is revoked, deprecated, or being deleted |
//! | `FallbackTooNarrow` | it may not be used for what, or where, the vendor's model may |
//! | `FallbackUnproven` | none of its evaluations has the digest of `exit.evidence` |
//! | `FallbackNotReady` | it waits for something itself: an approval, its artifact, an exit of its own |
//!
//! An exit that is lost takes nothing away from what is used: it keeps the entry from being `Ready`, and so from being begun with.

use std::sync::Arc;

use kube::ResourceExt;

use crate::api::ModelRegistryEntry;
use crate::api::condition::{self, ConditionStatus};
use crate::api::governance::Governance;
use crate::api::model_registry_entry::{Lifecycle, ModelRegistryEntrySpec};
use crate::decide::Missing;

/// The condition.
pub(super) const CONDITION: &str = "ExitReady";
/// Its reason when it holds.
pub(super) const READY: &str = "FallbackReady";

/// How many vendors may stand behind an entry's before a model of one's own does.
pub const MOST: usize = 8;

/// The name of the entry that takes this one's place, if it is a vendor's.
#[must_use]
pub fn fallback_of(spec: &ModelRegistryEntrySpec) -> Option<&str> {
    spec.vendor.as_ref().map(|it| it.exit.fallback_ref.name.as_str())
}

/// Whether those who fall back on an entry look at it again when it has become what it is.
#[must_use]
pub fn is_news(before: &ModelRegistryEntry, now: &ModelRegistryEntry) -> bool {
    let of =
        |it: &ModelRegistryEntry| (it.spec.clone(), it.uid(), it.metadata.deletion_timestamp.is_some(), readiness(it));
    of(before) != of(now)
}

/// Whether the entry is ready, and the reason; `None`: nobody has looked at it as it is.
fn readiness(entry: &ModelRegistryEntry) -> Option<(bool, String)> {
    let status = entry.status.as_ref()?;
    let ready = condition::find(&status.conditions, "Ready")?;
    let is_of_now = entry.metadata.generation.is_none_or(|it| it == ready.observed_generation);
    is_of_now.then(|| (ready.status == ConditionStatus::True, ready.reason.clone()))
}

/// What an exit leads through: the entries behind this one, as they follow, [`MOST`] and one more at most.
pub type Way = Vec<Arc<ModelRegistryEntry>>;

/// `None`: nobody has to leave. Otherwise what shows that one can, or what is missing.
pub(super) fn look(entry: &ModelRegistryEntry, way: &Way) -> Option<Result<String, Missing>> {
    let name = fallback_of(&entry.spec)?;
    let Some(fallback) = way.first().filter(|it| it.name_any() == name) else {
        let message = format!(
            "spec.vendor.exit.fallbackRef: there is no ModelRegistryEntry {name} in this namespace; register the one that takes its place"
        );
        return Some(Err(final_("FallbackNotFound", message)));
    };
    let all = [
        without_end(entry, way),
        retired(name, fallback),
        too_narrow(entry, fallback),
        unproven(entry, fallback),
        not_ready(name, fallback),
    ];
    let missing = Missing::together(all.into_iter().flatten());
    Some(missing.map_or_else(|| Ok(format!("entry {name} can take its place: it is ready, and examined")), Err))
}

fn final_(reason: &'static str, message: String) -> Missing {
    Missing { reason, message, is_final: true }
}

/// What to do where the spec would have to be another one.
const ANOTHER: &str = "the spec is immutable: register an entry with another exit under another name";

fn without_end(entry: &ModelRegistryEntry, way: &Way) -> Option<Missing> {
    let names: Vec<String> = [entry.name_any()].into_iter().chain(way.iter().map(|it| it.name_any())).collect();
    let is_seen_before = |(at, name): &(usize, &String)| names.iter().take(*at).any(|it| it == *name);
    if let Some((end, again)) = names.iter().enumerate().find(is_seen_before) {
        let circle: Vec<&str> =
            names.iter().take(end.saturating_add(1)).skip_while(|it| *it != again).map(String::as_str).collect();
        let message = format!(
            "spec.vendor.exit leads in a circle, {}: in the end must stand a model of your own; {ANOTHER}",
            circle.join(" → ")
        );
        return Some(final_("FallbackWithoutEnd", message));
    }
    let leads_on = way.iter().filter(|it| fallback_of(&it.spec).is_some()).count() > MOST;
    leads_on.then(|| {
        let message = format!("spec.vendor.exit leads through more than {MOST} vendors, one behind the other: in the end must stand a model of your own; {ANOTHER}");
        final_("FallbackWithoutEnd", message)
    })
}

fn retired(name: &str, fallback: &ModelRegistryEntry) -> Option<Missing> {
    let what = match fallback.spec.lifecycle() {
        Lifecycle::Revoked => "is revoked",
        Lifecycle::Deprecated => "is deprecated",
        Lifecycle::Active => fallback.metadata.deletion_timestamp.as_ref().map(|_| "is being deleted")?,
    };
    let message = format!("spec.vendor.exit.fallbackRef: entry {name} {what}, and takes nobody's place; {ANOTHER}");
    Some(final_("FallbackRetired", message))
}

/// What the entry may be used for, and where, that its fallback may not. Regions that nobody names are all.
fn too_narrow(entry: &ModelRegistryEntry, fallback: &ModelRegistryEntry) -> Option<Missing> {
    let of = |it: &ModelRegistryEntry| it.spec.governance.clone().unwrap_or_default();
    let (ours, its): (Governance, Governance) = (of(entry), of(fallback));
    let lacks = |mine: &[String], all: &[String]| mine.iter().find(|it| !all.contains(it)).cloned();
    let purpose = lacks(&ours.purposes, &its.purposes).map(|it| format!("be used for {it}"));
    let region = match (ours.regions.as_slice(), its.regions.as_slice()) {
        (_, []) => None,
        ([], _) => Some("run anywhere".to_owned()),
        (mine, all) => lacks(mine, all).map(|it| format!("run in {it}")),
    };
    let name = fallback.name_any();
    let what: Vec<String> = [purpose, region].into_iter().flatten().collect();
    let message = || {
        format!(
            "spec.vendor.exit.fallbackRef: entry {name} may not {}, as this one may; {ANOTHER}",
            what.join(", nor ")
        )
    };
    (!what.is_empty()).then(|| final_("FallbackTooNarrow", message()))
}

fn unproven(entry: &ModelRegistryEntry, fallback: &ModelRegistryEntry) -> Option<Missing> {
    let evidence = &entry.spec.vendor.as_ref()?.exit.evidence;
    let sha256 = evidence.strip_prefix("sha256:").unwrap_or(evidence);
    let is_there = fallback.spec.evaluations.iter().any(|it| it.sha256 == sha256);
    let message = || {
        format!(
            "spec.vendor.exit.evidence: entry {} has no evaluation with the digest {evidence}; {ANOTHER}",
            fallback.name_any()
        )
    };
    (!is_there).then(|| final_("FallbackUnproven", message()))
}

fn not_ready(name: &str, fallback: &ModelRegistryEntry) -> Option<Missing> {
    let why = match readiness(fallback) {
        Some((true, _)) => return None,
        Some((false, reason)) => format!("is not ready ({reason})"),
        None => "has not been looked at yet".to_owned(),
    };
    let message = format!("entry {name}, which takes its place, {why}: its own conditions say what to do");
    Some(Missing { reason: "FallbackNotReady", message, is_final: false })
}

#[cfg(test)]
mod tests;
