//! The operator is killed at a write of a story, before the API server hears of it or after it was carried out: the
//! story ends as it does undisturbed.
//!
//! What is swept is every write, on both sides. `cargo test` takes some of them; `make proof` takes all. What ends differently prints the
//! command that does it again.

mod digest;
mod story;
mod verified;

use std::time::Duration;

use werkbank_e2e::fault_proxy::{FaultProxy, Side};
use werkbank_e2e::metric_source::MetricSource;
use werkbank_e2e::node::Backoff;
use werkbank_e2e::process::Signal;
use werkbank_e2e::s3::S3;
use werkbank_e2e::workbench::{OPERATOR_NAMESPACE, Options};

use self::digest::{Digest, difference, digest};
use self::story::{STORIES, Story};
use crate::scene::{Model, Scene};

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

/// `KILL=paused-3-before`: what a sweep prints of a kill that ended differently.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "for the KILL that a sweep prints"]
async fn again() {
    let kill = std::env::var("KILL").expect("KILL, as in KILL=paused-3-before");
    let (story, nth, side) = parse(&kill).unwrap_or_else(|| panic!("no kill: {kill}"));
    let place = Place::set().await;
    let mut swept = Swept::default();
    let twin = format!("{story:?}-twin").to_lowercase();
    let twin = place.scene.model(&twin);
    undisturbed(story, &place, &twin).await;
    let expected = digest(story, &twin).await;
    swept.kill(&place, (story, nth, side), &expected).await;
    place.scene.end().await;
    assert_eq!(swept.missed, 0, "{story:?} had no write {nth} this time");
    swept.is_without_failure();
}

/// How a kill is called, and its model.
fn called((story, nth, side): (Story, usize, Side)) -> String {
    format!("{story:?}-{nth}-{side:?}").to_lowercase()
}

fn parse(kill: &str) -> Option<(Story, usize, Side)> {
    let number: usize = kill.split('-').nth(1)?.parse().ok()?;
    let sides = [Side::Before, Side::After];
    let all = STORIES.into_iter().flat_map(|story| sides.map(|side| (story, number, side)));
    all.into_iter().find(|it| called(*it) == kill)
}

#[test]
fn a_kill_is_found_by_its_name() {
    assert_eq!(parse("firstdeployment-12-after"), Some((Story::FirstDeployment, 12, Side::After)));
    assert_eq!(parse("firstdeployment-12"), None);
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
    let Swept { kills, missed, .. } = swept;
    assert!(missed * 10 <= kills, "of {} writes {missed} were not there", kills + missed);
    swept.is_without_failure();
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
                self.kill(place, (story, nth, side), &expected).await;
            }
        }
        eprintln!("{story:?}: {writes} writes; {} kills so far, {} times no such write", self.kills, self.missed);
    }

    async fn kill(&mut self, place: &Place, kill: (Story, usize, Side), expected: &Digest) {
        let ((story, nth, side), name) = (kill, called(kill));
        let model = place.scene.model(&name);
        *if killed(story, place, &model, nth, side).await { &mut self.kills } else { &mut self.missed } += 1;
        let found = digest(story, &model).await;
        if found != *expected {
            let again =
                format!("KILL={name} cargo test -p werkbank-e2e --test canary -- crashes::again --ignored --nocapture");
            self.failures.push(format!("{name}:\n{}\nagain: {again}", difference(expected, &found)));
        }
    }

    fn is_without_failure(&self) {
        let Self { kills, failures, .. } = self;
        assert!(failures.is_empty(), "{} of {kills} ended differently:\n{}", failures.len(), failures.join("\n"));
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
