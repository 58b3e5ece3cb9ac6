//! The chart as Helm and an API server see it: what it renders (golden files a
//! reviewer reads), what it refuses, that the CRDs in it are those of `crds/`,
//! and that its pods pass PodSecurity `restricted` on a real API server.

mod approvals;
mod credentials;
mod policy;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::process::Command;
use werkbank_e2e::controlplane::{ControlPlane, Options};
use werkbank_e2e::process::Supervisor;
use werkbank_e2e::tools::Tools;

const NAMESPACE: &str = "werkbank-system";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn chart() -> PathBuf {
    root().join("charts/werkbank")
}

fn full_values() -> String {
    chart().join("tests/values/full.yaml").display().to_string()
}

fn tools() -> Result<Tools> {
    Tools::new(Supervisor::new()?)
}

async fn helm(arguments: &[&str]) -> Result<Output> {
    let home = tempfile::tempdir()?;
    let output = Command::new(tools()?.helm().await?)
        .args(arguments)
        .env("HELM_CACHE_HOME", home.path())
        .env("HELM_CONFIG_HOME", home.path())
        .env("HELM_DATA_HOME", home.path())
        .kill_on_drop(true)
        .output();
    output.await.context("cannot run helm")
}

/// A control plane with the chart installed, with this value.
async fn released(value: &str) -> Result<ControlPlane> {
    let cluster = ControlPlane::start(Options::default(), &tools()?).await?;
    let (chart, kubeconfig) = (chart().display().to_string(), cluster.kubeconfig().display().to_string());
    let install = ["install", "werkbank", &chart, "--namespace", NAMESPACE, "--create-namespace", "--set", value];
    let installed = helm(&[&install[..], &["--kubeconfig", &kubeconfig]].concat()).await?;
    ensure!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    Ok(cluster)
}

/// Server-side apply of one document.
async fn apply(cluster: &ControlPlane, document: &str) -> Result<()> {
    let file = cluster.run_dir().join("document.yaml");
    std::fs::write(&file, document)?;
    let output = cluster.kubectl(["apply", "--server-side", "-f", &file.display().to_string()]).await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

async fn render(arguments: &[&str]) -> Result<String> {
    let chart = chart().display().to_string();
    let mut all = vec!["template", "werkbank", &chart, "--namespace", NAMESPACE];
    all.extend_from_slice(arguments);
    let output = helm(&all).await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn documents(rendered: &str) -> Result<Vec<Value>> {
    let mut documents = Vec::new();
    for text in rendered.split("\n---\n") {
        let document: Value = serde_yaml::from_str(text).context("what Helm renders is YAML")?;
        if !document.is_null() {
            documents.push(document);
        }
    }
    Ok(documents)
}

fn text<'a>(document: &'a Value, pointer: &str) -> &'a str {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn only(kind: &str, documents: &[Value]) -> Result<Value> {
    let mut found = documents.iter().filter(|document| text(document, "/kind") == kind);
    let first = found.next().with_context(|| format!("no {kind} is rendered"))?;
    ensure!(found.next().is_none(), "more than one {kind} is rendered");
    Ok(first.clone())
}

/// The CRDs are left out: they are compared with `crds/` below.
async fn golden(name: &str, arguments: &[&str]) -> Result<()> {
    let mut all = vec!["--set", "crds.install=false"];
    all.extend_from_slice(arguments);
    let rendered = render(&all).await?;
    let path = chart().join(format!("tests/golden/{name}.yaml"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &rendered)?;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    ensure!(
        rendered == expected,
        "the chart no longer renders {}: run `make generated` and review the difference",
        path.display()
    );
    Ok(())
}

#[tokio::test]
async fn the_defaults_render_as_the_golden_file() -> Result<()> {
    golden("default", &[]).await
}

#[tokio::test]
async fn every_value_changed_renders_as_the_golden_file() -> Result<()> {
    golden("full", &["--values", &full_values()]).await
}

#[tokio::test]
async fn helm_lint_has_no_complaint() -> Result<()> {
    let chart = chart().display().to_string();
    for values in [vec![], vec!["--values".to_owned(), full_values()]] {
        let mut arguments = vec!["lint", "--strict", "--quiet", &chart];
        arguments.extend(values.iter().map(String::as_str));
        let output = helm(&arguments).await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}

/// Each wrong value, and what the refusal must say.
const REFUSED: &[(&str, &str)] = &[
    ("replica=3", "'replica' not allowed"),
    ("requests.policy=maybe", "/requests/policy"),
    ("argocd.account=two words", "/argocd/account"),
    ("rbac.policy=maybe", "/rbac/policy"),
    ("artifacts.verifyAgainEvery=weekly", "/artifacts/verifyAgainEvery"),
    ("serviceAccount.create=false", "must name an account of the operator's own"),
    ("replicas=two", "/replicas"),
    ("image.digest=latest", "/image/digest"),
    ("regions.eu=eu-central-1", "/regions/eu"),
    ("log.format=xml", "/log/format"),
    ("kubeApi.qps=0", "/kubeApi/qps"),
    ("port=80", "/port"),
    ("leaderElection.leaseDurationSeconds=soon", "/leaderElection/leaseDurationSeconds"),
    ("prometheus.url=prometheus:9090", "/prometheus/url"),
    ("audit.store=Disk", "/audit/store"),
    ("audit.store=S3", "set it to s3://bucket/prefix"),
    ("audit.keySecret=key", "every pod would sign a log of its own"),
    ("audit.store=PersistentVolumeClaim", "set it to the name of a claim"),
    ("kubeApi.burst=10", "raise the burst to at least the rate"),
    ("prometheus.url=http://p:9090,prometheus.allowedNamespaces=null", "nobody could query it"),
    ("leaderElection.leaseDurationSeconds=5", "two replicas could lead"),
];

#[tokio::test]
async fn a_wrong_value_is_refused_by_name() -> Result<()> {
    for (set, expected) in REFUSED {
        match render(&["--set", set]).await {
            Ok(_) => anyhow::bail!("`{set}` was accepted"),
            Err(refusal) => {
                let said = refusal.to_string();
                ensure!(said.contains(expected), "`{set}` was refused without `{expected}`: {said}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn one_replica_on_a_claim_goes_before_its_successor_comes() -> Result<()> {
    let claim = "audit.store=PersistentVolumeClaim,audit.persistentVolumeClaim.existingClaim=audit";
    for (values, strategy) in [
        (format!("replicas=1,{claim}"), "Recreate"),
        (format!("replicas=2,{claim}"), "RollingUpdate"),
        ("replicas=1".to_owned(), "RollingUpdate"),
    ] {
        let rendered = documents(&render(&["--set", &values]).await?)?;
        let deployment = only("Deployment", &rendered)?;
        ensure!(text(&deployment, "/spec/strategy/type") == strategy, "{values}: not {strategy}");
    }
    Ok(())
}

#[test]
fn every_value_is_described_in_the_schema_and_in_the_readme() -> Result<()> {
    let schema: Value = serde_json::from_slice(&std::fs::read(chart().join("values.schema.json"))?)?;
    let readme = std::fs::read_to_string(chart().join("README.md"))?;
    let mut described = BTreeSet::new();
    leaves("", &schema, &mut described);
    described.remove("global");
    for value in &described {
        ensure!(readme.contains(&format!("| `{value}` |")), "README.md does not describe `{value}`");
    }
    let values: Value = serde_yaml::from_slice(&std::fs::read(chart().join("values.yaml"))?)?;
    for value in &described {
        let pointer = format!("/{}", value.replace('.', "/"));
        let optional = value.starts_with("resources.");
        ensure!(optional || values.pointer(&pointer).is_some(), "values.yaml does not show `{value}`");
    }
    Ok(())
}

fn leaves(prefix: &str, schema: &Value, into: &mut BTreeSet<String>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        into.insert(prefix.to_owned());
        return;
    };
    let strict = schema.get("additionalProperties") == Some(&Value::Bool(false));
    assert!(strict, "`{prefix}` takes anything");
    for (name, property) in properties {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        leaves(&path, property, into);
    }
}

fn crds_of_the_repository() -> Result<BTreeMap<String, Value>> {
    let mut crds = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("crds")).context("crds/ is missing")? {
        let crd: Value = serde_yaml::from_slice(&std::fs::read(entry?.path())?)?;
        crds.insert(text(&crd, "/metadata/name").to_owned(), crd);
    }
    ensure!(!crds.is_empty(), "crds/ is empty");
    Ok(crds)
}

#[tokio::test]
async fn the_crds_are_installed_unchanged_and_kept_on_uninstall() -> Result<()> {
    let mut rendered = BTreeMap::new();
    for mut document in documents(&render(&[]).await?)? {
        if document["kind"] == "CustomResourceDefinition" {
            let annotations = document["metadata"]["annotations"].as_object_mut().context("annotated")?;
            let kept = annotations.remove("helm.sh/resource-policy");
            ensure!(kept == Some(Value::from("keep")), "would be deleted with the release");
            if annotations.is_empty() {
                document["metadata"].as_object_mut().context("an object")?.remove("annotations");
            }
            rendered.insert(document["metadata"]["name"].as_str().context("a name")?.to_owned(), document);
        }
    }
    ensure!(rendered == crds_of_the_repository()?, "the chart's CRDs differ from crds/");
    Ok(())
}

#[tokio::test]
async fn rights_hold_only_in_the_watched_namespaces() -> Result<()> {
    let everywhere = documents(&render(&[]).await?)?;
    let wide = |documents: &[Value]| -> Vec<String> {
        let bindings = documents.iter().filter(|it| it["kind"] == "ClusterRoleBinding");
        bindings.map(|it| text(it, "/roleRef/name").to_owned()).collect()
    };
    assert_eq!(wide(&everywhere), ["werkbank", "werkbank-namespaces", "werkbank-cluster"]);
    let values = "watchNamespaces={crm,shop},argocd.account=argocd";
    let watched = documents(&render(&["--set", values]).await?)?;
    // A Namespace is in no namespace: these two, by name; nor is an admission policy, of which nothing is secret.
    assert_eq!(wide(&watched), ["werkbank-namespaces", "werkbank-cluster"]);
    let role =
        watched.iter().find(|it| it["kind"] == "ClusterRole" && text(it, "/metadata/name") == "werkbank-namespaces");
    let rules = role.context("the role is there")?["rules"].clone();
    assert_eq!(rules.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&rules[0]["resources"], &rules[0]["resourceNames"]),
        (&serde_json::json!(["namespaces"]), &serde_json::json!(["crm", "shop"]))
    );
    let bound: BTreeSet<&str> = watched
        .iter()
        .filter(|document| document["kind"] == "RoleBinding" && document["roleRef"]["kind"] == "ClusterRole")
        .filter_map(|document| document["metadata"]["namespace"].as_str())
        .collect();
    assert_eq!(bound, BTreeSet::from(["crm", "shop"]));
    let managed = watched.iter().filter(|it| text(it, "/roleRef/name") == "werkbank-release-manager");
    let managed: BTreeSet<&str> = managed.map(|it| text(it, "/metadata/namespace")).collect();
    assert_eq!(managed, bound, "Argo CD's account");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_api_server_takes_the_release_and_its_pods_are_restricted() -> Result<()> {
    let cluster = ControlPlane::start(Options::default(), &tools()?).await?;
    let chart = chart().display().to_string();
    apply(&cluster, &format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}, labels: {{pod-security.kubernetes.io/enforce: restricted}}}}}}"
    )).await?;
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let install = ["install", "werkbank", &chart, "--namespace", NAMESPACE, "--kubeconfig", &kubeconfig];
    let installed = helm(&install).await?;
    ensure!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    let notes = String::from_utf8(installed.stdout)?;
    ensure!(notes.contains("IS LOST WITH THE POD"), "the notes hide what an emptyDir loses");

    // A Deployment is only warned about; its pods are what PodSecurity refuses.
    let pod = pod_of(&only("Deployment", &documents(&render(&[]).await?)?)?)?;
    apply(&cluster, &pod.to_string()).await?;

    let mut privileged = pod;
    privileged["metadata"]["name"] = Value::from("privileged");
    privileged["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = Value::from(true);
    let refusal = apply(&cluster, &privileged.to_string()).await.expect_err("the namespace enforces nothing");
    ensure!(refusal.to_string().contains("violates PodSecurity"), "{refusal}");

    let operator = format!("--as=system:serviceaccount:{NAMESPACE}:werkbank");
    for (verb, resource, group_namespace, allowed) in [
        ("patch", "deployments.apps", "crm", true),
        ("create", "leases.coordination.k8s.io", NAMESPACE, true),
        ("create", "leases.coordination.k8s.io", "crm", false),
        ("get", "secrets", "crm", false),
        ("delete", "pods", "crm", false),
    ] {
        let output = cluster.kubectl(["auth", "can-i", verb, resource, "-n", group_namespace, &operator]).await?;
        let answer = String::from_utf8_lossy(&output.stdout).trim() == "yes";
        ensure!(answer == allowed, "may the operator {verb} {resource} in {group_namespace}? {answer}");
    }

    // What an uninstallation keeps, the next installation takes over.
    let uninstalled = helm(&["uninstall", "werkbank", "--namespace", NAMESPACE, "--kubeconfig", &kubeconfig]).await?;
    ensure!(uninstalled.status.success(), "{}", String::from_utf8_lossy(&uninstalled.stderr));
    for name in crds_of_the_repository()?.keys() {
        let kept = cluster.kubectl(["get", "crd", name]).await?;
        ensure!(kept.status.success(), "{name} went with the release");
    }
    let again = helm(&install).await?;
    ensure!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    cluster.stop().await
}

fn pod_of(deployment: &Value) -> Result<Value> {
    let part = |pointer: &str| deployment.pointer(pointer).with_context(|| format!("the Deployment has no {pointer}"));
    Ok(serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "operator",
            "namespace": NAMESPACE,
            "labels": part("/spec/template/metadata/labels")?,
        },
        "spec": part("/spec/template/spec")?,
    }))
}
