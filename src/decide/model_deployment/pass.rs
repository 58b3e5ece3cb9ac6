//! One pass over one ModelDeployment: what is known, and what has been decided so far.

use std::cell::OnceCell;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::inquiry::{Answered, Judges};
use super::observed::Observed;
use super::policy::Policy;
use super::target::{self, Blocked};
use super::traffic::LastRoute;
use super::{gate, judge, kept, measure, traffic};
use crate::api::ModelDeployment;
use crate::api::Weight;
use crate::api::approval::digest_of;
use crate::api::condition;
use crate::api::duration::after;
use crate::api::labels;
use crate::api::model_deployment::{
    Attempt, AttemptState, Cause, Gateway, ModelDeploymentStatus, Probation, RevisionRole, RevisionStatus, TakenBack,
    TrailNote, Verdict,
};
use crate::api::revision::RevisionRecord;
use crate::audit::{Consent, Entry, EntryKind};
use crate::build::record::Recorded;
use crate::decide::{Event, EventType, Missing, Op, Plan, confirms_first};

/// How long to wait before asking again whether the trail takes entries.
pub(super) const TRAIL_RETRY: Duration = Duration::from_secs(10);
/// Revisions that drain at the same time: each has pods, and a place in status.
const MOST_DRAINING: usize = 8;
/// Revisions that are remembered as taken back, the newest ones.
const MOST_TAKEN_BACK: usize = 16;
/// How long to wait before asking again for a ConfigMap.
const READ_RETRY: Duration = Duration::from_secs(10);
/// How long to wait before asking again whether a name is free.
const NAME_RETRY: Duration = Duration::from_secs(30);

/// What is known and what has been decided.
pub(super) struct Pass<'a> {
    pub(super) resource: &'a ModelDeployment,
    pub(super) observed: &'a Observed,
    pub(super) now: DateTime<Utc>,
    pub(super) policy: &'a Policy,
    pub(super) target: Result<RevisionRecord, Blocked>,
    /// See [`Pass::entry_gate`]: looked at often, and of nothing that a pass changes.
    entry_gate: Option<Missing>,
    /// The status as it will be.
    pub(super) status: ModelDeploymentStatus,
    entries: Vec<Entry>,
    /// Of what the entries are about: the same for all, and needed for few passes.
    spec_digest: OnceCell<String>,
    /// See [`Pass::applied_gateway`].
    pub(super) applied_gateway: OnceCell<Option<Gateway>>,
    /// See [`traffic::route`].
    pub(super) last_route: LastRoute,
    events: Vec<Event>,
    requeue: Option<Duration>,
    /// A decision of this pass is one that never waits for the record.
    must_not_wait: bool,
    /// What was decided last in this pass, and the id of its entry.
    decided: Option<(String, String)>,
    /// Which actor asked for what is being decided.
    pub(super) asked_by: String,
    /// This pass gives up numbers; what goes to the record waits until status says so.
    pub(super) is_settling: bool,
}

impl<'a> Pass<'a> {
    pub(super) fn new(resource: &'a ModelDeployment, observed: &'a Observed, now: DateTime<Utc>) -> Self {
        let target = target::resolve(resource.metadata.name.as_deref().unwrap_or_default(), &resource.spec, observed);
        Self {
            policy: &observed.policy,
            entry_gate: target.as_ref().ok().and_then(|it| gate::of_entry(resource, observed, &it.entry.revision)),
            target,
            status: resource.status.clone().unwrap_or_default(),
            resource,
            observed,
            now,
            entries: Vec::new(),
            spec_digest: OnceCell::new(),
            applied_gateway: OnceCell::new(),
            last_route: LastRoute::default(),
            events: Vec::new(),
            requeue: None,
            must_not_wait: false,
            decided: None,
            asked_by: String::new(),
            is_settling: false,
        }
    }

    /// The deployment's name.
    pub(super) fn name(&self) -> &'a str {
        self.resource.metadata.name.as_deref().unwrap_or_default()
    }

    /// The record of a revision, if it is there.
    pub(super) fn recorded(&self, revision: &str) -> Option<&'a Recorded> {
        self.observed.children.records.get(&labels::name(&[self.name(), revision])).map(AsRef::as_ref)
    }

    /// What keeps the entry that the spec names from being rolled out, for people.
    pub(super) fn entry_gate(&self) -> Option<Missing> {
        self.entry_gate.clone()
    }

    /// Whether weights exist; otherwise the Service switches.
    pub(super) fn has_gateway(&self) -> bool {
        self.resource.spec.traffic.is_some()
    }

    /// The attempt under way.
    pub(super) fn active(&self) -> Option<&Attempt> {
        self.status.attempt.as_ref().filter(|it| it.state.is_active())
    }

    /// Changes the attempt, if there is one.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Attempt)) {
        if let Some(attempt) = self.status.attempt.as_mut() {
            change(attempt);
        }
    }

    /// Whether the trail takes entries; without it nothing advances.
    pub(super) fn trail_answers(&self) -> bool {
        self.observed.memory.trail_unavailable_since.is_none()
    }

    /// Since when the record does not say who has approved what is on its way, or is to begin. What serves has been recorded.
    pub(super) fn people_unknown_since(&self) -> Option<DateTime<Utc>> {
        let serves = |it: &RevisionRecord| self.status.stable.as_ref() == Some(&it.entry);
        let rests = self.active().is_none() && self.target.as_ref().is_ok_and(serves);
        self.observed.people_unknown_since.filter(|_| !rests)
    }

    /// Whether this pass may decide what waits for the record: not beside something that does not wait.
    pub(super) fn may_record(&self) -> bool {
        let waits = self.is_settling || self.must_not_wait || self.awaits_asker().is_some();
        self.trail_answers() && self.people_unknown_since().is_none() && !waits
    }

    /// Looks again no later than `at`.
    pub(super) fn look_again(&mut self, at: DateTime<Utc>) {
        let wait = (at - self.now).to_std().unwrap_or_default().max(Duration::from_millis(50));
        self.requeue = Some(self.requeue.map_or(wait, |it| it.min(wait)));
    }

    /// Takes a new sequence number for a decision about the present attempt and puts its intent
    /// before the status write. For everything that may wait.
    pub(super) fn intend(&mut self, decision: &str, reason: &str) {
        let note = self.note(decision, reason);
        self.record(&note, self.consents());
    }

    /// As [`Pass::intend`], for what must not wait for the record: the intent goes
    /// into the same status write, and from there to the record.
    pub(super) fn intend_at_once(&mut self, decision: &str, reason: &str) {
        let note = self.note(decision, reason);
        self.record_later(note);
        self.must_not_wait = true;
    }

    /// As [`Pass::intend`], for a decision beside the one whose effect is awaited.
    pub(super) fn note_aside(&mut self, decision: &str, reason: &str) {
        let note = self.note_beside(decision, reason);
        self.record(&note, Vec::new());
    }

    /// What is noted of such a decision.
    pub(super) fn note_beside(&mut self, decision: &str, reason: &str) -> TrailNote {
        let sequence = self.next_number();
        self.note_numbered(sequence, decision, reason)
    }

    /// As [`Pass::note_aside`]; where the revision is not the attempt's, it has this weight.
    pub(super) fn note_aside_of(&mut self, revision: &str, weight: Weight, decision: &str, reason: &str) {
        let mut note = self.note_beside(decision, reason);
        if note.revision != revision {
            (note.attempt, note.revision, note.weight) = (String::new(), revision.to_owned(), weight);
        }
        self.record(&note, Vec::new());
    }

    /// Whether this pass has decided nothing so far that goes to the record.
    pub(super) fn decides_nothing(&self) -> bool {
        let before = self.resource.status.as_ref().map_or(0, |it| it.sequence);
        self.entries.is_empty() && self.status.sequence == before
    }

    /// As [`Pass::intend_at_once`], for a decision beside the one whose effect is awaited.
    pub(super) fn note_at_once(&mut self, decision: &str, reason: &str) {
        let note = self.note_beside(decision, reason);
        self.record_later(note);
        self.must_not_wait = true;
    }

    /// As [`Pass::note_at_once`], about another attempt than the present one.
    pub(super) fn note_of(&mut self, attempt: &str, revision: &str, weight: Weight, decision: &str, reason: &str) {
        let note = self.note_beside(decision, reason);
        self.record_later(TrailNote { attempt: attempt.into(), revision: revision.into(), weight, ..note });
        self.must_not_wait = true;
    }

    /// As that, about a revision on probation.
    pub(super) fn note_about(&mut self, it: &Probation, weight: Weight, decision: &str, reason: &str) {
        let note = self.note_beside(decision, reason);
        self.record_later(about(it, weight, note));
        self.must_not_wait = true;
    }

    /// As [`Pass::note_about`], for what may wait for the record.
    pub(super) fn intend_about(&mut self, it: &Probation, weight: Weight, decision: &str, reason: &str) {
        let note = self.note_beside(decision, reason);
        self.record(&about(it, weight, note), Vec::new());
    }

    /// The awaited decision is in effect.
    pub(super) fn outcome(&mut self, decision: &str, reason: &str) {
        let sequence = self.status.attempt.as_ref().map_or(0, |it| it.decided);
        let note = TrailNote { kind: EntryKind::Outcome, ..self.note_numbered(sequence, decision, reason) };
        if self.trail_answers() && !self.is_settling && self.awaits_asker().is_none() {
            self.entries.push(self.entry(&note));
        } else {
            self.status.unrecorded.push(note);
        }
    }

    fn next_number(&mut self) -> i64 {
        self.status.sequence = self.status.sequence.saturating_add(1);
        self.status.sequence
    }

    fn note(&mut self, decision: &str, reason: &str) -> TrailNote {
        let sequence = self.next_number();
        self.change(|it| it.decided = sequence);
        self.note_numbered(sequence, decision, reason)
    }

    fn note_numbered(&self, sequence: i64, decision: &str, reason: &str) -> TrailNote {
        let attempt = self.status.attempt.as_ref();
        TrailNote {
            kind: EntryKind::Intent,
            sequence,
            attempt: attempt.map(|it| it.id.clone()).unwrap_or_default(),
            decision: decision.into(),
            reason: condition::brief(reason),
            revision: attempt.map(|it| it.revision.clone()).unwrap_or_default(),
            weight: attempt.map_or(Weight::NONE, |it| it.weight),
            measurements: digest_of_verdicts(&self.status.verdicts),
            asked_by: self.asked_by.clone(),
            time: self.now,
        }
    }

    /// The decision goes to the record before its effect.
    pub(super) fn record(&mut self, note: &TrailNote, consents: Vec<Consent>) {
        self.remember_words(&consents);
        let entry = Entry { consents, ..self.entry(note) };
        self.decided = Some((entry.decision.clone(), entry.id()));
        self.entries.push(entry);
    }

    /// The decision goes into the status, and from there to the record.
    fn record_later(&mut self, note: TrailNote) {
        self.decided = Some((note.decision.clone(), self.entry(&note).id()));
        self.status.unrecorded.push(note);
    }

    fn entry(&self, note: &TrailNote) -> Entry {
        let metadata = &self.resource.metadata;
        Entry {
            kind: note.kind,
            subject_kind: "ModelDeployment".into(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: self.name().into(),
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            spec_digest: self.spec_digest.get_or_init(|| digest_of(&self.resource.spec)).clone(),
            attempt: note.attempt.clone(),
            sequence: note.sequence,
            decision: note.decision.clone(),
            reason: note.reason.clone(),
            revision: note.revision.clone(),
            weight: note.weight.to_string(),
            measurements: note.measurements.clone(),
            policy: self.policy.shared.clone(),
            asked_by: note.asked_by.clone(),
            consents: Vec::new(),
            time: note.time,
            lease_epoch: self.observed.memory.lease_epoch,
            operator: String::new(),
        }
    }

    /// What an earlier pass decided without waiting goes to the record now, before
    /// anything newer; but not in a pass that must not wait itself, or that settles numbers.
    fn record_what_could_not_wait(&mut self) {
        if !self.trail_answers() || self.must_not_wait {
            return;
        }
        if let Some(until) = self.awaits_asker() {
            return self.look_again(until.min(after(self.now, TRAIL_RETRY)));
        }
        // Numbers may change while some are given up, but not those that were given up before.
        let before = self.resource.status.as_ref().map(|it| it.unrecorded.as_slice()).unwrap_or_default();
        let is_sure = |it: &TrailNote| !self.is_settling || it.kind == EntryKind::Void && before.contains(it);
        let notes = std::mem::take(&mut self.status.unrecorded);
        let (sure, waiting): (Vec<_>, Vec<_>) = notes.into_iter().partition(is_sure);
        let older: Vec<Entry> = sure.iter().map(|note| self.entry(note)).collect();
        self.entries.splice(0..0, older);
        self.status.unrecorded = waiting;
    }

    /// Tells people.
    pub(super) fn tell(&mut self, type_: EventType, reason: &str, action: &str, note: impl Into<String>) {
        // It tells of the decision that was made just before, if it tells of one.
        let entry = self.decided.as_ref().filter(|(decision, _)| decision == action).map(|(_, id)| id.clone());
        self.events.push(Event { type_, reason: reason.into(), action: action.into(), note: note.into(), entry });
    }

    /// Whether people are told of this in this pass.
    pub(super) fn is_told(&self, action: &str) -> bool {
        self.events.iter().any(|it| it.action == action)
    }

    /// Whether people have something to be told.
    pub(super) fn has_news(&self) -> bool {
        !self.events.is_empty()
    }

    /// Turns measurements into verdicts, and notes since when there can be none.
    pub(super) fn judge(&mut self) {
        let watched = measure::watched(&self.status).is_some();
        let since = self.policy.missing_list().filter(|_| watched).map(|_| self.now);
        if self.active().is_some() {
            self.change(|it| it.unjudged_since = since.map(|now| it.unjudged_since.unwrap_or(now)));
        }
        if watched {
            self.status.verdicts.retain(|it| judge::is_wanted(self.policy, it));
        }
        if let Some(probation) = self.status.probation.as_mut() {
            probation.verdicts.retain(|it| judge::is_wanted(self.policy, it));
        }
        if let Some(watch) = self.status.stable_watch.as_mut() {
            watch.verdicts.retain(|it| judge::is_wanted(self.policy, it));
        }
        let jobs = self.said_by_jobs();
        self.judge_attempt(&jobs);
        self.judge_probation(&jobs);
        self.judge_stable();
    }

    fn judge_attempt(&mut self, jobs: &[Answered]) {
        let Some(attempt) = measure::watched(&self.status) else { return };
        let about = |it: &&Answered| it.is_about(Judges::Attempt, &attempt.id);
        let asked: Vec<&Answered> = self.observed.answered.iter().filter(about).collect();
        // Jobs have their own times; the next round does not wait for them.
        let newest = asked.iter().map(|it| it.began).max();
        let answered: Vec<&Answered> = asked.into_iter().chain(jobs.iter().filter(about)).collect();
        if answered.is_empty() {
            return;
        }
        let (verdicts, samples) = judge::judge(self.policy, attempt, &self.status.verdicts, &answered, self.now);
        self.status.verdicts = verdicts;
        let now = self.now;
        self.change(|it| {
            // What is later than now is of a clock that was set back since.
            if newest.is_some() {
                it.measured_at = it.measured_at.filter(|at| *at <= now).max(newest);
            }
            // Those of two times are no share.
            if samples.candidate.is_some() {
                (it.samples, it.stable_samples) = (samples.candidate, samples.stable);
            }
        });
    }

    /// Gives a revision a role; one that has traffic again stops draining.
    pub(super) fn set_role(&mut self, revision: &str, role: RevisionRole) {
        let draining_since = matches!(role, RevisionRole::Draining | RevisionRole::Kept).then_some(self.now);
        match self.status.revisions.iter_mut().find(|it| it.revision == revision) {
            Some(it) if it.role == role => {}
            Some(it) => (it.role, it.draining_since) = (role, draining_since),
            None => {
                let revision = revision.to_owned();
                self.status.revisions.push(RevisionStatus {
                    revision,
                    entry: None,
                    used_for: None,
                    role,
                    draining_since,
                });
            }
        }
    }

    /// Whether a revision has had its time to end the last requests, or has to make room for younger ones.
    pub(super) fn is_drained(&self, it: &RevisionStatus) -> bool {
        let Some(since) = it.draining_since.filter(|_| it.role == RevisionRole::Draining) else { return false };
        let younger = self.status.revisions.iter().filter(|it| it.draining_since > Some(since)).count();
        after(since, self.policy.drain) <= self.now || younger >= MOST_DRAINING
    }

    /// Whether the record of a revision may already be on its way out. A deletion that a dead process has sent would
    /// take whatever the revision has by the time it arrives: so it is over before the revision begins anew.
    pub(super) fn is_being_deleted(&self, revision: &str) -> bool {
        self.recorded(revision).is_some()
            && self.status.revisions.iter().any(|it| it.revision == revision && self.is_drained(it))
    }

    /// Revisions whose record is gone after draining are no more.
    pub(super) fn forget_drained(&mut self) {
        let is_gone = |it: &RevisionStatus| self.is_drained(it) && self.recorded(&it.revision).is_none();
        let alive: Vec<_> = self.status.revisions.iter().filter(|it| !is_gone(it)).cloned().collect();
        let draining = alive.iter().filter(|it| it.role == RevisionRole::Draining);
        let ends = draining.filter_map(|it| it.draining_since).map(|since| after(since, self.policy.drain));
        let waits: Vec<_> = ends.filter(|at| *at > self.now).collect();
        self.status.revisions = alive;
        waits.into_iter().for_each(|at| self.look_again(at));
    }

    /// Why the revision that the spec asks for is not tried again by itself, if it is not.
    pub(super) fn refusal(&self) -> Option<Cause> {
        let revision = &self.target.as_ref().ok()?.entry.revision;
        let last = self.status.attempt.as_ref().filter(|it| it.revision == *revision && !it.state.is_active());
        let cause = last.and_then(|it| it.cause).filter(|it| it.is_sticky());
        cause.or_else(|| self.status.taken_back.iter().find(|it| it.revision == *revision).map(|it| it.cause))
    }

    /// A revision is to be refused from now on, or not any more.
    pub(super) fn refuse(&mut self, revision: &str, cause: Option<Cause>) {
        let all = &mut self.status.taken_back;
        all.retain(|it| it.revision != revision);
        all.extend(cause.map(|cause| TakenBack { revision: revision.into(), cause }));
        let too_many = all.len().saturating_sub(MOST_TAKEN_BACK);
        all.drain(..too_many);
        if cause.is_some() {
            kept::forget(&mut self.status, revision);
        }
    }

    /// Nobody tells when an object without our label gives a name back, or when the API server hands out a ConfigMap.
    pub(super) fn ask_again(&mut self) {
        if !self.observed.unread_config_maps.is_empty() {
            self.look_again(after(self.now, READ_RETRY));
        }
        if !self.observed.memory.foreign_children.is_empty() {
            self.look_again(after(self.now, NAME_RETRY));
        }
    }

    /// Whether traffic may still go where it is not meant to go any more.
    pub(super) fn is_on_the_way_back(&self) -> bool {
        let goes_back = |it: &Attempt| it.state == AttemptState::RollingBack || it.withdrawn_from.is_some();
        self.active().is_some_and(goes_back) || traffic::goes_to_what_leaves(self)
    }

    /// The plan: the status only if it differs.
    pub(super) fn into_plan(mut self, ops: Vec<Op>) -> Plan<ModelDeploymentStatus> {
        self.record_what_could_not_wait();
        let people = self.people_unknown_since();
        if !self.trail_answers() || self.unknown_history().is_some() || people.is_some() {
            // Nobody tells when the trail is back: what waits for it, to be written or to be read, asks.
            self.look_again(after(self.now, TRAIL_RETRY));
        } else if !self.status.unrecorded.is_empty() && self.awaits_asker().is_none() {
            self.look_again(self.now);
        }
        let old = self.resource.status.as_ref();
        self.status.lease_epoch = old.map_or(0, |it| it.lease_epoch);
        let changed = old != Some(&self.status) || confirms_first(self.observed.memory.unconfirmed, &ops);
        if changed {
            self.status.lease_epoch = self.observed.memory.lease_epoch;
        }
        let urgent = self.must_not_wait || self.is_on_the_way_back();
        Plan {
            urgent: urgent && (changed || !ops.is_empty()),
            entries: self.entries,
            status: changed.then_some(self.status),
            ops,
            events: self.events,
            requeue: self.requeue,
            ..Plan::default()
        }
    }
}

/// What is noted of a revision on probation rests on its own measurements.
fn about(it: &Probation, weight: Weight, note: TrailNote) -> TrailNote {
    let (attempt, revision) = (it.attempt.clone(), it.revision.clone());
    TrailNote { attempt, revision, weight, measurements: digest_of_verdicts(&it.verdicts), ..note }
}

/// What a decision rests on, of numbers.
fn digest_of_verdicts(verdicts: &[Verdict]) -> String {
    if verdicts.is_empty() { String::new() } else { digest_of(&verdicts) }
}
