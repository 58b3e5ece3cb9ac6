//! One run of a scenario, step by step, in one thread and without real time.
//!
//! Between two steps everything stands still. What can happen next is listed; in the natural order the first of
//! it happens, in a seeded one whatever chance says. Only when nothing can happen, time passes until
//! something is due. So a run is its scenario, its seed and its faults, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep, sleep_until};

use super::chance::Chance;
use super::digest;
use super::oracles::log::wrong_with;
use super::others::{self, Deed};
use super::process::Process;
use super::scenario::Scenario;
use super::server::Cluster;
use super::stories::Seen;
use super::view::View;
use super::wire::{Fate, Fates, Plan};
use crate::api::model_deployment::RevisionRole;
use crate::audit::tlog::note::Signer;
use crate::audit::{Log, Trail};
use crate::runtime::{Clock, Key};
use crate::text::hex::hex;

mod promises;
mod publishing;
mod steps;

use publishing::Publishing;

/// More steps than any run needs.
const TOO_MANY: usize = 2_000;
/// Who asks for nothing is looked at every ten minutes, spread.
const NOTHING_DUE: Duration = Duration::from_mins(7);

/// Noon of an ordinary day.
fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_003_200, 0).unwrap()
}

/// What can happen next.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// A watch tells the next event of its collection.
    Deliver(String),
    /// A process takes the place of the one that died.
    Start,
    /// A pass of this resource, by the loop of this number.
    Pass(usize, Key),
    /// Somebody else acts.
    Other(Deed),
    /// The process makes tiles and checkpoint of what is on the log.
    Publish,
    /// What a dead process has sent arrives.
    Late,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) digest: Vec<String>,
    pub(super) violations: Vec<String>,
    /// Writes of the operator, files of the log among them.
    pub(super) writes: usize,
    /// Those to the API server: `PUT /path`.
    pub(super) wrote: Vec<String>,
    /// Passes of the deployment.
    pub(super) passes: usize,
    /// Collections that a process watches.
    pub(super) watched: Vec<String>,
    pub(super) trace: Vec<String>,
    /// Of the trace: the same for the same way to rest.
    pub(super) fingerprint: String,
}

/// Runs it in the natural order; `plan` says what becomes of writes. In the end it is looked at so often.
pub(super) fn natural(scenario: &Scenario, plan: Plan, forced: usize) -> Ended {
    alone(async { Run::begin(scenario, plan, None).await.play(forced).await })
}

/// Runs it in the natural order; from this write on a collection may not be read for a while.
pub(super) fn blinded(scenario: &Scenario, from: usize, collection: &str, forced: usize) -> Ended {
    alone(async {
        let mut run = Run::begin(scenario, no_faults(), None).await;
        run.loses = Some((from, collection.to_owned()));
        run.play(forced).await
    })
}

/// Runs it in the natural order and without faults; and what there was to see of it.
pub(super) fn seen(scenario: &Scenario) -> (Ended, Seen) {
    alone(async {
        let run = Run::begin(scenario, no_faults(), None).await;
        let (cluster, trail, fates) = (run.view.cluster.clone(), run.trail.clone(), run.fates.clone());
        let ended = run.play(1).await;
        let history = cluster.history();
        let deployment =
            history.iter().find(|it| it.1["kind"] == "ModelDeployment").map(|it| it.1["metadata"]["uid"].clone());
        let uid = deployment.as_ref().and_then(|it| it.as_str()).unwrap_or_default();
        let entries = trail.of_resource(uid).await.unwrap();
        let trail = entries.iter().map(|it| serde_json::to_value(it).unwrap()).collect();
        let mut fates = fates.lock().unwrap();
        let (events, requests) = (std::mem::take(&mut fates.events), std::mem::take(&mut fates.answered));
        (ended, Seen { history, trail, events, requests })
    })
}

/// Runs it as chance has it.
pub(super) fn seeded(scenario: &Scenario, seed: u64) -> Ended {
    let chance = Arc::new(Mutex::new(Chance::of(seed)));
    let fates = chance.clone();
    let plan = Box::new(move |_, about: &str| fates.lock().unwrap().fate(about));
    alone(async { Run::begin(scenario, plan, Some(chance)).await.play(2).await })
}

/// Everything that should.
pub(super) fn no_faults() -> Plan {
    Box::new(|_, _| Fate::Arrives)
}

/// A process' view of the log in this store.
fn log(store: Arc<dyn ObjectStore>) -> Log {
    let key = Signer::of_seed("werkbank.dev/log/simulation/1", &[1; 32]).unwrap();
    Log::over(store, Path::default(), "memory:///".into(), vec![key]).of_predictable_people()
}

fn alone<T>(run: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(run)
}

struct Run<'a> {
    scenario: &'a Scenario,
    view: View,
    store: Arc<InMemory>,
    /// The log as somebody reads it who is none of the processes.
    trail: Arc<Log>,
    fates: Arc<Mutex<Fates>>,
    chance: Option<Arc<Mutex<Chance>>>,
    process: Option<Process>,
    publishing: Publishing,
    lives: i64,
    /// What the operator's clock goes wrong by, in milliseconds.
    wrong_by: Arc<AtomicI64>,
    awake: BTreeSet<(usize, Key)>,
    due: BTreeMap<(usize, Key), Instant>,
    acts: usize,
    trace: Vec<String>,
    passes: usize,
    /// Versions and writes when the deployment was last looked at, and how often nothing was new.
    last: (u64, usize),
    quiet: usize,
    /// What each resource waits for.
    waits: BTreeMap<(usize, Key), Duration>,
    /// The version people have last looked at, and that others have, with what they can do.
    looked: u64,
    deeds: (u64, Vec<Deed>),
    /// How many kinds a process watches.
    watched: usize,
    /// From which write on one of them is not to be read for a while.
    loses: Option<(usize, String)>,
    /// Until when the right to one of them is lost, and to which.
    forbidden_until: Option<(Instant, String)>,
    /// By when it has certainly noticed that it is given back.
    sees_from: Option<Instant>,
}

impl<'a> Run<'a> {
    async fn begin(scenario: &'a Scenario, plan: Plan, chance: Option<Arc<Mutex<Chance>>>) -> Self {
        let (cluster, began) = (Cluster::default(), Instant::now());
        let since = move || noon() + TimeDelta::from_std(began.elapsed()).unwrap();
        let clock = Clock::of(since);
        cluster.goes_by(clock.clone());
        cluster.lag();
        let view = View::of(cluster, clock);
        let store = Arc::new(InMemory::new());
        let trail = Arc::new(log(store.clone()));
        let fates = Arc::new(Mutex::new(Fates::of(plan, scenario.verifies)));
        scenario.set(&view);
        Self {
            scenario,
            view,
            store,
            trail,
            fates,
            chance,
            process: None,
            publishing: Publishing::default(),
            lives: 0,
            wrong_by: Arc::default(),
            awake: BTreeSet::new(),
            due: BTreeMap::new(),
            acts: 0,
            trace: Vec::new(),
            passes: 0,
            last: (0, 0),
            quiet: 0,
            waits: BTreeMap::new(),
            looked: 0,
            deeds: (0, Vec::new()),
            watched: 0,
            loses: None,
            forbidden_until: None,
            sees_from: None,
        }
    }

    fn fates(&self) -> MutexGuard<'_, Fates> {
        self.fates.lock().unwrap()
    }

    fn told(&mut self, what: String) {
        let at = self.view.now().format("%H:%M:%S%.3f");
        self.trace.push(format!("{at} {what}"));
        let written = std::mem::take(&mut self.fates().told);
        self.trace.extend(written.into_iter().map(|it| format!("             {it}")));
    }

    async fn play(mut self, forced: usize) -> Ended {
        for number in 0.. {
            self.script();
            self.notice();
            self.keeps_its_promise();
            let steps = self.steps();
            if steps.is_empty() && self.is_at_rest() {
                break;
            }
            if number == TOO_MANY || !self.fates().oracles.violations.is_empty() {
                let rest = (number == TOO_MANY).then(|| {
                    format!("it does not come to rest, after act {} of {}", self.acts, self.scenario.acts.len())
                });
                self.fates().oracles.violations.extend(rest);
                let fingerprint = self.fingerprint();
                return self.ended(fingerprint);
            }
            self.loses_sight().await;
            self.one(steps).await;
        }
        let fingerprint = self.fingerprint();
        self.stays_at_rest(forced).await;
        let uid = self.view.deployment()["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let entries = self.trail.of_resource(&uid).await.unwrap();
        let read_again = log(self.store.clone()).of_resource(&uid).await;
        if read_again.as_ref() != Ok(&entries) {
            self.fates().oracles.broken(format!("the log does not verify: {read_again:?}"));
        }
        let (wrong, names) = (wrong_with(&log(self.store.clone())).await, self.names().await);
        let metrics = self.process.as_ref().map(|it| it.metrics.text().unwrap()).unwrap_or_default();
        let mut fates = self.fates.lock().unwrap();
        fates.oracles.tells_no_name("a metric", &metrics);
        fates.oracles.violations.extend(wrong);
        fates.oracles.are_called(names);
        fates.oracles.at_rest(&self.view.cluster, &entries);
        drop(fates);
        self.ended(fingerprint)
    }

    /// Everybody who has asked for something or approved it, by the actor that the record makes of them.
    async fn names(&self) -> BTreeMap<String, String> {
        let people = self.fates().oracles.people();
        let mut names = BTreeMap::new();
        for name in people {
            names.insert(self.trail.said(&name, None).await.unwrap().actor, name);
        }
        names
    }

    fn fingerprint(&self) -> String {
        hex(&Sha256::digest(self.trace.join("\n")), 8)
    }

    fn ended(self, fingerprint: String) -> Ended {
        let digest = digest::of(&self.view.cluster);
        let fates = self.fates.lock().unwrap();
        let violations = fates.oracles.violations.clone();
        let wrote = fates.answered.iter().map(|it| format!("{} {}", it.method, it.path)).collect();
        let (writes, passes, trace) = (fates.writes, self.passes, self.trace.clone());
        let watched = self.view.cluster.watched();
        Ended { digest, violations, writes, wrote, passes, watched, trace, fingerprint }
    }

    /// People act as soon as what they wait for is there.
    fn script(&mut self) {
        // Nobody looks twice at the same thing.
        if std::mem::replace(&mut self.looked, self.view.cluster.version()) == self.view.cluster.version() {
            return;
        }
        while let Some(act) = self.scenario.acts.get(self.acts).filter(|it| (it.when)(&self.view)) {
            (act.what)(&self.view);
            self.fates.lock().unwrap().oracles.listens(&self.view.cluster);
            self.acts += 1;
            self.told(format!("act {} of {}", self.acts, self.scenario.acts.len()));
        }
    }

    /// Who was woken, and whether the process has died.
    fn notice(&mut self) {
        if self.forbidden_until.as_ref().is_some_and(|(at, _)| *at <= Instant::now()) {
            self.is_told_what_cannot_be_read();
            self.give_the_right_back();
        }
        if self.process.as_ref().is_some_and(|it| !it.wire.is_alive()) {
            self.is_dead();
            self.told("the process is dead".into());
        }
        self.hears_of_the_right();
        self.owes();
        let Some(process) = &mut self.process else { return };
        for (number, hand) in process.hands.iter_mut().enumerate() {
            self.awake.extend(hand.woken().into_iter().map(|key| (number, key)));
        }
    }

    fn is_dead(&mut self) {
        self.process = None;
        (self.awake, self.due, self.waits, self.publishing) = Default::default();
    }

    fn steps(&mut self) -> Vec<Step> {
        let cluster = &self.view.cluster;
        let mut steps: Vec<Step> = cluster.behind().into_iter().map(Step::Deliver).collect();
        steps.extend(self.process.is_none().then_some(Step::Start));
        let now = Instant::now();
        let due = self.due.iter().filter(|(_, at)| **at <= now).map(|(it, _)| it);
        let awake: BTreeSet<_> = self.awake.iter().chain(due).cloned().collect();
        steps.extend(awake.into_iter().map(|(number, key)| Step::Pass(number, key)));
        if self.deeds.0 != cluster.version() {
            let pods = |it: &_, wanted| self.scenario.pods_of(&self.view, it, wanted);
            let jobs = |it: &_| (self.scenario.jobs)(&self.view, it);
            self.deeds = (cluster.version(), others::deeds(cluster, &pods, &jobs));
        }
        steps.extend(self.deeds.1.iter().cloned().map(Step::Other));
        steps.extend(self.publishing.is_due().then_some(Step::Publish));
        steps.extend((!self.fates().late.is_empty()).then_some(Step::Late));
        steps
    }

    async fn one(&mut self, mut steps: Vec<Step>) {
        let chance = self.chance.clone();
        let mut chance = chance.as_ref().map(|it| it.lock().unwrap());
        if let Some(mischief) = chance.as_mut().and_then(|it| it.mischief(&self.view.cluster)) {
            drop(chance);
            return self.suffer(mischief).await;
        }
        if steps.is_empty() {
            drop(chance);
            return self.pass_time().await;
        }
        let index = chance.as_mut().map_or(0, |it| it.pick(&steps));
        drop(chance);
        self.take(steps.swap_remove(index)).await;
        // Time stands still for whoever is busy; this ends when nobody is.
        sleep(Duration::from_millis(1)).await;
    }

    /// Until something is due. A watch that broke off is back within seconds.
    async fn pass_time(&mut self) {
        let now = Instant::now();
        let next = self.due.values().copied().chain(self.publishing.next()).min();
        let next = next.unwrap_or(now + Duration::from_mins(10));
        if next - now > Duration::from_secs(1) {
            self.is_told();
        }
        let next = if self.is_blind() { next.min(now + Duration::from_secs(1)) } else { next };
        let next = next.max(now + Duration::from_millis(1));
        // A source that is slow wakes somebody before that.
        while Instant::now() < next && self.awake.is_empty() {
            let step = if self.chance.is_some() { Duration::from_secs(1) } else { next - now };
            sleep_until(next.min(Instant::now() + step)).await;
            self.notice();
            if !self.awake.is_empty() {
                // Since when, nobody has looked.
                self.fates().trouble.was_slow();
            }
        }
    }

    /// Whether some watch has broken off and is not back yet.
    fn is_blind(&self) -> bool {
        self.view.cluster.watched().len() < self.watched
    }

    /// Whether it sees all that it decides by, and has had the time to notice that it does.
    fn sees(&self) -> bool {
        (!self.is_blind() || self.lacks_what_is_welcome()) && self.sees_from.is_none_or(|at| at <= Instant::now())
    }

    /// Whether it goes on without what it may not read.
    fn lacks_what_is_welcome(&self) -> bool {
        let health = self.process.as_ref().map(Process::health).unwrap_or_default();
        let stops = ["nothing is run", "is left out"].iter().any(|it| health.contains(it));
        !health.is_empty() && !stops
    }

    /// Nobody waits for anything, and nothing was new when it was last looked for.
    fn is_at_rest(&self) -> bool {
        let done = self.acts == self.scenario.acts.len() && !self.is_blind();
        let is_published = self.publishing.next().is_none();
        if !done || !is_published || self.process.is_none() || self.waits.values().any(|wait| *wait < NOTHING_DUE) {
            return false;
        }
        let status = self.view.status();
        let is_active = status.attempt.is_some_and(|it| it.state.is_active());
        let drains = status.revisions.iter().any(|it| it.role == RevisionRole::Draining);
        self.view.deployment().is_null() || (!drains && self.quiet > if is_active { 3 } else { 0 })
    }
}
