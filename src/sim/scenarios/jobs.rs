//! Numbers that Jobs compute.

use serde_json::{Value, json};

use super::super::others::copies;
use super::super::others::jobs::{self, JobEnd};
use super::super::scenario::{Scenario, deploy, edit, guardrail, request};
use super::super::view::{JOBS, View};
use super::children::delete_child;
use super::upgraded;
use crate::api::model_deployment::AttemptState::{Observing, RolledBack};
use crate::api::model_deployment::VerdictKind;

fn job() -> Value {
    json!({"template": {"spec": {"containers": [{"name": "judge", "image": "registry/judge:1"}]}}, "timeout": "5m"})
}

fn auc(role: &str) -> Value {
    json!({"name": "holdout-auc", "role": role, "threshold": {"min": "80%"}, "job": job()})
}

fn judged(name: &'static str, metric: Value) -> Scenario {
    let steps = json!([{"weight": "5%", "for": "1m"}, {"weight": "50%", "for": "1m"}]);
    let scenario = Scenario::named(name)
        .spec(json!({"analysis": {"metrics": [guardrail(), metric]}, "rollout": {"steps": steps}}));
    upgraded(scenario)
}

/// The entry that a Job looks at.
fn entry(view: &View, job: &Value) -> String {
    let env = job["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let revision = env.iter().find(|it| it["name"] == "WERKBANK_REVISION").unwrap();
    view.entry_of(revision["value"].as_str().unwrap())
}

fn second_is_bad(view: &View, job: &Value) -> JobEnd {
    JobEnd::Says(if entry(view, job) == "churn-2" { r#"{"value": 0.5}"# } else { r#"{"value": 0.93}"# })
}

/// It crashes until somebody has corrected it.
fn crashes_at_first(view: &View, _: &Value) -> JobEnd {
    if view.has("corrected") { JobEnd::Says(r#"{"value": 0.93}"#) } else { JobEnd::Fails(3, "") }
}

/// It takes for ever until somebody has corrected it.
fn runs_at_first(view: &View, _: &Value) -> JobEnd {
    if view.has("corrected") { JobEnd::Says(r#"{"value": 0.93}"#) } else { JobEnd::Runs }
}

fn is_unknown(view: &View) -> bool {
    view.status().verdicts.iter().any(|it| it.metric == "holdout-auc" && it.verdict == VerdictKind::ProviderError)
}

fn correct(view: &View) {
    view.set("corrected");
}

fn one_runs(view: &View) -> bool {
    view.is_at(Observing, "5%") && jobs::all(&view.cluster).iter().any(|(_, it)| !jobs::is_over(it))
}

fn copy_jobs(view: &View) {
    jobs::all(&view.cluster).iter().for_each(|(path, _)| copies::copy(&view.cluster, path));
}

fn copies_have_ended(view: &View) -> bool {
    let mut copies = view.cluster.all(JOBS).into_iter().filter(|(_, it)| copies::is_copy(it)).peekable();
    copies.peek().is_some() && copies.all(|(_, it)| jobs::is_over(&it))
}

fn delete_jobs(view: &View) {
    for (_, job) in jobs::all(&view.cluster) {
        delete_child(view, JOBS, job["metadata"]["name"].as_str().unwrap());
    }
}

/// Whether they come back, five minutes after they were served.
fn returns() -> Value {
    json!({"name": "returns", "role": "Objective", "delay": "5m", "threshold": {"min": "80%"}, "job": job()})
}

pub(super) fn all() -> Vec<Scenario> {
    let compared =
        json!({"name": "lift", "role": "Objective", "compare": {"to": "Stable", "minRatio": "0.9"}, "job": job()});
    vec![
        judged("a_job_says_yes", auc("Objective")).until(|it| it.serves("churn-2")),
        judged("a_job_says_no", auc("Guardrail")).jobs(second_is_bad).until(|it| it.is_in(RolledBack)),
        judged("jobs_of_both_sides", compared.clone()).until(|it| it.serves("churn-2")),
        judged("jobs_of_both_sides_say_no", compared).jobs(second_is_bad).until(|it| it.is_in(RolledBack)),
        judged("a_job_that_crashes", auc("Guardrail"))
            .jobs(crashes_at_first)
            .when(is_unknown, correct)
            .until(|it| it.serves("churn-2")),
        judged("a_job_that_does_not_end", auc("Objective"))
            .jobs(runs_at_first)
            .when(is_unknown, correct)
            .until(|it| it.serves("churn-2")),
        judged("a_job_deleted_by_hand", auc("Objective"))
            .jobs(runs_at_first)
            .when(one_runs, delete_jobs)
            .when(one_runs, correct)
            .until(|it| it.serves("churn-2")),
        judged("a_job_that_somebody_copied", auc("Guardrail"))
            .jobs(runs_at_first)
            .when(one_runs, copy_jobs)
            .when(copies_have_ended, correct)
            .until(|it| it.serves("churn-2")),
        judged("aborted_while_a_job_runs", auc("Objective"))
            .jobs(runs_at_first)
            .when(one_runs, request("abort"))
            .until(|it| it.is_in(RolledBack)),
        judged("a_third_while_a_job_runs", auc("Objective"))
            .jobs(runs_at_first)
            .when(one_runs, deploy("churn-3"))
            .when(|it| it.status().attempts == 3, correct)
            .until(|it| it.serves("churn-3")),
        judged("its_metric_goes_while_a_job_runs", auc("Objective"))
            .jobs(runs_at_first)
            .when(one_runs, edit(json!({"analysis": {"metrics": [guardrail()]}})))
            .until(|it| it.serves("churn-2")),
        judged("a_late_job_says_yes", returns())
            .until(|it| it.serves("churn-2") && !it.is_on_probation() && it.is_at_peace()),
        judged("a_late_job_says_no", returns())
            .jobs(second_is_bad)
            .until(|it| it.is_in(RolledBack) && it.serves("churn-1") && it.status().revisions.len() == 1),
    ]
}
