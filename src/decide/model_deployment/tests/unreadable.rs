//! Rules that cannot be read: nothing advances on them, and nothing that can be read is switched off by them.

use serde_json::json;

use super::story::Story;
use super::world::{World, guardrail};
use crate::api::model_deployment::Cause;
use crate::decide::Measurement;

fn misspelt() -> serde_json::Value {
    json!({"name": "latency", "role": "Guardrail", "threshold": {"max": "1%"},
        "prometheus": {"query": "latency{revision=\"{{ revison }}\"}"}})
}

/// `error-rate` shared, in a list whose second entry cannot be read.
fn half_readable() -> World {
    let mut world = World::mid_canary();
    world.rollout(json!({"steps": [{"weight": "5%", "for": "10m", "maxStepTime": "20m"}], "onOutage": {"after": "5m", "do": "Rollback"}}));
    world.analysis(json!({"metricsFrom": [{"configMapRef": {"name": "http"}}], "failureLimit": 0}));
    let list = json!([guardrail(), {"name": "latency", "role": "Guardrail", "treshold": {"max": "1%"}, "prometheus": {"query": "latency"}}]);
    world.shared_metrics.insert("http".into(), Ok(list.to_string()));
    world
}

#[test]
fn an_unreadable_entry_of_a_shared_list_holds_and_the_others_go_on_judging() {
    let mut story = Story::of("One of two shared metrics cannot be read", half_readable());
    story.world.advance(30);
    story.pass("treshold is misspelt");
    story.world.advance(570);
    story.pass("ten minutes have passed: the step cannot end");
    story.world.measure("error-rate", Measurement::of(0.2));
    story.world.advance(30);
    story.pass("the other guardrail is breached");
    story.is("unreadable-shared-metric");
}

#[test]
fn deadlines_fire_although_a_shared_metric_cannot_be_read() {
    let mut world = half_readable();
    world.advance(1170);
    world.pass();
    assert_eq!(world.attempt().cause, Some(Cause::StepTimeExceeded));
    let mut world = half_readable();
    world.measure("error-rate", Measurement::ProviderError("connection refused".into()));
    world.advance(30);
    world.pass();
    world.advance(300);
    world.pass();
    assert_eq!(world.attempt().cause, Some(Cause::MetricSourceOutage));
}

#[test]
fn a_step_that_no_metric_can_judge_runs_into_its_deadline() {
    for unreadable in [Ok("[".to_owned()), Ok("{}".to_owned()), Err("there is no ConfigMap http".to_owned())] {
        let mut world = half_readable();
        world.shared_metrics.insert("http".into(), unreadable);
        world.advance(1169);
        world.pass();
        assert_eq!(world.attempt().cause, None);
        world.advance(1);
        world.pass();
        assert_eq!(world.attempt().cause, Some(Cause::StepTimeExceeded));
    }
}

#[test]
fn a_path_that_leads_to_many_values_is_told_before_anything_is_asked() {
    let mut world = World::mid_canary();
    let complaints = json!({"name": "complaints", "role": "Guardrail", "threshold": {"max": "1%"},
        "http": {"url": "http://kpi.crm.svc/{{ revision }}", "jsonPath": "$..rate"}});
    world.analysis(json!({"metrics": [guardrail(), complaints], "failureLimit": 0}));
    let mut story = Story::of("An http metric's jsonPath leads to many values", world);
    story.world.advance(600);
    story.pass("nothing advances");
    story.world.analysis(json!({"metrics": [guardrail(), {"name": "complaints", "role": "Guardrail",
        "http": {"url": "http://kpi.crm.svc/{{ revision }}", "jsonPath": "$.rate"}, "threshold": {"max": "1%"}}], "failureLimit": 0}));
    story.world.measure("complaints", Measurement::Refused("kpi.crm.svc redirects elsewhere (302 Found)".into()));
    story.world.advance(30);
    story.pass("corrected; but what is asked there redirects: no outage, and the weight is held");
    story.world.measure("complaints", Measurement::of(0.2));
    story.world.advance(30);
    story.pass("it answers, with a breach");
    story.is("unusable-json-path");
}

#[test]
fn shared_metrics_that_are_missing_hold() {
    let mut world = World::mid_canary();
    world.analysis(json!({"metricsFrom": [{"configMapRef": {"name": "http"}}]}));
    world.shared_metrics.insert(
        "http".into(),
        Err("spec.analysis.metricsFrom: there is no ConfigMap http in this namespace; create it, or correct the name"
            .into()),
    );
    let mut story = Story::of("metricsFrom names no ConfigMap", world);
    story.world.advance(600);
    story.pass("nothing advances");
    story.is("missing-metrics-config-map");
}

#[test]
fn an_undefined_variable_in_a_query_is_told_before_anything_starts() {
    let mut world = World::serving();
    world.analysis(json!({"metrics": [guardrail(), misspelt()]}));
    world.pass();
    let mut story = Story::of("A query template uses a variable that does not exist", world);
    story.world.deploy("churn-2");
    story.pass("another entry is named");
    story.world.analysis(json!({"metrics": [guardrail()]}));
    story.pass("the query is corrected");
    story.is("undefined-template-variable");
}

#[test]
fn an_undefined_variable_mid_canary_holds_and_keeps_the_other_guardrails_on() {
    let mut world = World::mid_canary();
    world.analysis(json!({"failureLimit": 0, "metrics": [guardrail(), misspelt()]}));
    let mut story = Story::of("A query is broken while it is used", world);
    story.world.advance(600);
    story.pass("the step cannot end");
    story.world.measure("error-rate", Measurement::of(0.2));
    story.world.advance(30);
    story.pass("the other guardrail is breached");
    story.is("undefined-template-variable-mid-canary");
}

#[test]
fn an_unreadable_threshold_keeps_the_other_guardrails_on() {
    let mut world = World::mid_canary();
    world.analysis(json!({"failureLimit": 0, "metrics": [guardrail(), {
        "name": "latency", "role": "Guardrail", "threshold": {"max": "fast"}, "prometheus": {"query": "latency"}}]}));
    let mut story = Story::of("A threshold that is no number", world);
    story.world.advance(600);
    story.pass("nothing advances");
    story.world.measure("error-rate", Measurement::of(0.2));
    story.world.advance(30);
    story.pass("the other guardrail is breached");
    story.is("unreadable-threshold");
}
