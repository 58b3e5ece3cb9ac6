//! Every situation of the operator's golden stories, as Argo CD would see it: what each pass leaves in status.
//!
//! The stories tell changes, line by line; here they are added up. Only what a tool may rely on is kept: the conditions, and
//! of the attempt what a request has to name.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// What a status says after one pass of a story.
pub(crate) struct Situation {
    /// Story and pass.
    pub(crate) name: String,
    pub(crate) phase: String,
    /// A ModelDeployment.
    pub(crate) object: Value,
}

pub(crate) fn all() -> Result<Vec<Situation>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/decide/model_deployment/golden");
    let mut files: Vec<_> = std::fs::read_dir(folder)?.map(|it| Ok(it?.path())).collect::<Result<_>>()?;
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let story = file.file_stem().context("a name")?.to_string_lossy().into_owned();
        all.extend(of_story(&story, &std::fs::read_to_string(&file)?).with_context(|| story)?);
    }
    ensure!(all.len() > 200, "only {} situations: are the stories where this test looks?", all.len());
    Ok(all)
}

fn of_story(story: &str, text: &str) -> Result<Vec<Situation>> {
    let mut lines: BTreeMap<String, String> = BTreeMap::new();
    let mut situations = Vec::new();
    for (pass, part) in text.split("\n== Pass ").enumerate() {
        for (key, value) in changes(part) {
            match value {
                Some(value) => lines.insert(key, value),
                None => lines.remove(&key),
            };
        }
        if let Some(phase) = lines.get("phase") {
            let object = object(&lines)?;
            situations.push(Situation { name: format!("{story} {pass}"), phase: phase.clone(), object });
        }
    }
    Ok(situations)
}

/// The new value of each line of the section `status`; none where it is gone.
fn changes(part: &str) -> Vec<(String, Option<String>)> {
    let mut changes: Vec<(String, Option<String>)> = Vec::new();
    let mut inside = false;
    for line in part.lines() {
        if !line.starts_with(' ') {
            inside = line == "status:";
        } else if let (true, Some(new)) = (inside, line.strip_prefix("    → ")) {
            if let Some(last) = changes.last_mut() {
                last.1 = Some(new.to_owned());
            }
        } else if let (true, Some((key, value))) = (inside, line.trim_start().split_once(": ")) {
            let gone = value.ends_with(" → none");
            changes.push((key.to_owned(), (!gone).then(|| value.to_owned())));
        }
    }
    changes
}

const AT: &str = "2026-11-18T12:00:00Z";

fn object(lines: &BTreeMap<String, String>) -> Result<Value> {
    let mut conditions = Vec::new();
    for type_ in ["Available", "Ready", "Reconciling", "Stalled"] {
        let said = lines.get(type_).with_context(|| format!("no {type_}: {lines:?}"))?;
        let (status, rest) = said.split_once(' ').context("a status")?;
        let (reason, message) = rest.split_once(": ").context("a reason")?;
        conditions.push(json!({"type": type_, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": AT, "observedGeneration": 1}));
    }
    let taken_back: Vec<Value> = lines
        .iter()
        .filter_map(|(key, cause)| Some(json!({"revision": key.strip_prefix("taken back ")?, "cause": cause})))
        .collect();
    let attempt = lines.get("attempt").map(|told| attempt(told)).transpose()?;
    let probation = lines.get("probation").map(|told| probation(told)).transpose()?;
    let status = json!({"observedGeneration": 1, "conditions": conditions, "takenBack": taken_back, "attempt": attempt,
        "probation": probation});
    Ok(json!({
        "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": "churn", "namespace": "crm", "generation": 1},
        "spec": {"modelRef": {"name": "churn-1"}, "port": 80, "analysis": {"none": "a test"},
            "template": {"spec": {"containers": [{"name": "server", "image": "scorer"}]}}},
        "status": status,
    }))
}

/// `r2 by r2-2-11112222 since 00:31:00 against r1, back to r1; …`
fn probation(told: &str) -> Result<Value> {
    let first: Vec<&str> = told.split(' ').take(3).collect();
    let [revision, "by", attempt] = first.as_slice() else { anyhow::bail!("what is {told}?") };
    let recall = told.contains("called back since").then(|| json!({"cause": "Reverted", "message": "m", "at": AT}));
    Ok(json!({"attempt": attempt, "revision": revision, "baseline": "b", "since": AT, "exposed": [], "recall": recall,
        "fallback": {"revision": "b", "name": "churn", "uid": "e"}}))
}

/// `r2-2-11112222 Observing at 5%, step 0, since 00:04:00, watched since 00:04:00, …`
fn attempt(told: &str) -> Result<Value> {
    let first: Vec<&str> = told.split(", ").next().unwrap_or_default().split(' ').collect();
    let [id, state, "at", weight] = first.as_slice() else { anyhow::bail!("what is {told}?") };
    let step = told.split(", ").find_map(|part| part.strip_prefix("step ")?.parse::<i32>().ok());
    let since = |words: &str| told.contains(&format!(", {words} since ")).then_some(AT);
    Ok(json!({
        "id": id, "state": state, "weight": weight, "revision": "r", "startedAt": AT, "enteredAt": AT, "step": step,
        "entry": {"revision": "r", "name": "churn", "uid": "e"}, "observingSince": since("watched"),
        "pausedSince": since("paused"), "suspendedSince": since("suspended"),
    }))
}
