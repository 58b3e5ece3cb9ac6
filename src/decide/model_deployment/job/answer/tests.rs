use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::decide::model_deployment::inquiry::Subject;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_003_200 + seconds, 0).unwrap()
}

fn purpose() -> Purpose {
    Purpose {
        attempt: "a".into(),
        on_probation: false,
        metric: "holdout-auc".into(),
        digest: "d".into(),
        subject: Subject::Candidate,
        moment: at(0),
        timeout_seconds: 600,
        container: "judge".into(),
    }
}

fn live(conditions: Value, pods: &[Value]) -> LiveJob {
    let job = json!({"metadata": {"name": "churn-j"}, "status": {"conditions": conditions}});
    let pods = pods.iter().map(|status| Arc::new(serde_json::from_value(json!({"status": status})).unwrap()));
    LiveJob { job: Arc::new(serde_json::from_value(job).unwrap()), pods: pods.collect() }
}

fn condition(type_: &str, reason: &str) -> Value {
    json!([{"type": type_, "status": "True", "reason": reason, "lastTransitionTime": at(60)}])
}

fn container(name: &str, state: Value) -> Value {
    json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state})
}

fn ended_with(exit: i32, message: &str) -> Value {
    let terminated =
        json!({"exitCode": exit, "reason": if exit == 0 { "Completed" } else { "Error" }, "message": message});
    json!({"containerStatuses": [container("another", json!({"terminated": {"exitCode": 0}})), container("judge", json!({"terminated": terminated}))]})
}

fn complete(message: &str) -> Option<Measurement> {
    of(&live(condition("Complete", "CompletionsReached"), &[ended_with(0, message)]), &purpose(), at(61))
}

fn failed(reason: &str, pods: &[Value], seconds: i64) -> Option<Measurement> {
    of(&live(condition("Failed", reason), pods), &purpose(), at(seconds))
}

fn error(measurement: Option<Measurement>) -> String {
    match measurement {
        Some(Measurement::ProviderError(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_that_ended_well_says_its_number() {
    assert_eq!(complete(r#"{"value": 0.93}"#), Some(Measurement::Value(0.93)));
    assert_eq!(complete("{\"value\": 3, \"note\": \"more for people\"}\n"), Some(Measurement::Value(3.0)));
}

#[test]
fn no_value_is_no_data() {
    for message in [r#"{"value": null}"#, "{}", r#"{"Value": 1}"#, r#"{"value": NaN}"#] {
        assert!(matches!(complete(message), Some(Measurement::NoData(_))), "{message}");
    }
}

#[test]
fn what_is_no_number_is_for_somebody_to_correct_and_is_not_repeated() {
    let long = format!(r#"{{"value": 1, "rows": "{}"}}"#, "x".repeat(LONGEST));
    for message in ["", " \n", "0.93", "jane@example.com", r#"{"value": "0.93"}"#, r#"[{"value": 1}]"#, &long] {
        let Some(Measurement::Refused(why)) = complete(message) else { panic!("{message}") };
        assert!(why.contains("/dev/termination-log") && !why.contains("jane"), "{why}");
    }
}

#[test]
fn a_crash_is_no_verdict_and_says_how_it_ended_whatever_it_has_written() {
    let why = error(failed("BackoffLimitExceeded", &[ended_with(3, r#"{"value": 0.1}"#)], 61));
    assert_eq!(
        why,
        "Job churn-j: container judge ended with exit code 3, Error; kubectl logs job/churn-j until the next one has ended"
    );
    let odd = json!({"containerStatuses": [container("judge", json!({"terminated": {"exitCode": 1, "reason": "mail jane@example.com"}}))]});
    assert!(error(failed("BackoffLimitExceeded", &[odd], 61)).contains("exit code 1, without a reason"));
}

#[test]
fn a_pod_that_is_not_seen_yet_is_waited_for_and_not_for_ever() {
    assert_eq!(failed("BackoffLimitExceeded", &[], 61), None);
    assert!(error(failed("BackoffLimitExceeded", &[], 71)).contains("it failed, BackoffLimitExceeded"));
    let nobody = |seconds| of(&live(condition("Complete", ""), &[]), &purpose(), at(seconds));
    assert_eq!(nobody(61), None);
    assert!(error(nobody(71)).contains("its pod is gone"));
}

#[test]
fn time_runs_out_by_the_jobs_controller_or_without_it() {
    assert!(error(failed("DeadlineExceeded", &[], 61)).contains("it did not end within 10m; it has no pod"));
    let running = live(json!([]), &[json!({"containerStatuses": [container("judge", json!({"running": {}}))]})]);
    assert_eq!(of(&running, &purpose(), at(599)), None);
    assert!(error(of(&running, &purpose(), at(600))).contains("raise job.timeout"));
    let unscheduled = live(json!([]), &[json!({"conditions": [{"type": "PodScheduled", "status": "False"}]})]);
    assert!(error(of(&unscheduled, &purpose(), at(600))).contains("no node takes its pod"));
}

#[test]
fn an_image_that_does_not_come_is_told_at_once() {
    let waiting = |reason: &str| {
        live(
            json!([]),
            &[
                json!({"containerStatuses": [container("judge", json!({"waiting": {"reason": reason, "message": "secret"}}))]}),
            ],
        )
    };
    assert_eq!(of(&waiting("ContainerCreating"), &purpose(), at(1)), None);
    let why = error(of(&waiting("ImagePullBackOff"), &purpose(), at(1)));
    assert_eq!(why, "Job churn-j: container judge waits, ImagePullBackOff; correct it in job.template");
}

#[test]
fn of_two_pods_that_claim_to_be_its_own_neither_is_believed() {
    let pods = [ended_with(0, r#"{"value": 0.99}"#), ended_with(0, r#"{"value": 0.5}"#)];
    let said = of(&live(condition("Complete", "CompletionsReached"), &pods), &purpose(), at(61));
    let Some(Measurement::Refused(why)) = said else { panic!("{said:?}") };
    assert!(why.starts_with("Job churn-j: 2 pods say that it owns them"), "{why}");
}

#[test]
fn its_time_begins_when_it_is_created_if_that_is_later_than_its_moment() {
    let mut live = live(json!([]), &[]);
    assert_eq!(limit(&live, &purpose()), at(600));
    for (created, ends) in [(-5, 600), (0, 600), (29, 629)] {
        let metadata = json!({"name": "churn-j", "creationTimestamp": at(created)});
        Arc::make_mut(&mut live.job).metadata = serde_json::from_value(metadata).unwrap();
        assert_eq!(limit(&live, &purpose()), at(ends), "{created}");
        assert_eq!(of(&live, &purpose(), at(ends - 1)), None);
        assert!(of(&live, &purpose(), at(ends)).is_some());
    }
}

proptest! {
    #[test]
    fn whatever_it_says_is_read_and_nothing_but_a_number_is_a_value(message in ".{0,200}") {
        let read = complete(&message);
        prop_assert!(!matches!(read, Some(Measurement::Value(it)) if it.is_nan()));
        prop_assert!(!matches!(read, Some(Measurement::ProviderError(_)) | None));
    }
}
