//! What of the log has to be known to append to it: which decisions are on it already.
//!
//! A sequence number of a resource belongs to one decision. The log is in one order, so whether a number is free is known
//! from what is before, and nobody can take it in between: an entry that is judged here is
//! written behind exactly what it was judged by, or not at all.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU64;

use super::super::entry::Decided;
use super::super::{Entry, EntryKind};

/// Sequence numbers that an operator remembers of a resource. What is older is spent.
const REMEMBERED: usize = 256;
/// Entries of a name that its history goes back.
const LONGEST_HISTORY: usize = 256;

/// What the log holds, as far as appending needs it.
#[derive(Debug, Clone)]
pub struct Index {
    /// Sequence numbers that are remembered of a resource.
    remembered: usize,
    /// Entries of a name that are remembered.
    history: usize,
    /// By uid.
    resources: HashMap<Box<str>, Numbers>,
    /// Places of what is about a namespace and name, the newest last.
    names: HashMap<(Box<str>, Box<str>), VecDeque<u64>>,
}

/// The decisions about one resource, by their number.
#[derive(Debug, Clone, Default)]
struct Numbers {
    /// This one, and all below it.
    spent: Option<i64>,
    by_number: BTreeMap<i64, Number>,
}

/// What is on the log under one number.
#[derive(Debug, Clone, Copy, Default)]
struct Number {
    intent: Option<Place>,
    outcome: Option<Place>,
    void: Option<Place>,
}

/// An entry: what it decided, as a digest, and its place in the log.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Not 0: so that "none" takes no place of its own. Thousands of resources have some dozens each.
    decision: NonZeroU64,
    at: u64,
}

/// What an entry claims: a number of a resource, for what it decides.
#[derive(Debug)]
pub struct Claim<'a> {
    uid: Cow<'a, str>,
    sequence: i64,
    kind: EntryKind,
    /// Eight bytes that stand for what is decided. Of the same number only.
    decision: NonZeroU64,
}

impl<'a> Claim<'a> {
    /// That of an entry that decides this.
    #[must_use]
    pub fn of(decided: &Decided<'a>) -> Self {
        let mut hasher = DefaultHasher::new();
        decided.hash(&mut hasher);
        let decision = NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MIN);
        Self { uid: decided.uid.into(), sequence: decided.sequence, kind: decided.kind, decision }
    }

    /// The same, when the entry is gone.
    #[must_use]
    pub fn into_owned(self) -> Claim<'static> {
        Claim { uid: self.uid.into_owned().into(), ..self }
    }
}

/// What becomes of an entry that is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// It may be appended.
    New,
    /// It is there, at this place.
    AlreadyThere(u64),
    /// Its number belongs to the entry at this place.
    Taken(u64),
    /// Its number was closed by a void, or is older than what is remembered.
    Spent,
}

impl Default for Index {
    fn default() -> Self {
        Self { remembered: REMEMBERED, history: LONGEST_HISTORY, resources: HashMap::new(), names: HashMap::new() }
    }
}

impl Index {
    /// One that forgets no number, and knows no history: for who verifies a log.
    #[must_use]
    pub fn of_all() -> Self {
        Self { remembered: usize::MAX, history: 0, ..Self::default() }
    }

    /// What becomes of the entry.
    #[must_use]
    pub fn judge(&self, entry: &Entry) -> Judged {
        let numbers = self.resources.get(entry.uid.as_str());
        numbers.map_or(Judged::New, |it| it.judge(&Claim::of(&entry.decided())))
    }

    /// The entry is on the log, at this place.
    pub fn note(&mut self, entry: &Entry, at: u64) {
        self.judge_and_note(&Claim::of(&entry.decided()), at);
        if self.history == 0 {
            return;
        }
        let name = (entry.namespace.as_str().into(), entry.name.as_str().into());
        let places = self.names.entry(name).or_default();
        places.push_back(at);
        if places.len() > self.history {
            places.pop_front();
        }
    }

    /// What becomes of an entry that claims this and is on the log, at this place. Of two with the same number and kind, the
    /// first counts.
    pub fn judge_and_note(&mut self, claim: &Claim<'_>, at: u64) -> Judged {
        let remembered = self.remembered;
        let numbers = match self.resources.get_mut(claim.uid.as_ref()) {
            Some(numbers) => numbers,
            None => self.resources.entry(claim.uid.as_ref().into()).or_default(),
        };
        numbers.judge_and_note(claim, at, remembered)
    }

    /// Places of what is remembered about a resource, by sequence number; intents first.
    #[must_use]
    pub fn of_resource(&self, uid: &str) -> Vec<u64> {
        let numbers = self.resources.get(uid).into_iter().flat_map(|it| it.by_number.values());
        numbers.flat_map(|it| [it.intent, it.outcome, it.void]).flatten().map(|it| it.at).collect()
    }

    /// Places of the newest entries about a namespace and name, the newest first.
    #[must_use]
    pub fn history(&self, namespace: &str, name: &str) -> Vec<u64> {
        self.names.get(&(namespace.into(), name.into())).into_iter().flatten().rev().copied().collect()
    }
}

impl Numbers {
    fn is_spent(&self, number: i64) -> bool {
        self.spent.is_some_and(|it| number <= it)
    }

    fn judge(&self, claim: &Claim<'_>) -> Judged {
        if self.is_spent(claim.sequence) {
            return Judged::Spent;
        }
        self.by_number.get(&claim.sequence).map_or(Judged::New, |it| it.judge(claim))
    }

    fn judge_and_note(&mut self, claim: &Claim<'_>, at: u64, remembered: usize) -> Judged {
        let is_spent = self.is_spent(claim.sequence);
        let number = self.by_number.entry(claim.sequence).or_default();
        let judged = if is_spent { Judged::Spent } else { number.judge(claim) };
        number.of_mut(claim.kind).get_or_insert(Place { decision: claim.decision, at });
        while self.by_number.len() > remembered {
            self.spent = self.spent.max(self.by_number.pop_first().map(|(number, _)| number));
        }
        judged
    }
}

impl Number {
    fn judge(&self, claim: &Claim<'_>) -> Judged {
        if claim.kind == EntryKind::Intent && self.void.is_some() {
            return Judged::Spent;
        }
        match self.of(claim.kind) {
            None => Judged::New,
            Some(place) if place.decision == claim.decision => Judged::AlreadyThere(place.at),
            Some(place) => Judged::Taken(place.at),
        }
    }

    fn of(&self, kind: EntryKind) -> Option<Place> {
        match kind {
            EntryKind::Intent => self.intent,
            EntryKind::Outcome => self.outcome,
            EntryKind::Void => self.void,
        }
    }

    fn of_mut(&mut self, kind: EntryKind) -> &mut Option<Place> {
        match kind {
            EntryKind::Intent => &mut self.intent,
            EntryKind::Outcome => &mut self.outcome,
            EntryKind::Void => &mut self.void,
        }
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
