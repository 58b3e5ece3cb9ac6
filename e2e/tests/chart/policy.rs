//! The admission policy on requests by people, on a real API server: in one's own name, with a verb that RBAC grants, and
//! nothing else is in anybody's way.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use werkbank_e2e::controlplane::ControlPlane;

use crate::{NAMESPACE, apply, released};

const ARGOCD: &str = "system:serviceaccount:argocd:argocd-server";
const ATTEMPT: &str = "ab-2-0a1b2c3d";

/// Roles of the chart are bound to `ana` and `team/ana`; `otto` may pause and nothing more, `nora` may pause `churn` alone.
const PEOPLE: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: crm}}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: editors, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: werkbank-editor}
  subjects: [{kind: User, name: ana, apiGroup: rbac.authorization.k8s.io}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: viewers, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: werkbank-viewer}
  subjects: [{kind: User, name: ana, apiGroup: rbac.authorization.k8s.io}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: release-managers, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: werkbank-release-manager}
  subjects: [{kind: User, name: team/ana, apiGroup: rbac.authorization.k8s.io}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: on-call, namespace: crm}
  rules:
  - {apiGroups: [werkbank.dev], resources: [modeldeployments], verbs: [get, patch, pause]}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: on-call, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: on-call}
  subjects: [{kind: User, name: otto, apiGroup: rbac.authorization.k8s.io}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: churn-alone, namespace: crm}
  rules:
  - {apiGroups: [werkbank.dev], resources: [modeldeployments], verbs: [get, patch]}
  - {apiGroups: [werkbank.dev], resources: [modeldeployments], resourceNames: [churn], verbs: [pause]}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: churn-alone, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: churn-alone}
  subjects: [{kind: User, name: nora, apiGroup: rbac.authorization.k8s.io}]
";

fn deployment(name: &str, request: Option<&str>) -> Value {
    let annotations = request.map(|it| json!({"werkbank.dev/request": it}));
    json!({
        "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": "crm", "annotations": annotations},
        "spec": {"modelRef": {"name": "churn-1"}, "port": 80, "analysis": {"none": "a test"},
            "template": {"spec": {"containers": [{"name": "server", "image": "scorer"}]}}},
    })
}

struct Scene {
    cluster: ControlPlane,
}

impl Scene {
    async fn start() -> Result<Self> {
        let cluster = released(&format!("argocd.account={ARGOCD}")).await?;
        apply(&cluster, PEOPLE).await?;
        apply(&cluster, &deployment("churn", None).to_string()).await?;
        Ok(Self { cluster })
    }

    /// What `kubectl` says as that person, and whether it was done.
    async fn says(&self, who: &str, arguments: &[&str]) -> Result<(bool, String)> {
        let person = format!("--as={who}");
        let output = self.cluster.kubectl([arguments, &["-n", "crm", &person]].concat()).await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Ok((output.status.success(), said.replace('\n', " ")))
    }

    async fn annotate(&self, who: &str, name: &str, request: &str) -> Result<(bool, String)> {
        let value = format!("werkbank.dev/request={request}");
        self.says(who, &["annotate", "modeldeployment", name, "--overwrite", &value]).await
    }

    async fn patch(&self, who: &str, patch: &Value) -> Result<(bool, String)> {
        self.says(who, &["patch", "modeldeployment", "churn", "--type=merge", "-p", &patch.to_string()]).await
    }

    /// A new policy takes a moment to be in force.
    async fn is_in_force(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.annotate("ana", "churn", "nonsense").await?.0 {
            ensure!(Instant::now() < deadline, "the policy is not in force after a minute");
            self.says("ana", &["annotate", "modeldeployment", "churn", "werkbank.dev/request-"]).await?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_takes_the_requesters_own_name_and_the_verb() -> Result<()> {
    let scene = Scene::start().await?;
    scene.is_in_force().await?;
    let own_name = "must be your own name, ";
    let mut wrong = Vec::new();
    for (who, request, refusal) in [
        ("ana", "promote/{}/0/n1/ana", None),
        ("ana", "abort/{}/-/n2/otto", Some(own_name)),
        ("ana", "abort/{}/-/n2/", Some(own_name)),
        ("ana", "abort/{}/-/n2", Some("with one of the verbs")),
        ("ana", "delete/{}/-/n2/ana", Some("with one of the verbs")),
        ("ana", "abort/{}/-/n 2/ana", Some("with one of the verbs")),
        ("team/ana", "retry/{}/-/n3/team/ana", None),
        ("team/ana", "retry/{}/-/n4/ana", Some(own_name)),
        ("otto", "pause/{}/-/n5/otto", None),
        ("otto", "promote/{}/0/n6/otto", Some("otto lacks the verb promote on modeldeployments.werkbank.dev")),
        ("otto", "resume/{}/-/n7/otto", Some("lacks the verb resume")),
        ("nora", "pause/{}/-/n8/nora", None),
        ("otto", "pause/{}/-/n8/otto", Some("take another nonce")),
        ("nora", "pause/{}/0/n8/nora", Some("take another nonce")),
        ("otto", "pause/{}/-/n9/otto", None),
        ("nora", "abort/{}/-/n9/nora", Some("lacks the verb abort")),
        (ARGOCD, "pause/{}/-/argocd-1/system:serviceaccount:argocd:argocd-server", None),
        ("ana", "pause/{}/-/argocd-2/system:serviceaccount:argocd:argocd-server", Some(own_name)),
    ] {
        let request = request.replace("{}", ATTEMPT);
        let (done, said) = scene.annotate(who, "churn", &request).await?;
        let as_expected = match refusal {
            None => done,
            Some(words) => !done && said.contains(words),
        };
        if !as_expected {
            wrong.push(format!("{request} by {who}: {said}"));
        }
    }
    ensure!(wrong.is_empty(), "not so:\n- {}", wrong.join("\n- "));
    what_was_looked_at_is_nobody_elses(&scene).await?;
    nothing_else_is_in_anybodys_way(&scene).await?;
    the_scripts_merge_into_argocd_cm(&scene).await?;
    scene.cluster.stop().await
}

/// Also when the annotation was taken away in between: the operator would take it for the one that it has looked at.
async fn what_was_looked_at_is_nobody_elses(scene: &Scene) -> Result<()> {
    let handled = json!({"status": {"handledRequest": {"verb": "pause", "attempt": ATTEMPT, "nonce": "n8"}}});
    let patch = ["-n", "crm", "patch", "modeldeployment", "churn", "--subresource=status", "--type=merge", "-p"];
    let patched = scene.cluster.kubectl([&patch[..], &[&handled.to_string()]].concat()).await?;
    ensure!(patched.status.success(), "{}", String::from_utf8_lossy(&patched.stderr));
    let (done, said) = scene.says("otto", &["annotate", "modeldeployment", "churn", "werkbank.dev/request-"]).await?;
    ensure!(done, "{said}");
    let (done, said) = scene.annotate("otto", "churn", &format!("pause/{ATTEMPT}/-/n8/otto")).await?;
    ensure!(!done && said.contains("take another nonce"), "{said}");
    let (done, said) = scene.annotate("otto", "churn", &format!("pause/{ATTEMPT}/-/n10/otto")).await?;
    ensure!(done, "{said}");
    Ok(())
}

async fn nothing_else_is_in_anybodys_way(scene: &Scene) -> Result<()> {
    // It comes with the object, in whose name ever, and does nothing there.
    let file = scene.cluster.run_dir().join("created.yaml");
    std::fs::write(&file, deployment("created", Some("promote/a-1-b/0/n/somebody")).to_string())?;
    let (done, said) = scene.says("ana", &["create", "-f", file.to_str().context("a path")?]).await?;
    ensure!(done, "created with a request: {said}");
    // `nora` may pause `churn` alone.
    let (done, said) = scene.annotate("nora", "created", &format!("pause/{ATTEMPT}/-/n/nora")).await?;
    ensure!(!done && said.contains("lacks the verb pause"), "{said}");

    // Another edit beside somebody else's request, by one who lacks the verb.
    let (done, said) = scene.annotate("ana", "churn", &format!("abort/{ATTEMPT}/-/n/ana")).await?;
    ensure!(done, "{said}");
    let edit = json!({"spec": {"replicas": 2}, "metadata": {"annotations": {"team": "crm"}}});
    let (done, said) = scene.patch("otto", &edit).await?;
    ensure!(done, "an edit that leaves the request alone: {said}");
    // Taken away; and then an object without any annotation is edited.
    let (done, said) = scene.patch("otto", &json!({"metadata": {"annotations": null}})).await?;
    ensure!(done, "a request that is taken away: {said}");
    let (done, said) = scene.patch("otto", &json!({"spec": {"replicas": 3}})).await?;
    ensure!(done, "no annotations at all: {said}");
    Ok(())
}

/// As docs/how-to/argocd.md says it.
async fn the_scripts_merge_into_argocd_cm(scene: &Scene) -> Result<()> {
    let theirs = "{apiVersion: v1, kind: ConfigMap, metadata: {name: argocd-cm, namespace: argocd}, data: {url: kept}}";
    apply(&scene.cluster, "{apiVersion: v1, kind: Namespace, metadata: {name: argocd}}").await?;
    apply(&scene.cluster, theirs).await?;
    let get = async |namespace, name| -> Result<String> {
        let get = ["-n", namespace, "get", "configmap", name, "-o", "jsonpath={.data}"];
        Ok(String::from_utf8(scene.cluster.kubectl(get).await?.stdout)?)
    };
    let patch = format!("{{\"data\": {}}}", get(NAMESPACE, "werkbank-argocd").await?);
    let merge = ["-n", "argocd", "patch", "configmap", "argocd-cm", "--type", "merge", "-p", &patch];
    let merged = scene.cluster.kubectl(merge).await?;
    ensure!(merged.status.success(), "{}", String::from_utf8_lossy(&merged.stderr));
    let merged: Value = serde_json::from_str(&get("argocd", "argocd-cm").await?)?;
    let url = merged.get("url").and_then(Value::as_str);
    ensure!(url == Some("kept") && merged.as_object().is_some_and(|it| it.len() == 4), "{merged}");
    Ok(())
}
