//! Many ModelDeployments that change together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::{Value, json};
use werkbank::api::ModelDeployment;
use werkbank::api::model_deployment::{AttemptState, EntryRef, Phase};

use super::{NAMESPACE, PARALLEL};

/// As much of a ModelDeployment as following it takes; the rest is not even parsed.
#[derive(kube::Resource, Clone, Debug, Deserialize)]
#[resource(inherit = ModelDeployment)]
struct Member {
    metadata: ObjectMeta,
    status: Option<Progress>,
}

/// How far a member is.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    observed_generation: i64,
    phase: Phase,
    stable: Option<EntryRef>,
    attempt: Option<At>,
    #[serde(default)]
    revisions: Vec<serde::de::IgnoredAny>,
}

#[derive(Clone, Debug, Deserialize)]
struct At {
    state: AttemptState,
}

/// How far all members shall be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal<'a> {
    /// The revision of this entry has all traffic.
    Promoted(&'a str),
    /// And nothing is left of the one before.
    Settled(&'a str),
}

/// The members, followed by a watch.
pub(super) struct Fleet {
    api: Api<ModelDeployment>,
    members: BTreeMap<String, Option<Progress>>,
    events: BoxStream<'static, watcher::Result<Member>>,
}

impl Fleet {
    pub(super) fn new(client: Client) -> Self {
        let members: Api<Member> = Api::namespaced(client.clone(), NAMESPACE);
        let events = watcher(members, watcher::Config::default()).default_backoff().applied_objects().boxed();
        Self { api: Api::namespaced(client, NAMESPACE), members: BTreeMap::new(), events }
    }

    /// Creates members with four steps, which serve this entry.
    pub(super) async fn create(&self, count: usize, entry: &str, steps: &[&str]) -> Result<()> {
        let api = &self.api;
        let created = futures::stream::iter(0..count).map(|index| async move {
            let member: ModelDeployment = serde_json::from_value(manifest(index, entry, steps))?;
            api.create(&PostParams::default(), &member).await?;
            anyhow::Ok(())
        });
        created.buffer_unordered(PARALLEL).try_collect().await.context("a ModelDeployment was not created")
    }

    /// Points the first `count` members at another entry, as so many commits would.
    pub(super) async fn change(api: Api<ModelDeployment>, count: usize, entry: &str, steps: &[&str]) -> Result<()> {
        let patch = json!({"spec": {"modelRef": {"name": entry}, "rollout": {"steps": steps_of(steps)}}});
        let (api, patch) = (&api, &Patch::Merge(patch));
        let changed = futures::stream::iter(0..count).map(|index| async move {
            api.patch_metadata(&name(index), &PatchParams::default(), patch).await.map(drop)
        });
        changed.buffer_unordered(PARALLEL).try_collect().await.context("a ModelDeployment was not changed")
    }

    pub(super) fn api(&self) -> Api<ModelDeployment> {
        self.api.clone()
    }

    /// Waits until the first `count` members are as told; gives when each of them was seen so, in order.
    pub(super) async fn until(&mut self, count: usize, goal: Goal<'_>, patience: Duration) -> Result<Vec<Instant>> {
        let (deadline, mut reached) = (tokio::time::Instant::now() + patience, Vec::with_capacity(count));
        let mut missing: BTreeSet<String> = (0..count).map(name).collect();
        missing.retain(|name| !self.members.get(name).is_some_and(|it| is_at(it.as_ref(), goal)));
        reached.resize(count - missing.len(), Instant::now());
        while !missing.is_empty() {
            let Ok(event) = tokio::time::timeout_at(deadline, self.events.next()).await else {
                bail!("{}", self.stuck(&missing, count, goal));
            };
            // A watch that breaks is taken up again by itself.
            let Some(Ok(member)) = event else { continue };
            let name = member.metadata.name.unwrap_or_default();
            let current = member.metadata.generation.unwrap_or_default();
            let progress = member.status.filter(|it| it.observed_generation == current);
            if is_at(progress.as_ref(), goal) && missing.remove(&name) {
                reached.push(Instant::now());
            }
            self.members.insert(name, progress);
        }
        Ok(reached)
    }

    fn stuck(&self, missing: &BTreeSet<String>, count: usize, goal: Goal<'_>) -> String {
        let one = missing.first().map(String::as_str).unwrap_or_default();
        let progress = self.members.get(one);
        format!(
            "{} of {count} deployments did not become {goal:?} in time; {one} is {progress:?}: read the operator's log",
            missing.len()
        )
    }
}

fn is_at(progress: Option<&Progress>, goal: Goal<'_>) -> bool {
    let Some(progress) = progress else { return false };
    let (Goal::Promoted(entry) | Goal::Settled(entry)) = goal;
    let promoted = progress.stable.as_ref().is_some_and(|it| it.name == entry)
        && progress.attempt.as_ref().is_some_and(|it| it.state == AttemptState::Promoted);
    match goal {
        Goal::Promoted(_) => promoted,
        Goal::Settled(_) => promoted && progress.phase == Phase::Stable && progress.revisions.len() == 1,
    }
}

pub(super) fn name(index: usize) -> String {
    format!("churn-{index:05}")
}

fn steps_of(weights: &[&str]) -> Value {
    weights.iter().map(|weight| json!({"weight": weight, "for": "1s"})).collect()
}

/// A deployment as teams write them, scaled to zero.
pub(super) fn manifest(index: usize, entry: &str, steps: &[&str]) -> Value {
    json!({
        "apiVersion": "werkbank.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name(index), "namespace": NAMESPACE, "labels": {"team": "crm"}},
        "spec": {
            "modelRef": {"name": entry},
            "replicas": 0,
            "port": 8080,
            "template": {"spec": {"containers": [{
                "name": "server",
                "image": "registry.example.com/scorer:1.4",
                "ports": [{"name": "http", "containerPort": 8080}],
                "env": [{"name": "LOG_LEVEL", "value": "info"}, {"name": "WORKERS", "value": "4"}],
                "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
                "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": 8080}, "periodSeconds": 5},
            }]}},
            "traffic": {"gateway": {
                "parentRefs": [{"name": "internal"}],
                "hostnames": [format!("{}.internal", name(index))],
            }},
            "rollout": {"steps": steps_of(steps), "drain": "1s", "progressDeadline": "15m"},
            "analysis": {"none": "the benchmark has no traffic to judge"},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(text: &str) -> Progress {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_member_has_settled_when_nothing_is_left_of_the_revision_before() {
        let text = |revisions: &str| {
            format!(
                r#"{{"observedGeneration": 2, "phase": "Stable", "attempt": {{"state": "Promoted"}},
                "stable": {{"revision": "a2", "name": "two", "uid": "u"}}, "revisions": {revisions}}}"#
            )
        };
        let draining = progress(&text("[{}, {}]"));
        let at = |it: &Progress, goal| is_at(Some(it), goal);
        assert!(at(&draining, Goal::Promoted("two")) && !at(&draining, Goal::Settled("two")));
        assert!(at(&progress(&text("[{}]")), Goal::Settled("two")));
        assert!(!at(&draining, Goal::Promoted("three")) && !is_at(None, Goal::Promoted("two")));
    }

    #[test]
    fn the_manifest_is_one_that_fits_the_type() {
        let member: ModelDeployment = serde_json::from_value(manifest(7, "one", &["5%", "25%"])).unwrap();
        assert_eq!(member.metadata.name.as_deref(), Some("churn-00007"));
        assert_eq!(member.spec.rollout.unwrap().steps.len(), 2);
    }
}
