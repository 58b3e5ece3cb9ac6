//! The contract as an API server sees it: the CRDs go in with plain `kubectl apply`, the examples
//! mean what they say, and every `invalid-*.yaml` is refused with the sentence on its first line.
//!
//! One API server for all of it: each claim below is checked, and all that do not hold are told at once.
#![cfg(test)]

#[path = "../apiserver/mod.rs"]
mod apiserver;
mod plugin;
mod requests;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use apiserver::ApiServer;

const KINDS: [(&str, &str); 3] = [
    ("modelregistryentry", "modelregistryentries"),
    ("modeldeployment", "modeldeployments"),
    ("approval", "approvals"),
];

type Check = fn(&ApiServer) -> Result<()>;

/// In this order: the first ones make what the later ones need.
const CLAIMS: &[(&str, Check)] = &[
    ("the CRDs go in with plain kubectl apply, twice", crds_apply_twice),
    ("the CRDs are established and structural", crds_are_established),
    ("valid examples come back as they were sent", examples_round_trip),
    ("the README's first manifest is accepted", the_first_manifest_is_accepted),
    ("invalid examples are refused with their sentence", invalid_examples_are_refused),
    ("an entry's spec is immutable, its labels are not", an_entry_is_immutable),
    ("an entry that is revoked stays so", revoked_is_final),
    ("status and spec are written apart", status_is_apart),
    ("kubectl get shows the columns", columns_show),
    ("kubectl scale works", scale_works),
    ("kubectl explain prints the documentation", explain_prints_docs),
    ("raw requests are answered as is written down", requests::are_answered_as_written),
    ("kubectl werkbank shows, asks and refuses", plugin::shows_asks_and_refuses),
    ("kubectl werkbank watches, tells all and completes", plugin::watches_tells_all_and_completes),
];

#[test]
fn the_contract_holds_on_a_real_api_server() -> Result<()> {
    let cluster = ApiServer::start()?;
    cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: crm}}")?;
    let broken: Vec<String> = CLAIMS
        .iter()
        .filter_map(|(claim, check)| check(&cluster).err().map(|error| format!("{claim}: {error:#}")))
        .collect();
    ensure!(broken.is_empty(), "not so:\n- {}", broken.join("\n- "));
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn example(kind: &str, name: &str) -> String {
    root().join("examples").join(kind).join(name).display().to_string()
}

/// What is there, or null.
fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn run(cluster: &ApiServer, arguments: &[&str]) -> Result<String> {
    let output = cluster.kubectl(arguments)?;
    ensure!(output.status.success(), "kubectl {}: {}", arguments.join(" "), said(&output));
    Ok(String::from_utf8(output.stdout)?)
}

/// What it says when it refuses.
fn refusal(cluster: &ApiServer, arguments: &[&str]) -> Result<String> {
    let output = cluster.kubectl(arguments)?;
    ensure!(!output.status.success(), "kubectl {} was accepted", arguments.join(" "));
    Ok(said(&output))
}

fn object(cluster: &ApiServer, arguments: &[&str]) -> Result<Value> {
    let mut all = arguments.to_vec();
    all.extend(["-o", "json"]);
    Ok(serde_json::from_str(&run(cluster, &all)?)?)
}

fn crds_apply_twice(cluster: &ApiServer) -> Result<()> {
    let crds = root().join("crds").display().to_string();
    let first = cluster.kubectl(&["apply", "-f", &crds])?;
    ensure!(first.status.success() && first.stderr.is_empty(), "{}", said(&first));
    let second = run(cluster, &["apply", "-f", &crds])?;
    let unchanged = second.lines().filter(|line| line.ends_with(" unchanged")).count();
    ensure!(unchanged == KINDS.len() && second.lines().count() == KINDS.len(), "the second time: {second}");
    Ok(())
}

fn crds_are_established(cluster: &ApiServer) -> Result<()> {
    run(cluster, &["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"])?;
    for (_, plural) in KINDS {
        let crd = object(cluster, &["get", "crd", &format!("{plural}.werkbank.dev")])?;
        let conditions = crd.pointer("/status/conditions").and_then(Value::as_array).context("no conditions")?;
        let types: Vec<&str> = conditions.iter().filter_map(|it| at(it, "/type").as_str()).collect();
        ensure!(!types.contains(&"NonStructuralSchema"), "{plural}: {conditions:?}");
    }
    Ok(())
}

fn examples_round_trip(cluster: &ApiServer) -> Result<()> {
    let of_all = KINDS.iter().flat_map(|(kind, _)| ["minimal.yaml", "full.yaml"].map(|name| (*kind, name)));
    for (kind, name) in of_all.chain([("modeldeployment", "autoscaled.yaml"), ("modelregistryentry", "vendor.yaml")]) {
        let file = example(kind, name);
        let sent: Value = serde_yaml::from_slice(&std::fs::read(&file)?)?;
        let mut came_back = object(cluster, &["create", "--dry-run=server", "-f", &file])?;
        let metadata = came_back.get_mut("metadata").and_then(Value::as_object_mut).context("no metadata")?;
        for server_side in ["creationTimestamp", "generation", "uid"] {
            metadata.remove(server_side);
        }
        ensure!(came_back == sent, "{kind}/{name}: {came_back} came back");
    }
    Ok(())
}

fn the_first_manifest_is_accepted(cluster: &ApiServer) -> Result<()> {
    let readme = std::fs::read_to_string(root().join("README.md"))?;
    let (_, rest) = readme.split_once("```yaml\n").context("the README has no manifest")?;
    let (manifest, _) = rest.split_once("```").context("the README's manifest has no end")?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), manifest)?;
    let said = run(cluster, &["create", "--dry-run=server", "-f", &file.path().display().to_string()])?;
    ensure!(said.contains("modeldeployment.werkbank.dev/churn created"), "{said}");
    Ok(())
}

fn invalid_examples_are_refused(cluster: &ApiServer) -> Result<()> {
    let mut wrong = Vec::new();
    for (kind, _) in KINDS {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(root().join("examples").join(kind))?.map(|it| Ok(it?.path())).collect::<Result<_>>()?;
        files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("invalid-")));
        ensure!(files.len() >= 6, "{kind}: only {} invalid examples", files.len());
        files.sort();
        wrong.extend(files.iter().filter_map(|file| is_refused(cluster, file).err()).map(|it| format!("{it:#}")));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n  "));
    Ok(())
}

fn is_refused(cluster: &ApiServer, file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file)?;
    let expected = text.lines().next().and_then(|line| line.strip_prefix("# refused: "));
    let expected = expected.with_context(|| format!("{}: the first line is not `# refused: …`", file.display()))?;
    let said = refusal(cluster, &["create", "--dry-run=server", "-f", &file.display().to_string()])?;
    ensure!(said.contains(expected), "{}: refused without {expected:?}: {said}", file.display());
    Ok(())
}

fn an_entry_is_immutable(cluster: &ApiServer) -> Result<()> {
    run(cluster, &["create", "-f", &example("modelregistryentry", "minimal.yaml")])?;
    let entry: &[&str] = &["-n", "crm", "patch", "mre", "churn-2026-11", "--type=merge", "-p"];
    for change in [
        json!({"spec": {"model": {"version": "2026-12"}}}),
        json!({"spec": {"submittedBy": "somebody-else@example.com"}}),
        json!({"spec": {"governance": {"approvals": []}}}),
        json!({"spec": {"governance": {"purposes": ["ads"]}}}),
        json!({"spec": {"dataSources": [{"name": "orders", "personalData": false}]}}),
        json!({"spec": {"lineage": {"trainingRun": "mlflow:/1"}}}),
        json!({"spec": {"evaluations": [{"name": "backtest", "sha256": "0".repeat(64)}]}}),
    ] {
        let change = change.to_string();
        let said = refusal(cluster, &[entry, &[change.as_str()][..]].concat())?;
        let expected = "spec is immutable but for lifecycle, reviewBy, owners and artifact.serviceAccountName: register a new ModelRegistryEntry for a new version and point modelRef at it";
        ensure!(said.contains(expected), "{change}: {said}");
    }
    for artifact in [
        json!({"uri": "s3://models/churn/other.json"}),
        json!({"sha256": "0".repeat(64)}),
        json!({"format": "onnx"}),
        json!({"framework": "sklearn"}),
        json!({"secretRef": {"name": "another"}}),
    ] {
        let change = json!({"spec": {"artifact": artifact}}).to_string();
        let said = refusal(cluster, &[entry, &[change.as_str()][..]].concat())?;
        let expected = "spec.artifact is immutable but for serviceAccountName: register a new ModelRegistryEntry for a new version and point modelRef at it";
        ensure!(said.contains(expected), "{change}: {said}");
    }
    for account in [json!("model-reader"), Value::Null] {
        run(
            cluster,
            &[entry, &[json!({"spec": {"artifact": {"serviceAccountName": account}}}).to_string().as_str()]].concat(),
        )?;
    }
    run(cluster, &[entry, &[r#"{"metadata":{"labels":{"reviewed":"yes"}}}"#][..]].concat())?;
    let reviewed = r#"{"spec":{"reviewBy":"2027-05-01","owners":{"business":"crm"}}}"#;
    run(cluster, &[entry, &[reviewed][..]].concat())?;
    let said = refusal(cluster, &[entry, &[r#"{"spec":{"reviewBy":null}}"#][..]].concat())?;
    ensure!(said.contains("reviewBy can be moved, not removed"), "{said}");
    // Of entries with everything in them nothing can be taken away.
    for (file, name) in [("full.yaml", "churn-2026-12"), ("vendor.yaml", "texts-mistral-2411")] {
        let file = example("modelregistryentry", file);
        run(cluster, &["create", "-f", &file])?;
        let spec: Value = serde_yaml::from_str(&std::fs::read_to_string(&file)?)?;
        for path in what_stays("/spec", &spec["spec"]) {
            let change = json!([{"op": "remove", "path": path}]).to_string();
            let said = refusal(cluster, &["-n", "crm", "patch", "mre", name, "--type=json", "-p", &change])?;
            // Of what has to be there in any case, only that is said: then it may not become another one.
            let value = value_at(&spec, &path);
            if !said.contains("Required value") {
                ensure!(said.contains("is immutable"), "{change}: {said}");
            } else if let Some(other) = another(value) {
                let change = json!([{"op": "replace", "path": path, "value": other}]).to_string();
                let said = refusal(cluster, &["-n", "crm", "patch", "mre", name, "--type=json", "-p", &change])?;
                ensure!(said.contains("is immutable"), "{change}: {said}");
            }
        }
    }
    let full = ["-n", "crm", "patch", "mre", "churn-2026-12", "--type=json", "-p"];
    // The order of a set is not part of the spec, so it can be changed, and the digest does not depend on it.
    let signals = json!([{"op": "replace", "path": "/spec/dataSources/0/consentSignals", "value": ["ad_personalization", "ad_user_data"]}]);
    run(cluster, &[&full[..], &[signals.to_string().as_str()]].concat())?;
    Ok(())
}

fn value_at<'a>(spec: &'a Value, path: &str) -> &'a Value {
    spec.pointer(path).unwrap_or(&Value::Null)
}

/// Another value of the same form; of an object and a list, their fields are tried.
fn another(value: &Value) -> Option<Value> {
    let is_hex = |it: &str| it.len() >= 40 && it.bytes().all(|it| it.is_ascii_hexdigit());
    match value {
        Value::Bool(it) => Some(json!(!it)),
        Value::String(it) if is_hex(it) => Some(json!("0".repeat(it.len()))),
        Value::String(it) if it.starts_with("sha256:") => Some(json!(format!("sha256:{}", "0".repeat(64)))),
        Value::String(it) if it.contains("://") => Some(json!(format!("{it}other"))),
        Value::String(it) if ["Predictor", "Generator"].contains(&it.as_str()) => Some(json!("Judge")),
        Value::String(it) if it == "Low" => Some(json!("High")),
        Value::String(_) => Some(json!("other")),
        _ => None,
    }
}

/// All of it but what can be changed: fields, and those of objects and of the first items of lists.
fn what_stays(path: &str, spec: &Value) -> Vec<String> {
    let inside = match spec {
        Value::Object(fields) => fields.iter().map(|(name, it)| (format!("{path}/{name}"), it)).collect(),
        Value::Array(items) => items.iter().take(1).map(|it| (format!("{path}/0"), it)).collect(),
        _ => Vec::new(),
    };
    let stays = |it: &str| {
        let changes = ["/spec/lifecycle", "/spec/reviewBy", "/spec/owners", "/spec/artifact/serviceAccountName"];
        !changes.iter().any(|of| it == *of || it.starts_with(&format!("{of}/")))
    };
    let all = inside.into_iter().filter(|(path, _)| stays(path));
    all.flat_map(|(path, it)| [path.clone()].into_iter().chain(what_stays(&path, it)).collect::<Vec<_>>()).collect()
}

fn revoked_is_final(cluster: &ApiServer) -> Result<()> {
    let entry: &[&str] = &["-n", "crm", "patch", "mre", "churn-2026-12", "--type=merge", "-p"];
    for lifecycle in ["Deprecated", "Active", "Revoked", "Revoked"] {
        let change = json!({"spec": {"lifecycle": lifecycle}}).to_string();
        run(cluster, &[entry, &[change.as_str()][..]].concat())?;
    }
    for lifecycle in [json!("Active"), json!("Deprecated"), Value::Null] {
        let change = json!({"spec": {"lifecycle": lifecycle}}).to_string();
        let said = refusal(cluster, &[entry, &[change.as_str()][..]].concat())?;
        let expected = "lifecycle: Revoked is final: register a new ModelRegistryEntry and point modelRef at it";
        ensure!(said.contains(expected), "{change}: {said}");
    }
    run(cluster, &["-n", "crm", "delete", "mre", "churn-2026-12"])?;
    Ok(())
}

const PATCH: &[&str] = &["-n", "crm", "patch", "md", "churn-api", "--type=merge"];

fn deployment(cluster: &ApiServer) -> Result<Value> {
    object(cluster, &["-n", "crm", "get", "md", "churn-api"])
}

fn status_is_apart(cluster: &ApiServer) -> Result<()> {
    run(cluster, &["create", "-f", &example("modeldeployment", "full.yaml")])?;
    let new = deployment(cluster)?;
    run(cluster, &[PATCH, &["-p", r#"{"status":{"phase":"Stable"}}"#]].concat())?;
    ensure!(deployment(cluster)?.get("status").is_none(), "a write to the resource wrote its status");
    let status = json!({"spec": {"replicas": 7}, "status": {
        "phase": "Observing", "candidate": "aold", "weight": "5%", "selector": "werkbank.dev/deployment=churn-api,werkbank.dev/revision",
        "replicas": 4, "stable": {"revision": "anew", "name": "churn-2026-11", "uid": "u"},
        "conditions": [{"type": "Ready", "status": "False", "reason": "Observing", "message": "watching 5%",
            "lastTransitionTime": "2026-11-24T00:00:00Z", "observedGeneration": 1}],
    }});
    run(cluster, &[PATCH, &["--subresource=status", "-p", &status.to_string()]].concat())?;
    let now = deployment(cluster)?;
    ensure!(at(&now, "/spec") == at(&new, "/spec"), "a write to the status wrote the spec");
    ensure!(at(&now, "/metadata/generation") == at(&new, "/metadata/generation"), "status writes count as generations");
    ensure!(at(&now, "/status/weight") == "5%", "{now}");
    Ok(())
}

fn columns_show(cluster: &ApiServer) -> Result<()> {
    for (arguments, header, values) in [
        (
            vec!["get", "md", "churn-api", "-o", "wide"],
            "NAME PHASE MODEL STABLE CANDIDATE WEIGHT READY MESSAGE AGE",
            "churn-api Observing churn-2026-12 anew aold 5% False watching 5%",
        ),
        (vec!["get", "md"], "NAME PHASE MODEL STABLE CANDIDATE WEIGHT READY AGE", "churn-api Observing"),
        (
            vec!["get", "mre", "-o", "wide"],
            "NAME MODEL VERSION KIND LIFECYCLE READY RISK REVIEW BY VENDOR ARTIFACT AGE",
            "churn-2026-11 churn 2026-11 Predictor 2027-05-01 s3://models/churn/2026-11/model.json",
        ),
        (vec!["get", "werkbank", "-o", "name"], "modeldeployment.werkbank.dev/churn-api", ""),
    ] {
        let printed = run(cluster, &[&["-n", "crm"], arguments.as_slice()].concat())?;
        let words: Vec<String> =
            printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        ensure!(words.first().is_some_and(|line| line == header), "{printed}");
        ensure!(words.get(1).is_some_and(|line| line.starts_with(values)), "{printed}");
    }
    Ok(())
}

fn scale_works(cluster: &ApiServer) -> Result<()> {
    run(cluster, &["-n", "crm", "scale", "md/churn-api", "--replicas=5"])?;
    let path = "/apis/werkbank.dev/v1alpha1/namespaces/crm/modeldeployments/churn-api/scale";
    let scale: Value = serde_json::from_str(&run(cluster, &["get", "--raw", path])?)?;
    ensure!(at(&scale, "/spec/replicas") == 5, "{scale}");
    let expected = json!({"replicas": 4, "selector": "werkbank.dev/deployment=churn-api,werkbank.dev/revision"});
    ensure!(*at(&scale, "/status") == expected, "{scale}");
    ensure!(at(&deployment(cluster)?, "/spec/replicas") == 5, "the spec does not show it");
    Ok(())
}

fn explain_prints_docs(cluster: &ApiServer) -> Result<()> {
    let expected = ["The candidate's share of traffic", "minSamples", "Needs `analysis.samples`"];
    // The API server publishes schemas some time after it has accepted them.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let output = cluster.kubectl(&["explain", "modeldeployment.spec.rollout.steps"])?;
        let missing = expected.iter().find(|it| !said(&output).contains(*it));
        match missing {
            None => return Ok(()),
            Some(missing) if Instant::now() > deadline => bail!("no {missing:?} in: {}", said(&output)),
            Some(_) => std::thread::sleep(Duration::from_millis(500)),
        }
    }
}
