//! Whether there is a way out of a vendor: the model that takes its place is registered, ready, does the same, is allowed the same, and
//! has been examined as the vendor's entry says.
//!
//! Each finding has a reason of its own in the condition `ExitReady`; the first gives it, and the message holds them all.
//!
//! | reason | found when |
//! |---|---|
//! | `FallbackNotFound` | there is no such entry |
//! | `FallbackUnreadable` | there is one that does not fit the CRD, so that nobody knows what it says |
//! | `FallbackWithoutEnd` | vendors fall back on each other in a circle, or more than [`MOST`] stand behind the entry's |
//! | `FallbackRetired` | nothing begins with it: it is revoked, deprecated, being deleted, or rests on data that is too old |
//! | `FallbackOfAnotherKind` | it does something else |
//! | `FallbackTooNarrow`, `FallbackTooWide`, `FallbackUndocumented` | see [`terms`] |
//! | `FallbackUnproven` | none of its evaluations has the digest of `exit.evidence` |
//! | `FallbackNotReady` | it waits for something itself: an approval, its artifact, an exit of its own |
//!
//! An exit that is lost takes nothing away from what is used: it keeps the entry from being `Ready`, and so from being begun with.

mod terms;

use std::sync::Arc;

use kube::ResourceExt;

use crate::api::ModelRegistryEntry;
use crate::api::condition::{self, ConditionStatus};
use crate::api::model_registry_entry::{Lifecycle, ModelRegistryEntrySpec};
use crate::decide::Missing;
use crate::decide::governance::time;

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

/// Whether those who fall back on an entry look at it again when it has become what it is: what else they read of it never changes.
#[must_use]
pub fn is_news(before: &ModelRegistryEntry, now: &ModelRegistryEntry) -> bool {
    let of = |it: &ModelRegistryEntry| {
        (it.uid(), it.spec.lifecycle(), it.metadata.deletion_timestamp.is_some(), Standing::of(it))
    };
    of(before) != of(now)
}

/// What was said of an entry when it was looked at last. What can be changed since bars nothing but what `lifecycle` says, which is
/// read by itself; and whoever looks again tells.
#[derive(PartialEq)]
struct Standing {
    ready: bool,
    stalled: bool,
    reason: String,
}

impl Standing {
    fn of(entry: &ModelRegistryEntry) -> Option<Self> {
        let conditions = &entry.status.as_ref()?.conditions;
        let holds = |type_| condition::find(conditions, type_).filter(|it| it.status == ConditionStatus::True);
        let reason = condition::find(conditions, "Ready")?.reason.clone();
        Some(Self { ready: holds("Ready").is_some(), stalled: holds("Stalled").is_some(), reason })
    }
}

/// What an exit leads through.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// The entries behind this one, as they follow, [`MOST`] and one more at most.
    pub behind: Vec<Arc<ModelRegistryEntry>>,
    /// Whether the one behind the last of them is there, and does not fit its type.
    pub is_unreadable: bool,
}

/// `None`: nobody has to leave. Otherwise what shows that one can, or what is missing.
pub(super) fn look(entry: &ModelRegistryEntry, way: &Way) -> Option<Result<String, Missing>> {
    let name = fallback_of(&entry.spec)?;
    let Some(fallback) = way.behind.first().filter(|it| it.name_any() == name) else {
        return Some(Err(not_there(name, way.is_unreadable)));
    };
    let all = [
        without_end(entry, &way.behind),
        retired(name, fallback),
        of_another_kind(entry, fallback),
        terms::too_narrow(entry, fallback),
        terms::too_wide(entry, &way.behind),
        terms::undocumented(entry, &way.behind),
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

fn not_there(name: &str, is_unreadable: bool) -> Missing {
    if is_unreadable {
        let message = format!(
            "spec.vendor.exit.fallbackRef: ModelRegistryEntry {name} is there, and does not fit its CRD: bring operator and CRDs to the same version, or register it anew"
        );
        return final_("FallbackUnreadable", message);
    }
    let message = format!(
        "spec.vendor.exit.fallbackRef: there is no ModelRegistryEntry {name} in this namespace; register the one that takes its place"
    );
    final_("FallbackNotFound", message)
}

fn without_end(entry: &ModelRegistryEntry, behind: &[Arc<ModelRegistryEntry>]) -> Option<Missing> {
    let names: Vec<String> = [entry.name_any()].into_iter().chain(behind.iter().map(|it| it.name_any())).collect();
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
    let leads_on = behind.iter().filter(|it| fallback_of(&it.spec).is_some()).count() > MOST;
    leads_on.then(|| {
        let message = format!("spec.vendor.exit leads through more than {MOST} other vendors, one behind the other: in the end must stand a model of your own; {ANOTHER}");
        final_("FallbackWithoutEnd", message)
    })
}

fn retired(name: &str, fallback: &ModelRegistryEntry) -> Option<Missing> {
    let is_old = || Standing::of(fallback).is_some_and(|it| it.reason == time::TOO_OLD);
    let (what, to_do) = match fallback.spec.lifecycle() {
        Lifecycle::Revoked => ("is revoked", ANOTHER.to_owned()),
        Lifecycle::Deprecated => ("is deprecated", format!("{ANOTHER}, or make {name} Active again")),
        Lifecycle::Active if fallback.metadata.deletion_timestamp.is_some() => ("is being deleted", ANOTHER.to_owned()),
        Lifecycle::Active if is_old() => ("rests on data that is too old by now", ANOTHER.to_owned()),
        Lifecycle::Active => return None,
    };
    let message = format!("spec.vendor.exit.fallbackRef: entry {name} {what}, and takes nobody's place; {to_do}");
    Some(final_("FallbackRetired", message))
}

fn of_another_kind(entry: &ModelRegistryEntry, fallback: &ModelRegistryEntry) -> Option<Missing> {
    let (ours, its) = (entry.spec.model.kind, fallback.spec.model.kind);
    let message = || {
        let name = fallback.name_any();
        format!("spec.vendor.exit.fallbackRef: entry {name} is of kind {its:?}, and this one of {ours:?}; {ANOTHER}")
    };
    (ours != its).then(|| final_("FallbackOfAnotherKind", message()))
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

/// As final as whatever the fallback waits for: what needs a person there needs one here.
fn not_ready(name: &str, fallback: &ModelRegistryEntry) -> Option<Missing> {
    let (why, is_final) = match Standing::of(fallback) {
        Some(Standing { ready: true, .. }) => return None,
        Some(Standing { reason, stalled, .. }) => (format!("is not ready ({reason})"), stalled),
        None => ("has not been looked at yet".to_owned(), false),
    };
    let message = format!("entry {name}, which takes its place, {why}: its own conditions say what to do");
    Some(Missing { reason: "FallbackNotReady", message, is_final })
}

#[cfg(test)]
mod tests;
