//! What the record knows and status does not: an object that was restored must not promote what had been rolled back.
//!
//! A backup, or a `kubectl create` of an old manifest, brings back a deployment without status, or with the status of an earlier
//! time. Both look like work to be done. So until something serves, each attempt that would begin asks the record what was decided
//! about its namespace and name, whatever the uid then was; and so does one whose number is taken on the record, because that is how
//! an older status shows. If the newest decision about a revision took it back, for a reason that was its own, the revision is
//! held: `PreviouslyRolledBack`, until a person asks for `retry` or the spec asks for another one.
//!
//! A rollback goes onto the record *after* the status write that decides it. So a rollback there with a number that status has not
//! reached is of a status that is gone.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::pass::Pass;
use super::settle;
use crate::api::model_deployment::{Cause, ModelDeploymentStatus};
use crate::audit::{Entry, EntryKind, is_of_words};

/// The decision that holds a revision; a later one about it that is none of these lets it go.
pub(super) const HOLD_BACK: &str = "HoldBack";
/// Decisions that take a revision back, on the record after the status write that decides them.
const BACK: [&str; 2] = ["RollBack", "Recall"];

/// What the record knows of a namespace and name.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum History {
    /// Status knows better.
    #[default]
    NotAsked,
    /// It was asked and has not answered since then.
    Unknown(DateTime<Utc>),
    /// The newest entries, newest first.
    Known(Vec<Entry>),
}

/// Whether the record has to be asked before anything is decided.
#[must_use]
pub fn must_ask(status: Option<&ModelDeploymentStatus>, lost: &[Entry]) -> bool {
    let may_begin_first = |it: &ModelDeploymentStatus| {
        it.stable.is_none() && it.attempt.as_ref().is_none_or(|attempt| !attempt.state.is_active())
    };
    status.is_none_or(may_begin_first) || !lost.is_empty()
}

/// The newest decision about a revision that took effect or may have, if it was to take the revision back and that
/// is the revision's own fault. What people have said of it since changes nothing of that.
fn taken_back<'a>(history: &'a [Entry], revision: &str) -> Option<&'a Entry> {
    let given_up: BTreeSet<(&str, i64)> =
        history.iter().filter(|it| it.kind == EntryKind::Void).map(|it| (it.uid.as_str(), it.sequence)).collect();
    let about = |it: &&Entry| {
        it.kind == EntryKind::Intent
            && it.revision == revision
            && !is_of_words(&it.decision)
            && !given_up.contains(&(it.uid.as_str(), it.sequence))
    };
    let newest = history.iter().find(about)?;
    match newest.decision.as_str() {
        HOLD_BACK => Some(newest),
        decision if BACK.contains(&decision) => cause(newest).is_some_and(Cause::is_sticky).then_some(newest),
        _ => None,
    }
}

/// A rollback's reason begins with its cause.
fn cause(entry: &Entry) -> Option<Cause> {
    let (cause, _) = entry.reason.split_once(':')?;
    serde_json::from_value(cause.into()).ok()
}

impl Pass<'_> {
    fn history(&self) -> &[Entry] {
        match &self.observed.history {
            History::Known(entries) => entries,
            History::NotAsked | History::Unknown(_) => &[],
        }
    }

    /// The record of the rollback because of which a revision is not tried by itself under this name.
    pub(super) fn rolled_back_before(&self, revision: &str) -> Option<String> {
        let before = taken_back(self.history(), revision)?;
        Some(format!("under this name on {}: {}", before.time.format("%FT%TZ"), before.reason))
    }

    /// The record of a rollback of a revision that this very object decided and does not know of.
    pub(super) fn rolled_back_later(&self, revision: &str) -> Option<String> {
        let uid = self.resource.metadata.uid.as_deref().unwrap_or_default();
        let before = taken_back(self.history(), revision)?;
        // What this status has decided and not recorded yet may have taken the same number.
        let is_unknown = |known: &ModelDeploymentStatus| settle::is_lost(known, before);
        // That it is held went onto the record *before* the status write: one that was lost is decided again.
        let is_lost_hold = before.decision == HOLD_BACK;
        let unknown = before.uid == uid && self.resource.status.as_ref().is_none_or(is_unknown) && !is_lost_hold;
        unknown.then(|| self.rolled_back_before(revision))?
    }

    /// Whether an intent that status does not know of took effect all the same, in a status that is gone.
    pub(super) fn took_effect(&self, intent: &Entry) -> bool {
        let same = |it: &&Entry| (&it.uid, it.sequence) == (&intent.uid, intent.sequence);
        BACK.contains(&intent.decision.as_str())
            || self.history().iter().filter(same).any(|it| it.kind == EntryKind::Outcome)
    }

    /// Why nothing may begin: the record does not say what was decided before.
    pub(super) fn unknown_history(&self) -> Option<String> {
        match &self.observed.history {
            History::Unknown(since) => Some(format!(
                "the audit log does not say since {} whether a revision of this name was rolled back before: nothing begins or advances, rollback still works; the operator's log says why",
                since.format("%FT%TZ")
            )),
            History::NotAsked | History::Known(_) => None,
        }
    }
}
