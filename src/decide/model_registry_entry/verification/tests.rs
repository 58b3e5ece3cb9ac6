//! When an artifact is looked at, what Jobs say of it, and what follows.

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
        self.observed.users = vec!["churn".into()];
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
    assert_eq!((plan.ops.len(), plan.requeue), (0, Some(STUCK_AGAIN)), "one at a time");
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
fn a_job_that_ends_without_an_answer_is_a_failure_to_look_once_its_pod_cannot_come_any_more() {
    let mut world = World::new();
    world.pass();
    world.ended(false);
    let plan = world.pass();
    assert_eq!((plan.requeue, world.known().unseen), (Some(SOON), None), "the Job is seen before its pod");
    world.later(11);
    world.pass();
    let unseen = world.known().unseen.unwrap();
    assert!(unseen.message.contains("ended (BackoffLimitExceeded) without an answer"), "{unseen:?}");
    let mut ahead = World::new();
    ahead.pass();
    ahead.later(60);
    ahead.ended(false);
    ahead.later(-60);
    assert_eq!(ahead.pass().requeue, Some(UNSEEN_AGAIN.0), "a clock that goes before this one keeps nobody waiting");
    let mut crashed = World::new();
    crashed.pass();
    crashed.ends(false, "Segmentation fault of jane@example.com");
    crashed.pass();
    let said = crashed.said(CONDITION).2;
    assert!(said.contains("ended with exit code 1") && !said.contains("jane"), "nothing is repeated: {said}");
}

#[test]
fn what_a_pod_says_that_somebody_else_has_made_counts_for_nothing() {
    let mut world = World::new();
    world.pass();
    world.ends(true, &report("f1", true));
    let forged = world.observed.jobs.live[0].pods[0].clone();
    world.observed.jobs.live[0].pods.push(forged);
    world.pass();
    assert_eq!(world.reason(CONDITION), (false, AWAITED.to_owned()));
    assert!(world.said(CONDITION).2.contains("2 pods say that the Job owns them"), "{:?}", world.said(CONDITION));
}

#[test]
fn a_pod_that_cannot_begin_is_told_while_it_waits() {
    let mut world = World::new();
    world.pass();
    world.is_in(&json!({"waiting": {"reason": "CreateContainerConfigError"}}));
    world.pass();
    let said = world.said(CONDITION).2;
    assert!(said.contains("container verify waits, CreateContainerConfigError; see artifact.secretRef"), "{said}");
}

#[test]
fn a_job_that_does_not_begin_is_made_again_with_what_was_put_right_meanwhile() {
    let mut world = World::new();
    world.pass();
    world.is_in(&json!({"waiting": {"reason": "ImagePullBackOff"}}));
    world.observed.verification.as_mut().unwrap().image = "werkbank:0.1.1".into();
    assert_eq!(world.pass().ops, []);
    world.later(599);
    assert_eq!(world.pass().ops, []);
    world.later(1);
    world.pass();
    assert_eq!(world.jobs(), 0);
    let said = world.said(CONDITION).2;
    assert!(said.contains("has not begun within 10 minutes: container verify waits, ImagePullBackOff"), "{said}");
    world.later(60);
    let plan = world.pass();
    let [Op::Create(Child::Job(job))] = plan.ops.as_slice() else { panic!("{:?}", plan.ops) };
    let image = job.spec.clone().unwrap().template.spec.unwrap().containers[0].image.clone();
    assert_eq!(image.as_deref(), Some("werkbank:0.1.1"));
    world.is_in(&json!({"running": {}}));
    world.later(3600);
    assert_eq!(world.pass().ops, [], "what reads may take its time");
}

#[test]
fn what_somebody_else_has_put_into_the_pod_holds_up_no_answer() {
    let mut world = World::new();
    world.pass();
    world.is_in(&json!({"terminated": {"exitCode": 0, "message": report("f1", true), "reason": "Completed"}}));
    world.pass();
    assert_eq!((world.reason(CONDITION), world.jobs()), ((true, "Verified".to_owned()), 0));
}

#[test]
fn pods_that_cannot_be_listed_hold_up_nothing_but_the_look() {
    let mut world = World::new();
    world.pass();
    world.ended(true);
    world.later(3600);
    world.observed.jobs.pods_unseen = Some("the pods that look at the artifact cannot be listed: timeout".into());
    assert_eq!(world.pass().requeue, Some(STUCK_AGAIN), "and not each second");
    assert_eq!((world.jobs(), world.known().looks), (1, 0));
    assert!(world.said(CONDITION).2.contains("cannot be listed: timeout"));
    assert!(!world.entry.status.as_ref().unwrap().spec_digest.is_empty(), "all else is said");
    world.later(600);
    assert_eq!(world.pass().requeue, Some(UNSEEN_AGAIN.0), "then it is a failure like any other");
    assert_eq!((world.jobs(), world.known().unseen.unwrap().times), (0, 1));
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
fn a_job_of_somebody_else_under_its_name_is_told_and_waited_for() {
    let mut world = World::new();
    world.observed.jobs.foreign = vec![name_of(&world.entry, 0)];
    let plan = world.pass();
    assert!(plan.ops.is_empty() && plan.requeue.is_some_and(|it| it <= ITS_TURN));
    assert!(world.said(CONDITION).2.contains("somebody else has made it"), "{:?}", world.said(CONDITION));
    world.observed.jobs.foreign.clear();
    assert_eq!(world.pass().ops.len(), 1);
}

#[test]
fn whatever_gets_lost_is_asked_once_more_and_nothing_twice_at_a_time() {
    let mut world = World::new();
    world.pass();
    let stays = world.observed.jobs.live.clone();
    world.ends(true, &report("f1", true));
    world.pass();
    // The deletion was lost.
    world.observed.jobs.live = stays;
    let plan = world.pass();
    assert!(matches!(plan.ops.as_slice(), [Op::Delete(ChildKind::Job, ..)]), "{:?}", plan.ops);
    assert_eq!(world.known().looks, 1);
    // So was the status, and the Job is there.
    let mut lost = World::new();
    lost.pass();
    lost.entry.status = None;
    assert_eq!(lost.pass().ops, []);
}

#[test]
fn nothing_is_looked_at_where_nothing_can_be_seen_or_nobody_wants_to_know() {
    let mut off = World::new();
    off.pass();
    off.observed.verification = None;
    off.pass();
    let status = off.entry.status.clone().unwrap();
    assert!(off.jobs() == 0 && status.artifact.is_none(), "{status:?}");
    assert!(condition::find(&status.conditions, CONDITION).is_none());
    let mut file = World::of("file:///models/churn.json");
    assert_eq!(file.pass().ops, []);
    assert!(file.reason("Ready").0 && missing("churn-1", &file.entry).is_none());
}

#[test]
fn of_what_is_revoked_stays_what_was_found_and_nobody_looks_any_more() {
    let mut world = World::new();
    world.verified();
    world.asks("now");
    world.pass();
    world.entry.spec.lifecycle = Some(Lifecycle::Revoked);
    world.pass();
    assert_eq!((world.jobs(), world.reason(CONDITION)), (0, (true, "Verified".to_owned())));
    assert_eq!(world.known().looks, 1);
    let mut unseen = World::new();
    unseen.pass();
    unseen.entry.spec.lifecycle = Some(Lifecycle::Revoked);
    unseen.pass();
    let status = unseen.entry.status.clone().unwrap();
    assert!(unseen.jobs() == 0 && condition::find(&status.conditions, CONDITION).is_none());
}

#[test]
fn what_is_being_deleted_and_used_stays_what_it_was_found_to_be() {
    let mut world = World::new();
    world.verified();
    world.deleted();
    world.later(2 * 86_400);
    world.pass();
    assert_eq!((world.jobs(), world.reason(CONDITION)), (0, (true, "Verified".to_owned())));
    assert_eq!(missing("churn-1", &world.entry), None, "what is under way is not held up");
}

#[test]
fn what_is_being_deleted_and_was_wrong_is_looked_at_until_it_is_right() {
    let mut world = World::new();
    world.looks_and_hears(false, &failure("ArtifactNotFound"));
    world.deleted();
    world.later(600);
    world.looks_and_hears(true, &report("f1", true));
    assert_eq!(missing("churn-1", &world.entry), None, "so that nothing waits for it for ever");
}

#[test]
fn what_is_being_deleted_and_nobody_has_seen_is_looked_at_still() {
    let mut world = World::new();
    world.pass();
    world.deleted();
    world.pass();
    world.ends(true, &report("f1", true));
    world.pass();
    assert_eq!(world.reason(CONDITION), (true, "Verified".to_owned()));
    let mut foreground = World::new();
    foreground.deleted();
    foreground.entry.metadata.finalizers = Some(vec!["foregroundDeletion".into()]);
    assert_eq!(foreground.pass().ops, [], "whoever collects garbage would take each");
}

#[test]
fn what_the_api_server_refuses_and_what_may_not_be_seen_is_said_with_the_remedy() {
    let mut world = World::new();
    let (kind, name) = ("Job".to_owned(), "churn-1-verify-ab".to_owned());
    world.observed.refused = Some(Refusal { kind, name, message: "exceeded quota".into() });
    world.pass();
    assert!(world.said(CONDITION).2.contains("exceeded quota; raise the quota"), "{:?}", world.said(CONDITION));
    let mut hidden = World::new();
    hidden.observed.jobs.hidden = true;
    assert_eq!(hidden.pass().ops, [], "who does not see them would make them again and again");
    assert!(hidden.said(CONDITION).2.contains("may not list and watch Jobs"));
}

#[test]
fn nobody_looks_for_ever_where_an_older_crd_drops_what_was_found() {
    let mut world = World::new();
    world.pass();
    let drop = |world: &mut World| world.entry.status.as_mut().unwrap().artifact = None;
    drop(&mut world);
    world.observed.jobs.live.clear();
    let plan = world.pass();
    assert_eq!((plan.ops, plan.requeue), (vec![], Some(UNSEEN_AGAIN.0)));
    assert_eq!(world.reason("Stalled"), (true, UNAVAILABLE.to_owned()));
    assert!(world.said(CONDITION).2.contains("the CRD of ModelRegistryEntry is older"));
    drop(&mut world);
    assert_eq!(world.pass().ops, []);
    // The CRD is upgraded, and what is written stays.
    world.later(60);
    assert_eq!(world.pass().ops.len(), 1);
    world.ends(true, &report("f1", true));
    world.pass();
    assert!(world.reason(CONDITION).0);
}

#[test]
fn what_an_older_crd_drops_half_of_is_not_right_and_nobody_looks_for_ever() {
    let mut world = World::new();
    world.verified();
    world.asks("now");
    world.looks_and_hears(false, &failure("ArtifactDigestMismatch"));
    for _ in 0..3 {
        // It knows `checkedAt`, and neither `wrong` nor `unseen`.
        let known = world.entry.status.as_mut().unwrap().artifact.as_mut().unwrap();
        (known.wrong, known.unseen) = (None, None);
        world.later(60);
        assert_eq!(world.pass().ops, []);
        assert_eq!(world.reason(CONDITION), (false, UNAVAILABLE.to_owned()));
        assert!(missing("churn-1", &world.entry).is_some());
    }
}

#[test]
fn an_older_operator_that_knew_nothing_of_it_is_no_older_crd() {
    let mut world = World::new();
    world.verified();
    world.entry.status.as_mut().unwrap().artifact = None;
    assert_eq!(world.pass().ops.len(), 1);
    assert_eq!(world.reason(CONDITION), (false, AWAITED.to_owned()));
}

#[test]
fn an_artifact_is_read_where_its_data_may_be_and_nowhere_else() {
    let allowed_in = |regions: &[&str]| {
        let mut world = World::new();
        world.entry.spec.governance = Some(serde_json::from_value(json!({"regions": regions})).unwrap());
        world
    };
    let mut known = allowed_in(&["us", "eu"]);
    let plan = known.pass();
    let [Op::Create(Child::Job(job))] = plan.ops.as_slice() else { panic!("{:?}", plan.ops) };
    let affinity = serde_json::to_value(job.spec.clone().unwrap().template.spec.unwrap().affinity).unwrap();
    let terms = &affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    let eu = json!({"key": "topology.kubernetes.io/region", "operator": "In", "values": ["eu-1"]});
    assert_eq!(*terms, json!([{"matchExpressions": [eu]}]));
    let mut unknown = allowed_in(&["us"]);
    assert_eq!(unknown.pass().ops, []);
    assert!(unknown.said(CONDITION).2.contains("knows none of us; add them to the chart's value regions"));
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
fn a_clock_that_goes_before_the_api_servers_gives_a_job_no_less_time_to_begin() {
    let mut world = World::new();
    world.pass();
    let live = &mut world.observed.jobs.live[0];
    Arc::make_mut(&mut live.job).metadata.creation_timestamp =
        serde_json::from_value(json!("2026-11-01T00:00:00Z")).unwrap();
    world.pass();
    assert_eq!((world.jobs(), world.known().looks), (1, 0));
    world.later(-3600);
    world.pass();
    world.later(599);
    world.pass();
    assert_eq!(world.known().looks, 0, "nor does one that is set back take longer");
    world.later(1);
    world.pass();
    assert_eq!(world.known().looks, 1);
}

#[test]
fn a_job_that_somebody_has_deleted_is_made_anew_and_has_all_of_its_time() {
    let mut world = World::new();
    world.pass();
    world.is_in(&json!({"running": {}}));
    world.pass();
    world.later(660);
    world.observed.jobs.live.clear();
    world.pass();
    world.pass();
    assert_eq!((world.jobs(), world.known().looks, world.known().unseen), (1, 0, None));
}

#[test]
fn a_job_of_another_number_than_the_next_is_deleted_whichever_it_is() {
    let mut world = World::new();
    world.verified();
    world.asks("now");
    world.pass();
    // Status was restored from before.
    world.entry.status = None;
    let plan = world.pass();
    let [Op::Delete(ChildKind::Job, ..), Op::Create(_)] = plan.ops.as_slice() else { panic!("{:?}", plan.ops) };
}
