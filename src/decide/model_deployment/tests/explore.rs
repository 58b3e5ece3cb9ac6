//! Small worlds, exhausted: every order in which a few things can happen, until nothing new comes of it.
//!
//! Breadth first over the real `decide`. Two worlds are the same if they look the same to every later decision:
//! status, children and what is outside, with numbers of decisions told by their order (numbers that were given up in
//! between change nothing), and with times told by the gaps between them, the present being one of them: all that a rule does with a time is to add waits
//! to it and to compare the sum with another. So no rule tells two gaps apart that are both longer than the longest
//! sum, and two worlds with the same gaps up to there are the same (the regions of timed automata: Alur and Dill,
//! "A theory of timed automata", 1994). A search of forty lines needs no model checker: stateright would want a model,
//! and there is none besides the state machine itself.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::inquiry::{Judges, Topic};
use super::super::policy::Policy;
use super::super::request;
use super::properties::checked_pass;
use super::world::World;
use crate::api::model_deployment::{AttemptState, ModelDeploymentStatus, Phase};
use crate::build;
use crate::decide::Measurement;

/// The longest wait of these worlds, in seconds: `progressDeadline`, and what arrives late, twice.
const LONGEST_WAIT: i64 = 120;
/// Worlds that the fast loop looks at; `EXPLORE=1` looks at all.
const NEAREST: usize = 450;

/// Of the worlds that look like one that was seen, one of so many is looked into.
const ONE_TWIN_OF: usize = 17;

/// `analysis.interval` of these worlds, in seconds.
const INTERVAL: i64 = 60;

type Key = [u8; 32];

#[derive(Debug, Clone, Copy)]
enum Event {
    Pass,
    /// The operator dies after so many writes of a pass.
    Crash(usize),
    /// Somebody else writes between decision and status write.
    Conflict,
    /// Pods are ready, routes accepted.
    Cluster,
    PodsReady,
    PodsGone,
    GatewayAccepts,
    Good,
    Bad,
    /// What arrives late is good, or bad, or not there.
    Outcome(Option<f64>),
    Minute,
    Deploy(&'static str),
    Abort,
    TrailDown,
    TrailUp,
}

fn happen(world: &mut World, event: Event) {
    match event {
        Event::Pass => drop(checked_pass(world, usize::MAX)),
        Event::Crash(writes) => {
            checked_pass(world, writes);
            world.restart();
        }
        Event::Conflict => world.conflict(),
        Event::Cluster => {
            world.pods_ready();
            world.gateway_accepts();
        }
        Event::PodsReady => world.pods_ready(),
        Event::PodsGone => {
            let candidate = world.status().attempt.map(|it| it.revision).unwrap_or_default();
            if world.children.deployments.contains_key(&format!("churn-{candidate}")) {
                world.pods_ready_of(&candidate, 0);
            }
        }
        Event::GatewayAccepts => world.gateway_accepts(),
        Event::Good => world.measure("error-rate", Measurement::of(0.001)),
        Event::Bad => world.measure("error-rate", Measurement::of(0.5)),
        Event::Outcome(value) => {
            let outcome = value.map_or_else(|| Measurement::NoData("no rows".into()), Measurement::of);
            world.measure("complaints", outcome);
        }
        Event::Minute => world.advance(60),
        Event::Deploy(entry) => world.deploy(entry),
        Event::Abort => {
            if world.status().attempt.is_some() {
                world.request("abort", "n1");
            }
        }
        Event::TrailDown => world.memory.trail_unavailable_since = Some(world.now),
        Event::TrailUp => world.memory.trail_unavailable_since = None,
    }
}

/// What later decisions rest on, short.
fn key(world: &World) -> Key {
    Sha256::digest(seen_of(world).to_string()).into()
}

/// What later decisions rest on.
fn seen_of(world: &World) -> Value {
    let status = world.status();
    let mut told = serde_json::to_value(&status).unwrap();
    let last = status.sequence;
    let lost = || world.memory.lost.iter();
    let mut numbers = BTreeSet::from([last]);
    mentioned(&told, &mut numbers);
    numbers.extend(lost().map(|it| it.sequence));
    let ranks = ranks(&numbers, last);
    forget(&mut told, &ranks);
    forget_what_is_over(&mut told, &status);
    for note in told["unrecorded"].as_array_mut().into_iter().flatten() {
        *note = json!([note["kind"], note["sequence"], note["decision"], note["weight"]]);
    }
    for condition in told["conditions"].as_array_mut().into_iter().flatten() {
        *condition = json!([condition["type"], condition["status"], condition["reason"]]);
    }
    told["asked"] = asked(world, &status);
    let mut times = BTreeSet::from([world.now]);
    dated(&told, &mut times);
    let regions = regions(&times);
    tell_times(&mut told, &regions);
    // A new attempt's id is nobody's yet: of an old one it only matters whether it is the present one's.
    let is_present = |id: &str| status.attempt.as_ref().is_some_and(|it| it.id == id);
    if let Some(handled) = &status.handled_request {
        told["handledRequest"]["attempt"] = is_present(&handled.attempt).into();
    }
    let request = request::pending(&world.resource, &status);
    let request = request.map(|it| json!([it.verb.word(), is_present(&it.attempt), it.step, it.nonce]));
    let children = &world.children;
    let deployments: Vec<Value> = children
        .deployments
        .iter()
        .map(|(name, it)| {
            let seen = it
                .status
                .as_ref()
                .map(|status| (status.observed_generation == it.metadata.generation, status.ready_replicas));
            json!([name, it.spec.as_ref().and_then(|spec| spec.replicas), seen])
        })
        .collect();
    let route = children.route.as_ref().map(|it| {
        let seen = it.status.as_ref().map(|status| {
            let all = status.parents.iter().flat_map(|parent| &parent.conditions);
            all.map(|condition| (condition.status.clone(), condition.observed_generation == it.metadata.generation))
                .collect::<Vec<_>>()
        });
        json!([it.spec, seen, build::fence::stands(&it.metadata, &fenced(&status))])
    });
    // What waits to be recorded meets what is on the record under its number.
    let recorded = status.unrecorded.iter().map(|it| it.sequence - 1).fold(last, i64::min);
    let open: Vec<String> = world.trail.beyond(recorded);
    let lost: Vec<_> = lost().map(|it| json!([ranks[&it.sequence], it.decision, it.weight])).collect();
    json!([
        told,
        deployments,
        route,
        regions[&world.now],
        open,
        lost,
        children.records.keys().collect::<Vec<_>>(),
        children.services.keys().collect::<Vec<_>>(),
        world.resource.spec.model_ref.name,
        request,
        world.memory.trail_unavailable_since.is_some(),
        world.resource.metadata.generation == Some(status.observed_generation),
        format!("{:?}", world.sources.answers),
    ])
}

/// Nothing waits from a time in an attempt that is over, or in a probation that is. (The twins would tell.)
fn forget_what_is_over(told: &mut Value, status: &ModelDeploymentStatus) {
    fn forget_times(verdicts: &mut Value) {
        verdicts.as_array_mut().into_iter().flatten().for_each(|it| it["time"] = Value::Null);
    }
    let active = status.attempt.as_ref().filter(|it| it.state.is_active());
    // Nor is what goes back judged any more.
    if active.is_none_or(|it| it.state == AttemptState::RollingBack) {
        forget_times(&mut told["verdicts"]);
    }
    if active.is_none() {
        for field in ["enteredAt", "measuredAt", "exposed"] {
            told["attempt"][field] = Value::Null;
        }
    }
    if status.probation.as_ref().is_some_and(|it| it.recall.is_some()) {
        told["probation"]["exposed"] = Value::Null;
        forget_times(&mut told["probation"]["verdicts"]);
    }
}

/// When this process last asked for what may be asked for again. It is in no status: one write of it may be lost.
fn asked(world: &World, status: &ModelDeploymentStatus) -> Value {
    let attempt = status.attempt.iter().map(|it| (Judges::Attempt, it.id.as_str()));
    let probation = status.probation.iter().map(|it| (Judges::Probation, it.attempt.as_str()));
    let topics = attempt
        .chain(probation)
        .flat_map(|(judges, id)| ["error-rate", "complaints"].map(|metric| Topic::of(judges, id, Some(metric))));
    // By itself: it may be asked again an interval later, whatever else happens.
    let age = |at: DateTime<Utc>| (world.now - at).num_seconds().min(INTERVAL + 1);
    topics.map(|it| json!(world.last_asked(&it).map(age))).collect()
}

/// A route with the fence that the present attempt may ask for.
fn fenced(status: &ModelDeploymentStatus) -> ObjectMeta {
    let mut wanted = ObjectMeta::default();
    build::fence::raise(&mut wanted, status.attempt.as_ref().map_or(0, |it| it.decided));
    wanted
}

/// Numbers of decisions that a status speaks of.
fn mentioned(value: &Value, numbers: &mut BTreeSet<i64>) {
    match value {
        Value::Object(fields) => {
            numbers.extend(["sequence", "decided"].iter().filter_map(|it| fields.get(*it)?.as_i64()));
            fields.values().for_each(|it| mentioned(it, numbers));
        }
        Value::Array(items) => items.iter().for_each(|it| mentioned(it, numbers)),
        _ => {}
    }
}

/// Up to the last one, how many that somebody speaks of are newer: one between that nobody does was given up, and is as
/// if it had never been. Beyond it, how far: those are given next.
fn ranks(numbers: &BTreeSet<i64>, last: i64) -> BTreeMap<i64, i64> {
    let rank = |it: &i64| if *it > last { *it - last } else { -(numbers.range(*it..last).count() as i64) };
    numbers.iter().map(|it| (*it, rank(it))).collect()
}

/// Numbers by their order, and nothing that only people read.
fn forget(value: &mut Value, ranks: &BTreeMap<i64, i64>) {
    match value {
        Value::Object(fields) => {
            for gone in [
                "message",
                "reason_",
                "lastTransitionTime",
                "observedGeneration",
                "attempts",
                "startedAt",
                "id",
                "leaseEpoch",
                "value",
            ] {
                fields.remove(gone);
            }
            for number in ["sequence", "decided"] {
                if let Some(it) = fields.get_mut(number) {
                    *it = ranks[&it.as_i64().unwrap()].into();
                }
            }
            if let Some(failures) = fields.get_mut("failures") {
                *failures = failures.as_i64().unwrap_or(0).min(2).into();
            }
            fields.values_mut().for_each(|it| forget(it, ranks));
            for exposed in fields.get_mut("exposed").and_then(Value::as_array_mut).into_iter().flatten() {
                // What is asked about; the answers of these worlds do not depend on it.
                exposed["since"] = Value::Null;
            }
            for proven in fields.get_mut("proven").and_then(Value::as_array_mut).into_iter().flatten() {
                // Compared with `rollbackWindow` alone, which these worlds do not have.
                proven["at"] = Value::Null;
            }
            if let Some(Value::Array(taken_back)) = fields.get_mut("takenBack") {
                taken_back.sort_by_key(|it| it["revision"].as_str().map(str::to_owned));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|it| forget(it, ranks)),
        // An attempt's id: which one it is, the rest of the status says.
        Value::String(text) if time(text).is_none() && text.matches('-').count() >= 3 => *value = Value::Null,
        _ => {}
    }
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    text.parse().ok()
}

/// Every time that is told.
fn dated(value: &Value, times: &mut BTreeSet<DateTime<Utc>>) {
    match value {
        Value::Object(fields) => fields.values().for_each(|it| dated(it, times)),
        Value::Array(items) => items.iter().for_each(|it| dated(it, times)),
        Value::String(text) => times.extend(time(text)),
        _ => {}
    }
}

/// Where each time lies when every gap that is longer than the longest wait is just longer. The newest is at 0.
fn regions(times: &BTreeSet<DateTime<Utc>>) -> BTreeMap<DateTime<Utc>, i64> {
    let mut newer = times.last().copied().unwrap_or_default();
    let mut place = 0;
    let told = times.iter().rev().map(|at| {
        place -= (newer - *at).num_seconds().min(LONGEST_WAIT + 1);
        newer = *at;
        (*at, place)
    });
    told.collect()
}

fn tell_times(value: &mut Value, regions: &BTreeMap<DateTime<Utc>, i64>) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|it| tell_times(it, regions)),
        Value::Array(items) => items.iter_mut().for_each(|it| tell_times(it, regions)),
        Value::String(text) => {
            if let Some(place) = time(text).and_then(|it| regions.get(&it)) {
                *value = json!({ "at": place });
            }
        }
        _ => {}
    }
}

/// Every world that these events lead to; returns how many there are, and how many ways between them.
fn exhaust(first: World, events: &[Event]) -> (usize, usize) {
    check_waits(&first);
    let mut found = Found { came: HashMap::from([(key(&first), None)]), led: HashMap::new(), first: first.clone() };
    let mut open = VecDeque::from([first]);
    let (mut twins, mut ways, all) = (Vec::new(), 0, std::env::var_os("EXPLORE").is_some());
    while let Some(world) = open.pop_front().filter(|_| all || found.came.len() < NEAREST) {
        let (from, mut to) = (key(&world), Vec::new());
        for event in events {
            let next = after(&world, *event);
            let key = key(&next);
            ways += 1;
            to.push(key);
            if let Entry::Vacant(new) = found.came.entry(key) {
                new.insert(Some((from, *event)));
                check(&next);
                open.push_back(next);
            } else if ways % ONE_TWIN_OF == 0 {
                twins.push(next);
            }
        }
        found.led.insert(from, to);
    }
    twins.iter().for_each(|twin| found.is_led_alike(twin, events));
    (found.came.len(), ways)
}

/// No wait of these worlds is longer than gaps are told.
fn check_waits(world: &World) {
    let policy = Policy::read(&world.resource.spec, &world.shared_metrics);
    // What arrives late is waited for twice: as long as it may take, and once more.
    let delays = policy.metrics.iter().filter_map(|it| it.delay).map(|it| 2 * it);
    let steps = policy.steps.iter().flat_map(|it| [Some(it.for_), it.max_step_time]).flatten();
    let waits = [policy.progress_deadline, policy.drain, policy.keep_stable, policy.interval];
    let longest = waits.into_iter().chain(delays).chain(steps).max();
    assert!(longest.is_some_and(|it| it.as_secs() <= LONGEST_WAIT.unsigned_abs()), "{longest:?}");
    // Longer ones: of these worlds nobody has them. (A contest's are, too, and nobody edits the route.)
    assert!(
        policy.rollback_window.is_none() && policy.rollback_on_outage.is_none() && policy.on_stable_breach.is_none()
    );
    assert!(policy.metrics.iter().all(|it| !it.is_job()) && policy.shadow.is_none());
}

/// Worlds that were found.
struct Found {
    first: World,
    /// From where, and by what.
    came: HashMap<Key, Option<(Key, Event)>>,
    /// Where each event leads; of the last ones of a search that is cut short it is not known.
    led: HashMap<Key, Vec<Key>>,
}

impl Found {
    /// What was taken for a world that had been found has to lead where that one led.
    fn is_led_alike(&self, twin: &World, events: &[Event]) {
        let Some(led) = self.led.get(&key(twin)) else { return };
        let is_other = |(event, there): &(&Event, &Key)| key(&after(twin, **event)) != **there;
        let Some((event, _)) = events.iter().zip(led).find(is_other) else { return };
        panic!(
            "{event:?} tells apart what looks the same: {:#}\nIt leads to {:#}\nand to {:#}",
            seen_of(twin),
            seen_of(&after(twin, *event)),
            seen_of(&after(&self.again(&key(twin)), *event))
        );
    }

    /// The world that was found first of those that look like this.
    fn again(&self, key: &Key) -> World {
        match &self.came[key] {
            None => self.first.clone(),
            Some((from, event)) => after(&self.again(from), *event),
        }
    }
}

fn after(world: &World, event: Event) -> World {
    let mut next = world.clone();
    happen(&mut next, event);
    next
}

/// What holds in each of them.
fn check(world: &World) {
    let status = world.status();
    if status.unrecorded.is_empty() && world.memory.lost.is_empty() && world.trail.beyond(status.sequence).is_empty() {
        assert_eq!(world.trail.recorded(), world.trail.effects());
    }
    let Some(attempt) = &status.attempt else { return };
    if !attempt.state.is_active() || attempt.state == AttemptState::RollingBack {
        return;
    }
    let refused = status.taken_back.iter().any(|it| it.revision == attempt.revision);
    assert!(!refused, "{attempt:#?} was taken back");
}

/// One step of a minute, measured each minute; everything is given up after two.
fn small() -> World {
    let mut world = World::new();
    world.edit(|spec| spec.replicas = Some(1));
    world.rollout(json!({"steps": [{"weight": "50%", "for": "1m"}], "progressDeadline": "2m", "drain": "1m"}));
    world.analysis(json!({"interval": "1m", "failureLimit": 0, "metrics": [super::world::guardrail()]}));
    world.come_to_rest();
    world
}

/// `churn-2` is on its way; errors are as they should be.
fn on_its_way() -> World {
    let mut world = small();
    world.measure("error-rate", Measurement::of(0.001));
    world.deploy("churn-2");
    world
}

/// `churn-2` has been promoted, and is judged after a minute by what arrives late.
fn on_probation() -> World {
    let mut world = small();
    world.analysis(json!({"interval": "1m", "failureLimit": 0, "metrics": [super::world::guardrail(), super::properties::late_by("1m")]}));
    world.measure("error-rate", Measurement::of(0.001));
    world.deploy("churn-2");
    let step = |world: &mut World| {
        world.pass();
        world.all_is_well();
        world.advance(30);
    };
    world.until(|it| it.status().phase == Phase::Probation, step);
    world
}

fn explored(what: &str, events: &[Event]) {
    explored_from(on_its_way(), what, events);
}

fn explored_from(first: World, what: &str, events: &[Event]) {
    let (worlds, ways) = exhaust(first, events);
    println!("{what}: {worlds} worlds, {ways} ways");
}

#[test]
fn every_way_a_canary_can_go_keeps_the_rules() {
    use Event::*;
    explored("a canary", &[Pass, PodsReady, PodsGone, GatewayAccepts, Good, Bad, Minute]);
}

#[test]
fn whatever_people_change_their_minds_to_keeps_the_rules() {
    use Event::*;
    explored("people", &[Pass, Cluster, Minute, Deploy("churn-1"), Deploy("churn-2"), Abort]);
}

#[test]
fn a_trail_that_comes_and_goes_keeps_the_rules() {
    use Event::*;
    explored("the trail", &[Pass, Cluster, Minute, Bad, TrailDown, TrailUp]);
}

#[test]
fn every_death_and_every_conflict_of_a_canary_keeps_the_rules() {
    use Event::*;
    explored("deaths", &[Pass, Cluster, Minute, Crash(1), Crash(2), Conflict]);
}

#[test]
fn every_way_a_probation_can_go_keeps_the_rules() {
    use Event::*;
    let events = [Pass, Cluster, Minute, Outcome(Some(0.001)), Outcome(Some(0.5)), Outcome(None)];
    explored_from(on_probation(), "probation", &events);
}

#[test]
fn whatever_people_want_of_a_revision_on_probation_keeps_the_rules() {
    use Event::*;
    let events = [Pass, Cluster, Minute, Outcome(Some(0.5)), Deploy("churn-1"), Abort];
    explored_from(on_probation(), "people and probation", &events);
}

#[test]
fn the_next_candidate_and_every_death_on_probation_keep_the_rules() {
    use Event::*;
    let mut world = on_probation();
    world.deploy("churn-3");
    explored_from(world, "the next candidate", &[Pass, Cluster, Minute, Outcome(Some(0.5)), Crash(1)]);
}
