//! What people have said of what is on its way, on the record: not only the yes that a decision rests on, but also a no, and what is
//! taken back.
//!
//! | somebody | is on the record |
//! |---|---|
//! | approves | in each decision that rests on it, by role and actor |
//! | rejects | as `Reject`, once |
//! | takes back what is on the record of them | as `Retract`, once |
//!
//! Both of these hold (see [`super::gate`]), and nothing that holds waits for the record: what is said while the log does not answer holds at
//! once, and is recorded when it does, if it still stands. What has no effect is not recorded: a word about another entry than the one that the spec
//! names, about the one that serves, or about a step of an attempt that is over. Nor is a word that nobody was held to (see
//! [`crate::decide::approval`]): it may be anybody's.
//!
//! Status knows by the Approval's uid what is on the record. A rejection is remembered until it is taken back, also while the spec names something else: it
//! may come to count again. An Approval that is not seen is missed for a while before it is gone: a watch may be behind.

use std::time::Duration;

use super::pass::{Pass, TRAIL_RETRY};
use crate::api::approval::{ApprovalDecision, SubjectKind, name_of};
use crate::api::duration::after;
use crate::api::model_deployment::{EntryRef, RecordedApproval, RecordedSubject, StepToApprove, TrailNote};
use crate::api::{Approval, ModelRegistryEntry, Weight};
use crate::audit::{Consent, REJECT, RETRACT};
use crate::decide::EventType;
use crate::decide::approval::{self, Word};

/// Reason: an approval that is on the record is gone, or a rejection.
const RETRACTED: &str = "ApprovalRetracted";
/// How long an Approval is missed before it is gone: a new leader's watches are not at the same point.
const MISSED_FOR: Duration = Duration::from_secs(10);
/// Rejections that are remembered although they have no effect at present, the newest ones.
const MOST_ASLEEP: usize = 16;

/// What is to be recorded.
enum News {
    Rejected(RecordedApproval),
    Gone(RecordedApproval),
}

impl Pass<'_> {
    /// Remembers which Approvals a decision puts on the record.
    pub(super) fn remember_words(&mut self, consents: &[Consent]) {
        for consent in consents {
            let known = self.status.recorded_approvals.get_or_insert_default();
            let approval = self.observed.approvals.iter().map(AsRef::as_ref).find(|it| is_there(it, &consent.uid));
            let is_new = known.iter().all(|it| it.uid != consent.uid);
            known.extend(approval.filter(|_| is_new).map(|approval| recorded(approval, consent)));
        }
    }

    /// Records what has been said, or taken back, that no decision rests on. After everything else of the pass, and not beside it.
    pub(super) fn record_words(&mut self) {
        // With something else that is written.
        let is_new =
            self.resource.status.as_ref().map(|it| it.observed_generation) != self.resource.metadata.generation;
        if self.status.recorded_approvals.is_none() && is_new && self.somebody_is_asked() {
            self.status.recorded_approvals = Some(Vec::new());
        }
        let is_no = |it: &Approval| it.spec.decision == ApprovalDecision::Rejected;
        if self.words().is_empty() && !self.observed.approvals.iter().any(|it| is_no(it)) {
            return;
        }
        self.look_through_words();
        let Some(news) = self.news_of_words() else { return };
        if !self.decides_nothing() {
            return self.look_again(self.now);
        }
        if !self.may_record() {
            return;
        }
        // A CRD that is older than the operator drops what is remembered: then each pass would record it anew.
        if self.resource.status.as_ref().is_none_or(|it| it.recorded_approvals.is_none()) {
            self.status.recorded_approvals.get_or_insert_default();
            return;
        }
        match news {
            News::Gone(it) => self.retract(&it),
            News::Rejected(it) => self.reject(&it),
        }
    }

    /// Whether what is on its way is to be approved by anybody.
    fn somebody_is_asked(&self) -> bool {
        let entry = self.observed.entry.as_deref().filter(|_| !self.serves_what_is_named());
        entry.is_some_and(|it| self.asks_somebody(it))
            || self.active().is_some_and(|it| !self.steps_to_approve(it).is_empty())
    }

    fn asks_somebody(&self, entry: &ModelRegistryEntry) -> bool {
        !approval::roles_of(entry, &self.observed.settings.approval_roles).is_empty()
    }

    fn words(&self) -> &[RecordedApproval] {
        self.status.recorded_approvals.as_deref().unwrap_or_default()
    }

    /// Forgets what cannot have an effect any more, and notes which Approvals are not seen any more, or are there again.
    fn look_through_words(&mut self) {
        let Some(words) = self.status.recorded_approvals.take() else { return };
        let (mut awake, mut asleep): (Vec<_>, Vec<_>) =
            words.into_iter().partition(|it| self.is_in_question(&it.subject));
        asleep.retain(|it| self.may_count_again(it));
        asleep.drain(..asleep.len().saturating_sub(MOST_ASLEEP));
        asleep.iter_mut().for_each(|it| it.missed_since = None);
        for word in &mut awake {
            let is_missed = self.is_known(&word.subject) && !self.is_seen(word);
            word.missed_since = is_missed.then(|| word.missed_since.filter(|at| *at <= self.now).unwrap_or(self.now));
        }
        asleep.append(&mut awake);
        self.status.recorded_approvals = Some(asleep);
    }

    /// Whether it is of the entry that the spec names and that does not serve yet, or of a step ahead. Of an entry that is away nobody knows.
    fn is_in_question(&self, subject: &RecordedSubject) -> bool {
        match subject.kind {
            SubjectKind::ModelRegistryEntry => {
                let is_it = |it: &ModelRegistryEntry| {
                    it.metadata.uid.as_deref() == Some(&subject.uid)
                        && it.spec.digest() == subject.digest
                        && self.asks_somebody(it)
                };
                let is_named = subject.name == self.resource.spec.model_ref.name;
                is_named && !self.serves_what_is_named() && self.observed.entry.as_deref().is_none_or(is_it)
            }
            SubjectKind::ModelDeployment => self.step(&subject.digest).is_some(),
        }
    }

    /// A rejection may, when the spec names its entry again, or the attempt has its step again.
    fn may_count_again(&self, word: &RecordedApproval) -> bool {
        let is_over = word.subject.kind == SubjectKind::ModelDeployment && self.active().is_none();
        word.decision == ApprovalDecision::Rejected && !is_over
    }

    /// Whether what the spec names serves. While nobody knows which revision that is, by its entry.
    fn serves_what_is_named(&self) -> bool {
        let is_named = |stable: &EntryRef| match &self.target {
            Ok(target) => target.entry == *stable,
            Err(_) => stable.name == self.resource.spec.model_ref.name,
        };
        self.status.stable.as_ref().is_some_and(is_named)
    }

    fn step(&self, digest: &str) -> Option<StepToApprove> {
        self.steps_to_approve(self.active()?).into_iter().find(|it| it.digest == digest)
    }

    /// Whether anything is known of Approvals about it: nobody looks for those of an entry that is away.
    fn is_known(&self, subject: &RecordedSubject) -> bool {
        subject.kind == SubjectKind::ModelDeployment || self.observed.entry.is_some()
    }

    fn is_seen(&self, word: &RecordedApproval) -> bool {
        self.observed.approvals.iter().any(|it| is_there(it, &word.uid))
    }

    /// What is to be recorded first.
    fn news_of_words(&mut self) -> Option<News> {
        let gone_at = |it: &RecordedApproval| it.missed_since.map(|at| after(at, MISSED_FOR));
        let gone = self.words().iter().filter_map(|it| Some((gone_at(it)?, it.clone()))).min_by_key(|(at, _)| *at);
        match gone {
            Some((at, it)) if at <= self.now => Some(News::Gone(it)),
            waits => {
                waits.into_iter().for_each(|(at, _)| self.look_again(at));
                self.unrecorded_rejection().map(News::Rejected)
            }
        }
    }

    /// A no that counts and is not on the record, if it is known who says so.
    fn unrecorded_rejection(&mut self) -> Option<RecordedApproval> {
        let entry = self.observed.entry.as_deref().filter(|_| !self.serves_what_is_named());
        let of_entry = entry.map(|it| self.said_of_entry(it, &Word::Rejected)).unwrap_or_default();
        let steps = self.active().map(|it| self.steps_to_approve(it)).unwrap_or_default();
        let of_steps = steps.iter().flat_map(|it| self.said_of_step(it, &Word::Rejected));
        let is_new = |it: &&Approval| self.words().iter().all(|known| Some(&known.uid) != it.metadata.uid.as_ref());
        let is_held = |it: &&Approval| approval::is_guarded(it, &self.observed.guard);
        let mut new = of_entry.into_iter().chain(of_steps).filter(is_new).filter(is_held).peekable();
        let is_any = new.peek().is_some();
        let found = new.find_map(|it| Some(recorded(it, &self.consent(it)?)));
        if is_any && found.is_none() {
            // Nobody tells when the record says who it is.
            self.look_again(after(self.now, TRAIL_RETRY));
        }
        found
    }

    fn reject(&mut self, word: &RecordedApproval) {
        let what = format!("role {} has rejected {}", word.role, self.subject(word));
        self.record_word(word, REJECT, &what);
        let approval = name_of(&word.subject.name, &word.role, &word.subject.digest);
        let remedy = format!("who rejected it can take that back: kubectl delete approval {approval}");
        self.tell(EventType::Warning, approval::REJECTED, REJECT, format!("{what}; {remedy}"));
    }

    fn retract(&mut self, word: &RecordedApproval) {
        self.status.recorded_approvals.iter_mut().for_each(|all| all.retain(|it| it.uid != word.uid));
        let was = match word.decision {
            ApprovalDecision::Approved => "approval",
            ApprovalDecision::Rejected => "rejection",
        };
        let subject = self.subject(word);
        let what = format!("the {was} of {subject} by role {} is gone: it was taken back, or deleted", word.role);
        self.record_word(word, RETRACT, &what);
        self.tell(EventType::Normal, RETRACTED, RETRACT, what);
    }

    /// For people.
    fn subject(&self, word: &RecordedApproval) -> String {
        match self.step(&word.subject.digest) {
            Some(step) => format!("the step to {}", step.weight),
            None => format!("entry {}", word.subject.name),
        }
    }

    /// A decision about the attempt if the word is of what it brings, or else about a revision that has no traffic.
    fn record_word(&mut self, word: &RecordedApproval, decision: &str, reason: &str) {
        let is_of = |entry: &EntryRef| entry.uid == word.subject.uid;
        let is_of_step = word.subject.kind == SubjectKind::ModelDeployment;
        let of_attempt = is_of_step || self.active().is_some_and(|it| is_of(&it.entry));
        let said_by = Some(word.actor.clone()).filter(|_| decision == REJECT);
        let mut note = self.asked_for(said_by, |it| it.note_beside(decision, reason));
        if !of_attempt {
            let target = self.target.as_ref().map(|it| it.entry.revision.clone()).unwrap_or_default();
            (note.attempt, note.revision, note.weight) = (String::new(), target, Weight::NONE);
        }
        let RecordedApproval { actor, comment, role, uid, .. } = word.clone();
        self.record(&TrailNote { measurements: String::new(), ..note }, vec![Consent { actor, comment, role, uid }]);
    }
}

/// Whether it is this one, and nobody has deleted it.
fn is_there(approval: &Approval, uid: &str) -> bool {
    approval.metadata.uid.as_deref() == Some(uid) && approval.metadata.deletion_timestamp.is_none()
}

/// What status keeps of an Approval that is on the record.
fn recorded(approval: &Approval, consent: &Consent) -> RecordedApproval {
    let Consent { actor, comment, role, uid } = consent.clone();
    let (subject, decision) = (RecordedSubject::from(&approval.spec.subject), approval.spec.decision);
    RecordedApproval { uid, subject, role, decision, actor, comment, missed_since: None }
}
