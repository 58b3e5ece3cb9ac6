//! What becomes of an intent that is on the trail although no status shows it.
//!
//! An intent is stored before the status write that puts it into effect, so a crash or a
//! conflict between the two leaves one that never took effect. Its number is spent: the trail
//! gives a place once. It is given up *in status*: a `Void` joins the queue of what is to be
//! recorded. That write is a compare-and-swap, so once it has won, the write that the intent
//! was waiting for can no longer win, however late it arrives. And it survives a crash.
//!
//! What took effect is not given up, though: if the record has its outcome, or if it is a rollback, which is recorded only
//! after its status write, then it is the status that is of an earlier time (see [`super::restored`]). Its number is spent all the same.
//! Which of the two it is, only the record says. So as long as that cannot be read, no number is given up, and nothing that waits for
//! the record is decided: whoever spent the number unread would never ask for it again.
//!
//! A decision that did not wait for the record, such as a rollback, may sit in that queue under the
//! same number. It took effect, but its place is gone: it gets the next free number, and so does what
//! was decided after it, so that numbers tell the order of decisions. It is recorded only in
//! the pass after, under the number that status holds by then: so it is recorded once. What was given up before is
//! recorded meanwhile: conflicts one after the other leave one note at a time.

use std::collections::BTreeMap;

use super::pass::Pass;
use crate::api::Weight;
use crate::api::model_deployment::{ModelDeploymentStatus, TrailNote};
use crate::audit::{Entry, EntryKind};

/// Whether this intent of the trail did not take effect, and nothing in status says so yet; or, of a number that a `Void` has closed, whether
/// anything in status would have it.
#[must_use]
pub fn is_lost(status: &ModelDeploymentStatus, intent: &Entry) -> bool {
    match queued(status, intent.sequence).and_then(|index| status.unrecorded.get(index)) {
        Some(_) if intent.kind == EntryKind::Void => true,
        Some(note) => !is_same_decision(note, intent),
        None => intent.sequence > status.sequence,
    }
}

/// Where the queue holds the decision of this number.
fn queued(status: &ModelDeploymentStatus, sequence: i64) -> Option<usize> {
    status.unrecorded.iter().position(|note| note.kind == EntryKind::Intent && note.sequence == sequence)
}

/// As the record sees it: what waits in the queue rests on nobody's approval.
fn is_same_decision(note: &TrailNote, intent: &Entry) -> bool {
    let TrailNote { attempt, decision, revision, asked_by, .. } = note.clone();
    let weight = note.weight.to_string();
    let noted = Entry { attempt, decision, revision, weight, asked_by, consents: Vec::new(), ..intent.clone() };
    noted.is_same_decision(intent)
}

impl Pass<'_> {
    /// Gives up the numbers of lost intents.
    pub(super) fn settle(&mut self) {
        if self.unknown_history().is_some() {
            self.is_settling = self.observed.memory.lost.iter().any(|it| is_lost(&self.status, it));
            return;
        }
        for intent in &self.observed.memory.lost {
            if !is_lost(&self.status, intent) {
                continue;
            }
            self.is_settling = true;
            self.status.sequence = self.status.sequence.max(intent.sequence);
            if let Some(first) = queued(&self.status, intent.sequence) {
                self.renumber(first, intent.sequence);
            }
            if intent.kind == EntryKind::Intent && !self.took_effect(intent) {
                self.status.unrecorded.insert(0, void(intent, self.now));
            }
        }
    }

    /// New numbers for the queue from its `first` decision on: those after `spent`. They are in nobody else's hands,
    /// because the queue is recorded in order and nothing newer before it; so none is left out.
    fn renumber(&mut self, first: usize, spent: i64) {
        let (mut given, mut number) = (BTreeMap::new(), spent);
        for note in self.status.unrecorded.iter_mut().skip(first) {
            match note.kind {
                EntryKind::Intent => {
                    number = number.saturating_add(1);
                    given.insert(note.sequence, number);
                    note.sequence = number;
                }
                EntryKind::Outcome => note.sequence = given.get(&note.sequence).copied().unwrap_or(note.sequence),
                EntryKind::Void => {}
            }
        }
        self.status.sequence = self.status.sequence.max(number);
        self.change(|it| it.decided = given.get(&it.decided).copied().unwrap_or(it.decided));
    }
}

fn void(intent: &Entry, now: chrono::DateTime<chrono::Utc>) -> TrailNote {
    TrailNote {
        kind: EntryKind::Void,
        sequence: intent.sequence,
        attempt: intent.attempt.clone(),
        decision: intent.decision.clone(),
        reason: "never took effect: its status write did not win".into(),
        revision: intent.revision.clone(),
        weight: serde_json::from_value(intent.weight.clone().into()).unwrap_or(Weight::NONE),
        measurements: intent.measurements.clone(),
        asked_by: intent.asked_by.clone(),
        time: now,
    }
}
