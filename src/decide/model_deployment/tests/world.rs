//! A cluster small enough to reason about: applies plans with the API server's rules on
//! uid and resourceVersion, and lets a test say when pods are ready, routes accepted, time passed.

mod cluster;
mod jobs;
mod sources;
mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use self::sources::Sources;
use super::trail::Trail;
use crate::api::gateway::{HttpRouteSpec, HttpRouteStatus};
use crate::api::model_deployment::{Attempt, ModelDeploymentSpec, ModelDeploymentStatus};
use crate::api::model_registry_entry::Lifecycle;
use crate::api::revision::ConfigMapContent;
use crate::api::{Approval, ModelDeployment, ModelRegistryEntry, PodTemplate, labels};
use crate::audit::{Entry, EntryKind, Said};
use crate::build::{deployment, route};
use crate::decide::approval::guard::Guard;
use crate::decide::live_job::LiveJob;
use crate::decide::model_deployment::observed::{Children, Memory, Observed, Settings};
use crate::decide::model_deployment::policy::Policy;
use crate::decide::model_deployment::restored::{self, History};
use crate::decide::model_deployment::revocation::entries_of;
use crate::decide::model_deployment::{decide, request, settle, target};
use crate::decide::resets::{self, Contended};
use crate::decide::{Child, ChildKind, Measurement, Op, Plan, Precondition, Refusal};

/// Noon of an ordinary day; stories tell time from here.
pub(super) fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_003_200, 0).unwrap()
}

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) resource: ModelDeployment,
    pub(super) now: DateTime<Utc>,
    pub(super) children: Children,
    pub(super) entries: BTreeMap<String, Arc<ModelRegistryEntry>>,
    /// What people have said of entries; it outlives an entry that is away for a while.
    pub(super) lifecycles: BTreeMap<String, Lifecycle>,
    pub(super) approvals: Vec<Arc<Approval>>,
    /// Whether the admission policies are in force.
    pub(super) guard: Guard,
    pub(super) config_maps: BTreeMap<String, ConfigMapContent>,
    /// What the API server says instead of handing out a ConfigMap.
    pub(super) unread: BTreeMap<String, String>,
    pub(super) namespace_suspend: Option<String>,
    pub(super) shared_metrics: BTreeMap<String, Result<String, String>>,
    pub(super) sources: Sources,
    pub(super) pods: Vec<Arc<Pod>>,
    pub(super) running: Vec<Arc<Pod>>,
    pub(super) memory: Memory,
    pub(super) settings: Settings,
    /// The Gateway has no filter RequestMirror.
    pub(super) has_no_mirrors: bool,
    pub(super) trail: Trail,
    /// Since when the record does not say who has approved.
    pub(super) people_unknown_since: Option<DateTime<Utc>>,
    /// Since when it does not say who asks, though it says who has approved.
    pub(super) asker_unknown_since: Option<DateTime<Utc>>,
    /// Since when the record cannot be read, where nobody has tried to write to it.
    pub(super) trail_unread_since: Option<DateTime<Utc>>,
    written: u64,
}

/// Whom a measurement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Candidate,
    Stable,
}

impl World {
    /// `churn` in `crm`: 4 pods of entry `churn-1`, behind a gateway, one guardrail, steps 5 % and 50 %.
    pub(super) fn new() -> Self {
        let mut spec: ModelDeploymentSpec = serde_json::from_value(json!({
            "modelRef": {"name": "churn-1"},
            "replicas": 4,
            "port": 8080,
            "template": {"spec": {"containers": [{"name": "server", "image": "registry/scorer:1.4"}]}},
            "traffic": {"gateway": {"parentRefs": [{"name": "internal", "namespace": "infra"}], "hostnames": ["churn.internal"]}},
            "analysis": {"none": "set below"},
        }))
        .unwrap();
        spec.rollout = from(json!({"steps": [{"weight": "5%", "for": "10m"}, {"weight": "50%", "for": "10m"}]}));
        spec.analysis = from(json!({"metrics": [guardrail()]}));
        let mut resource = ModelDeployment::new("churn", spec);
        resource.metadata.namespace = Some("crm".into());
        resource.metadata.uid = Some("11112222-3333".into());
        resource.metadata.generation = Some(1);
        let mut world = Self {
            resource,
            now: noon(),
            children: Children { gateway_api: true, ..Children::default() },
            entries: BTreeMap::new(),
            lifecycles: BTreeMap::new(),
            approvals: Vec::new(),
            guard: Guard::Ready(DateTime::UNIX_EPOCH),
            config_maps: BTreeMap::new(),
            unread: BTreeMap::new(),
            namespace_suspend: None,
            shared_metrics: BTreeMap::new(),
            sources: Sources::default(),
            pods: Vec::new(),
            running: Vec::new(),
            memory: Memory { lease_epoch: 7, ..Memory::default() },
            settings: Settings { fetch_image: "werkbank:0.1.0".into(), ..Settings::default() },
            has_no_mirrors: false,
            trail: Trail::default(),
            people_unknown_since: None,
            asker_unknown_since: None,
            trail_unread_since: None,
            written: 0,
        };
        for version in 1..=4_u8 {
            world.register(&format!("churn-{version}"), version);
        }
        world
    }

    /// The same world after `churn-1` has become stable.
    pub(super) fn serving() -> Self {
        let mut world = Self::new();
        world.come_to_rest();
        assert!(world.status().stable.is_some(), "{:#?}", world.status());
        world
    }

    /// `serving`, after `churn-2` has been deployed and watched at 5 % for 30 s.
    pub(super) fn mid_canary() -> Self {
        let mut world = Self::serving();
        world.begins("churn-2");
        world.advance(30);
        world.pass();
        assert_eq!(world.attempt().weight.to_string(), "5%", "{:#?}", world.attempt());
        world
    }

    pub(super) fn register(&mut self, name: &str, version: u8) {
        let spec = from(json!({
            "model": {"name": "churn", "version": version.to_string(), "kind": "Predictor"},
            "artifact": {"uri": format!("s3://models/churn/{version}/"), "sha256": format!("{version:02x}").repeat(32)},
        }));
        let mut entry = ModelRegistryEntry::new(name, spec);
        entry.metadata.uid = Some(format!("entry-{version}"));
        entry.spec.lifecycle = self.lifecycles.get(name).copied();
        self.entries.insert(name.into(), Arc::new(entry));
    }

    pub(super) fn status(&self) -> ModelDeploymentStatus {
        self.resource.status.clone().unwrap_or_default()
    }

    pub(super) fn attempt(&self) -> Attempt {
        self.status().attempt.expect("an attempt")
    }

    /// The revision that the spec names.
    pub(super) fn target(&self) -> String {
        let record = target::resolve("churn", &self.resource.spec, &self.observe());
        record.expect("the spec names a revision").entry.revision
    }

    // ── what the operator does ──

    pub(super) fn observe(&self) -> Observed {
        let references = self.resource.spec.template.config_maps().cloned().unwrap_or_default();
        let (answered, sources) = self.ask();
        Observed {
            entry: self.entries.get(&self.resource.spec.model_ref.name).cloned(),
            revoked: self.revoked(),
            approvals: self.approvals.clone(),
            guard: self.guard.clone(),
            said: self.approvals.iter().filter(|_| self.people_unknown_since.is_none()).map(said).collect(),
            people_unknown_since: self.people_unknown_since,
            asked_by: self.asker(),
            asker_unknown_since: self.asker_unknown_since.or(self.people_unknown_since),
            config_maps: references
                .into_keys()
                .filter(|name| !self.unread.contains_key(name))
                .map(|name| (name.clone(), self.config_maps.get(&name).cloned()))
                .collect(),
            unread_config_maps: self.unread.clone(),
            namespace_suspend: self.namespace_suspend.clone(),
            policy: Policy::read(&self.resource.spec, &self.shared_metrics),
            children: self.children.clone(),
            pods: self.pods.clone(),
            running: self.running.clone(),
            answered,
            asked: sources.asked.clone(),
            memory: self.memory.clone(),
            history: self.history(),
            settings: self.settings.clone(),
        }
    }

    fn revoked(&self) -> BTreeSet<String> {
        let status = self.status();
        let is_revoked =
            |name: &&str| self.entries.get(*name).is_some_and(|it| it.spec.lifecycle() == Lifecycle::Revoked);
        entries_of(&status).filter(is_revoked).map(str::to_owned).collect()
    }

    fn history(&self) -> History {
        if !restored::must_ask(self.resource.status.as_ref(), &self.memory.lost) {
            return History::NotAsked;
        }
        match self.trail_unread_since.or(self.memory.trail_unavailable_since) {
            Some(since) => History::Unknown(since),
            None => History::Known(self.trail.newest_first()),
        }
    }

    /// Does this until it is so. A mistake shows as a failure, and not as a test that never ends.
    pub(super) fn until(&mut self, is_so: impl Fn(&Self) -> bool, step: impl Fn(&mut Self)) {
        for _ in 0..1000 {
            if is_so(self) {
                return;
            }
            step(self);
        }
        panic!("it never comes to that: {:#?}", self.status());
    }

    pub(super) fn decide(&self) -> Plan<ModelDeploymentStatus> {
        decide(&self.resource, &self.observe(), self.now)
    }

    /// Decides, and carries everything out.
    pub(super) fn pass(&mut self) -> Plan<ModelDeploymentStatus> {
        let plan = self.decide();
        self.remember_what_was_asked();
        self.carry_out(&plan, usize::MAX);
        plan
    }

    /// Carries out the first `writes` of a plan: entries, then status, then ops; to the first refusal.
    pub(super) fn carry_out(&mut self, plan: &Plan<ModelDeploymentStatus>, writes: usize) {
        let before = self.status();
        self.memory.lost.retain(|intent| settle::is_lost(&before, intent));
        let mut left = writes;
        for entry in &plan.entries {
            if left == 0 {
                return;
            }
            left -= 1;
            if let Err(holder) = self.trail.append(entry) {
                self.memory.lost.push(*holder);
                return;
            }
        }
        if let Some(status) = plan.status.clone() {
            if left == 0 {
                return;
            }
            left -= 1;
            self.trail.takes_effect(&before, plan, &status, self.now);
            // As the API server would keep it.
            self.resource.status = Some(from(serde_json::to_value(status).unwrap()));
            self.memory.unconfirmed = false;
        }
        plan.ops.iter().take(left).for_each(|op| self.write(op));
        let written = |it: &&Contended| {
            plan.ops.iter().take(left).any(
                |op| matches!(op, Op::Apply(child, _) if (child.kind(), child.name()) == (it.kind, it.name.as_str())),
            )
        };
        for child in plan.resets.iter().filter(written) {
            resets::remember(&mut self.memory.resets, child.clone(), self.now);
        }
    }

    /// A pass whose status write is refused: somebody else has written since it was decided.
    pub(super) fn conflict(&mut self) {
        let plan = self.decide();
        self.carry_out(&plan, plan.entries.len());
        // Of those the trail has: it takes nothing after the first that it refuses.
        let own = plan.entries.iter().filter(|it| it.kind == EntryKind::Intent && self.trail.has(it));
        let status = self.status();
        let lost: Vec<Entry> = own.filter(|intent| settle::is_lost(&status, intent)).cloned().collect();
        self.memory.lost.extend(lost);
    }

    /// Another process goes on: it knows what is stored, and nothing else.
    pub(super) fn restart(&mut self) {
        self.memory.resets.clear();
        self.memory.lost.clear();
        self.memory.unconfirmed = true;
    }

    fn write(&mut self, op: &Op) {
        self.written += 1;
        match op {
            Op::Create(child) => {
                let metadata = ObjectMeta {
                    uid: Some(format!("uid-{}", self.written)),
                    resource_version: Some(self.written.to_string()),
                    generation: Some(1),
                    creation_timestamp: Some(Time(Timestamp::from_second(self.now.timestamp()).unwrap())),
                    ..ObjectMeta::default()
                };
                assert!(self.versions(child.kind(), child.name()).is_none(), "{} exists", child.name());
                self.put(child, metadata);
            }
            Op::Apply(child, precondition) => {
                let live = self.versions(child.kind(), child.name());
                assert_eq!(
                    live.as_ref().and_then(seen).as_ref(),
                    Some(precondition),
                    "stale apply of {}",
                    child.name()
                );
                let live = live.unwrap();
                let generation = live.generation.map(|it| it + 1);
                self.put(child, ObjectMeta { generation, resource_version: Some(self.written.to_string()), ..live });
            }
            Op::Delete(kind, name, precondition) => {
                assert_eq!(
                    self.versions(*kind, name).as_ref().and_then(seen).as_ref(),
                    Some(precondition),
                    "stale delete"
                );
                self.remove(*kind, name);
            }
        }
    }

    /// Metadata of a live child.
    pub(super) fn versions(&self, kind: ChildKind, name: &str) -> Option<ObjectMeta> {
        let children = &self.children;
        match kind {
            ChildKind::Revision => children.records.get(name).map(|it| it.metadata.clone()),
            ChildKind::ConfigMap => children.copies.get(name).map(|it| it.metadata.clone()),
            ChildKind::Deployment => children.deployments.get(name).map(|it| it.metadata.clone()),
            ChildKind::Autoscaler => children.autoscalers.get(name).map(|it| it.metadata.clone()),
            ChildKind::Service => children.services.get(name).map(|it| it.metadata.clone()),
            ChildKind::HttpRoute if name == "churn" => children.route.as_ref().map(|it| it.metadata.clone()),
            ChildKind::HttpRoute => children.proposed.as_ref().map(|it| it.metadata.clone()),
            ChildKind::Job => children.jobs.get(name).map(|it| it.job.metadata.clone()),
        }
    }

    fn put(&mut self, child: &Child, live: ObjectMeta) {
        let name = child.name().to_owned();
        let metadata = |wanted: &ObjectMeta| ObjectMeta {
            uid: live.uid.clone(),
            resource_version: live.resource_version.clone(),
            generation: live.generation,
            creation_timestamp: live.creation_timestamp.clone(),
            ..wanted.clone()
        };
        let children = &mut self.children;
        match child.clone() {
            Child::Revision(mut it) => {
                it.metadata = metadata(&it.metadata);
                children.records.insert(name, Arc::new((*it).into()));
            }
            Child::ConfigMap(mut it) => {
                it.metadata = metadata(&it.metadata);
                children.copies.insert(name, Arc::new(*it));
            }
            Child::Deployment(it) if deployment::only_scales(&it) => {
                let mut scaled = Deployment::clone(&children.deployments[&name]);
                scaled.spec.as_mut().unwrap().replicas = it.spec.unwrap().replicas;
                scaled.metadata.annotations.get_or_insert_default().extend(it.metadata.annotations.unwrap());
                scaled.metadata.generation = scaled.metadata.generation.map(|it| it + 1);
                scaled.metadata.resource_version.clone_from(&live.resource_version);
                children.deployments.insert(name, Arc::new(scaled));
            }
            Child::Deployment(mut it) => {
                it.metadata = metadata(&it.metadata);
                if let Some(old) = children.deployments.get(&name) {
                    it.status.clone_from(&old.status);
                    // What somebody else has set stays; a change of the spec or of an annotation is a new generation.
                    let theirs = old.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
                    it.spec.as_mut().unwrap().min_ready_seconds = theirs;
                    let changed = it.spec != old.spec || it.metadata.annotations != old.metadata.annotations;
                    it.metadata.generation = old.metadata.generation.map(|it| it + i64::from(changed));
                }
                children.deployments.insert(name, Arc::new(*it));
            }
            Child::Autoscaler(mut it) => {
                it.metadata = metadata(&it.metadata);
                children.autoscalers.insert(name, Arc::new(*it));
            }
            Child::Service(mut it) => {
                it.metadata = metadata(&it.metadata);
                children.services.insert(name, Arc::new(*it));
            }
            Child::HttpRoute(mut it) => {
                it.metadata = metadata(&it.metadata);
                let live = if name == "churn" { &mut children.route } else { &mut children.proposed };
                if let Some(old) = live {
                    it.status.clone_from(&old.status);
                    // Of a custom resource, metadata is no new generation.
                    let changed = it.spec != old.spec;
                    it.metadata.generation = old.metadata.generation.map(|it| it + i64::from(changed));
                }
                *live = Some(Arc::new(*it));
            }
            Child::Job(mut it) => {
                it.metadata = metadata(&it.metadata);
                children.jobs.insert(name, LiveJob { job: Arc::new(*it), pods: Vec::new() });
            }
        }
    }

    fn remove(&mut self, kind: ChildKind, name: &str) {
        let children = &mut self.children;
        match kind {
            ChildKind::HttpRoute if name == "churn" => children.route = None,
            ChildKind::HttpRoute => children.proposed = None,
            ChildKind::Autoscaler => drop(children.autoscalers.remove(name)),
            ChildKind::Job => drop(children.jobs.remove(name)),
            ChildKind::Revision => {
                // Garbage collection takes what the record owns.
                let uid = children.records.remove(name).and_then(|it| it.metadata.uid.clone());
                let stays = |it: &ObjectMeta| {
                    it.owner_references.iter().flatten().all(|owner| Some(&owner.uid) != uid.as_ref())
                };
                children.deployments.retain(|_, it| stays(&it.metadata));
                children.services.retain(|_, it| stays(&it.metadata));
                children.autoscalers.retain(|_, it| stays(&it.metadata));
                children.copies.retain(|_, it| stays(&it.metadata));
            }
            other => panic!("the operator deletes no {}", other.name()),
        }
    }

    /// Live weights by revision's child name.
    pub(super) fn weights(&self) -> Vec<(String, i64)> {
        let all = self.children.route.as_deref().map(route::weights).unwrap_or_default();
        all.into_iter().next().unwrap_or_default()
    }
}

/// Whether a plan writes nothing.
pub(super) fn is_nothing(plan: &Plan<ModelDeploymentStatus>) -> bool {
    Plan { requeue: None, ..plan.clone() } == Plan::default()
}

/// The precondition that fits this version of an object.
pub(super) fn seen(live: &ObjectMeta) -> Option<Precondition> {
    Some(Precondition { uid: live.uid.clone()?, resource_version: live.resource_version.clone()? })
}

fn set_ready(deployment: &mut k8s_openapi::api::apps::v1::Deployment, ready: i32) {
    let observed_generation = deployment.metadata.generation;
    deployment.status =
        Some(DeploymentStatus { observed_generation, ready_replicas: Some(ready), ..DeploymentStatus::default() });
}

pub(super) fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Errors stay below 1 %.
pub(super) fn guardrail() -> Value {
    json!({"name": "error-rate", "role": "Guardrail", "threshold": {"max": "1%"},
        "prometheus": {"query": "errors{revision=\"{{ revision }}\"}"}})
}

impl World {
    /// What the record says of who asks.
    fn asker(&self) -> Option<String> {
        let is_known = self.people_unknown_since.is_none() && self.asker_unknown_since.is_none();
        let answers = is_known && self.memory.trail_unavailable_since.is_none();
        request::by(&self.resource).filter(|_| answers).map(|by| format!("actor of {by}"))
    }
}

/// What the record says of who gave an approval.
fn said(approval: &Arc<Approval>) -> (String, Said) {
    let comment = approval.spec.comment.as_ref().map(|it| format!("digest of {} characters", it.len()));
    let said = Said { actor: format!("actor of {}", approval.spec.approver), comment: comment.unwrap_or_default() };
    (approval.metadata.uid.clone().unwrap_or_default(), said)
}
