//! What becomes of Jobs and their pods, and what they say.

use super::*;

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
    assert_eq!(world.pass().requeue, Some(STILL), "and not each second");
    assert_eq!((world.jobs(), world.known().looks), (1, 0));
    assert!(world.said(CONDITION).2.contains("cannot be listed: timeout"));
    assert!(!world.entry.status.as_ref().unwrap().spec_digest.is_empty(), "all else is said");
    world.later(600);
    assert_eq!(world.pass().requeue, Some(UNSEEN_AGAIN.0), "then it is a failure like any other");
    assert_eq!((world.jobs(), world.known().unseen.unwrap().times), (0, 1));
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

#[test]
fn how_far_a_job_is_goes_into_status_now_and_then_and_is_gone_once_it_has_ended() {
    let mut world = World::new();
    world.pass();
    assert!(!progress_is_due(&world.known(), world.now), "no Job is there yet");
    world.pass();
    assert!(!progress_is_due(&world.known(), world.now), "what is soon done is not asked");
    let told = |bytes| Some(ArtifactProgress { bytes, of: Some(5 << 30) });
    for bytes in [1 << 30, 2 << 30] {
        world.later(10);
        assert!(progress_is_due(&world.known(), world.now));
        world.is_in(&json!({"running": {}}));
        world.observed.jobs.progress = told(bytes);
        assert_eq!(world.pass().requeue, Some(STILL));
        let reading = world.known().reading.unwrap();
        assert_eq!((reading.bytes, reading.of, reading.at), (bytes as i64, Some(5 << 30), world.now));
        assert!(!progress_is_due(&world.known(), world.now), "each answer is a write, and each write a pass");
    }
    world.later(10);
    world.observed.jobs.progress = None;
    let said = world.said(CONDITION);
    assert_eq!(world.pass().status, None, "who does not answer takes nothing back");
    world.observed.jobs.progress = told(3 << 30);
    world.pass();
    assert_eq!(world.said(CONDITION), said, "in the message it would wake every user of the entry");
    world.ends(true, &report("f1", true));
    world.pass();
    assert_eq!(world.known().reading, None);
}

#[test]
fn of_a_job_that_somebody_has_deleted_nothing_is_shown_and_of_the_next_one_what_it_says() {
    let mut world = World::new();
    world.pass();
    world.is_in(&json!({"running": {}}));
    world.observed.jobs.progress = Some(ArtifactProgress { bytes: u64::MAX, of: None });
    world.pass();
    assert_eq!(world.known().reading.map(|it| (it.bytes, it.of)), Some((i64::MAX, None)));
    world.observed.jobs.progress = None;
    world.observed.jobs.live.clear();
    world.pass();
    assert_eq!((world.known().reading, world.jobs()), (None, 1));
    world.later(-60);
    world.pass();
    assert!(!progress_is_due(&world.known(), world.now));
    world.later(-60);
    assert!(progress_is_due(&world.known(), world.now), "by a clock that was set back nothing was told yet");
}
