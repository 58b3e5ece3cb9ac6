//! Metrics that go while they are used: what nobody asks for any more decides nothing, and
//! what is asked for and cannot be read is unknown, not forgiven.

use serde_json::json;

use super::story::Story;
use super::world::{World, guardrail};
use crate::api::model_deployment::{AttemptState, Cause};
use crate::decide::Measurement;

fn outage(world: &mut World) {
    world.rollout(json!({"steps": [{"weight": "5%", "for": "10m"}, {"weight": "50%", "for": "10m"}],
        "onOutage": {"after": "5m", "do": "Rollback"}}));
}

fn ready(world: &World) -> String {
    world.status().conditions.into_iter().find(|it| it.type_ == "Ready").unwrap().reason
}

#[test]
fn a_silent_metric_that_is_removed_takes_nothing_back() {
    let mut world = World::mid_canary();
    outage(&mut world);
    world.measure("error-rate", Measurement::ProviderError("connection refused".into()));
    world.advance(30);
    world.pass();
    world.advance(299);
    world.pass();
    world.analysis(json!({"none": "checked by hand"}));
    world.advance(2);
    world.pass();
    assert_eq!(world.attempt().cause, None);
}

#[test]
fn a_refused_query_that_is_removed_is_not_told_any_more() {
    let mut world = World::mid_canary();
    world.measure("error-rate", Measurement::Refused("HTTP 400: parse error".into()));
    world.advance(30);
    world.pass();
    assert_eq!(ready(&world), "QueryRefused");
    world.analysis(json!({"none": "checked by hand"}));
    world.pass();
    assert_eq!((ready(&world).as_str(), world.status().verdicts.as_slice()), ("Observing", &[][..]));
}

/// Mid-canary, the guardrail in ConfigMap `http`, breached once.
fn shared() -> World {
    let mut world = World::mid_canary();
    world.shared_metrics.insert("http".into(), Ok(json!([guardrail()]).to_string()));
    world.analysis(json!({"metricsFrom": [{"configMapRef": {"name": "http"}}]}));
    world.measure("error-rate", Measurement::of(0.2));
    world.advance(30);
    world.pass();
    assert_eq!(world.status().verdicts[0].failures, 1);
    world
}

fn missing() -> Result<String, String> {
    Err("spec.analysis.metricsFrom: there is no ConfigMap http in this namespace; create it, or correct the name"
        .into())
}

#[test]
fn a_shared_list_that_is_deleted_and_created_again_forgives_nothing() {
    let mut world = shared();
    world.analysis(
        json!({"metricsFrom": [{"configMapRef": {"name": "http"}}], "metrics": [{"name": "latency", "role": "Guardrail",
        "threshold": {"max": "1%"}, "prometheus": {"query": "latency{revision=\"{{ revision }}\"}"}}]}),
    );
    world.measure("latency", Measurement::of(0.001));
    let list = world.shared_metrics.insert("http".into(), missing()).unwrap();
    world.pass();
    world.advance(30);
    world.pass();
    world.shared_metrics.insert("http".into(), list);
    world.advance(30);
    world.pass();
    assert_eq!(world.attempt().cause, Some(Cause::GuardrailBreached));
}

#[test]
fn a_shared_list_that_stays_away_is_an_outage_also_beside_metrics_that_answer() {
    let own = json!({"name": "latency", "role": "Guardrail", "threshold": {"max": "1%"},
        "prometheus": {"query": "latency{revision=\"{{ revision }}\"}"}});
    for metrics in [json!([]), json!([own])] {
        let mut world = shared();
        outage(&mut world);
        world.analysis(json!({"metricsFrom": [{"configMapRef": {"name": "http"}}], "metrics": metrics}));
        world.measure("latency", Measurement::of(0.001));
        world.shared_metrics.insert("http".into(), missing());
        world.pass();
        world.advance(299);
        world.pass();
        assert_eq!((world.attempt().state, world.attempt().cause), (AttemptState::Observing, None));
        world.advance(1);
        world.pass();
        assert_eq!(world.attempt().cause, Some(Cause::MetricSourceOutage));
    }
}

#[test]
fn a_shared_list_that_goes_away_holds_and_then_the_declared_action_follows() {
    let mut world = shared();
    outage(&mut world);
    let mut story = Story::of("The ConfigMap of the guardrails is deleted mid-canary: onOutage", world);
    story.world.shared_metrics.insert("http".into(), missing());
    story.pass("the ConfigMap is gone");
    story.world.advance(299);
    story.pass("for 4 min 59 s");
    story.world.advance(1);
    story.pass("for 5 min");
    story.is("shared-metrics-deleted-on-outage");
}

#[test]
fn a_shared_list_that_comes_back_in_time_is_no_outage() {
    let mut world = shared();
    outage(&mut world);
    let list = world.shared_metrics.insert("http".into(), missing()).unwrap();
    world.pass();
    world.advance(200);
    world.shared_metrics.insert("http".into(), list);
    world.measure("error-rate", Measurement::of(0.001));
    world.pass();
    world.shared_metrics.insert("http".into(), missing());
    world.advance(200);
    world.pass();
    assert_eq!(world.attempt().cause, None, "two silences are not one");
}
