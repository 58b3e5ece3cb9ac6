use serde_json::{Value, json};

use super::*;

fn read(rollout: Value, analysis: Value, from: &[(&str, Result<&str, &str>)]) -> Policy {
    let spec = serde_json::from_value(json!({
        "modelRef": {"name": "e"}, "port": 1, "template": {}, "rollout": rollout, "analysis": analysis,
    }))
    .unwrap();
    let own = |text: Result<&str, &str>| text.map(str::to_owned).map_err(str::to_owned);
    Policy::read(&spec, &from.iter().map(|(name, text)| ((*name).to_owned(), own(*text))).collect())
}

fn metric(name: &str, max: &str) -> Value {
    json!({"name": name, "role": "Guardrail", "prometheus": {"query": "q"}, "threshold": {"max": max}})
}

fn maxima(policy: &Policy) -> Vec<(&str, Option<f64>)> {
    let max = |rule: &MetricRule| match rule.bounds {
        Bounds::Threshold { max, .. } => max,
        Bounds::Compare { .. } => None,
    };
    policy.metrics.iter().map(|rule| (rule.name.as_str(), max(rule))).collect()
}

#[test]
fn what_is_left_out_has_the_documented_default() {
    let policy = read(json!({}), json!({"none": "x"}), &[]);
    assert_eq!((policy.replicas, policy.failure_limit), (1, 1));
    assert_eq!(policy.progress_deadline, Duration::from_mins(15));
    assert_eq!((policy.drain, policy.interval), (Duration::from_secs(30), Duration::from_secs(30)));
    assert_eq!((policy.rollback_on_outage, policy.steps.len(), policy.errors.len()), (None, 0, 0));
}

#[test]
fn hold_on_outage_is_no_rollback() {
    let after = |action: &str| {
        read(json!({"onOutage": {"after": "5m", "do": action}}), json!({"none": "x"}), &[]).rollback_on_outage
    };
    assert_eq!(after("Hold"), None);
    assert_eq!(after("Rollback"), Some(Duration::from_mins(5)));
}

#[test]
fn each_field_that_cannot_be_read_is_named_and_the_others_are_kept() {
    let policy = read(
        json!({"steps": [{"weight": "5%", "for": "soon"}, {"weight": "4%"}, {"weight": "many"}, {"weight": "50%"}], "drain": "1.5h"}),
        json!({"interval": "1x", "metrics": [metric("a", "1%"), metric("b", "fast"),
            {"name": "c", "role": "Objective", "prometheus": {"query": "q"}}]}),
        &[],
    );
    let named = [
        "steps[0].for",
        "steps[1].weight",
        "steps[2].weight",
        "rollout.drain",
        "analysis.interval",
        "metrics, b.threshold.max",
        "metrics, c",
    ];
    for field in named {
        assert!(policy.errors.iter().any(|error| error.contains(field)), "{field}: {:#?}", policy.errors);
    }
    assert_eq!(policy.errors.len(), named.len(), "{:#?}", policy.errors);
    assert_eq!(maxima(&policy), [("a", Some(0.01))]);
    assert_eq!(policy.steps.iter().map(|step| step.weight.to_string()).collect::<Vec<_>>(), ["5%", "50%"]);
}

#[test]
fn a_step_of_nothing_is_no_step() {
    let policy = read(json!({"steps": [{"weight": "0%"}]}), json!({"none": "x"}), &[]);
    assert_eq!((policy.steps.len(), policy.errors.len()), (0, 1));
}

#[test]
fn shared_metrics_are_overridden_by_name_in_order() {
    let from = [
        (
            "one",
            Ok(
                "[{name: a, role: Guardrail, prometheus: {query: q}, threshold: {max: 1}}, {name: b, role: Guardrail, prometheus: {query: q}, threshold: {max: 1}}]",
            ),
        ),
        ("two", Ok("[{name: a, role: Guardrail, prometheus: {query: q}, threshold: {max: 2}}]")),
    ];
    let analysis = json!({"metricsFrom": [{"configMapRef": {"name": "one"}}, {"configMapRef": {"name": "two"}}], "metrics": [metric("b", "3")]});
    let policy = read(json!({}), analysis, &from);
    assert_eq!((maxima(&policy), policy.errors.len()), (vec![("a", Some(2.0)), ("b", Some(3.0))], 0));
}

#[test]
fn shared_metrics_that_cannot_be_had_are_named() {
    let broken = [
        ("m", Ok("{not: a list}")),
        ("m", Ok("[{name: a, unknown: 1}]")),
        ("m", Err("there is no ConfigMap m")),
        ("other", Ok("[]")),
        (
            "m",
            Ok(
                "[{name: a, role: Guardrail, prometheus: {query: q}, threshold: {max: 1}, compare: {to: Stable, maxRatio: 2}}]",
            ),
        ),
    ];
    for from in broken {
        let policy = read(json!({}), json!({"metricsFrom": [{"configMapRef": {"name": "m"}}]}), &[from]);
        assert_eq!((policy.errors.len(), policy.metrics.len()), (1, 0), "{:?}", policy.errors);
        assert!(policy.errors[0].contains("ConfigMap m"), "{:?}", policy.errors);
    }
}

#[test]
fn there_is_an_end_to_metrics_and_their_names() {
    let text = |count: usize, name: &str| {
        let all: Vec<Value> = (0..count).map(|index| metric(&format!("{name}{index}"), "1")).collect();
        json!(all).to_string()
    };
    let read =
        |text: &str| read(json!({}), json!({"metricsFrom": [{"configMapRef": {"name": "m"}}]}), &[("m", Ok(text))]);
    assert_eq!(read(&text(MOST_METRICS, "m")).errors.len(), 0);
    let many = read(&text(MOST_METRICS + 1, "m"));
    assert_eq!((many.errors.len(), many.metrics.len()), (1, MOST_METRICS));
    assert_eq!(read(&text(1, &"m".repeat(70))).errors.len(), 1);
}

#[test]
fn the_next_step_is_the_first_above_the_present_weight_whatever_was_edited() {
    let policy = read(json!({"steps": [{"weight": "10%"}, {"weight": "30%"}]}), json!({"none": "x"}), &[]);
    let next = |hundredths| {
        policy.step_after(Weight::from_hundredths(hundredths)).map(|(index, step)| (index, step.weight.to_string()))
    };
    assert_eq!(next(0), Some((0, "10%".into())));
    assert_eq!(next(999), Some((0, "10%".into())));
    assert_eq!(next(1000), Some((1, "30%".into())));
    assert_eq!(next(2500), Some((1, "30%".into())));
    assert_eq!(next(3000), None);
    assert!(policy.step_at(Weight::from_hundredths(2500)).is_none());
}
