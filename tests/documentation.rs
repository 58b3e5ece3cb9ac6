//! Every reason that the operator can set is in `docs/reference/conditions.md`, and nothing else is:
//! a person who looks up a word from `kubectl describe` finds it, with what to do.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};

use serde_json::Value;
use werkbank::api::artifact_failure::ArtifactFailureReason;
use werkbank::decide::live_job::STUCK;

/// CamelCase words in the sources of decisions that are no reasons.
const NO_REASONS: &[&str] = &[
    "Alert",
    // Condition types of our own and of others, and their statuses.
    "Available",
    "Ready",
    "Reconciling",
    "Stalled",
    "Accepted",
    "ResolvedRefs",
    "PodScheduled",
    "Succeeded",
    "Failed",
    "True",
    "False",
    // Kinds.
    "ConfigMap",
    "ControllerRevision",
    "Deployment",
    "HorizontalPodAutoscaler",
    "HTTPRoute",
    "ModelDeployment",
    "ModelRegistryEntry",
    "Service",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    // What the Job controller calls an end.
    "Complete",
    "DeadlineExceeded",
    // What the kubelet calls a container that is merely early.
    "ContainerCreating",
    "PodInitializing",
    // Decisions that only the trail names.
    "Start",
    "RollBack",
    "HoldBack",
    "PutBack",
    "ResetRoute",
    "Shadow",
    "Withdraw",
    "Pause",
    "Resume",
    "Recall",
    "Prove",
    "EndProbation",
    "LetGo",
    "Judge",
    // What events say was done about requests, about pods that differ, and about a stable revision that fails.
    "Request",
    "Hold",
    "Alert",
    // And that something has to be approved.
    "Gate",
];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(root().join(path)).map_err(|error| format!("{path}: {error}").into())
}

fn yaml(path: &str) -> Result<Value> {
    Ok(serde_yaml::from_str(&read(path)?)?)
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_test = path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
        if is_test {
            continue;
        }
        if path.is_dir() {
            sources(&path, into)?;
        } else if path.extension().is_some_and(|it| it == "rs") {
            into.push(path);
        }
    }
    Ok(())
}

fn is_camel_case(word: &str) -> bool {
    word.len() > 3
        && word.starts_with(|it: char| it.is_ascii_uppercase())
        && word.chars().all(|it| it.is_ascii_alphabetic())
}

/// String literals that look like a reason, outside of comments and tests.
fn literals(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| line.split('"')).filter(|word| is_camel_case(word)).map(str::to_owned).collect()
}

/// The values of an enum of the status, as the CRD has them.
fn values(crd: &Value, field: &str) -> Result<BTreeSet<String>> {
    let pointer =
        format!("/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/attempt/properties/{field}/enum");
    let values = crd.pointer(&pointer).and_then(Value::as_array).ok_or(format!("no {field} in status.attempt"))?;
    Ok(values.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn set_by_the_operator() -> Result<BTreeSet<String>> {
    let mut files = Vec::new();
    sources(&root().join("src/decide"), &mut files)?;
    let mut reasons = BTreeSet::new();
    for file in &files {
        reasons.extend(literals(&std::fs::read_to_string(file)?));
    }
    assert!(reasons.len() > 30, "the sources of decisions are not where this test looks: {reasons:?}");
    // Nor is what the kubelet calls a container that does not start.
    reasons.retain(|reason| !NO_REASONS.iter().chain(&STUCK).any(|it| it == reason));
    reasons.extend(ArtifactFailureReason::ALL.iter().map(|reason| reason.as_str().to_owned()));
    let crd = yaml("crds/modeldeployments.werkbank.dev.yaml")?;
    reasons.extend(values(&crd, "cause")?);
    // While an attempt goes on, its state is the reason; an ended one has a cause.
    let ended = ["Failed", "RolledBack", "Promoted"];
    reasons.extend(values(&crd, "state")?.into_iter().filter(|state| !ended.contains(&state.as_str())));
    let watch = literals(&read("src/runtime/watch/driver.rs")?);
    reasons.extend(watch.into_iter().filter(|word| word.starts_with("Invalid")));
    Ok(reasons)
}

/// First cells of the page's tables, condition types apart.
fn documented() -> Result<BTreeSet<String>> {
    let page = read("docs/reference/conditions.md")?;
    let cells = page.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once("` |")?.0.to_owned()));
    Ok(cells.filter(|word| !["Ready", "Available", "Reconciling", "Stalled"].contains(&word.as_str())).collect())
}

#[test]
fn every_reason_is_documented_and_every_documented_reason_exists() -> Result<()> {
    let (set, documented) = (set_by_the_operator()?, documented()?);
    let missing: Vec<&String> = set.difference(&documented).collect();
    assert!(missing.is_empty(), "docs/reference/conditions.md lacks {missing:?}: say what each means and what to do");
    let invented: Vec<&String> = documented.difference(&set).collect();
    assert!(invented.is_empty(), "docs/reference/conditions.md lists {invented:?}, which nothing sets: remove them");
    Ok(())
}

/// Paths of a schema's properties, `spec.analysis.metrics[].name`; opaque objects end a path, and so do counts: their
/// providers are those of a metric, which are told once.
fn paths(prefix: &str, schema: &Value, into: &mut BTreeSet<String>) {
    let item = schema.get("items");
    let (prefix, schema) = item.map_or((prefix.to_owned(), schema), |item| (format!("{prefix}[]"), item));
    let opaque = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    let is_count = |it: &serde_json::Map<String, Value>| it.keys().eq(["http", "prometheus", "sql"]);
    match schema.get("properties").and_then(Value::as_object).filter(|it| !opaque && !is_count(it)) {
        Some(properties) => properties.iter().for_each(|(name, it)| paths(&format!("{prefix}.{name}"), it, into)),
        None => drop(into.insert(prefix)),
    }
}

fn fields(plural: &str) -> Result<BTreeSet<String>> {
    let crd = yaml(&format!("crds/{plural}.werkbank.dev.yaml"))?;
    let spec = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").ok_or("no spec in the CRD")?;
    let mut all = BTreeSet::new();
    paths("spec", spec, &mut all);
    assert!(all.len() > 5, "{plural} has only {all:?}");
    Ok(all)
}

fn holds(value: &Value, path: &str) -> bool {
    let (step, rest) = path.split_once('.').map_or((path, None), |(step, rest)| (step, Some(rest)));
    let (name, is_list) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
    let Some(found) = value.get(name) else { return false };
    let inside: Vec<&Value> = if is_list { found.as_array().into_iter().flatten().collect() } else { vec![found] };
    inside.into_iter().any(|it| rest.is_none_or(|rest| holds(it, rest)))
}

#[test]
fn the_full_examples_use_every_field() -> Result<()> {
    for (kind, plural) in [
        ("modeldeployment", "modeldeployments"),
        ("modelregistryentry", "modelregistryentries"),
        ("approval", "approvals"),
    ] {
        let minimal = yaml(&format!("examples/{kind}/minimal.yaml"))?;
        let full = yaml(&format!("examples/{kind}/full.yaml"))?;
        // What excludes other fields cannot stand beside them.
        let only = |of: &str, name: &str| {
            if kind == of { yaml(&format!("examples/{of}/{name}.yaml")) } else { Ok(Value::Null) }
        };
        let (autoscaled, vendor) = (only("modeldeployment", "autoscaled")?, only("modelregistryentry", "vendor")?);
        let elsewhere = |path: &str| {
            path == "spec.analysis.none" && holds(&minimal, path)
                || path.starts_with("spec.autoscaling") && holds(&autoscaled, path)
                || path.starts_with("spec.vendor") && holds(&vendor, path)
        };
        let unused: Vec<String> =
            fields(plural)?.into_iter().filter(|path| !holds(&full, path) && !elsewhere(path)).collect();
        assert!(unused.is_empty(), "examples/{kind}/full.yaml does not use {unused:?}");
    }
    Ok(())
}

#[test]
fn every_field_that_users_write_is_in_its_reference_page() -> Result<()> {
    for (page, plural) in [("modeldeployment", "modeldeployments"), ("modelregistryentry", "modelregistryentries")] {
        let page = format!("docs/reference/{page}.md");
        let text = read(&page)?;
        let row = |path: &String| format!("| `{}` |", path.trim_start_matches("spec."));
        let missing: Vec<String> = fields(plural)?.into_iter().filter(|path| !text.contains(&row(path))).collect();
        assert!(missing.is_empty(), "{page} lacks {missing:?}");
    }
    Ok(())
}

/// Names as Prometheus sees them, less `_total` and `_info`. Families without a sample print nothing, so those come
/// from where they are registered.
fn metrics() -> Result<BTreeSet<String>> {
    let text = werkbank::runtime::Metrics::new().text()?;
    let printed = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).map(str::to_owned);
    let source = read("src/runtime/metrics.rs")?;
    let named = |call: &str, suffix: &str| -> Vec<String> {
        let names =
            source.split(call).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
        names.map(|name| format!("werkbank_{name}{suffix}")).collect()
    };
    Ok(printed.chain(named(".register(", "")).chain(named(".register_with_unit(", "_seconds")).collect())
}

#[test]
fn every_metric_of_the_operator_is_in_its_reference_page() -> Result<()> {
    let page = read("docs/reference/metrics.md")?;
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let documented: BTreeSet<String> =
        rows.map(|row| row.trim_end_matches("_total").trim_end_matches("_info").to_owned()).collect();
    assert!(documented.len() > 15, "{documented:?}");
    assert_eq!(documented, metrics()?);
    Ok(())
}

#[test]
fn links_between_the_pages_lead_somewhere() -> Result<()> {
    let mut pages = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    for folder in ["docs/reference", "docs/explanation", "docs/tutorial", "docs/how-to"] {
        for page in std::fs::read_dir(root().join(folder))? {
            pages.push(page?.path());
        }
    }
    for page in pages {
        let text = std::fs::read_to_string(&page)?;
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            let found = target.is_empty() || target.contains("://") || page.with_file_name(target).exists();
            assert!(found, "{}: {link} leads nowhere", page.display());
        }
    }
    Ok(())
}
