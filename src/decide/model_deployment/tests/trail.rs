//! The trail's rules, in memory: a place is given once, and what was given up is refused; and
//! beside it what really took effect, to be compared with.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::api::model_deployment::{ModelDeploymentStatus, TrailNote};
use crate::audit::{Entry, EntryKind};
use crate::decide::Plan;

/// A decision, whatever its number: attempt, what, weight, when.
pub(super) type Decision = (String, String, String, DateTime<Utc>);

#[derive(Debug, Clone, Default)]
pub(super) struct Trail {
    /// By uid, number and kind.
    entries: BTreeMap<(String, i64, u8), Entry>,
    effects: Vec<Decision>,
}

fn rank(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::Intent => 0,
        EntryKind::Outcome => 1,
        EntryKind::Void => 2,
    }
}

fn decision(entry: &Entry) -> Decision {
    (entry.attempt.clone(), entry.decision.clone(), entry.weight.clone(), entry.time)
}

fn noted(note: &TrailNote) -> Decision {
    (note.attempt.clone(), note.decision.clone(), note.weight.to_string(), note.time)
}

impl Trail {
    /// As [`crate::audit::Trail::append`]; `Err` is who has the number.
    pub(super) fn append(&mut self, entry: &Entry) -> Result<(), Box<Entry>> {
        let place = (entry.uid.clone(), entry.sequence, rank(entry.kind));
        let found = self.entries.entry(place).or_insert_with(|| entry.clone()).clone();
        if entry.kind != EntryKind::Intent {
            return Ok(());
        }
        if self.is_void(entry) {
            return Err(Box::new(Entry { kind: EntryKind::Void, ..entry.clone() }));
        }
        if found.is_same_decision(entry) { Ok(()) } else { Err(Box::new(found)) }
    }

    /// A status write has won: what was decided in it is in effect.
    pub(super) fn takes_effect(
        &mut self,
        before: &ModelDeploymentStatus,
        plan: &Plan<ModelDeploymentStatus>,
        after: &ModelDeploymentStatus,
        now: DateTime<Utc>,
    ) {
        let is_intent = |it: &&TrailNote| it.kind == EntryKind::Intent;
        let mut known: Vec<_> = before.unrecorded.iter().filter(is_intent).map(noted).collect();
        // Of two that are told apart by nothing else, one that is known leaves one that is new, and that is of this pass.
        let mut is_new = |it: &Decision| {
            let place = known.iter().position(|known| known == it);
            assert!(place.is_some() || it.3 == now, "{it:?} is there twice, and was decided once");
            place.map(|it| known.remove(it)).is_none()
        };
        let intents = plan.entries.iter().filter(|it| it.kind == EntryKind::Intent);
        let recorded: Vec<&Entry> = intents.filter(|it| is_new(&decision(it))).collect();
        let queued = after.unrecorded.iter().filter(is_intent).map(noted);
        let queued: Vec<Decision> = queued.filter(|it| is_new(it)).collect();
        assert!(known.is_empty(), "{known:?} waited to be recorded, and neither is nor waits");
        // The same decision, stored by an earlier life, keeps the time it was stored with.
        let stored = |it: &Entry| self.intent(it).map_or_else(|| decision(it), decision);
        let effects: Vec<Decision> = recorded.into_iter().map(stored).chain(queued).collect();
        self.effects.extend(effects);
    }

    /// Everything, as [`crate::audit::Trail::history`] gives it.
    pub(super) fn newest_first(&self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self.entries.values().cloned().collect();
        entries.sort_by_key(|it| std::cmp::Reverse((it.time, it.sequence)));
        entries
    }

    /// What took effect, in order.
    pub(super) fn effects(&self) -> Vec<Decision> {
        self.effects.clone()
    }

    fn intents(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|it| it.kind == EntryKind::Intent)
    }

    /// The intent with the number of this entry.
    fn intent(&self, entry: &Entry) -> Option<&Entry> {
        self.entries.get(&(entry.uid.clone(), entry.sequence, rank(EntryKind::Intent)))
    }

    /// Whether this very intent is stored.
    pub(super) fn has(&self, intent: &Entry) -> bool {
        self.intent(intent).is_some_and(|it| it.is_same_decision(intent))
    }

    /// What took effect of this kind.
    pub(super) fn effective(&self, decision: &str) -> Vec<&Entry> {
        self.intents().filter(|it| it.decision == decision && !self.is_void(it)).collect()
    }

    fn is_void(&self, entry: &Entry) -> bool {
        self.entries.contains_key(&(entry.uid.clone(), entry.sequence, rank(EntryKind::Void)))
    }

    /// What the trail says took effect, by number.
    pub(super) fn recorded(&self) -> Vec<Decision> {
        self.intents().filter(|it| !self.is_void(it)).map(decision).collect()
    }

    /// Whether something that took effect names an Approval.
    pub(super) fn names(&self, approval: &str) -> bool {
        let names = |it: &&Entry| it.consents.iter().any(|consent| consent.uid == approval);
        self.intents().filter(|it| !self.is_void(it)).any(|it| names(&it))
    }

    /// Outcomes and voids of decisions that the trail does not know, and outcomes of those it gave up.
    pub(super) fn open(&self) -> Vec<&Entry> {
        let unknown = |it: &&Entry| match self.intent(it) {
            Some(intent) => it.id() != intent.id() || (it.kind == EntryKind::Outcome && self.is_void(it)),
            None => true,
        };
        self.entries.values().filter(|it| it.kind != EntryKind::Intent).filter(unknown).collect()
    }

    /// Every number that has an intent.
    pub(super) fn numbers(&self) -> Vec<i64> {
        self.intents().map(|it| it.sequence).collect()
    }

    /// What is there of greater numbers.
    pub(super) fn beyond(&self, sequence: i64) -> Vec<String> {
        let all = self.entries.values().filter(|it| it.sequence > sequence);
        let told = |it: &Entry| {
            format!("{:?} {} {} {} {}", it.kind, it.sequence - sequence, it.decision, it.weight, it.asked_by)
        };
        all.map(told).collect()
    }

    /// Everything, by number, as a person reads it.
    pub(super) fn told(&self) -> Vec<String> {
        self.entries.values().map(|it| format!("{:?} {} {} {}", it.kind, it.sequence, it.decision, it.weight)).collect()
    }
}
