//! How an attempt begins: when the spec names another revision than the one that serves, and nothing speaks against it.
//!
//! A revision that was taken back is not tried again by itself. What is kept to go back to needs no attempt. And what
//! the record says was rolled back under this name is held, as an attempt that has failed before it began (see
//! [`super::restored`]): that is what a person can ask to be tried again.

use super::pass::Pass;
use super::request::Request;
use super::restored::HOLD_BACK;
use super::target;
use crate::api::Weight;
use crate::api::condition;
use crate::api::model_deployment::{Attempt, AttemptState, Cause, EntryName, EntryRef, RevisionRole, UsedFor};
use crate::decide::EventType;

impl Pass<'_> {
    /// Begins an attempt if the spec asks for another revision than the one that serves.
    pub(super) fn begin(&mut self, retry: Option<Request>) {
        let entry = match &self.target {
            Ok(target) => target.entry.clone(),
            Err(blocked) => {
                // Any other mistake may be corrected, and the request carried out then.
                let why = blocked.message.clone();
                let is_final = blocked.reason == target::REVOKED;
                retry.filter(|_| is_final).into_iter().for_each(|it| self.refuse_request(&it, &why));
                return;
            }
        };
        if self.status.stable.as_ref().is_some_and(|it| it.revision == entry.revision) {
            // Perhaps the same bytes under another entry: nothing to roll out, and noted (see `revocation`).
            if let Some(retry) = retry {
                self.refuse_request(&retry, "the revision that the spec asks for serves already");
            }
            return;
        }
        if retry.is_none() && self.rolled_back_later(&entry.revision).is_some() {
            // Only this pass knows: the record is asked again only when another number is taken.
            self.refuse(&entry.revision, Some(Cause::PreviouslyRolledBack));
            return;
        }
        if let Some(late) = self.begins_no_more() {
            retry.into_iter().for_each(|it| self.refuse_request(&it, &late.message));
            return;
        }
        if let Some(closed) = self.entry_gate() {
            // A request that lay in wait for an approval would come true when nobody looks.
            retry.into_iter().for_each(|it| self.refuse_request(&it, &closed.message));
            return;
        }
        // What is kept to go back to is gone back to, without an attempt.
        let goes_back = self.fallback() == Some(&entry.revision);
        let refused = self.refusal().is_some() && retry.is_none();
        if refused || goes_back || !self.may_advance() || self.is_being_deleted(&entry.revision) {
            return;
        }
        if retry.is_none() {
            if self.unknown_history().is_some() {
                return;
            }
            if let Some(before) = self.rolled_back_before(&entry.revision) {
                return self.hold_back(entry, &before);
            }
        }
        let asked = retry.as_ref().map(|request| request.attempt.clone());
        let by = retry.as_ref().and_then(|request| request.asked_by.clone());
        if let Some(retry) = retry {
            // Only now: a request that has to wait is carried out later.
            self.status.handled_request = Some(retry.done());
        }
        self.asked_for(by, |it| it.start(entry, asked));
    }

    /// An attempt that has failed before it begins: what a person can ask to be tried again.
    fn hold_back(&mut self, entry: EntryRef, before: &str) {
        let (revision, cause) = (entry.revision.clone(), Cause::PreviouslyRolledBack);
        let attempt = self.new_attempt(entry);
        let message = Some(condition::brief(before));
        self.status.attempt = Some(Attempt { state: AttemptState::Failed, cause: Some(cause), message, ..attempt });
        self.refuse(&revision, Some(cause));
        self.intend(HOLD_BACK, before);
        let note = format!("revision {revision} was taken back {before}");
        self.tell(EventType::Warning, "PreviouslyRolledBack", HOLD_BACK, note);
    }

    /// One that has decided nothing yet, with the next number.
    fn new_attempt(&mut self, entry: EntryRef) -> Attempt {
        self.status.attempts = self.status.attempts.saturating_add(1);
        let id = self.id(&entry.revision, self.status.attempts);
        self.attempt_at(id, entry, AttemptState::Starting)
    }

    /// The name of an attempt.
    pub(super) fn id(&self, revision: &str, number: i64) -> String {
        let uid: String = self.resource.metadata.uid.as_deref().unwrap_or_default().chars().take(8).collect();
        format!("{revision}-{number}-{uid}")
    }

    /// `asked` is the attempt that a person asked to be tried again.
    fn start(&mut self, entry: EntryRef, asked: Option<String>) {
        // A failed first deployment that is given up has no traffic to drain.
        let given_up =
            self.status.revisions.iter().find(|it| it.role == RevisionRole::Candidate && it.revision != entry.revision);
        if let Some(revision) = given_up.map(|it| it.revision.clone()) {
            self.set_role(&revision, RevisionRole::Draining);
        }
        let proven_until = self.proven_until(&entry.revision);
        let attempt = self.new_attempt(entry.clone());
        self.status.attempt = Some(Attempt { fast_return: proven_until.is_some(), ..attempt });
        self.refuse(&entry.revision, None);
        self.status.verdicts.clear();
        self.set_role(&entry.revision, RevisionRole::Candidate);
        let used_for = UsedFor::of(&self.resource.spec);
        if let Some(it) = self.status.revisions.iter_mut().find(|it| it.revision == entry.revision) {
            it.entry = Some(EntryName::from(&entry));
            it.used_for = Some(used_for.clone());
        }
        let mut why = format!("the spec names entry {}", entry.name);
        if let Some(until) = proven_until {
            why.push_str(&format!(", proven until {}: no steps (rollout.rollbackWindow)", until.format("%FT%TZ")));
        }
        if used_for.is_said() {
            why.push_str(&format!(", {used_for}"));
        }
        if let Some(roles) = self.approved_by() {
            why.push_str(&format!(", approved by role {roles}"));
        }
        self.intend(
            "Start",
            &asked.map_or_else(|| why.clone(), |before| format!("retry of attempt {before} was requested: {why}")),
        );
        self.tell(
            EventType::Normal,
            "AttemptStarted",
            "Start",
            format!("revision {} of entry {} starts", entry.revision, entry.name),
        );
    }

    /// An attempt without traffic, as it is when it enters this state.
    pub(super) fn attempt_at(&self, id: String, entry: EntryRef, state: AttemptState) -> Attempt {
        Attempt {
            id,
            revision: entry.revision.clone(),
            entry,
            state,
            weight: Weight::NONE,
            step: None,
            started_at: self.now,
            entered_at: self.now,
            observing_since: None,
            measured_at: None,
            stable_replicas: self.stable_replicas(),
            short_of_capacity_since: None,
            withdrawn_from: None,
            taken_from: None,
            losses: 0,
            cause: None,
            message: None,
            samples: None,
            stable_samples: None,
            unjudged_since: None,
            copied: None,
            shadowed: false,
            fast_return: false,
            emergency: false,
            paused_since: None,
            suspended_since: None,
            held_until: None,
            skip_steps: false,
            skip_asked_by: None,
            exposed: Vec::new(),
            approvals: Vec::new(),
            decided: 0,
        }
    }

    /// What the stable revision keeps until the attempt ends: an edit that lowers `replicas`
    /// together with `modelRef` must not take the pods that serve.
    pub(super) fn stable_replicas(&self) -> i32 {
        self.policy.replicas.max(self.stable_has())
    }
}
