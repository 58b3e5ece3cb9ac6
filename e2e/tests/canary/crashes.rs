//! The operator is killed at a write of a story, before the API server hears of it or after it was carried out: the
//! story ends as it does undisturbed.
//!
//! What is swept is every write, on both sides. `cargo test` takes some of them; `make proof` takes all.

mod digest;
mod verified;

use std::time::Duration;

use serde_json::json;
use werkbank::api::model_deployment::{AttemptState, ModelDeploymentStatus, Phase, RevisionRole};
use werkbank_e2e::fault_proxy::{FaultProxy, Side};
use werkbank_e2e::metric_source::MetricSource;
use werkbank_e2e::node::Backoff;
use werkbank_e2e::process::Signal;
use werkbank_e2e::s3::S3;
use werkbank_e2e::workbench::{OPERATOR_NAMESPACE, Options};

use self::digest::{difference, digest};
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
    /// A candidate that is watched breaks its guardrail.
    Breached,
}

const STORIES: [Story; 13] = [
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
    Story::Breached,
];

/// Where stories are played, and what their models are made of and judged by.
struct Place {
    scene: Scene,
    source: MetricSource,
    /// It serves as long as it is held.
    _store: S3,
}

impl Place {
    async fn set() -> Self {
        let at_once = Duration::from_millis(100);
        let options = Options {
            fault_proxy: true,
            prometheus: None,
            restarts: Backoff { base: at_once, cap: at_once },
            ..Options::from_env()
        };
        let scene = Scene::empty(options).await;
        scene.install(&["replicas=1,podDisruptionBudget.enabled=false"]).await;
        let store = verified::store(&scene).await;
        Self { scene, source: MetricSource::start().await.unwrap(), _store: store }
    }

    fn proxy(&self) -> &FaultProxy {
        self.scene.workbench.fault_proxy().unwrap()
    }
}

impl Story {
    /// What is so before it begins.
    async fn prepare(self, place: &Place, model: &Model<'_>) {
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
            Self::Breached => {
                serve(model).await;
                model.apply(&judged(place, model, "2", HELD)).await;
                model.until_observing("50%").await;
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
    async fn begin(self, place: &Place, model: &Model<'_>) {
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
            Self::Breached => {
                place.source.breach(model.name);
            }
        }
    }

    /// How it ends.
    async fn end(self, model: &Model<'_>) {
        let state = match self {
            Self::Abort | Self::Revert | Self::Revoked | Self::Breached => AttemptState::RolledBack,
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

/// The same, and a guardrail that the place can break.
fn judged(place: &Place, model: &Model<'_>, version: &'static str, steps: &'static str) -> String {
    let whole = manifest(model, version, steps);
    let (rest, _) = whole.split_once("  analysis:").unwrap();
    let analysis = json!({"interval": "500ms", "failureLimit": 0, "metrics": [place.source.guardrail(model.name)]});
    format!("{rest}  analysis: {analysis}\n")
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
        let place = Place::set().await;
        for story in stories {
            swept.sweep(&place, *story).await;
        }
        place.scene.end().await;
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
    async fn sweep(&mut self, place: &Place, story: Story) {
        let name = format!("{story:?}-twin").to_lowercase();
        let twin = place.scene.model(&name);
        let writes = undisturbed(story, place, &twin).await;
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
                let model = place.scene.model(&name);
                *if killed(story, place, &model, nth, side).await { &mut self.kills } else { &mut self.missed } += 1;
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
async fn undisturbed(story: Story, place: &Place, model: &Model<'_>) -> usize {
    let proxy = place.proxy();
    story.prepare(place, model).await;
    let before = proxy.writes().len();
    story.begin(place, model).await;
    story.end(model).await;
    let writes = proxy.writes().len() - before;
    assert!(writes > 3, "{:?}", proxy.writes());
    writes
}

/// The same, and at that write the operator is killed; tells whether there was such a write, and it was carried out if
/// it was to be. Two that only wait for time may become one.
async fn killed(story: Story, place: &Place, model: &Model<'_>, nth: usize, side: Side) -> bool {
    let (scene, proxy) = (&place.scene, place.proxy());
    story.prepare(place, model).await;
    let (pod, restarts) = scene.operators().await.pop_first().unwrap();
    let pid = scene.workbench.node().unwrap().pid(OPERATOR_NAMESPACE, &pod, "operator").unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    proxy.break_at(nth, side, move || rustix::process::kill_process(pid, Signal::KILL).unwrap());
    story.begin(place, model).await;
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
