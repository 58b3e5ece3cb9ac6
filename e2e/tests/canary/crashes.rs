//! The operator is killed at a write of a story, before the API server hears of it or after it was carried out: the
//! story ends as it does undisturbed.
//!
//! What is swept is every write, on both sides. `cargo test` takes some of them; `make proof` takes all.

mod verified;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::Api;
use kube::api::{DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use werkbank::api::labels;
use werkbank::api::model_deployment::{AttemptState, ModelDeploymentStatus, Phase, RevisionRole};
use werkbank::audit::{Entry, EntryKind};
use werkbank::build::APPLIED;
use werkbank::build::fence::FENCE;
use werkbank_e2e::fault_proxy::Side;
use werkbank_e2e::node::Backoff;
use werkbank_e2e::process::Signal;
use werkbank_e2e::workbench::{OPERATOR_NAMESPACE, Options};

use crate::autoscaling::autoscaled;
use crate::rights::without_gateway;
use crate::scene::{GOOD, Model, Scene, Wanted};

/// Two steps that end at once.
const QUICK: &str = "[{weight: 20%}, {weight: 50%}]";
const HELD: &str = "[{weight: 20%}, {weight: 50%, for: 10m}]";

/// One story: what is so before it, and what is then done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Story {
    FirstDeployment,
    Promotion,
    /// A candidate that is watched is aborted.
    Abort,
    /// The spec goes back to what serves while a candidate is watched.
    Revert,
    /// All at once, without a gateway.
    Switch,
    /// Another candidate takes the place of one that is watched.
    Supersede,
    /// Somebody asks for all traffic while a candidate is watched.
    Promote,
    /// Back to what served before, and keeps its place.
    Return,
    /// Requests are copied before any is sent.
    Shadow,
    /// Autoscalers have the pods in hand.
    Autoscaled,
    /// Its entry is registered with it, and its artifact read first.
    Verified,
    /// The entry of a candidate that is watched is revoked.
    Revoked,
}

const STORIES: [Story; 12] = [
    Story::FirstDeployment,
    Story::Promotion,
    Story::Abort,
    Story::Revert,
    Story::Switch,
    Story::Supersede,
    Story::Promote,
    Story::Return,
    Story::Shadow,
    Story::Autoscaled,
    Story::Verified,
    Story::Revoked,
];

impl Story {
    /// What is so before it begins.
    async fn prepare(self, model: &Model<'_>) {
        match self {
            Self::FirstDeployment => {}
            Self::Promotion | Self::Shadow | Self::Verified => serve(model).await,
            Self::Switch => {
                model.apply(&without_gateway(model.name, "1", 0)).await;
                model.until("the first version serves", at_rest).await;
            }
            Self::Abort | Self::Revert | Self::Supersede | Self::Promote => {
                serve(model).await;
                model.apply(&manifest(model, "2", HELD)).await;
                model.until_observing("50%").await;
            }
            Self::Revoked => {
                serve(model).await;
                verified::begin(model, HELD).await;
                model.until_observing("50%").await;
                verified::end(model).await;
            }
            Self::Return => {
                model.apply(&keeping(model, "1", QUICK)).await;
                model.until("the first version serves", at_rest).await;
                model.apply(&keeping(model, "2", QUICK)).await;
                model.until("the second version serves", |it| is_calm(it) && it.attempts == 2).await;
            }
            Self::Autoscaled => {
                model.apply(&with_autoscaler(model, "1")).await;
                model.until("the first version serves", at_rest).await;
            }
        }
    }

    /// What is done.
    async fn begin(self, model: &Model<'_>) {
        match self {
            Self::FirstDeployment => model.apply(&manifest(model, "1", QUICK)).await,
            Self::Promotion => model.apply(&manifest(model, "2", QUICK)).await,
            Self::Switch => model.apply(&without_gateway(model.name, "2", 0)).await,
            Self::Revert => model.apply(&manifest(model, "1", HELD)).await,
            Self::Abort => model.ask("abort", "now").await,
            Self::Promote => model.ask("promote", "now").await,
            Self::Supersede => model.apply(&manifest(model, "3", QUICK)).await,
            Self::Return => model.apply(&keeping(model, "1", HELD)).await,
            Self::Shadow => {
                let shadow = "  rollout:\n    shadow: {percent: 50, for: 0s}\n";
                model.apply(&manifest(model, "2", QUICK).replacen("  rollout:\n", shadow, 1)).await;
            }
            Self::Autoscaled => model.apply(&with_autoscaler(model, "2")).await,
            Self::Verified => verified::begin(model, QUICK).await,
            Self::Revoked => verified::revoke(model).await,
        }
    }

    /// How it ends.
    async fn end(self, model: &Model<'_>) {
        let state = match self {
            Self::Abort | Self::Revert | Self::Revoked => AttemptState::RolledBack,
            _ => AttemptState::Promoted,
        };
        let attempts = match self {
            Self::FirstDeployment => 1,
            Self::Supersede | Self::Return => 3,
            _ => 2,
        };
        // What is kept stays beside what serves.
        let rests = |it: &ModelDeploymentStatus| if self == Self::Return { is_calm(it) } else { at_rest(it) };
        let ended = |it: &ModelDeploymentStatus| {
            rests(it) && it.attempts == attempts && it.attempt.as_ref().unwrap().state == state
        };
        model.until(&format!("{self:?} has ended"), ended).await;
        match self {
            Self::Verified => verified::end(model).await,
            Self::Revoked => verified::end_unused(model).await,
            _ => {}
        }
    }
}

async fn serve(model: &Model<'_>) {
    model.apply(&manifest(model, "1", QUICK)).await;
    model.until("the first version serves", at_rest).await;
}

/// No pods, so that nothing is waited for but the operator and the gateway.
fn manifest(model: &Model<'_>, version: &'static str, steps: &'static str) -> String {
    let whole = model.manifest(&Wanted { version, steps, ..GOOD }).replacen("replicas: 2", "replicas: 0", 1);
    let (rest, _) = whole.split_once("    onOutage:").unwrap();
    format!("{rest}  analysis: {{none: \"there are no requests\"}}\n").replacen("drain: 2s", "drain: 100ms", 1)
}

/// What served before keeps its place for as long as this test needs.
fn keeping(model: &Model<'_>, version: &'static str, steps: &'static str) -> String {
    let keep = "  rollout:\n    keepStable: 1h\n    rollbackWindow: 2h\n";
    manifest(model, version, steps).replacen("  rollout:\n", keep, 1)
}

/// One pod of each version, in the hand of an autoscaler.
fn with_autoscaler(model: &Model<'_>, version: &'static str) -> String {
    let manifest = manifest(model, version, "[{weight: 50%}]").replacen("replicas: 0", "replicas: 2", 1);
    autoscaled(&manifest, 1)
}

/// Nothing is under way, and nothing is on its way out.
fn is_calm(status: &ModelDeploymentStatus) -> bool {
    let ended = status.attempt.as_ref().is_some_and(|it| !it.state.is_active());
    let settled = [Phase::Stable, Phase::RolledBack].contains(&status.phase) && status.unrecorded.is_empty();
    ended && settled && status.revisions.iter().all(|it| it.role != RevisionRole::Draining)
}

/// Nothing is left of what was, either.
fn at_rest(status: &ModelDeploymentStatus) -> bool {
    is_calm(status) && status.revisions.len() == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_ends_the_same_when_the_operator_is_killed_at_some_of_its_writes() {
    sweep(7).await;
}

/// About a quarter of an hour: `make proof`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make proof"]
async fn every_story_ends_the_same_when_the_operator_is_killed_at_any_of_its_writes() {
    sweep(1).await;
}

/// Stories that share a control plane where every write is swept: each kill leaves a model behind, and Envoy takes an inotify instance
/// for the pods of each, of which a user has 128 where nobody has changed it.
const AT_ONE_PLACE: usize = 2;

/// Kills at every `stride`-th write, counted through all stories, on both sides in turn or, with 1, on both.
async fn sweep(stride: usize) {
    let mut swept = Swept { stride, ..Swept::default() };
    for stories in STORIES.chunks(if stride == 1 { AT_ONE_PLACE } else { STORIES.len() }) {
        let second = Duration::from_millis(100);
        let options = Options {
            fault_proxy: true,
            prometheus: None,
            restarts: Backoff { base: second, cap: second },
            ..Options::from_env()
        };
        let scene = Scene::empty(options).await;
        scene.install(&["replicas=1,podDisruptionBudget.enabled=false"]).await;
        let _store = verified::store(&scene).await;
        for story in stories {
            swept.sweep(&scene, *story).await;
        }
        scene.end().await;
    }
    let Swept { kills, missed, failures, .. } = swept;
    assert!(missed * 10 <= kills, "of {} writes {missed} were not there", kills + missed);
    assert!(failures.is_empty(), "{} of {kills} ended differently:\n{}", failures.len(), failures.join("\n"));
}

/// What a sweep has done so far.
#[derive(Default)]
struct Swept {
    stride: usize,
    counted: usize,
    kills: usize,
    /// Writes that were not there a second time.
    missed: usize,
    failures: Vec<String>,
}

impl Swept {
    async fn sweep(&mut self, scene: &Scene, story: Story) {
        let name = format!("{story:?}-twin").to_lowercase();
        let twin = scene.model(&name);
        let writes = undisturbed(story, &twin).await;
        let expected = digest(story, &twin).await;
        for nth in 1..=writes {
            self.counted += 1;
            if !self.counted.is_multiple_of(self.stride) {
                continue;
            }
            let turn = side_of(self.counted / self.stride);
            let sides = if self.stride == 1 { vec![Side::Before, Side::After] } else { vec![turn] };
            for side in sides {
                let name = format!("{story:?}-{nth}-{side:?}").to_lowercase();
                let model = scene.model(&name);
                *if killed(story, &model, nth, side).await { &mut self.kills } else { &mut self.missed } += 1;
                let found = digest(story, &model).await;
                if found != expected {
                    self.failures.push(format!("{name}:\n{}", difference(&expected, &found)));
                }
            }
        }
        eprintln!("{story:?}: {writes} writes; {} kills so far, {} times no such write", self.kills, self.missed);
    }
}

fn side_of(turn: usize) -> Side {
    if turn.is_multiple_of(2) { Side::Before } else { Side::After }
}

/// Plays it to its end; tells how many writes it took.
async fn undisturbed(story: Story, model: &Model<'_>) -> usize {
    let proxy = model.scene.workbench.fault_proxy().unwrap();
    story.prepare(model).await;
    let before = proxy.writes().len();
    story.begin(model).await;
    story.end(model).await;
    let writes = proxy.writes().len() - before;
    assert!(writes > 3, "{:?}", proxy.writes());
    writes
}

/// The same, and at that write the operator is killed; tells whether there was such a write, and it was carried out if
/// it was to be. Two that only wait for time may become one.
async fn killed(story: Story, model: &Model<'_>, nth: usize, side: Side) -> bool {
    let scene = model.scene;
    let proxy = scene.workbench.fault_proxy().unwrap();
    story.prepare(model).await;
    let (pod, restarts) = scene.operators().await.pop_first().unwrap();
    let pid = scene.workbench.node().unwrap().pid(OPERATOR_NAMESPACE, &pod, "operator").unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    proxy.break_at(nth, side, move || rustix::process::kill_process(pid, Signal::KILL).unwrap());
    story.begin(model).await;
    let fired = async {
        while proxy.is_armed() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let fired = tokio::select! {
        () = fired => true,
        () = story.end(model) => !proxy.is_armed(),
    };
    if !fired {
        proxy.disarm();
        return false;
    }
    let back = async {
        while scene.operators().await.get(&pod).is_none_or(|it| *it <= restarts) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), back).await.expect("the node did not start it again");
    story.end(model).await;
    side == Side::Before || proxy.was_carried_out()
}

/// Everything that a story leaves behind, without what differs between any two: names, uids, versions, times.
async fn digest(story: Story, model: &Model<'_>) -> BTreeMap<String, Value> {
    let mut found = children(model).await;
    let status = model.status().await;
    found.insert("status".into(), summary(&status));
    let entries = model.scene.trail(model).await;
    found.insert("trail".into(), json!(decisions(&entries)));
    if matches!(story, Story::Verified | Story::Revoked) {
        found.insert("entry".into(), verified::summary(model).await);
    }
    let text = serde_json::to_string(&found).unwrap().replace(model.name, "model");
    serde_json::from_str(&text).unwrap()
}

fn summary(status: &ModelDeploymentStatus) -> Value {
    let attempt = status.attempt.as_ref().unwrap();
    let conditions = status.conditions.iter().map(|it| json!([it.type_, it.status, it.reason]));
    json!({
        "phase": status.phase, "stable": status.stable.as_ref().map(|it| &it.revision),
        "attempt": [json!(attempt.revision), json!(attempt.state), json!(attempt.weight), json!(attempt.cause)],
        "revisions": status.revisions.iter().map(|it| json!([it.revision, it.role])).collect::<Vec<_>>(),
        "takenBack": status.taken_back,
        "proven": status.proven.iter().map(|it| &it.revision).collect::<Vec<_>>(), "attempts": status.attempts,
        "ways": [attempt.shadowed, attempt.fast_return, attempt.emergency, attempt.skip_steps],
        "takenFrom": attempt.taken_from, "contested": status.route_contest.is_some(),
        "handled": status.handled_request.as_ref().map(|it| json!([it.verb, it.outcome])),
        "conditions": conditions.collect::<Vec<_>>(),
    })
}

/// What was decided and came into effect, in order; a number that was given up was never anything.
fn decisions(entries: &[Entry]) -> Vec<String> {
    let void = |it: &Entry| entries.iter().any(|void| void.kind == EntryKind::Void && void.sequence == it.sequence);
    let told = entries.iter().filter(|it| it.kind != EntryKind::Void && !void(it));
    told.map(|it| format!("{:?} {} {} {}", it.kind, it.decision, it.revision, it.weight)).collect()
}

async fn children(model: &Model<'_>) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let own = ListParams::default().labels(&format!("{}={}", labels::DEPLOYMENT, model.name));
    for (group, version, kind) in [
        ("apps", "v1", "ControllerRevision"),
        ("apps", "v1", "Deployment"),
        ("autoscaling", "v2", "HorizontalPodAutoscaler"),
        ("", "v1", "Service"),
        ("", "v1", "ConfigMap"),
        ("gateway.networking.k8s.io", "v1", "HTTPRoute"),
    ] {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = Api::namespaced_with(model.scene.client(), model.namespace, &resource);
        for object in api.list(&own).await.unwrap() {
            let name = object.metadata.name.clone().unwrap();
            let mut content = object.data;
            for changing in ["/status", "/spec/clusterIP", "/spec/clusterIPs", "/data/entry/uid"] {
                if let Some(value) = content.pointer_mut(changing) {
                    *value = Value::Null;
                }
            }
            let mut annotations = object.metadata.annotations.unwrap_or_default();
            // A digest of all there is, names included.
            annotations.remove(APPLIED);
            // The number of a decision, of which some are given up.
            annotations.remove(FENCE);
            let meta = json!({"labels": object.metadata.labels, "annotations": annotations});
            found.insert(format!("{kind} {name}"), json!([meta, content]));
        }
    }
    found
}

/// The places that differ, a line each.
fn difference(expected: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>) -> String {
    let mut lines = Vec::new();
    compare("", &json!(expected), &json!(found), &mut lines);
    lines.join("\n")
}

fn compare(path: &str, expected: &Value, found: &Value, lines: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            keys.into_iter().for_each(|key| compare(&format!("{path}/{key}"), &expected[key], &found[key], lines));
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            pairs.for_each(|(index, (one, other))| compare(&format!("{path}/{index}"), one, other, lines));
        }
        _ if expected == found => {}
        _ => lines.push(format!("  {path}: {found} instead of {expected}")),
    }
}
