//! Who asked for a decision: on the record as an actor, whenever that is found out, and nobody else is.

use serde_json::json;

use super::consents::{at_five_percent, intent};
use super::gates::{wait, weight};
use super::probation;
use super::world::{World, is_nothing};
use crate::api::model_deployment::{AttemptState, RequestOutcome};
use crate::decide::Measurement;

/// Jane has asked for all traffic at 5 %, and pods for it come up.
fn awaits_pods() -> World {
    let mut world = World::mid_canary();
    world.resource.spec.replicas = Some(20);
    world.pass();
    world.all_is_well();
    world.pass();
    world.request_at("promote", "0", "n1");
    world.pass();
    assert_eq!((world.attempt().skip_steps, weight(&world).as_str()), (true, "5%"));
    world
}

/// Pods come up, and what is measured is good.
fn goes_up(world: &mut World) {
    world.until(
        |it| weight(it) == "100%",
        |it| {
            it.advance(30);
            it.all_is_well();
            it.pass();
        },
    );
}

/// Who asked for what took effect in the present attempt.
fn askers(world: &World, decision: &str) -> Vec<String> {
    let id = world.attempt().id;
    let effective = world.trail.effective(decision).into_iter().filter(|it| it.attempt == id);
    effective.map(|it| it.asked_by.clone()).collect()
}

#[test]
fn what_nobody_asked_for_is_by_nobody_also_while_an_old_request_lies_there() {
    let mut world = at_five_percent();
    world.request_at("pause", "0", "n1");
    world.pass();
    world.pass();
    assert_eq!(intent(&world, "Pause").asked_by, "actor of jane");
    world.request_at("resume", "0", "n2");
    world.pass();
    assert_eq!(intent(&world, "Resume").asked_by, "actor of jane");
    world.says_of_step("Approved", "olga");
    (0..4).for_each(|_| wait(&mut world, 600));
    assert_eq!(weight(&world), "100%");
    assert_eq!(intent(&world, "Shift").asked_by, "");
    assert_eq!(intent(&world, "Promote").asked_by, "");
}

/// Each of these takes effect at once, whatever the record says.
#[test]
fn who_asked_while_the_record_was_silent_is_named_as_soon_as_it_answers() {
    for (verb, decision) in [("pause", "Pause"), ("abort", "RollBack")] {
        let mut world = at_five_percent();
        world.trail_is_down();
        world.request_at(verb, "0", "n1");
        world.pass();
        let asked_by = |world: &World| world.status().handled_request.unwrap().asked_by.unwrap();
        assert_eq!(asked_by(&world), "unknown");
        world.memory.trail_unavailable_since = None;
        (0..3).for_each(|_| drop(world.pass()));
        assert_eq!(
            (intent(&world, decision).asked_by.as_str(), asked_by(&world).as_str()),
            ("actor of jane", "actor of jane")
        );
        assert!(is_nothing(&world.pass()) || verb == "abort");
    }
}

/// However long it was silent: it takes entries first, and says who people are a moment later.
#[test]
fn who_asked_is_waited_for_when_the_log_takes_entries_again() {
    let mut world = at_five_percent();
    world.trail_is_down();
    world.request("abort", "n1");
    world.pass();
    world.advance(600);
    world.memory.trail_unavailable_since = None;
    world.people_unknown_since = Some(world.now);
    let waits = world.pass().requeue.unwrap();
    assert!(waits <= std::time::Duration::from_secs(10), "{waits:?}");
    assert!(world.trail.told().iter().all(|it| !it.contains("RollBack")));
    world.advance(10);
    world.people_unknown_since = None;
    world.pass();
    assert_eq!(intent(&world, "RollBack").asked_by, "actor of jane");
}

/// Something that somebody can ask for now.
fn ready_for(decision: &str) -> World {
    let mut world = if decision == "EndProbation" { probation::promoted() } else { World::mid_canary() };
    world.all_is_well();
    world.pass();
    let before = match decision {
        "Resume" => "pause",
        "Start" => "abort",
        _ => return world,
    };
    world.request_at(before, "0", "n1");
    world.pass();
    world.gateway_accepts();
    (0..5).for_each(|_| drop(world.pass()));
    world
}

/// After a minute it is carried out, by nobody who is known.
#[test]
fn what_can_wait_waits_a_minute_for_who_asks() {
    for (verb, step, decision) in [
        ("resume", "0", "Resume"),
        ("promote", "0", "Promote"),
        ("retry", "-", "Start"),
        ("promote", "-", "EndProbation"),
    ] {
        for (away, expected) in [(10, "actor of jane"), (60, "unknown")] {
            let mut world = ready_for(decision);
            world.asker_unknown_since = Some(world.now);
            world.request_at(verb, step, "n2");
            for _ in 0..away / 5 {
                let waits = world.pass().requeue.unwrap();
                assert!(waits <= std::time::Duration::from_secs(10), "{decision}: {waits:?}");
                assert!(world.status().handled_request.is_none_or(|it| it.nonce != "n2"), "{decision}");
                world.advance(5);
                world.all_is_well();
            }
            world.asker_unknown_since = world.asker_unknown_since.filter(|_| expected == "unknown");
            (0..3).for_each(|_| drop(world.pass()));
            assert_eq!(world.handled().outcome, RequestOutcome::Done, "{decision}: {:?}", world.handled().message);
            if decision == "Promote" {
                goes_up(&mut world);
            }
            assert_eq!(intent(&world, decision).asked_by, expected, "{decision}");
        }
    }
}

#[test]
fn who_asked_before_another_did_is_not_known_any_more_and_is_nobody_else() {
    let mut world = at_five_percent();
    let id = world.attempt().id;
    world.trail_is_down();
    world.annotate(format!("pause/{id}/0/n1/jane"));
    world.pass();
    world.advance(5);
    world.annotate(format!("abort/{id}/0/n2/max"));
    world.pass();
    world.advance(5);
    world.annotate(format!("promote/{id}/0/n3/olga"));
    world.pass();
    assert_eq!(world.status().handled_request.unwrap().outcome, RequestOutcome::Refused);
    let mut told_of_all = world.clone();
    told_of_all.memory.trail_unavailable_since = None;
    (0..3).for_each(|_| drop(told_of_all.pass()));
    let asked_by = |world: &World| [intent(world, "Pause").asked_by, intent(world, "RollBack").asked_by];
    assert_eq!(asked_by(&told_of_all), ["unknown", "unknown"], "olga has asked for neither");
    assert_eq!(told_of_all.status().handled_request.unwrap().asked_by.unwrap(), "actor of olga");

    let mut world = at_five_percent();
    world.trail_is_down();
    for request in ["pause/ID/0/n1/jane", "abort/ID/0/n2/max"] {
        world.annotate(request.replace("ID", &id));
        world.pass();
        world.advance(5);
    }
    world.memory.trail_unavailable_since = None;
    (0..3).for_each(|_| drop(world.pass()));
    assert_eq!(asked_by(&world), ["unknown", "actor of max"]);
}

#[test]
fn a_promotion_that_waits_for_pods_says_who_asked_for_it_when_it_comes_true() {
    let mut world = awaits_pods();
    goes_up(&mut world);
    let promote = intent(&world, "Promote");
    assert!(promote.reason.starts_with("promote was requested"), "{}", promote.reason);
    assert_eq!(promote.asked_by, "actor of jane");
}

/// Jane has asked for all traffic; what others ask for while pods for it come up is refused, or holds nothing any more when it comes true.
#[test]
fn who_asked_for_a_promotion_is_named_whatever_others_ask_for_before_it_comes_true() {
    for (others, expected) in [
        (&["retry/ID/-/n2/max"][..], "actor of jane"),
        (&["resume/ID/0/n2/max"], "actor of jane"),
        (&["promote/ID/7/n2/max"], "actor of jane"),
        (&["promote/another/0/n2/max", "abort/another/0/n3/olga"], "actor of jane"),
        (&["pause/ID/0/n2/max", "resume/ID/0/n3/max"], ""),
        (&["promote/ID/0/n2/max"], "actor of max"),
    ] {
        let mut world = awaits_pods();
        let id = world.attempt().id;
        for other in others {
            world.annotate(other.replace("ID", &id));
            world.pass();
        }
        goes_up(&mut world);
        assert_eq!(intent(&world, "Promote").asked_by, expected, "{others:?}");
        assert_eq!(world.attempt().skip_asked_by, None);
    }
}

/// Whoever is told that it comes to nothing is Jane, whose promotion it was: Max has his own answer.
#[test]
fn a_promotion_that_lapses_says_nothing_of_what_another_asked_for() {
    let mut world = awaits_pods();
    let id = world.attempt().id;
    world.annotate(format!("promote/{id}/7/n2/max"));
    let why = world.refusal();
    assert_eq!(world.attempt().skip_asked_by.unwrap(), "actor of jane");
    world.measure("error-rate", Measurement::NoData("no series".into()));
    world.advance(30);
    world.pass();
    let attempt = world.attempt();
    assert_eq!((attempt.skip_steps, attempt.skip_asked_by), (false, None));
    assert_eq!(world.handled().message.unwrap(), why);
}

/// Jane's promotion is on the record when the process dies. The next one finds no proof and refuses it; later the step ends by itself.
#[test]
fn who_was_refused_by_the_next_process_is_not_named_for_what_is_decided_later() {
    let mut world = World::mid_canary();
    world.steps(json!([{"weight": "5%", "for": "10m"}]));
    world.pass();
    world.all_is_well();
    world.pass();
    world.request_at("promote", "0", "n1");
    world.pass();
    world.all_is_well();
    world.dies_before_its_status_write();
    assert_eq!(intent(&world, "Promote").asked_by, "actor of jane");
    world.measure("error-rate", Measurement::NoData("no series".into()));
    world.advance(30);
    assert!(world.refusal().contains("error-rate"), "{:?}", world.handled());
    goes_up(&mut world);
    world.come_to_rest();
    assert_eq!(askers(&world, "Promote"), [""]);
}

/// Jane's retry is on the record when the process dies, and Max has asked for one before there is another.
#[test]
fn who_asks_in_anothers_place_before_there_is_an_effect_is_named_alone() {
    let mut world = World::mid_canary();
    world.request("abort", "n1");
    world.pass();
    world.gateway_accepts();
    world.come_to_rest();
    let taken_back = world.attempt().id;
    world.request("retry", "n2");
    world.dies_before_its_status_write();
    assert_eq!(intent(&world, "Start").asked_by, "actor of jane");
    world.annotate(format!("retry/{taken_back}/0/n3/max"));
    (0..4).for_each(|_| drop(world.pass()));
    assert_eq!(world.attempt().state, AttemptState::Starting);
    assert_eq!(askers(&world, "Start"), ["actor of max"]);
    assert_eq!(world.handled().asked_by.unwrap(), "actor of max");
}

#[test]
fn who_asked_for_a_promotion_while_the_log_was_silent_is_named_when_it_comes_true() {
    let mut world = World::mid_canary();
    world.trail_is_down();
    world.request_at("promote", "0", "n1");
    world.pass();
    assert_eq!(world.attempt().skip_asked_by.unwrap(), "unknown");
    world.memory.trail_unavailable_since = None;
    goes_up(&mut world);
    assert_eq!(intent(&world, "Promote").asked_by, "actor of jane");
}
