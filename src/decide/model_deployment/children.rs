//! Which children should exist, and the writes that get there.
//!
//! Derived from the status as it will be written, never from what the live children
//! happen to say: whatever a crash left half-done is completed by the next pass. The one thing read back
//! from a child is which `spec.traffic.gateway` the route was last written from (see `edit`).

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::observed::Children;
use super::pass::Pass;
use super::traffic;
use crate::api::Weight;
use crate::api::labels;
use crate::api::model_deployment::{AttemptState, RevisionRole, RevisionStatus};
use crate::api::revision::RevisionRecord;
use crate::build::record::Recorded;
use crate::build::{self, Owner};
use crate::decide::resets::Contended;
use crate::decide::{Child, ChildKind, Op, Precondition};

/// What keeps a child from being as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// CamelCase, from the documented list.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// What brings the children to what the status says.
pub(super) struct Converged {
    /// The writes.
    pub(super) ops: Vec<Op>,
    /// Which of them put back what somebody else has edited.
    pub(super) resets: Vec<Contended>,
    /// The first thing in the way.
    pub(super) problem: Option<Problem>,
}

/// See [`Converged`].
pub(super) fn converge(pass: &Pass<'_>) -> Converged {
    let (ops, resets) = (Vec::new(), Vec::new());
    let mut work = Work { pass, children: &pass.observed.children, ops, resets, problem: None };
    work.name_taken();
    work.refused();
    // Ops end at the first that is refused. On the way back nothing may stand before weight 0, least
    // of all something that is wrong with the stable revision, or with pods that are to come back.
    let back = pass.is_on_the_way_back();
    // A Job waits for nothing else, and nothing else for a Job: so they come last, or after what was refused before.
    let jobs_first = !back && pass.observed.memory.refused.is_some() && pass.refused_job().is_none();
    if back {
        work.traffic();
    }
    if jobs_first {
        work.jobs();
    }
    for revision in &pass.status.revisions {
        work.revision(revision);
    }
    if !back {
        work.traffic();
    }
    // What the API server has against an autoscaler, it has against nothing else.
    work.autoscalers();
    work.proposal();
    if !jobs_first {
        work.jobs();
    }
    Converged { ops: work.ops, resets: work.resets, problem: work.problem }
}

/// Writes that are being put together.
pub(super) struct Work<'a> {
    pub(super) pass: &'a Pass<'a>,
    pub(super) children: &'a Children,
    pub(super) ops: Vec<Op>,
    resets: Vec<Contended>,
    problem: Option<Problem>,
}

impl Work<'_> {
    pub(super) fn blocked(&mut self, reason: &'static str, message: String) {
        self.problem.get_or_insert(Problem { reason, message });
    }

    fn name_taken(&mut self) {
        if let Some(child) = self.pass.observed.memory.foreign_children.first() {
            let (kind, name) = child.split_once('/').unwrap_or(("object", child));
            self.blocked("ChildNameTaken", format!("there is already a {kind} {name} that does not belong to this ModelDeployment; if an earlier one of this name left it behind, garbage collection removes it; otherwise delete it, or rename this ModelDeployment"));
        }
    }

    /// What the API server has against a child. That a Job or a proposal cannot be had is said by whoever waits for it, and in
    /// nobody's way; nobody waits for one to go.
    fn refused(&mut self) {
        let Some(refused) = &self.pass.observed.memory.refused else { return };
        let (is_job, is_proposal) = (self.pass.refused_job().is_some(), self.pass.refused_proposal().is_some());
        let goes =
            is_job && self.children.jobs.contains_key(&refused.name) || is_proposal && self.pass.edit().is_none();
        let (what, remedy) = match (goes, is_job || is_proposal) {
            (true, _) => ("to delete ", "give the operator's role what it lacks (`helm upgrade` does)"),
            (false, true) => return,
            (false, false) => ("a child: ", "correct spec.template, spec.autoscaling or spec.traffic"),
        };
        self.blocked("ChildRefused", format!("the API server refuses {what}{refused}; {remedy}"));
    }

    fn is_taken(&self, kind: ChildKind, name: &str) -> bool {
        let wanted = format!("{}/{name}", kind.name());
        self.pass.observed.memory.foreign_children.contains(&wanted)
    }

    pub(super) fn create(&mut self, child: Child) {
        if !self.is_taken(child.kind(), child.name()) {
            self.ops.push(Op::Create(child));
        }
    }

    /// The record of a revision first: everything else of the revision belongs to it.
    fn revision(&mut self, it: &RevisionStatus) {
        let name = labels::name(&[self.pass.name(), &it.revision]);
        let target = self.pass.target.as_ref().ok().filter(|record| record.entry.revision == it.revision);
        match self.children.records.get(&name) {
            // What would be made for it now would go with it; a new one comes when it is gone.
            Some(live) if live.metadata.deletion_timestamp.is_some() => {}
            Some(live) if self.pass.is_drained(it) => self.delete(ChildKind::Revision, &live.metadata),
            // It is on its way out: what it has is left as it is, what it lacks is not made.
            Some(_) if self.is_leaving(it) => {}
            Some(live) => match &live.record {
                // What somebody corrected for the retry (a Secret, the region map) is in no revision's name.
                Ok(record) if target.is_some_and(|it| it != record) && self.is_tried_again(it, live) => {
                    self.delete(ChildKind::Revision, &live.metadata);
                }
                Ok(record) => self.belongings(it, record, live),
                Err(error) => self.blocked("RevisionRecordUnreadable", format!("ControllerRevision {name}: {error}; delete it if the revision is not needed")),
            },
            None if matches!(it.role, RevisionRole::Draining | RevisionRole::Kept) => {}
            None => match target {
                Some(record) => self.create(build::record::write(self.pass.resource, record, self.pass.status.attempts)),
                None => self.blocked("RevisionRecordLost", format!("ControllerRevision {name} is gone; its pods go with it: point spec.modelRef at the entry of this revision to build it again")),
            },
        }
    }

    /// Writes over this very object, unless it is on its way out.
    pub(super) fn write_over(&mut self, live: &ObjectMeta, wanted: Child) {
        if let (None, Some(precondition)) = (&live.deletion_timestamp, precondition(live)) {
            self.ops.push(Op::Apply(wanted, precondition));
        }
    }

    /// Puts back what somebody else has edited; what is contested, not each time.
    fn put_back(&mut self, live: &ObjectMeta, wanted: Child) {
        let Some(uid) = live.uid.clone().filter(|_| live.deletion_timestamp.is_none()) else { return };
        let child = Contended { kind: wanted.kind(), name: wanted.name().to_owned(), uid };
        if !self.pass.leaves_child(&child) {
            self.write_over(live, wanted);
            self.resets.push(child);
        }
    }

    /// Deletes this very object, unless it is on its way out.
    pub(super) fn delete(&mut self, kind: ChildKind, live: &ObjectMeta) {
        if let (None, Some(name), Some(precondition)) = (&live.deletion_timestamp, &live.name, precondition(live)) {
            self.ops.push(Op::Delete(kind, name.clone(), precondition));
        }
    }

    /// Whether this record of the candidate was made for an earlier attempt, and nothing that belongs to it
    /// has had traffic in this one.
    fn is_tried_again(&self, it: &RevisionStatus, live: &Recorded) -> bool {
        it.role == RevisionRole::Candidate
            && live.attempt != self.pass.status.attempts
            && self.pass.active().is_some_and(|attempt| {
                let untouched = attempt.weight == Weight::NONE && attempt.withdrawn_from.is_none();
                // What is proven comes back as it was.
                let anew = attempt.state == AttemptState::Starting && !attempt.fast_return;
                anew && attempt.revision == it.revision && untouched
            })
    }

    pub(super) fn is_leaving(&self, it: &RevisionStatus) -> bool {
        let attempt = self.pass.status.attempt.as_ref();
        let taken_back = || attempt.is_some_and(|attempt| attempt.state == AttemptState::RollingBack);
        match it.role {
            RevisionRole::Draining => true,
            RevisionRole::Candidate => taken_back(),
            RevisionRole::Stable | RevisionRole::Kept | RevisionRole::Fallback => false,
        }
    }

    fn belongings(&mut self, it: &RevisionStatus, record: &RevisionRecord, recorded: &Recorded) {
        let uid = recorded.metadata.uid.clone().unwrap_or_default();
        let owner = Owner { name: labels::name(&[self.pass.name(), &it.revision]), uid };
        for (original, copy) in &record.config_maps {
            if self.children.copies.contains_key(copy) || record.missing_config_maps.contains(original) {
                continue;
            }
            // Only ever copied while the original still is what the revision's name says.
            let current = self.pass.target.as_ref().is_ok_and(|target| target.entry.revision == it.revision);
            match self.pass.observed.config_maps.get(original) {
                Some(Some(content)) if current => {
                    self.create(build::copy::write(self.pass.resource, &it.revision, &owner, copy, content))
                }
                _ => self.blocked(
                    "ConfigMapCopyLost",
                    format!("ConfigMap {copy} of revision {} is gone and its original has changed", it.revision),
                ),
            }
        }
        self.service_of_revision(&owner.name, build::service::of_revision(self.pass.resource, record, &owner));
        self.pods(it, record, recorded, &owner);
    }

    fn pods(&mut self, it: &RevisionStatus, record: &RevisionRecord, recorded: &Recorded, owner: &Owner) {
        let live = self.children.deployments.get(&owner.name);
        let count = live.and_then(|it| it.spec.as_ref()?.replicas);
        let replicas = self.replicas(it, count);
        let in_hand = self.in_hand(it, count).is_some();
        let was_in_hand = self.children.autoscalers.contains_key(&owner.name);
        match live {
            Some(live) if in_hand && build::deployment::has_its_template(live, recorded) => {}
            // Its generations are the autoscaler's doing, which is about to go.
            Some(live) if was_in_hand && build::deployment::has_its_template(live, recorded) => {
                self.correct(live, build::deployment::taken_over(live, replicas));
            }
            Some(live) if build::deployment::is_as_recorded(live, recorded) => {
                self.correct(live, build::deployment::scaled(live, replicas));
            }
            live => self.deployment(it, live, record, owner),
        }
    }

    /// One that is not there, or not as its revision's record notes.
    fn deployment(
        &mut self,
        it: &RevisionStatus,
        live: Option<&Arc<Deployment>>,
        record: &RevisionRecord,
        owner: &Owner,
    ) {
        let count = live.and_then(|it| it.spec.as_ref()?.replicas);
        let (replicas, in_hand) = (self.replicas(it, count), self.in_hand(it, count).is_some());
        let wanted = match build::deployment::write(self.pass.resource, record, owner, replicas) {
            Ok(wanted) => wanted,
            Err(message) => return self.blocked("InvalidTemplate", message),
        };
        match live {
            None => self.create(Child::Deployment(Box::new(wanted))),
            Some(live) if in_hand && build::deployment::has_template_of(live, &wanted) => {}
            Some(live) => {
                // Nothing is to run: that waits for nobody. And what is ours to change, or nobody's, is not fought over.
                let is_fought_over = replicas > 0
                    && build::deployment::was_edited(live)
                    && build::deployment::contradicts(live, &wanted);
                match build::deployment::correction(live, wanted) {
                    Some(it) if is_fought_over => self.put_back(&live.metadata, Child::Deployment(Box::new(it))),
                    correction => self.correct(live, correction),
                }
            }
        }
    }

    fn correct(&mut self, live: &Deployment, correction: Option<Deployment>) {
        if let Some(correction) = correction {
            self.write_over(&live.metadata, Child::Deployment(Box::new(correction)));
        }
    }

    fn service_of_revision(&mut self, name: &str, wanted: Service) {
        match self.children.services.get(name) {
            Some(live) if !traffic::same_service(live, &wanted) => {
                self.put_back(&live.metadata, Child::Service(Box::new(wanted)));
            }
            _ => self.service(name, wanted),
        }
    }

    pub(super) fn service(&mut self, name: &str, wanted: Service) {
        match self.children.services.get(name) {
            None => self.create(Child::Service(Box::new(wanted))),
            Some(live) if traffic::same_service(live, &wanted) => {}
            Some(live) => self.write_over(&live.metadata, Child::Service(Box::new(wanted))),
        }
    }
}

fn precondition(metadata: &ObjectMeta) -> Option<Precondition> {
    Some(Precondition { uid: metadata.uid.clone()?, resource_version: metadata.resource_version.clone()? })
}
