use serde_json::{Value, json};

use super::metrics::MOST_METRICS;
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
        _ => None,
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
fn a_stable_revision_is_not_said_to_be_watched_where_only_jobs_could() {
    let job = json!({"name": "auc", "role": "Guardrail", "threshold": {"min": "80%"},
        "job": {"template": {"spec": {"containers": [{"name": "judge", "image": "registry/judge:1"}]}}}});
    let wanted = |action: &str, metrics: Value| {
        let policy = read(json!({}), json!({"onStableBreach": action, "metrics": metrics}), &[]);
        (
            policy.on_stable_breach.is_some(),
            policy.errors.into_iter().map(|it| it.message).collect::<Vec<_>>().join("; "),
        )
    };
    let (watches, why) = wanted("Alert", json!([job]));
    assert!(!watches && why.contains("without a delay that no Job computes, or remove it"), "{why}");
    assert_eq!(wanted("Alert", json!([job, metric("errors", "1%")])), (true, String::new()));
    assert_eq!(wanted("Fallback", json!([job])), (true, String::new()), "on probation Jobs judge, too");
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
        assert!(policy.errors.iter().any(|error| error.message.contains(field)), "{field}: {:#?}", policy.errors);
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
        assert!(policy.errors[0].message.contains("ConfigMap m"), "{:?}", policy.errors);
    }
}

fn counted(test: &Value) -> Value {
    let count = |query: &str| json!({"prometheus": {"query": query}});
    json!({"name": "hit-rate", "role": "Objective", "test": test, "proportion": {
        "successes": count("sum(increase(hits_total{revision=\"{{ revision }}\"}[{{ window }}]))"),
        "trials": count("sum(increase(shown_total{revision=\"{{ revision }}\"}[{{ window }}]))"),
    }})
}

#[test]
fn a_test_has_a_margin_and_errs_in_one_of_twenty_unless_something_else_is_said() {
    let rule = |test: Value| {
        let policy = read(json!({}), json!({"metrics": [counted(&test)]}), &[]);
        assert_eq!(policy.errors, []);
        *policy.metrics[0].test().unwrap()
    };
    let higher = rule(json!({"direction": "HigherIsBetter", "nonInferiorityMargin": "1pp"}));
    assert_eq!((higher.margin.limit(), higher.alpha), (-0.01, 0.05));
    let lower = rule(json!({"direction": "LowerIsBetter", "nonInferiorityMargin": "0.2", "alpha": "1%"}));
    assert_eq!((lower.margin.limit(), lower.alpha), (0.2, 0.01));
}

#[test]
fn a_test_that_cannot_be_is_named_with_what_is_wrong() {
    let good = counted(&json!({"direction": "HigherIsBetter", "nonInferiorityMargin": "1pp"}));
    let with = |pointer: &str, value: Value| {
        let mut metric = good.clone();
        *metric.pointer_mut(pointer).unwrap() = value;
        metric
    };
    let mut both = good.clone();
    both["prometheus"] = json!({"query": "q"});
    let mut bounded = good.clone();
    bounded["threshold"] = json!({"max": 1});
    let mut number = metric("hit-rate", "1");
    number["test"] = number.as_object_mut().unwrap().remove("threshold").map(|_| good["test"].clone()).unwrap();
    let wrong = [
        (with("/test/nonInferiorityMargin", json!("-1pp")), "by how much the candidate may be worse"),
        (with("/test/nonInferiorityMargin", json!("100pp")), "less than 100pp"),
        (with("/test/nonInferiorityMargin", json!("little")), "test.nonInferiorityMargin: \"little\""),
        (
            with("/proportion/trials/prometheus/query", json!("q{{ window }}")),
            "proportion.trials.prometheus must count one revision",
        ),
        (
            with("/proportion/successes/prometheus/query", json!("q{{ revision }}")),
            "since the step's observation began",
        ),
        (
            with("/proportion/successes/prometheus/query", json!("q{{ revison }}")),
            "correct proportion.successes.prometheus.query",
        ),
        (both, "exactly one of prometheus, http, sql, job, proportion and mean"),
        (bounded, "exactly one of threshold, compare and test"),
        (number, "proportion and mean are judged by test"),
    ];
    for (metric, message) in wrong {
        let text = json!([metric]).to_string();
        let policy = read(json!({}), json!({"metricsFrom": [{"configMapRef": {"name": "m"}}]}), &[("m", Ok(&text))]);
        assert_eq!(policy.metrics, [], "{text}");
        assert!(policy.errors.iter().any(|it| it.message.contains(message)), "{text}: {:?}", policy.errors);
        assert_eq!(policy.errors[0].leaves_unjudged, Unjudged::Metric("hit-rate".into()));
    }
    for alpha in ["0", "60%"] {
        let test = json!({"direction": "HigherIsBetter", "nonInferiorityMargin": "1pp", "alpha": alpha});
        let policy = read(json!({}), json!({"metrics": [counted(&test)]}), &[]);
        assert!(policy.errors[0].message.contains("test.alpha is the chance of an error"), "{:?}", policy.errors);
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

fn shared(text: &str, own: &[Value]) -> Policy {
    read(json!({}), json!({"metricsFrom": [{"configMapRef": {"name": "http"}}], "metrics": own}), &[("http", Ok(text))])
}

#[test]
fn an_unreadable_entry_of_a_list_is_named_and_the_others_are_kept() {
    let entries =
        json!([metric("a", "1%"), {"name": "b", "role": "Guard"}, "c", metric("d", "2%"), {"role": "Guardrail"}]);
    let policy = shared(&entries.to_string(), &[metric("e", "1")]);
    assert_eq!(maxima(&policy), [("a", Some(0.01)), ("d", Some(0.02)), ("e", Some(1.0))]);
    let told: Vec<&str> = policy.errors.iter().map(|it| it.message.as_str()).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("ConfigMap http, key metrics.yaml, entry 2 (b): unknown variant `Guard`"), "{told:?}");
    assert!(told.iter().all(|it| it.ends_with("write it as in spec.analysis.metrics")), "{told:?}");
    assert!(!policy.can_judge());
}

#[test]
fn an_unreadable_entry_is_overridden_like_any_other() {
    let broken = json!([{"name": "a", "role": "Guard"}, {"name": "b", "role": "Guardrail", "prometheus": {"query": "{{ x }}"}, "threshold": {"max": 1}}]);
    assert_eq!(shared(&broken.to_string(), &[]).errors.len(), 2);
    let policy = shared(&broken.to_string(), &[metric("a", "1"), metric("b", "1")]);
    assert_eq!((policy.errors.as_slice(), policy.can_judge()), (&[][..], true));
    let policy = shared(&json!([metric("a", "1")]).to_string(), &[metric("a", "fast")]);
    assert_eq!((policy.metrics.len(), policy.can_judge()), (0, false), "an unreadable one replaces a readable one");
}

fn http(url: &str) -> Value {
    json!({"url": url, "jsonPath": "$.rate"})
}

#[test]
fn a_request_is_a_question_like_a_query() {
    let metric = json!({"name": "a", "role": "Guardrail", "http": http("http://kpi/{{ revision }}"), "compare": {"to": "Stable", "maxRatio": "2"}});
    let policy = shared(&json!([metric]).to_string(), &[]);
    assert_eq!((policy.metrics.len(), policy.errors.len()), (1, 0), "{:?}", policy.errors);
    let metric =
        json!({"name": "a", "role": "Guardrail", "http": http("http://kpi/{{ revison }}"), "threshold": {"max": "2"}});
    let policy = shared(&json!([metric]).to_string(), &[]);
    let error = &policy.errors[0];
    assert!(error.reason == "QueryInvalid" && error.message.ends_with("correct http.url"), "{error:?}");
}

#[test]
fn what_a_config_map_has_no_schema_for_is_refused_here() {
    for entry in [
        json!({"name": "a", "role": "Guardrail", "prometheus": {"query": "q"}, "threshold": {}}),
        json!({"name": "a", "role": "Guardrail", "prometheus": {"query": "q{r='{{ revision }}'}"}, "compare": {"to": "Stable"}}),
        json!({"name": "a", "role": "Guardrail", "prometheus": {"query": "q"}, "compare": {"to": "Stable", "maxRatio": "2"}}),
        json!({"name": "a", "role": "Guardrail", "threshold": {"max": "2"}}),
        json!({"name": "a", "role": "Guardrail", "prometheus": {"query": "q"}, "http": http("http://kpi/"), "threshold": {"max": "2"}}),
        json!({"name": "a", "role": "Guardrail", "http": http("http://kpi/"), "compare": {"to": "Stable", "maxRatio": "2"}}),
        json!({"name": "a", "role": "Guardrail", "http": http("file:///kpi"), "threshold": {"max": "2"}}),
    ] {
        let policy = shared(&json!([entry]).to_string(), &[]);
        assert_eq!((policy.metrics.len(), policy.errors.len()), (0, 1), "{entry}: {:?}", policy.errors);
    }
}

#[test]
fn a_job_is_part_of_a_deployment_and_not_of_a_shared_list() {
    let job = "{name: a, role: Guardrail, threshold: {max: 1%}, \
        job: {template: {spec: {containers: [{name: judge, image: registry/judge:1}]}}}}";
    let policy = shared(
        &format!("- {job}\n- {{name: b, role: Guardrail, threshold: {{max: 1%}}, prometheus: {{query: q}}}}"),
        &[],
    );
    assert_eq!(maxima(&policy), [("b", Some(0.01))]);
    let told = &policy.errors[0];
    assert_eq!(told.leaves_unjudged, Unjudged::Metric("a".into()));
    assert!(told.message.ends_with("so it cannot be shared; move it to spec.analysis.metrics"), "{told:?}");
}

#[test]
fn a_job_gives_one_number_and_is_named_by_its_metric() {
    let job = json!({"template": {"spec": {"containers": [{"name": "judge", "image": "registry/judge:1"}]}}});
    let judged = |name: &str, bounds: Value, job: &Value| {
        let mut metric = json!({"name": name, "role": "Guardrail", "job": job});
        metric.as_object_mut().unwrap().extend(bounds.as_object().unwrap().clone());
        read(json!({}), json!({"metrics": [metric]}), &[])
    };
    let (threshold, compare) =
        (json!({"threshold": {"min": "80%"}}), json!({"compare": {"to": "Stable", "minRatio": "0.9"}}));
    for bounds in [&threshold, &compare, &json!({"threshold": {"min": "80%"}, "delay": "24h"})] {
        let policy = judged("holdout-auc", bounds.clone(), &job);
        assert!(policy.errors.is_empty() && policy.metrics[0].is_job(), "{:?}", policy.errors);
    }
    let mut ours = job.clone();
    ours["template"]["spec"]["containers"][0]["env"] = json!([{"name": "WERKBANK_REVISION", "value": "r"}]);
    let test = json!({"test": {"direction": "HigherIsBetter", "nonInferiorityMargin": "1pp"}});
    for (policy, message) in [
        (judged("Holdout AUC", threshold.clone(), &job), "lower-case letters, digits and - in its name"),
        (judged("a", test, &job), "prometheus, http, sql and job, by threshold or compare"),
        (judged("a", threshold, &ours), "WERKBANK_REVISION is the operator's"),
    ] {
        assert!(policy.errors[0].message.contains(message), "{message}: {:?}", policy.errors);
        assert!(policy.metrics.is_empty() && !policy.can_judge());
    }
}

#[test]
fn a_query_that_cannot_be_rendered_is_found_when_it_is_read() {
    let with = |query: &str| {
        let metric = json!({"name": "a", "role": "Guardrail", "prometheus": {"query": query}, "threshold": {"max": 1}});
        read(json!({}), json!({"metrics": [metric]}), &[])
    };
    let policy = with("x{r='{{ revison }}'}");
    assert_eq!((policy.errors[0].reason, policy.metrics.len(), policy.can_judge()), ("QueryInvalid", 0, false));
    for said in
        ["spec.analysis.metrics, a", "`revison`", "deployment, namespace, revision, window, windowEnd, windowStart"]
    {
        assert!(policy.errors[0].message.contains(said), "{said}: {:?}", policy.errors);
    }
    assert_eq!(with("x{r='{{ revision'}").errors[0].reason, "QueryInvalid");
    let samples = json!({"samples": {"prometheus": {"query": "{{ revison }}"}}, "metrics": [metric("a", "1")]});
    let policy = read(json!({}), samples, &[]);
    assert_eq!((policy.errors[0].reason, policy.samples), ("QueryInvalid", None));
}

#[test]
fn a_changed_query_or_bound_is_another_metric_to_a_verdict() {
    let digest =
        |name: &str, max: &str| read(json!({}), json!({"metrics": [metric(name, max)]}), &[]).metrics.remove(0).digest;
    assert_eq!(digest("a", "1%"), digest("a", "1%"));
    assert_ne!(digest("a", "1%"), digest("a", "2%"));
    assert_eq!(digest("a", "1%").len(), 8);
}

#[test]
fn a_metric_with_delay_judges_later_and_asks_about_a_window_that_has_ended() {
    let late = |query: &str, delay: &str| {
        let mut metric = metric("late", "1%");
        metric["prometheus"]["query"] = json!(query);
        metric["delay"] = json!(delay);
        read(json!({}), json!({"metrics": [metric, self::metric("now", "1%")]}), &[])
    };
    let policy = late("q[{{ window }}] @ {{ windowEnd }}", "24h");
    let names = |rules: &mut dyn Iterator<Item = &MetricRule>| rules.map(|it| it.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&mut policy.gating()), ["now"]);
    assert_eq!(names(&mut policy.guardrails()), ["now"]);
    assert_eq!(policy.late().map(|(_, delay)| delay).collect::<Vec<_>>(), [Duration::from_hours(24)]);
    for (policy, said) in [
        (late("q[{{ window }}]", "24h"), "with delay, prometheus must name {{ windowEnd }}"),
        (late("q @ {{ windowEnd }}", "soon"), "late.delay: "),
    ] {
        assert!(policy.errors.iter().any(|it| it.message.contains(said)), "{:?}", policy.errors);
        assert!(!policy.can_judge() && policy.late().next().is_none(), "it is unread, not one without delay");
    }
}
