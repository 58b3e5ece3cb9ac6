//! What Argo CD makes of our resources: the chart's scripts, run by Argo CD's own Lua engine with the libraries that Argo
//! CD opens, on every situation of the operator's golden stories.

mod engine;
mod situations;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use werkbank::api::ModelDeployment;
use werkbank::decide::model_deployment::request::{Verb, addressed, pending};

use engine::{ACCOUNT, Engine, Scripts, scripts};

fn at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    object.pointer("/status/conditions")?.as_array()?.iter().find(|it| at(it, "/type") == type_)
}

fn short(object: &Value, type_: &str) -> String {
    condition(object, type_)
        .map(|it| format!("{type_}={} {}", at(it, "/status"), at(it, "/reason")))
        .unwrap_or_default()
}

/// Compared with a file that a reviewer reads; `UPDATE=1` rewrites it.
fn golden(name: &str, text: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/argocd/golden").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text)?;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    ensure!(text == expected, "{} is not what Argo CD sees: UPDATE=1, and read the difference", path.display());
    Ok(())
}

#[tokio::test]
async fn every_situation_of_the_golden_stories_has_its_health() -> Result<()> {
    let Scripts { health, .. } = scripts().await?;
    let (script, mut engine) = (&health["ModelDeployment"], Engine::start().await?);
    let mut table: BTreeSet<String> = BTreeSet::new();
    for it in situations::all()? {
        let seen = engine.run(script, &it.object).with_context(|| it.name.clone())?;
        let said = condition(&it.object, "Ready").map_or("", |it| at(it, "/message"));
        ensure!(at(&seen, "/message") == said, "{}: {seen}", it.name);
        let [ready, reconciling, stalled] = ["Ready", "Reconciling", "Stalled"].map(|type_| short(&it.object, type_));
        let situation =
            format!("{:<11}  {:<12} {ready:<38} {reconciling:<26} {stalled}", at(&seen, "/status"), it.phase);
        table.insert(situation);
    }
    for health in ["Degraded", "Healthy", "Progressing", "Suspended"] {
        ensure!(table.iter().any(|it| it.starts_with(health)), "nothing is {health}");
    }
    // Whose situations they are is left out: a new story that tells nothing new changes nothing here.
    let header =
        "# What Argo CD shows for each situation of the golden stories: health, phase, conditions.\n".to_owned();
    let text = table.into_iter().fold(header, |text, situation| text + situation.trim_end() + "\n");
    golden("health.txt", &text)
}

#[tokio::test]
async fn what_the_operator_has_not_seen_yet_is_progressing() -> Result<()> {
    let (Scripts { health, .. }, mut engine) = (scripts().await?, Engine::start().await?);
    let ready =
        json!([{"type": "Ready", "status": "True", "message": "serves"}, {"type": "Stalled", "status": "False"}]);
    let stalled = json!([{"type": "Ready", "status": "False", "message": "no URI"}, {"type": "Stalled", "status": "True", "message": "no URI"}]);
    for (kind, script) in &health {
        for (status, expected) in [
            (Value::Null, "Progressing"),
            (json!({}), "Progressing"),
            (json!({"observedGeneration": 1, "conditions": ready}), "Progressing"),
            (json!({"observedGeneration": 2}), "Progressing"),
            (json!({"observedGeneration": 2, "conditions": ready}), "Healthy"),
            (json!({"observedGeneration": 2, "conditions": stalled}), "Degraded"),
        ] {
            let object = json!({"metadata": {"generation": 2}, "status": status});
            let seen = engine.run(script, &object)?;
            ensure!(at(&seen, "/status") == expected, "{kind}, {status}: {seen}");
        }
    }
    ensure!(health.len() == 2, "one for each kind");
    Ok(())
}

/// What Lua does not keep apart: an empty object, an empty list, and null. Argo CD puts the former back.
fn without_empties(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().map(|(key, it)| (key.clone(), without_empties(it)));
            Value::Object(kept.filter(|(_, it)| ![json!([]), json!({}), Value::Null].contains(it)).collect())
        }
        Value::Array(all) => all.iter().map(without_empties).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn a_button_is_shown_where_the_operator_takes_its_request() -> Result<()> {
    let (scripts, mut engine) = (scripts().await?, Engine::start().await?);
    let mut shown: BTreeMap<String, usize> = BTreeMap::new();
    // Of a probation that is older than the last attempt.
    let mut older: BTreeSet<&str> = BTreeSet::new();
    for it in situations::all()? {
        let buttons = engine.run(&scripts.discovery, &it.object)?;
        ensure!(buttons.as_object().map(serde_json::Map::len) == Some(Verb::ALL.len()), "{buttons}");
        for verb in Verb::ALL.map(Verb::word) {
            let disabled = buttons.pointer(&format!("/{verb}/disabled")).and_then(Value::as_bool);
            let offered = !disabled.with_context(|| format!("{verb}: {buttons}"))?;
            let script = scripts.actions.get(verb).with_context(|| format!("no script for {verb}"))?;
            let pressed = engine.run(script, &it.object)?;
            let request = at(&pressed, "/metadata/annotations/werkbank.dev~1request").to_owned();
            ensure!(request.starts_with(&format!("{verb}/")) && request.ends_with(&format!("/{ACCOUNT}")), "{request}");
            let mut annotated = it.object.clone();
            annotated["metadata"]["annotations"] = json!({"werkbank.dev/request": request});
            ensure!(without_empties(&annotated) == without_empties(&pressed), "{}: more than a request", it.name);

            let resource: ModelDeployment = serde_json::from_value(annotated)?;
            let status = resource.status.as_ref().context("a status")?;
            let asked = pending(&resource, status).with_context(|| format!("{request} asks nothing"))?;
            let taken = addressed(&asked, status).map(|_| ());
            ensure!(offered == taken.is_ok(), "{}: {verb}, offered: {offered}, {taken:?}", it.name);
            *shown.entry(verb.to_owned()).or_default() += usize::from(offered);
            let present = status.attempt.as_ref().map(|it| it.id.as_str());
            older.extend((offered && present != Some(&asked.attempt)).then_some(verb));
        }
    }
    ensure!(shown.values().all(|count| *count > 0), "never shown: {shown:?}");
    ensure!(older.into_iter().eq(["abort", "promote"]), "what is on probation cannot be ended or taken back");
    Ok(())
}

#[tokio::test]
async fn a_button_works_on_a_deployment_without_annotations_or_status() -> Result<()> {
    let (scripts, mut engine) = (scripts().await?, Engine::start().await?);
    let object = json!({"metadata": {"name": "churn"}, "spec": {}});
    let buttons = engine.run(&scripts.discovery, &object)?;
    for (verb, script) in &scripts.actions {
        ensure!(buttons[verb]["disabled"] == json!(true), "{verb}: {buttons}");
        engine.run(script, &object)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_engine_has_only_the_libraries_that_argo_cd_opens() -> Result<()> {
    let mut engine = Engine::start().await?;
    let script = "return {string = type(string), math = type(math), io = type(io), os = type(os), table = type(table)}";
    let seen = engine.run(script, &json!({}))?;
    let expected = json!({"string": "nil", "math": "nil", "io": "nil", "os": "nil", "table": "table"});
    ensure!(seen == expected, "{seen}");
    let forever = engine.run("while true do end", &json!({})).expect_err("a second is enough").to_string();
    ensure!(forever.contains("deadline"), "{forever}");
    Ok(())
}
