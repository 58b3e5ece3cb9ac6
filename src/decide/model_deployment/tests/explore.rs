//! Small worlds, exhausted: every order in which a few things can happen, until nothing new comes of it.
//!
//! Breadth first over the real `decide`. What two worlds are taken for one by is in [`same`]; some of those are gone on with all
//! the same, and have to lead where the other led. A search of forty lines needs no model checker: stateright would want a model,
//! and there is none besides the state machine itself.

mod same;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use serde_json::json;

use self::same::{Key, check_waits, key, seen_of};
use super::properties::checked_pass;
use super::world::World;
use crate::api::model_deployment::Phase;
use crate::decide::Measurement;
use crate::decide::model_deployment::request;

/// Worlds that the fast loop looks at; `EXPLORE=1` looks at all.
const NEAREST: usize = 450;
/// Of the worlds that look like one that was seen, one of so many is looked into.
const ONE_TWIN_OF: usize = 17;

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
    /// Of the present attempt, at the step that it is at.
    Ask(&'static str),
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
        Event::Ask(verb) => {
            if let Some(attempt) = world.status().attempt {
                world.request_at(verb, &request::step_of(&attempt), "n1");
            }
        }
        Event::TrailDown => world.memory.trail_unavailable_since = Some(world.now),
        Event::TrailUp => world.memory.trail_unavailable_since = None,
    }
}

/// Every world that these events lead to; returns how many there are, and how many ways between them.
fn exhaust(first: World, events: &[Event]) -> (usize, usize) {
    check_waits(&first);
    let begin = key(&first);
    let mut found = Found { came: HashMap::from([(begin, None)]), led: HashMap::new(), first: first.clone() };
    let mut open = VecDeque::from([(begin, first)]);
    let (mut twins, mut ways, all) = (Vec::new(), 0, std::env::var_os("EXPLORE").is_some());
    while let Some((from, world)) = open.pop_front().filter(|_| all || found.came.len() < NEAREST) {
        let mut to = Vec::new();
        for event in events {
            let next = after(&world, *event);
            let key = key(&next);
            ways += 1;
            to.push(key);
            if let Entry::Vacant(new) = found.came.entry(key) {
                new.insert(Some((from, *event)));
                check(&next);
                open.push_back((key, next));
            } else if ways % ONE_TWIN_OF == 0 {
                twins.push((key, next));
            }
        }
        found.led.insert(from, to);
    }
    twins.iter().for_each(|(key, twin)| found.is_led_alike(key, twin, events));
    (found.came.len(), ways)
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
    fn is_led_alike(&self, looks: &Key, twin: &World, events: &[Event]) {
        let Some(led) = self.led.get(looks) else { return };
        let is_other = |(event, there): &(&Event, &Key)| key(&after(twin, **event)) != **there;
        let Some((event, _)) = events.iter().zip(led).find(is_other) else { return };
        panic!(
            "{event:?} tells apart what looks the same: {:#}\nIt leads to {:#}\nand to {:#}",
            seen_of(twin),
            seen_of(&after(twin, *event)),
            seen_of(&after(&self.again(looks), *event))
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
    if !attempt.state.goes_up() {
        return;
    }
    let refused = status.taken_back.iter().any(|it| it.revision == attempt.revision);
    assert!(!refused, "{attempt:#?} was taken back");
}

/// `churn-1` is to serve, which has never served; nobody knows what it answers.
fn first() -> World {
    let mut world = World::new();
    world.edit(|spec| spec.replicas = Some(1));
    world.rollout(json!({"steps": [{"weight": "50%", "for": "1m"}], "progressDeadline": "2m", "drain": "1m"}));
    world.analysis(json!({"interval": "1m", "failureLimit": 0, "metrics": [super::world::guardrail()]}));
    world
}

/// One step of a minute, measured each minute; everything is given up after two.
fn small() -> World {
    let mut world = first();
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
fn every_way_a_first_deployment_can_go_keeps_the_rules() {
    use Event::*;
    let events = [Pass, Crash(1), PodsReady, PodsGone, GatewayAccepts, Good, Bad, Minute, Deploy("churn-2")];
    explored_from(first(), "a first deployment", &events);
}

#[test]
fn whatever_people_ask_for_keeps_the_rules() {
    use Event::*;
    let events = [Pass, Cluster, Minute, Ask("pause"), Ask("resume"), Ask("promote"), Ask("retry")];
    explored("requests", &events);
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
