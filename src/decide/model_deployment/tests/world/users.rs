//! What users do, and whoever else edits what is not theirs.

use super::*;
use crate::api::model_deployment::StepToApprove;

impl World {
    pub(in crate::decide::model_deployment::tests) fn edit(&mut self, change: impl FnOnce(&mut ModelDeploymentSpec)) {
        change(&mut self.resource.spec);
        self.resource.metadata.generation = self.resource.metadata.generation.map(|it| it + 1);
    }

    /// `spec.lifecycle` of an entry is edited.
    pub(in crate::decide::model_deployment::tests) fn lifecycle(&mut self, entry: &str, lifecycle: Lifecycle) {
        self.lifecycles.insert(entry.into(), lifecycle);
        if let Some(it) = self.entries.get_mut(entry) {
            Arc::make_mut(it).spec.lifecycle = Some(lifecycle);
        }
    }

    pub(in crate::decide::model_deployment::tests) fn revoke(&mut self, entry: &str) {
        self.lifecycle(entry, Lifecycle::Revoked);
    }

    /// These roles have to approve an entry, which `anna` has submitted.
    pub(in crate::decide::model_deployment::tests) fn asks_for(&mut self, entry: &str, roles: &[&str]) {
        let it = Arc::make_mut(self.entries.get_mut(entry).expect("an entry"));
        it.spec.submitted_by = Some("anna".into());
        it.spec.governance = Some(from(json!({"approvals": roles})));
    }

    /// What is said of an entry besides which bytes it is.
    pub(in crate::decide::model_deployment::tests) fn registers(&mut self, entry: &str, said: Value) {
        let it = Arc::make_mut(self.entries.get_mut(entry).expect("an entry"));
        let mut spec = serde_json::to_value(&it.spec).unwrap();
        spec.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        it.spec = from(spec);
    }

    /// Somebody deletes an entry that is in use.
    pub(in crate::decide::model_deployment::tests) fn deletes(&mut self, entry: &str) {
        let now = Time(Timestamp::from_second(self.now.timestamp()).unwrap());
        let it = Arc::make_mut(self.entries.get_mut(entry).expect("an entry"));
        it.metadata.deletion_timestamp = Some(now);
    }

    /// Somebody says of an entry in a role: `Approved`, or `Rejected`.
    pub(in crate::decide::model_deployment::tests) fn says(
        &mut self,
        entry: &str,
        role: &str,
        decision: &str,
        by: &str,
    ) {
        let it = self.entries.get(entry).expect("an entry");
        let (uid, digest) = (it.metadata.uid.clone().unwrap(), it.spec.digest());
        self.word("ModelRegistryEntry", entry, &uid, &digest, (role, decision, by));
    }

    /// Somebody says of the next step that is to be approved.
    pub(in crate::decide::model_deployment::tests) fn says_of_step(&mut self, decision: &str, by: &str) {
        self.says_of(&self.attempt().approvals.remove(0), decision, by);
    }

    pub(in crate::decide::model_deployment::tests) fn says_of(
        &mut self,
        step: &StepToApprove,
        decision: &str,
        by: &str,
    ) {
        let uid = self.resource.metadata.uid.clone().unwrap();
        self.word("ModelDeployment", "churn", &uid, &step.digest, (&step.role, decision, by));
    }

    fn word(&mut self, kind: &str, name: &str, uid: &str, digest: &str, (role, decision, by): (&str, &str, &str)) {
        let what = if decision == "Rejected" { "rejection" } else { "approval" };
        let mut approval_uid = format!("{what}-by-{by}");
        while self.approvals.iter().any(|it| it.metadata.uid.as_ref() == Some(&approval_uid)) {
            approval_uid.push_str("-too");
        }
        let word = json!({
            "apiVersion": "werkbank.dev/v1alpha1", "kind": "Approval",
            "metadata": {"name": crate::api::approval::name_of(name, role, digest), "uid": approval_uid},
            "spec": {"subject": {"kind": kind, "name": name, "uid": uid, "digest": digest},
                "role": role, "decision": decision, "approver": by, "comment": format!("{by} has seen it")},
        });
        self.approvals.push(Arc::new(from(word)));
    }

    pub(in crate::decide::model_deployment::tests) fn edit_template(&mut self, change: impl FnOnce(&mut Value)) {
        let mut template = self.resource.spec.template.value();
        change(&mut template);
        self.edit(|spec| spec.template = PodTemplate::new(&template).unwrap());
    }

    /// The API server has refused a write of this child, and nothing has got through since.
    pub(in crate::decide::model_deployment::tests) fn refuses(&mut self, kind: ChildKind, name: &str, message: &str) {
        let (kind, name, message) = (kind.name().to_owned(), name.to_owned(), message.to_owned());
        self.memory.refused = Some(Refusal { kind, name, message });
    }

    pub(in crate::decide::model_deployment::tests) fn deploy(&mut self, entry: &str) {
        self.edit(|spec| spec.model_ref.name = entry.into());
    }

    /// Deploys it, until the gateway has accepted its first weight.
    pub(in crate::decide::model_deployment::tests) fn begins(&mut self, entry: &str) {
        self.deploy(entry);
        for _ in 0..4 {
            self.pass();
            self.all_is_well();
        }
    }

    pub(in crate::decide::model_deployment::tests) fn steps(&mut self, steps: Value) {
        self.edit(|spec| spec.rollout.get_or_insert_default().steps = from(steps));
    }

    pub(in crate::decide::model_deployment::tests) fn rollout(&mut self, rollout: Value) {
        self.edit(|spec| spec.rollout = Some(from(rollout)));
    }

    pub(in crate::decide::model_deployment::tests) fn analysis(&mut self, analysis: Value) {
        self.edit(|spec| spec.analysis = from(analysis));
    }

    /// `verb` for the present attempt.
    pub(in crate::decide::model_deployment::tests) fn request(&mut self, verb: &str, nonce: &str) {
        let id = self.attempt().id;
        self.request_for(verb, &id, nonce);
    }

    pub(in crate::decide::model_deployment::tests) fn request_for(&mut self, verb: &str, attempt: &str, nonce: &str) {
        self.annotate(format!("{verb}/{attempt}/0/{nonce}/jane"));
    }

    /// `verb` for the present attempt, and a step of it.
    pub(in crate::decide::model_deployment::tests) fn request_at(&mut self, verb: &str, step: &str, nonce: &str) {
        let id = self.attempt().id;
        self.annotate(format!("{verb}/{id}/{step}/{nonce}/jane"));
    }

    pub(in crate::decide::model_deployment::tests) fn annotate(&mut self, text: String) {
        self.resource.metadata.annotations.get_or_insert_default().insert(labels::REQUEST.into(), text);
    }

    /// `kubectl edit` of a revision's Deployment.
    pub(in crate::decide::model_deployment::tests) fn edit_deployment(
        &mut self,
        revision: &str,
        change: impl FnOnce(&mut DeploymentSpec),
    ) {
        self.written += 1;
        let name = labels::name(&["churn", revision]);
        let live = Arc::make_mut(self.children.deployments.get_mut(&name).expect("a Deployment"));
        change(live.spec.as_mut().unwrap());
        live.metadata.generation = live.metadata.generation.map(|it| it + 1);
        live.metadata.resource_version = Some(self.written.to_string());
    }

    /// `kubectl edit` of the route, or somebody's controller.
    pub(in crate::decide::model_deployment::tests) fn edit_route(&mut self, change: impl FnOnce(&mut HttpRouteSpec)) {
        self.written += 1;
        let live = Arc::make_mut(self.children.route.as_mut().expect("a route"));
        change(&mut live.spec);
        live.metadata.generation = live.metadata.generation.map(|it| it + 1);
        live.metadata.resource_version = Some(self.written.to_string());
    }

    /// The Deployment controller has counted so many pod templates.
    pub(in crate::decide::model_deployment::tests) fn count_templates(&mut self, name: &str, count: i64) {
        let live = Arc::make_mut(self.children.deployments.get_mut(name).expect("a Deployment"));
        let annotations = live.metadata.annotations.get_or_insert_default();
        annotations.insert("deployment.kubernetes.io/revision".into(), count.to_string());
    }
}
