use std::collections::BTreeMap;

use serde_json::json;
use werkbank::api::model_deployment::ModelDeploymentStatus;

use super::super::act::Look;
use super::super::replay::RevisionTally;
use super::*;

const STEPS: [u16; 3] = [500, 2_500, 5_000];

fn weights(hundredths: &[u16]) -> Vec<Weight> {
    hundredths.iter().copied().map(Weight::from_hundredths).collect()
}

/// A status as the operator writes it.
fn status(phase: &str, state: &str, weight: Weight, rest: serde_json::Value) -> ModelDeploymentStatus {
    let entry = |revision: &str, name: &str| json!({"revision": revision, "name": name, "uid": "u"});
    let mut attempt = json!({"id": "new-1-u", "revision": "new", "entry": entry("new", "churn-v9"), "state": state,
        "weight": weight, "startedAt": "2026-01-01T00:00:00Z", "enteredAt": "2026-01-01T00:00:00Z"});
    attempt.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    let stable = if state == "Promoted" { entry("new", "churn-v9") } else { entry("old", "churn-v1") };
    let mut conditions = vec![condition("Ready", "Watched", "waits for hit-rate")];
    if state == "RolledBack" {
        conditions.push(condition("Stalled", rest["cause"].as_str().unwrap(), "taken back"));
    }
    serde_json::from_value(json!({"phase": phase, "attempt": attempt, "stable": stable, "conditions": conditions}))
        .unwrap()
}

fn condition(of: &str, reason: &str, message: &str) -> serde_json::Value {
    json!({"type": of, "status": "True", "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

/// A way that is seen look by look; Envoy sends as its weights say.
struct Way {
    act: Act,
    sent: BTreeMap<String, u64>,
}

impl Way {
    fn new() -> Self {
        Self { act: Act::of("churn-v9"), sent: BTreeMap::from([("old".to_owned(), 0), ("new".to_owned(), 0)]) }
    }

    fn see(mut self, status: ModelDeploymentStatus, envoy: Weight, requests: u64) -> Self {
        let new = requests * u64::try_from(envoy.hundredths()).unwrap() / 10_000;
        *self.sent.get_mut("new").unwrap() += new;
        *self.sent.get_mut("old").unwrap() += requests - new;
        let at = self.act.last.at + Duration::from_millis(500);
        self.act.see(Look { at, status, envoy: Some(envoy), sent: self.sent.clone() });
        self
    }

    /// The gateway takes up a weight, and it is watched for some looks.
    fn step(self, hundredths: u16) -> Self {
        let (weight, before) = (Weight::from_hundredths(hundredths), self.act.last.envoy.unwrap_or_default());
        let shifting = self.see(status("Shifting", "Shifting", weight, json!({})), before, 200);
        (0..8).fold(shifting, |way, _| way.see(status("Observing", "Observing", weight, json!({})), weight, 500))
    }

    fn taken_back(self, cause: &str) -> Act {
        let rest = json!({"cause": cause, "message": "hit-rate: 0.14 less than the stable revision"});
        let back = self.see(status("RollingBack", "RollingBack", Weight::NONE, rest.clone()), Weight::NONE, 0);
        back.see(status("RolledBack", "RolledBack", Weight::NONE, rest), Weight::NONE, 0).act
    }

    fn promoted(self) -> Act {
        let way = self.see(status("Promoting", "Promoting", Weight::FULL, json!({})), Weight::FULL, 0);
        way.see(status("Stable", "Promoted", Weight::FULL, json!({})), Weight::FULL, 0).act
    }
}

fn climbed() -> Act {
    STEPS.into_iter().fold(Way::new(), Way::step).promoted()
}

/// Each revision with its requests and errors.
fn seen(of: &[(&str, u64, u64)]) -> Snapshot {
    let tally = |requests, errors| RevisionTally { requests, errors, ..RevisionTally::default() };
    Snapshot { revisions: of.iter().map(|(name, all, failed)| ((*name).to_owned(), tally(*all, *failed))).collect() }
}

#[track_caller]
fn kept(promises: &[Promise]) {
    assert_eq!(broken(promises), None);
}

/// The one promise that was broken, as it is told.
#[track_caller]
fn only_broken(promises: &[Promise]) -> String {
    assert_eq!(promises.iter().filter(|it| !it.kept).count(), 1, "{promises:#?}");
    broken(promises).unwrap()
}

#[test]
fn a_story_that_goes_well_breaks_no_promise() {
    let first = Way::new().promoted();
    kept(&[serves(&first, &seen(&[("new", 800, 0)]))]);
    let harmful = Way::new().step(500).taken_back("ObjectiveMissed");
    kept(&taken_back(&harmful, &weights(&STEPS[..1]), "old"));
    kept(&[divided(&harmful, &weights(&STEPS[..1])), left_alone("churn-v9", 0)]);
    kept(&[back_in_time(&harmful, Some(Duration::from_secs(3)), Duration::from_secs(3))]);
    kept(&promoted(&climbed(), &weights(&STEPS)));
    kept(&[divided(&climbed(), &weights(&STEPS)), unharmed(&seen(&[("old", 5_000, 0), ("new", 300, 0)]))]);
}

/// A status in which `churn-v1` serves, of this revision, and `Ready` has this reason.
fn taken_over(revision: &str, reason: &str) -> ModelDeploymentStatus {
    let ready = json!({"type": "Ready", "status": "False", "reason": reason, "message": "deploy another entry",
        "lastTransitionTime": "2026-11-28T12:00:00Z"});
    let stable = json!({"revision": revision, "name": "churn-v1", "uid": "u"});
    serde_json::from_value(json!({"stable": stable, "conditions": [ready]})).unwrap()
}

#[test]
fn what_is_revoked_has_to_be_off_traffic_in_two_seconds_and_to_stay_so() {
    let second = Duration::from_secs(1);
    kept(&[revoked("churn-v9", Some(second), 0), takes_over("churn-v1", "old", &taken_over("old", "EntryRevoked"))]);
    for (took, late) in [(None, 0), (Some(second * 3), 0), (Some(second), 1)] {
        only_broken(&[revoked("churn-v9", took, late)]);
    }
    for status in [taken_over("new", "EntryRevoked"), taken_over("old", "Stable"), ModelDeploymentStatus::default()] {
        only_broken(&[takes_over("churn-v1", "old", &status)]);
    }
}

#[test]
fn a_first_version_that_does_not_answer_everything_does_not_serve() {
    let first = Way::new().promoted();
    for answered in [seen(&[]), seen(&[("new", 800, 1)]), seen(&[("new", 799, 0), ("none", 1, 1)])] {
        let told = only_broken(&[serves(&first, &answered)]);
        assert!(told.contains("churn-v9 serves all traffic; seen instead: Stable after"), "{told}");
    }
    let unfinished = Way::new().step(500).act;
    let told = only_broken(&[serves(&unfinished, &seen(&[("new", 800, 0)]))]);
    assert!(
        told.contains("Observing after 4.50 s, 5% in Envoy; its condition Ready says: waits for hit-rate"),
        "{told}"
    );
}

#[test]
fn a_harmful_version_that_gets_more_than_the_first_step_breaks_a_promise() {
    let above = Way::new().step(500).step(2_500).taken_back("ObjectiveMissed");
    let told = only_broken(&taken_back(&above, &weights(&STEPS[..1]), "old"));
    let expected = "churn-v9 gets 5% of the traffic and at no time more; seen instead: at most 25% in the status, at most 25% in Envoy";
    assert!(told.ends_with(expected), "{told}");
    let never = Way::new().see(status("Starting", "Starting", Weight::NONE, json!({})), Weight::NONE, 0);
    let told = only_broken(&taken_back(&never.taken_back("ObjectiveMissed"), &weights(&STEPS[..1]), "old"));
    assert!(told.contains("at most 0% in Envoy"), "{told}");
}

#[test]
fn more_in_envoy_than_the_status_tells_breaks_a_promise() {
    let observing = |weight| status("Observing", "Observing", weight, json!({}));
    let five = Weight::from_hundredths(500);
    let way = Way::new().step(500).see(observing(five), Weight::FULL, 100).see(observing(five), five, 100);
    let told = only_broken(&taken_back(&way.taken_back("ObjectiveMissed"), &weights(&STEPS[..1]), "old"));
    assert!(told.contains("at most 5% in the status, at most 100% in Envoy"), "{told}");
}

#[test]
fn a_rollback_for_another_cause_breaks_a_promise_and_so_does_none() {
    let first = weights(&STEPS[..1]);
    let told = only_broken(&taken_back(&Way::new().step(500).taken_back("MetricSourceOutage"), &first, "old"));
    assert!(told.contains("because it misses its objective; seen instead: RolledBack"), "{told}");
    assert!(told.contains("MetricSourceOutage: hit-rate: 0.14 less"), "{told}");
    let told = only_broken(&taken_back(&Way::new().step(500).act, &first, "old"));
    assert!(told.contains("seen instead: Observing after"), "{told}");
    let back = Way::new().step(500).taken_back("ObjectiveMissed");
    only_broken(&taken_back(&back, &first, "another"));
    let told = broken(&taken_back(&climbed(), &first, "old")).unwrap();
    assert!(told.starts_with("2 promises were broken: ") && told.contains("Stable after"), "{told}");
}

#[test]
fn weight_zero_too_late_or_never_breaks_a_promise() {
    let act = Way::new().step(500).taken_back("ObjectiveMissed");
    let within = Duration::from_secs(3);
    let told = only_broken(&[back_in_time(&act, Some(Duration::from_millis(3_001)), within)]);
    let expected = "within 3 s of Prometheus showing the breach; seen instead: 3.00 s";
    assert!(told.ends_with(expected), "{told}");
    let told = only_broken(&[back_in_time(&act, None, within)]);
    assert!(told.ends_with("seen instead: no breach in Prometheus with weight 0 after it"), "{told}");
    let told = only_broken(&[left_alone("churn-v9", 3)]);
    assert!(told.ends_with("churn-v9 gets no request afterwards; seen instead: 3 requests"), "{told}");
}

#[test]
fn a_step_left_out_or_out_of_order_breaks_a_promise() {
    for (way, told_of) in [(vec![500, 5_000], "5%, 50%, 100%"), (vec![500, 5_000, 2_500], "5%, 50%, 25%, 100%")] {
        let act = way.into_iter().fold(Way::new(), Way::step).promoted();
        let told = only_broken(&promoted(&act, &weights(&STEPS)));
        let expected =
            format!("goes through 5%, 25%, 50%, 100% in this order; seen instead: {told_of} in the status and");
        assert!(told.contains(&expected), "{told}");
    }
}

#[test]
fn a_better_version_that_is_not_promoted_breaks_a_promise() {
    let act = STEPS.into_iter().fold(Way::new(), Way::step).taken_back("GuardrailBreached");
    let told = broken(&promoted(&act, &weights(&STEPS))).unwrap();
    assert!(told.contains("churn-v9 is promoted; seen instead: RolledBack after"), "{told}");
    assert!(told.contains("seen instead: 5%, 25%, 50%, 0% in the status and in Envoy"), "{told}");
}

/// Watched at 5 %, while Envoy counts as told: to the version, and elsewhere.
fn counted(looks: &[(u64, u64)]) -> Act {
    let weight = Weight::from_hundredths(500);
    let mut act = Act::of("churn-v9");
    for (new, old) in looks {
        let status = status("Observing", "Observing", weight, json!({}));
        let sent = BTreeMap::from([("new".to_owned(), *new), ("old".to_owned(), *old)]);
        act.see(Look { at: Duration::ZERO, status, envoy: Some(weight), sent });
    }
    act
}

#[test]
fn shares_that_are_not_the_weight_s_break_a_promise() {
    let first = weights(&STEPS[..1]);
    // Counting begins with the second look: what came before it may have been sent by another weight.
    kept(&[divided(&counted(&[(0, 0), (500, 500), (600, 2_400)]), &first)]);
    let told = only_broken(&[divided(&counted(&[(0, 0), (10, 190), (210, 1_990)]), &first)]);
    assert!(told.contains("within sampling error; seen instead: 10.0% of 2,000 requests at weight 5%"), "{told}");
    // More steps than were asked about are another promise's matter.
    kept(&[divided(&climbed(), &first)]);
}

#[test]
fn a_weight_that_was_hardly_or_never_in_effect_breaks_a_promise() {
    let first = weights(&STEPS[..1]);
    let told = only_broken(&[divided(&counted(&[(0, 0), (0, 0), (25, 475)]), &first)]);
    assert!(told.ends_with("seen instead: 5.0% of 500 requests at weight 5%"), "{told}");
    only_broken(&[divided(&Way::new().step(500).act, &weights(&STEPS))]);
    let told = only_broken(&[divided(&Act::of("churn-v9"), &first)]);
    assert!(told.ends_with("seen instead: no weight in effect"), "{told}");
}

#[test]
fn one_failed_request_breaks_a_promise_and_so_does_nobody_asking() {
    let told = only_broken(&[unharmed(&seen(&[("old", 50_457, 0), ("none", 1, 1)]))]);
    assert!(
        told.ends_with("no request fails, from the first to the last; seen instead: 1 of 50,458 requests failed"),
        "{told}"
    );
    only_broken(&[unharmed(&seen(&[]))]);
}

#[test]
fn an_explanation_without_one_of_the_approvers_breaks_a_promise() {
    let whole = "serves: churn-v9\n  used  for retention-email, in eu\n  data  cdnow-purchases: about people\n  \
        approval  technical: Approved by ben@example.com\n  approval  business: Approved by carla@example.com";
    assert!(explained("churn-v9", &Ok(whole.to_owned())).kept);
    let broken = explained("churn-v9", &Ok(whole.replace(" by ben@example.com", "")));
    assert!(!broken.kept && broken.seen.contains("ben@example.com"), "{}", broken.seen);
    assert!(!explained("churn-v9", &Err(whole.to_owned())).kept);
}

#[test]
fn a_log_that_verifies_tells_everything_and_shows_a_change_is_as_promised() {
    let line = |decision: &str, revision: &str| {
        format!("7  2026-11-29T12:00:00Z  Intent  {decision}  crm/churn  {revision}  0%  id")
    };
    let good = Audited {
        verified: Some(Ok("verified: 24 entries of the log x, signed by x+1".into())),
        decisions: vec!["INDEX".into(), line("Promote", "v3-b"), line("RollBack", "v2-a"), line("RollBack", "v3-b")],
        of_copy: Some(Err("werkbank audit: the log is not what was signed:\n  entry 3 …".into())),
    };
    let kept = |it: &Audited| audited(it, ["v2-a", "v3-b"]).iter().map(|it| it.kept).collect::<Vec<_>>();
    assert_eq!(kept(&good), [true, true, true]);
    let beyond = "verified: 23 entries\n; 1 more in slots, which no checkpoint covers yet";
    assert_eq!(kept(&Audited { verified: Some(Ok(beyond.into())), ..good.clone() }), [false, true, true]);
    assert_eq!(kept(&Audited { decisions: good.decisions[..3].to_vec(), ..good.clone() }), [true, false, true]);
    assert_eq!(kept(&Audited { of_copy: good.verified.clone(), ..good.clone() }), [true, true, false]);
    assert_eq!(kept(&Audited::default()), [false, false, false]);
}
