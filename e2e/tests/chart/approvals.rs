//! The admission policies on Approvals and on submitters, on a real API server: who may say what of which, as a table that a
//! person can review (`golden/approvals.txt`), and what the operator makes of the policies as they are installed.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use werkbank::api::ModelRegistryEntry;
use werkbank::api::approval::name_of;
use werkbank::build::approval_guard;
use werkbank::decide::approval::guard::{Installed, differs};
use werkbank_e2e::controlplane::ControlPlane;

use crate::{apply, credentials, released};

const ARGOCD: &str = "system:serviceaccount:argocd:argocd-application-controller";
const OPERATOR: &str = "system:serviceaccount:werkbank-system:werkbank";
const CI: &str = "system:serviceaccount:crm:ci";

/// All may write Approvals. `ben`, `anna` and an account have the role `technical`, `carla` has `business` for one entry, `olga`
/// is `owner` of deployments, `dora` has no role. `anna`, `ben`, `editor` and Argo CD register
/// entries.
const PEOPLE: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: crm}}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: approvers, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: werkbank-approver}
  subjects: [{kind: Group, name: 'system:authenticated', apiGroup: rbac.authorization.k8s.io}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: editors, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: werkbank-editor}
  subjects:
  - {kind: User, name: anna, apiGroup: rbac.authorization.k8s.io}
  - {kind: User, name: ben, apiGroup: rbac.authorization.k8s.io}
  - {kind: User, name: editor, apiGroup: rbac.authorization.k8s.io}
  - {kind: ServiceAccount, name: argocd-application-controller, namespace: argocd}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: edits-approvals, namespace: crm}
  rules: [{apiGroups: [werkbank.dev], resources: [approvals], verbs: [patch, update]}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: edits-approvals, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: edits-approvals}
  subjects: [{kind: Group, name: 'system:authenticated', apiGroup: rbac.authorization.k8s.io}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: technical, namespace: crm}
  rules: [{apiGroups: [werkbank.dev], resources: [modelregistryentries], verbs: [approve-technical]}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: technical, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: technical}
  subjects:
  - {kind: User, name: anna, apiGroup: rbac.authorization.k8s.io}
  - {kind: User, name: ben, apiGroup: rbac.authorization.k8s.io}
  - {kind: ServiceAccount, name: ci, namespace: crm}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: business, namespace: crm}
  rules: [{apiGroups: [werkbank.dev], resources: [modelregistryentries], resourceNames: [churn-2], verbs: [approve-business]}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: business, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: business}
  subjects: [{kind: User, name: carla, apiGroup: rbac.authorization.k8s.io}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: owner, namespace: crm}
  rules: [{apiGroups: [werkbank.dev], resources: [modeldeployments], verbs: [approve-owner]}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: owner, namespace: crm}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: owner}
  subjects: [{kind: User, name: olga, apiGroup: rbac.authorization.k8s.io}]
";

/// An entry, as somebody writes it.
pub(super) fn entry(name: &str, submitted_by: Option<&str>) -> Value {
    let governance = submitted_by.map(|_| json!({"approvals": ["technical", "business"]}));
    let mut spec = json!({
        "model": {"name": "churn", "version": name, "kind": "Predictor"},
        "artifact": {"uri": format!("s3://models/{name}/"), "sha256": "0".repeat(64)},
        "submittedBy": submitted_by, "governance": governance,
    });
    spec.as_object_mut().into_iter().for_each(|it| it.retain(|_, value| !value.is_null()));
    json!({"apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelRegistryEntry",
        "metadata": {"name": name, "namespace": "crm"}, "spec": spec})
}

/// The digest of the step that the deployment asks for.
fn step() -> String {
    format!("sha256:{}", "5".repeat(64))
}

pub(super) struct Scene {
    pub(super) cluster: ControlPlane,
    table: String,
}

/// What a person tries.
struct Attempt<'a> {
    who: &'a str,
    what: &'a str,
    arguments: Vec<String>,
}

impl Scene {
    async fn start() -> Result<Self> {
        let cluster = released(&format!("approvals.deliveryAccounts={{{ARGOCD}}}")).await?;
        apply(&cluster, PEOPLE).await?;
        Ok(Self { cluster, table: String::new() })
    }

    /// Three entries and a deployment whose attempt asks for a step, with what the operator would have written.
    async fn register(&self) -> Result<()> {
        for (name, by) in [("churn-2", Some("anna")), ("churn-3", Some("ben")), ("old", None)] {
            let whole = entry(name, by);
            let (done, said) = self.says_with(by.unwrap_or("editor"), &["create", "-f"], &whole).await?;
            ensure!(done, "{said}");
            let typed: ModelRegistryEntry = serde_json::from_value(whole)?;
            let status = json!({"status": {"specDigest": typed.spec.digest()}});
            self.as_admin(&["patch", "mre", name, "--subresource=status", "--type=merge", "-p", &status.to_string()])
                .await?;
        }
        let deployment = json!({
            "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "churn", "namespace": "crm"},
            "spec": {"modelRef": {"name": "churn-2"}, "port": 80, "analysis": {"none": "a test"},
                "template": {"spec": {"containers": [{"name": "server", "image": "scorer"}]}}},
        });
        apply(&self.cluster, &deployment.to_string()).await?;
        let at = "2026-11-24T00:00:00Z";
        let attempt = json!({"id": "a-2-b", "revision": "a", "entry": {"revision": "a", "name": "churn-2", "uid": "e"},
            "state": "Observing", "weight": "5%", "startedAt": at, "enteredAt": at,
            "approvals": [{"weight": "50%", "role": "owner", "digest": step()}]});
        let status = json!({"status": {"attempt": attempt}}).to_string();
        self.as_admin(&["patch", "md", "churn", "--subresource=status", "--type=merge", "-p", &status]).await?;
        Ok(())
    }

    async fn as_admin(&self, arguments: &[&str]) -> Result<String> {
        let output = self.cluster.kubectl([arguments, &["-n", "crm"]].concat()).await?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What `kubectl` says as that person, `user:group` for one of a group, and whether it was done.
    async fn says(&self, who: &str, arguments: &[String]) -> Result<(bool, String)> {
        let (user, group) = who.split_once('+').map_or((who, None), |(user, group)| (user, Some(group)));
        let mut all: Vec<String> = arguments.to_vec();
        all.extend(["-n".into(), "crm".into(), format!("--as={user}")]);
        all.extend(group.map(|it| format!("--as-group={it}")));
        let output = self.cluster.kubectl(&all).await?;
        let said = String::from_utf8_lossy(&output.stderr).replace('\n', " ");
        Ok((output.status.success(), said))
    }

    /// The same of an object in a file.
    pub(super) async fn says_with(&self, who: &str, arguments: &[&str], object: &Value) -> Result<(bool, String)> {
        let file = self.cluster.run_dir().join("tried.json");
        std::fs::write(&file, object.to_string())?;
        let mut all: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
        all.push(file.display().to_string());
        self.says(who, &all).await
    }

    /// An Approval of something that is there, as `kubectl werkbank approve` writes it.
    async fn approval(&self, kind: &str, name: &str, role: &str, approver: &str) -> Result<Value> {
        let subject: Value = serde_json::from_str(&self.as_admin(&["get", kind, name, "-o", "json"]).await?)?;
        let digest = subject.pointer("/status/specDigest").and_then(Value::as_str).map_or_else(step, str::to_owned);
        Ok(json!({
            "apiVersion": "werkbank.dev/v1alpha1", "kind": "Approval",
            "metadata": {"name": name_of(name, role, &digest), "namespace": "crm", "ownerReferences": [{
                "apiVersion": subject.get("apiVersion"), "kind": subject.get("kind"), "name": name,
                "uid": subject.pointer("/metadata/uid")}]},
            "spec": {"role": role, "decision": "Approved", "approver": approver, "subject": {
                "kind": subject.get("kind"), "name": name, "uid": subject.pointer("/metadata/uid"), "digest": digest}},
        }))
    }

    /// A line of the table.
    async fn row(&mut self, tried: Attempt<'_>) -> Result<()> {
        let (done, said) = self.says(tried.who, &tried.arguments).await?;
        let verdict = if done { "allowed".to_owned() } else { reason(&said) };
        writeln!(self.table, "{:<60} {:<58} {verdict}", tried.who, tried.what)?;
        Ok(())
    }

    /// A line about an object that is not really created.
    pub(super) async fn tries(&mut self, who: &str, what: &str, object: &Value) -> Result<()> {
        let file = self.cluster.run_dir().join("tried.json");
        std::fs::write(&file, object.to_string())?;
        let arguments = ["create", "--dry-run=server", "-f"].map(str::to_owned).to_vec();
        let arguments = [arguments, vec![file.display().to_string()]].concat();
        self.row(Attempt { who, what, arguments }).await
    }

    pub(super) async fn does(&mut self, who: &str, what: &str, arguments: &[&str]) -> Result<()> {
        let arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
        self.row(Attempt { who, what, arguments }).await
    }

    /// New policies take a moment to be in force; each is tried with what it alone refuses.
    async fn are_in_force(&self) -> Result<()> {
        let forged = self.approval("mre", "churn-2", "technical", "carla").await?;
        let another = self.approval("mre", "churn-2", "technical", "ben").await?;
        let another = of_another_uid(&another, "another");
        let of_step = self.approval("md", "churn", "owner", "olga").await?;
        let of_step = of_another_uid(&of_step, "another");
        let all = [("ben", forged), ("ben", another), ("olga", of_step), ("anna", entry("new", Some("ben")))];
        let deadline = Instant::now() + Duration::from_secs(90);
        for (who, object) in all {
            while self.says_with(who, &["create", "--dry-run=server", "-f"], &object).await?.0 {
                ensure!(Instant::now() < deadline, "the policies are not in force after a minute and a half: {object}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        let labels = json!({"metadata": {"labels": {"reviewed": "yes"}}}).to_string();
        let labels = ["patch", "mre", "churn-2", "--type=merge", "--dry-run=server", "-p", &labels].map(str::to_owned);
        while self.says(OPERATOR, &labels).await?.0 {
            ensure!(Instant::now() < deadline, "the operator's policy is not in force after a minute and a half");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        while !credentials::are_in_force(self).await? {
            ensure!(Instant::now() < deadline, "the policy on credentials is not in force after a minute and a half");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}

/// What the API server says, without what differs between runs.
fn reason(said: &str) -> String {
    let after = |mark: &str| said.split_once(mark).map(|(_, rest)| rest.trim().to_owned());
    let denied = after("denied request: ").or_else(|| after("is invalid: ")).unwrap_or_else(|| said.trim().to_owned());
    denied.replace(" (get validatingadmissionpolicies", "")
}

fn of_another_uid(approval: &Value, uid: &str) -> Value {
    changed(&changed(approval, "/spec/subject/uid", uid), "/metadata/ownerReferences/0/uid", uid)
}

fn text<'a>(object: &'a Value, pointer: &str) -> Result<&'a str> {
    object.pointer(pointer).and_then(Value::as_str).with_context(|| format!("no {pointer}: {object}"))
}

fn changed(object: &Value, pointer: &str, value: &str) -> Value {
    let mut object = object.clone();
    if let Some(place) = object.pointer_mut(pointer) {
        *place = value.into();
    }
    object
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_a_persons_own_word_about_what_is_there_and_is_not_their_own_work() -> Result<()> {
    let mut scene = Scene::start().await?;
    scene.register().await?;
    scene.are_in_force().await?;
    the_policies_are_the_ones_that_the_operator_compares_with(&scene).await?;
    of_entries(&mut scene).await?;
    of_steps(&mut scene).await?;
    edits_and_deletions(&mut scene).await?;
    submitters(&mut scene).await?;
    the_operator(&mut scene).await?;
    credentials::credentials(&mut scene).await?;
    println!("{}", scene.table);
    is_the_golden_table(&scene.table)?;
    scene.cluster.stop().await
}

/// `UPDATE=1` rewrites it.
fn is_the_golden_table(table: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chart/golden/approvals.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        std::fs::write(&path, table)?;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    ensure!(expected == table, "{} is not what happened; review it, and rewrite it with UPDATE=1", path.display());
    Ok(())
}

async fn of_entries(scene: &mut Scene) -> Result<()> {
    let technical = scene.approval("mre", "churn-2", "technical", "ben").await?;
    scene.tries("ben", "approves churn-2 as technical", &technical).await?;
    let business = scene.approval("mre", "churn-2", "business", "carla").await?;
    scene.tries("carla", "approves churn-2 as business", &business).await?;
    scene.tries("carla", "rejects churn-2 as business", &changed(&business, "/spec/decision", "Rejected")).await?;
    let of_another = scene.approval("mre", "churn-3", "business", "carla").await?;
    scene.tries("carla", "approves churn-3, for which she has no role", &of_another).await?;
    let other_role = scene.approval("mre", "churn-2", "business", "ben").await?;
    scene.tries("ben", "approves churn-2 in a role that he has not", &other_role).await?;
    let without = scene.approval("mre", "churn-2", "technical", "dora").await?;
    scene.tries("dora", "approves churn-2 without a role", &without).await?;
    scene.tries("carla", "approves as technical in ben's name", &technical).await?;
    let own = scene.approval("mre", "churn-2", "technical", "anna").await?;
    scene.tries("anna", "approves her own churn-2", &own).await?;
    let bens_own = scene.approval("mre", "churn-3", "technical", "ben").await?;
    scene.tries("ben", "approves his own churn-3", &bens_own).await?;
    scene.tries("anna", "approves ben's churn-3", &changed(&bens_own, "/spec/approver", "anna")).await?;
    let by_account = scene.approval("mre", "churn-2", "technical", CI).await?;
    scene.tries(CI, "approves churn-2, with the role", &by_account).await?;
    let by_root = scene.approval("mre", "churn-2", "technical", "root").await?;
    scene.tries("root+system:masters", "approves churn-2, with every right", &by_root).await?;
    let nobodys = scene.approval("mre", "old", "technical", "ben").await?;
    scene.tries("ben", "approves an entry that names no submitter", &nobodys).await?;
    scene.tries("ben", "approves churn-2 of another uid", &of_another_uid(&technical, "0a1b2c3d")).await?;
    let unowned = changed(&technical, "/metadata/ownerReferences/0/uid", "0a1b2c3d");
    scene.tries("ben", "writes one that does not go with churn-2", &unowned).await?;
    let stale = format!("sha256:{}", "7".repeat(64));
    let digest = changed(&technical, "/spec/subject/digest", &stale);
    let digest = changed(&digest, "/metadata/name", &name_of("churn-2", "technical", &stale));
    scene.tries("ben", "approves churn-2 of another digest", &digest).await?;
    scene.tries("ben", "writes it under another name", &changed(&technical, "/metadata/name", "mine")).await?;
    scene.tries("ben", "decides neither yes nor no", &changed(&technical, "/spec/decision", "Perhaps")).await?;
    let missing = changed(&technical, "/spec/subject/name", "gone");
    let name = name_of("gone", "technical", text(&technical, "/spec/subject/digest")?);
    scene
        .tries("ben", "approves what is not there (it counts for nothing)", &changed(&missing, "/metadata/name", &name))
        .await
}

async fn of_steps(scene: &mut Scene) -> Result<()> {
    let owner = scene.approval("md", "churn", "owner", "olga").await?;
    scene.tries("olga", "approves the step that churn asks for", &owner).await?;
    scene.tries("ben", "approves it without the role", &changed(&owner, "/spec/approver", "ben")).await?;
    scene.tries("olga", "approves it in ben's name", &changed(&owner, "/spec/approver", "ben")).await?;
    scene.tries("olga", "approves a step of another uid", &of_another_uid(&owner, "0a1b")).await?;
    let another = format!("sha256:{}", "6".repeat(64));
    let stale = changed(&owner, "/spec/subject/digest", &another);
    let stale = changed(&stale, "/metadata/name", &name_of("churn", "owner", &another));
    scene.tries("olga", "approves a step of an earlier attempt", &stale).await
}

async fn edits_and_deletions(scene: &mut Scene) -> Result<()> {
    let word = scene.approval("mre", "churn-2", "technical", "ben").await?;
    let (done, said) = scene.says_with("ben", &["create", "-f"], &changed(&word, "/spec/decision", "Rejected")).await?;
    ensure!(done, "{said}");
    let name = text(&word, "/metadata/name")?.to_owned();
    let patch = |patch: Value| {
        vec!["patch".into(), "approval".into(), name.clone(), "--type=merge".into(), "-p".into(), patch.to_string()]
    };
    let approved = json!({"spec": {"decision": "Approved"}});
    scene
        .row(Attempt { who: "ben", what: "edits his rejection to an approval", arguments: patch(approved.clone()) })
        .await?;
    scene
        .row(Attempt { who: "anna", what: "edits ben's rejection to an approval", arguments: patch(approved) })
        .await?;
    // Whose owner is gone is collected as garbage.
    let orphaned = json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "gone"}]}});
    scene
        .row(Attempt { who: "anna", what: "gives ben's rejection an owner that is gone", arguments: patch(orphaned) })
        .await?;
    scene.does("anna", "deletes ben's rejection", &["delete", "approval", &name]).await?;
    scene.does("anna", "deletes all approvals", &["delete", "approvals", "--all"]).await?;
    let dry = ["delete", "approval", &name, "--dry-run=server"];
    scene.does("root+system:masters", "deletes ben's rejection, with the verb withdraw", &dry).await?;
    scene.does("ben", "deletes his rejection", &["delete", "approval", &name]).await
}

async fn submitters(scene: &mut Scene) -> Result<()> {
    scene.tries("anna", "registers an entry in her own name", &entry("new", Some("anna"))).await?;
    scene.tries("anna", "registers an entry in ben's name", &entry("new", Some("ben"))).await?;
    scene.tries("anna", "registers an entry in nobody's name", &entry("new", None)).await?;
    scene.tries(ARGOCD, "registers an entry in anna's name and says so", &delivered(ARGOCD)).await?;
    scene.tries(ARGOCD, "registers an entry in anna's name and does not say so", &entry("new", Some("anna"))).await?;
    scene.tries("editor", "registers an entry in anna's name, as Argo CD", &delivered(ARGOCD)).await?;
    scene.tries("editor", "registers an entry in anna's name and says so", &delivered("editor")).await?;
    let submitter = json!({"spec": {"submittedBy": "ben"}}).to_string();
    scene
        .does("anna", "edits who has submitted churn-2", &["patch", "mre", "churn-2", "--type=merge", "-p", &submitter])
        .await?;
    let roles = json!({"spec": {"governance": {"approvals": []}}}).to_string();
    scene
        .does("anna", "takes the roles out of churn-2", &["patch", "mre", "churn-2", "--type=merge", "-p", &roles])
        .await
}

/// RBAC lets it patch entries, for their finalizers.
async fn the_operator(scene: &mut Scene) -> Result<()> {
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "gone"}]);
    let all = [
        ("holds churn-2 by a finalizer", json!({"metadata": {"finalizers": ["werkbank.dev/in-use"]}})),
        ("holds churn-2 by somebody else's finalizer", json!({"metadata": {"finalizers": ["example.com/backup"]}})),
        ("revokes churn-2", json!({"spec": {"lifecycle": "Revoked"}})),
        ("labels churn-2", json!({"metadata": {"labels": {"reviewed": "yes"}}})),
        ("annotates churn-2", json!({"metadata": {"annotations": {"reviewed": "yes"}}})),
        ("gives churn-2 an owner that is gone", json!({"metadata": {"ownerReferences": owner}})),
    ];
    for (what, patch) in all {
        let patch = patch.to_string();
        let arguments = ["patch", "mre", "churn-2", "--type=merge", "--dry-run=server", "-p", patch.as_str()];
        scene.does(OPERATOR, what, &arguments).await?;
    }
    Ok(())
}

fn delivered(by: &str) -> Value {
    let mut it = entry("new", Some("anna"));
    let spec = it.get_mut("spec").and_then(Value::as_object_mut);
    spec.into_iter().for_each(|spec| drop(spec.insert("deliveredBy".into(), by.into())));
    it
}

/// As the API server completes them with its defaults; and whatever is changed is seen.
async fn the_policies_are_the_ones_that_the_operator_compares_with(scene: &Scene) -> Result<()> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(scene.cluster.client());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(scene.cluster.client());
    for shipped in approval_guard::shipped("werkbank", &[ARGOCD.to_owned()])? {
        let name = shipped.policy.name_any();
        let policy = policies.get(&name).await?;
        let warnings = policy.status.as_ref().and_then(|it| it.type_checking.as_ref()?.expression_warnings.as_ref());
        ensure!(warnings.is_none_or(Vec::is_empty), "{name}: {warnings:?}");
        let installed = Installed { policy: Some(policy), binding: Some(bindings.get(&name).await?) };
        let difference = differs(&shipped, &installed);
        ensure!(difference.is_none(), "{difference:?}: {installed:#?}");
    }
    let other = approval_guard::shipped("werkbank", &[])?;
    let of_submitters = other.last().context("policies")?;
    let name = of_submitters.policy.name_any();
    let installed = Installed { policy: Some(policies.get(&name).await?), binding: Some(bindings.get(&name).await?) };
    ensure!(differs(of_submitters, &installed).is_some(), "other delivery accounts are another policy");
    Ok(())
}
