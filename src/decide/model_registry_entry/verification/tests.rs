//! When an artifact is looked at, what Jobs say of it, and what follows.

mod explore;
mod jobs;
mod settled;

use std::sync::Arc;

use chrono::TimeDelta;
use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

use super::*;
use crate::api::artifact_report::ArtifactReport;
use crate::api::labels;
use crate::build::verification::CONTAINER;
use crate::decide::model_registry_entry::decide;
use crate::decide::{Plan, Refusal};

/// An entry, the Jobs in the cluster, and a clock.
#[derive(Clone)]
struct World {
    entry: ModelRegistryEntry,
    observed: Observed,
    now: DateTime<Utc>,
}

impl World {
    fn of(uri: &str) -> Self {
        let spec = json!({"model": {"name": "churn", "version": "1", "kind": "Predictor"},
            "artifact": {"uri": uri, "sha256": "0".repeat(64)}});
        let mut entry = ModelRegistryEntry::new("churn-1", serde_json::from_value(spec).unwrap());
        entry.metadata.uid = Some("uid-1".into());
        entry.metadata.generation = Some(1);
        let every = Some(Duration::from_hours(24));
        let eu = [("topology.kubernetes.io/region".to_owned(), vec!["eu-1".to_owned()])].into();
        let regions = [("eu".to_owned(), eu)].into();
        let verification = Some(Settings { image: "werkbank:0.1.0".into(), every, at_once: 4, regions });
        let observed = Observed { verification, ..Observed::default() };
        Self { entry, observed, now: "2026-11-28T12:00:00Z".parse().unwrap() }
    }

    fn new() -> Self {
        Self::of("s3://models/churn/1/")
    }

    /// Decides, and does what was decided.
    fn pass(&mut self) -> Plan<ModelRegistryEntryStatus> {
        let plan = decide(&self.entry, &self.observed, self.now);
        if plan.status.is_some() {
            self.entry.status.clone_from(&plan.status);
        }
        for op in &plan.ops {
            match op {
                Op::Create(Child::Job(job)) => self.created(Job::clone(job)),
                Op::Delete(ChildKind::Job, name, _) => self.observed.jobs.live.retain(|it| it.name() != name),
                other => panic!("{other:?}"),
            }
        }
        plan
    }

    fn created(&mut self, mut job: Job) {
        let name = job.metadata.name.clone().unwrap();
        assert!(self.observed.jobs.live.iter().all(|it| it.name() != name), "{name} is there already");
        job.metadata.uid = Some(format!("uid-of-{name}"));
        job.metadata.resource_version = Some("1".into());
        job.metadata.creation_timestamp = serde_json::from_value(json!(self.now.to_rfc3339())).unwrap();
        self.observed.jobs.live.push(LiveJob { job: job.into(), pods: Vec::new() });
    }

    /// The next look is made, and its container has said this.
    fn looks_and_hears(&mut self, well: bool, said: &str) {
        self.pass();
        self.ends(well, said);
        self.pass();
    }

    /// A person asks for a look.
    fn asks(&mut self, nonce: &str) {
        self.entry.annotations_mut().insert(labels::VERIFY.into(), nonce.into());
    }

    /// Somebody deletes the entry, which a deployment uses.
    fn deleted(&mut self) {
        self.observed.users.names = vec!["churn".into()];
        self.entry.metadata.deletion_timestamp = serde_json::from_value(json!(self.now.to_rfc3339())).unwrap();
    }

    /// The only Job has a pod.
    fn begins(&mut self) {
        self.observed.jobs.live[0].pods = vec![Default::default()];
    }

    /// The only Job ends, and its container has said this.
    fn ends(&mut self, well: bool, said: &str) {
        self.ended(well);
        self.is_in(&json!({"terminated": {"exitCode": i32::from(!well), "message": said, "reason": "Error"}}));
    }

    /// The container of the only Job's pod is in this state.
    fn is_in(&mut self, state: &Value) {
        let status =
            json!({"name": CONTAINER, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state});
        let pod = serde_json::from_value(json!({"metadata": {}, "status": {"containerStatuses": [status]}})).unwrap();
        self.observed.jobs.live[0].pods = vec![Arc::new(pod)];
    }

    fn ended(&mut self, well: bool) {
        let [live] = self.observed.jobs.live.as_mut_slice() else { panic!("{:?}", self.observed.jobs) };
        let mut job = Job::clone(&live.job);
        let (type_, reason) =
            if well { ("Complete", "CompletionsReached") } else { ("Failed", "BackoffLimitExceeded") };
        let condition =
            json!({"type": type_, "status": "True", "reason": reason, "lastTransitionTime": self.now.to_rfc3339()});
        job.status = serde_json::from_value(json!({"conditions": [condition]})).unwrap();
        live.job = job.into();
    }

    fn verified(&mut self) {
        self.pass();
        self.ends(true, &report("f1", true));
        self.pass();
        self.pass();
    }

    fn later(&mut self, seconds: i64) {
        self.now += TimeDelta::seconds(seconds);
    }

    fn jobs(&self) -> usize {
        self.observed.jobs.live.len()
    }

    fn known(&self) -> Verification {
        self.entry.status.clone().unwrap().artifact.unwrap()
    }

    /// Status, reason and message of a condition.
    fn said(&self, type_: &str) -> (bool, String, String) {
        let status = self.entry.status.as_ref().unwrap();
        let it = condition::find(&status.conditions, type_).unwrap_or_else(|| panic!("no {type_}"));
        (it.status == true.into(), it.reason.clone(), it.message.clone())
    }

    fn reason(&self, type_: &str) -> (bool, String) {
        let (holds, reason, _) = self.said(type_);
        (holds, reason)
    }
}

/// `f1` stands for a fingerprint.
fn report(fingerprint: &str, read: bool) -> String {
    ArtifactReport { bytes: 42, files: 3, fingerprint: fingerprint.repeat(16), read }.to_line()
}

fn failure(reason: &str) -> String {
    json!({"reason": reason, "message": "what is wrong"}).to_string()
}

fn arguments(plan: &Plan<ModelRegistryEntryStatus>) -> Vec<String> {
    let [Op::Create(Child::Job(job))] = plan.ops.as_slice() else { panic!("{:?}", plan.ops) };
    job.spec.clone().unwrap().template.spec.unwrap().containers[0].args.clone().unwrap()
}

#[test]
fn an_artifact_is_looked_at_once_it_is_registered_and_the_entry_is_ready_when_it_is_right() {
    let mut world = World::new();
    let plan = world.pass();
    assert_eq!(arguments(&plan), ["verify", "--uri", "s3://models/churn/1/", "--sha256", &"0".repeat(64)]);
    for (type_, holds) in [(CONDITION, false), ("Ready", false), ("Reconciling", true)] {
        assert_eq!(world.reason(type_), (holds, AWAITED.to_owned()));
    }
    assert!(missing("churn-1", &world.entry).is_some_and(|it| it.reason == AWAITED && !it.is_final));
    let plan = world.pass();
    assert_eq!((plan.ops.len(), plan.requeue), (0, Some(STILL)), "one at a time");
    assert!(world.said(CONDITION).2.contains("has no pod yet; if that stays so"), "{:?}", world.said(CONDITION));
    world.begins();
    world.pass();
    assert!(world.said(CONDITION).2.contains("kubectl logs job/churn-1-verify-"), "{:?}", world.said(CONDITION));
    world.ends(true, &report("f1", true));
    world.pass();
    assert_eq!((world.jobs(), world.reason(CONDITION)), (0, (true, "Verified".to_owned())), "and the Job is gone");
    assert!(world.reason("Ready").0 && missing("churn-1", &world.entry).is_none());
    let known = world.known();
    assert_eq!((known.looks, known.bytes, known.files, known.verified_at), (1, Some(42), Some(3), Some(world.now)));
    let plan = world.pass();
    assert_eq!((plan.status, plan.ops.len()), (None, 0));
    let (day, again) = (Duration::from_hours(24), plan.requeue.unwrap());
    assert!(again <= day && again > day * 3 / 4, "{again:?}");
}

#[test]
fn what_was_right_is_looked_at_again_and_read_only_if_somebody_has_written_to_it() {
    let mut world = World::new();
    world.verified();
    let first = world.now;
    world.later(86_400);
    assert_eq!(arguments(&world.pass())[5..], [format!("--known={}", "f1".repeat(16))]);
    assert!(world.reason(CONDITION).0, "until then it is what it was");
    world.ends(true, &report("f1", false));
    world.pass();
    assert_eq!((world.known().verified_at, world.known().checked_at), (Some(first), Some(world.now)));
    world.later(86_400);
    world.pass();
    world.ends(false, &failure("ArtifactDigestMismatch"));
    world.pass();
    assert_eq!(world.reason(CONDITION), (false, "ArtifactDigestMismatch".to_owned()));
    assert_eq!(world.reason("Stalled"), (true, "ArtifactDigestMismatch".to_owned()));
    let closed = missing("churn-1", &world.entry).unwrap();
    assert_eq!((closed.reason, closed.is_final), ("ArtifactDigestMismatch", true));
}

#[test]
fn what_is_wrong_is_looked_at_again_and_all_of_it_is_read_then() {
    let mut world = World::new();
    world.verified();
    world.later(86_400);
    world.pass();
    world.ends(false, &failure("ArtifactNotFound"));
    assert_eq!(world.pass().requeue, Some(WRONG_AGAIN.0));
    world.later(599);
    assert_eq!((world.pass().ops.len(), world.jobs()), (0, 0));
    world.later(1);
    assert!(!arguments(&world.pass()).iter().any(|it| it.starts_with("--known")));
    assert_eq!(world.reason(CONDITION).1, "ArtifactNotFound", "until it is known better");
    world.ends(true, &report("f2", true));
    world.pass();
    assert!(world.reason(CONDITION).0 && world.reason("Ready").0);
}

#[test]
fn what_was_found_to_be_wrong_stays_wrong_until_somebody_has_seen_that_it_is_right() {
    let mut world = World::new();
    world.verified();
    for (nonce, said) in
        [("1", "ArtifactDigestMismatch"), ("2", "ArtifactUnreachable"), ("3", "ArtifactAccessDenied"), ("4", "")]
    {
        world.asks(nonce);
        world.looks_and_hears(false, &failure(said));
        assert_eq!(world.reason(CONDITION), (false, "ArtifactDigestMismatch".to_owned()), "after {said}");
        assert!(missing("churn-1", &world.entry).is_some_and(|it| it.is_final));
    }
    let said = world.said(CONDITION).2;
    assert!(said.starts_with("what is wrong; since then nobody could look at it: the Job has said nothing"), "{said}");
    world.asks("5");
    assert!(!arguments(&world.pass()).iter().any(|it| it.starts_with("--known")), "so it is read");
    world.ends(true, &report("f1", true));
    world.pass();
    assert_eq!(world.reason(CONDITION), (true, "Verified".to_owned()));
}

#[test]
fn an_outage_makes_nobody_wait_longer_for_what_is_wrong() {
    let mut world = World::new();
    for nonce in 0..28 {
        world.asks(&nonce.to_string());
        world.looks_and_hears(false, &failure("ArtifactUnreachable"));
    }
    assert_eq!(world.pass().requeue, Some(UNSEEN_AGAIN.1));
    world.asks("found");
    world.pass();
    world.ends(false, &failure("ArtifactNotFound"));
    assert_eq!(world.pass().requeue, Some(WRONG_AGAIN.0));
}

#[test]
fn a_right_that_is_missing_says_nothing_of_what_was_right_and_keeps_back_what_nobody_has_seen() {
    for said in ["ArtifactAccessDenied", "ArtifactInvalidUri", "ArtifactTooLarge"] {
        let mut world = World::new();
        world.looks_and_hears(false, &failure(said));
        for type_ in [CONDITION, "Ready"] {
            assert_eq!(world.reason(type_), (false, said.to_owned()));
        }
        assert!(world.reason("Stalled").0, "a person has to do something");
        let closed = missing("churn-1", &world.entry).unwrap();
        assert_eq!((closed.reason, closed.is_final), (said, true));
        assert_eq!(closed.message, "the artifact of entry churn-1 cannot be verified: what is wrong");
        world.later(60);
        world.looks_and_hears(true, &report("f1", true));
        world.asks("again");
        assert!(arguments(&world.pass()).iter().any(|it| it.starts_with("--known")));
        world.ends(false, &failure(said));
        world.pass();
        assert_eq!(world.reason(CONDITION), (true, "Verified".to_owned()));
        world.later(60);
        assert!(arguments(&world.pass()).iter().any(|it| it.starts_with("--known")), "what was right need not be read");
    }
}

#[test]
fn a_person_can_ask_for_a_look_once_with_each_word() {
    let mut world = World::new();
    world.looks_and_hears(false, &failure("ArtifactNotFound"));
    world.asks("it is there now");
    assert_eq!(world.pass().ops.len(), 1);
    world.asks("no, now");
    world.ends(false, &failure("ArtifactNotFound"));
    world.pass();
    assert_eq!((world.jobs(), world.known().asked.as_deref()), (1, Some("it is there now")), "the next look");
    world.ends(true, &report("f1", true));
    world.pass();
    let plan = world.pass();
    assert_eq!((plan.status, plan.ops.len(), world.jobs()), (None, 0, 0), "each is answered");
}

#[test]
fn what_stays_wrong_is_looked_at_ever_more_seldom() {
    let mut world = World::new();
    world.pass();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        world.ends(false, &failure("ArtifactNotFound"));
        let pause = world.pass().requeue.unwrap();
        pauses.push(pause.as_secs() / 60);
        world.later(i64::try_from(pause.as_secs()).unwrap());
        world.pass();
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440]);
}

#[test]
fn an_outage_of_the_store_says_nothing_of_what_was_right_and_keeps_back_what_nobody_has_seen() {
    let mut world = World::new();
    world.pass();
    world.ends(false, &failure("ArtifactUnreachable"));
    assert_eq!(world.pass().requeue, Some(UNSEEN_AGAIN.0));
    assert_eq!(world.reason(CONDITION), (false, AWAITED.to_owned()));
    assert!(world.said(CONDITION).2.ends_with("; the last time: what is wrong"), "{:?}", world.said(CONDITION));
    world.later(60);
    world.verified();
    world.later(86_400);
    world.pass();
    world.ends(false, &failure("ArtifactUnreachable"));
    world.pass();
    assert_eq!(world.reason(CONDITION), (true, "Verified".to_owned()));
    assert!(world.said(CONDITION).2.ends_with("since then nobody could look at it: what is wrong"));
}

#[test]
fn of_all_entries_a_few_are_looked_at_at_a_time_and_half_of_the_places_are_for_what_nobody_has_seen() {
    for (elsewhere, known, looks) in [(3, false, 1), (4, false, 0), (1, true, 1), (2, true, 0)] {
        let mut world = World::new();
        if known {
            world.verified();
        }
        world.later(86_400);
        world.observed.jobs.elsewhere = elsewhere;
        let plan = world.pass();
        assert_eq!(plan.ops.len(), looks, "{elsewhere} elsewhere, known: {known}");
        if looks == 0 {
            let again = plan.requeue.unwrap();
            assert!(again <= ITS_TURN && again > ITS_TURN / 2, "{again:?}");
            assert_eq!(world.said(CONDITION).2.contains("waits for its turn"), !known);
        }
    }
}

#[test]
fn what_was_registered_together_is_not_looked_at_together_for_ever() {
    let mut pauses = std::collections::BTreeSet::new();
    for number in 0..100 {
        let mut world = World::new();
        world.entry.metadata.uid = Some(format!("uid-{number}"));
        world.verified();
        pauses.insert(world.pass().requeue.unwrap().as_secs() / 60);
    }
    assert!(pauses.len() > 50, "{pauses:?}");
}

#[test]
fn a_clock_that_is_set_back_delays_no_look() {
    for said in ["", "ArtifactNotFound", "ArtifactUnreachable"] {
        let mut world = World::new();
        world.looks_and_hears(said.is_empty(), &if said.is_empty() { report("f1", true) } else { failure(said) });
        world.later(-3 * 86_400);
        assert_eq!(world.pass().ops.len(), 1, "after {said}");
    }
}

#[test]
fn a_new_leader_writes_the_status_before_it_looks_in_place_of_a_look_that_is_gone() {
    let mut world = World::new();
    world.pass();
    world.observed.jobs.live.clear();
    let same = decide(&world.entry, &world.observed, world.now);
    (world.observed.lease_epoch, world.observed.unconfirmed) = (8, true);
    let next = world.pass();
    assert_eq!((same.status, same.ops.len(), next.ops.len()), (None, 1, 1));
    assert_eq!(next.status.unwrap().lease_epoch, 8);
}
