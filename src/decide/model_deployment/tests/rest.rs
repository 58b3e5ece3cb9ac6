//! Nothing to do, and things outside a rollout.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::story::Story;
use super::world::{World, is_nothing};
use crate::decide::model_deployment::observed::Children;
use crate::decide::{Child, Op, Plan};

#[test]
fn a_converged_resource_writes_nothing_however_often_it_is_looked_at() {
    let mut world = World::serving();
    for _ in 0..100 {
        let plan = world.pass();
        assert_eq!(Plan { requeue: None, ..plan }, Plan::default());
        world.advance(600);
    }
}

#[test]
fn a_canary_between_two_measurements_writes_nothing() {
    let mut world = World::mid_canary();
    world.advance(29);
    assert!(is_nothing(&world.decide()));
}

#[test]
fn a_deleted_resource_is_left_to_garbage_collection() {
    let mut world = World::mid_canary();
    world.resource.metadata.deletion_timestamp = Some(Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH));
    let mut story = Story::of("Deleted mid-canary", world);
    let plan = story.pass("the object is being deleted");
    assert_eq!(plan, Plan::default());
    story.is("deleted");
}

#[test]
fn children_of_an_earlier_incarnation_are_not_ours() {
    // The observer shows only what this incarnation owns: of the old one's, nothing.
    let mut world = World::serving();
    world.resource.metadata.uid = Some("99998888-7777".into());
    world.resource.status = None;
    world.children = Children { gateway_api: true, ..Children::default() };
    let mut story = Story::of("Deleted and created again under the same name", world);
    story.pass("the new object is seen");
    story.is("an-earlier-incarnation");
}

#[test]
fn a_route_that_somebody_edits_is_put_back() {
    let mut world = World::mid_canary();
    let route = std::sync::Arc::make_mut(world.children.route.as_mut().unwrap());
    let mut rules = route.spec.rules.list();
    rules[0]["backendRefs"][1]["weight"] = json!(10_000);
    route.spec.rules = rules.into();
    route.metadata.resource_version = Some("9999".into());
    let mut story = Story::of("Somebody sets the candidate's weight by hand", world);
    story.pass("the live route does not say what status says");
    story.is("route-edited-by-hand");
}

#[test]
fn a_deployment_edited_by_hand_is_put_back() {
    let mut story = Story::of("Somebody edits the Deployment of the stable revision", World::serving());
    let stable = story.world.status().stable.unwrap().revision;
    story.world.edit_deployment(&stable, |spec| {
        spec.template.spec.as_mut().unwrap().containers[0].image = Some("registry/scorer:hand".into());
    });
    story.pass("another image");
    story.world.pods_ready();
    story.pass("it is as it was");
    story.world.edit_deployment(&stable, |spec| spec.replicas = Some(1));
    story.pass("kubectl scale");
    story.world.pods_ready();
    story.pass("it is as it was");
    story.world.edit_deployment(&stable, |spec| spec.min_ready_seconds = Some(7));
    story.pass("a field that is nobody's: it stays, and its generation is noted");
    story.world.pods_ready();
    story.pass("nothing happens");
    story.is("deployment-edited-by-hand");
}

#[test]
fn a_service_edited_by_hand_is_put_back() {
    let mut world = World::mid_canary();
    let name = format!("churn-{}", world.attempt().revision);
    let service = std::sync::Arc::make_mut(world.children.services.get_mut(&name).unwrap());
    service.spec.as_mut().unwrap().selector = None;
    let plan = world.pass();
    assert!(matches!(plan.ops.as_slice(), [Op::Apply(Child::Service(_), _)]), "{:?}", plan.ops);
    assert!(is_nothing(&world.pass()));
}

#[test]
fn without_traffic_in_the_spec_the_route_goes_away() {
    let mut story = Story::of("spec.traffic is removed", World::serving());
    story.world.edit(|spec| (spec.traffic, spec.rollout) = (None, None));
    story.pass("no gateway any more");
    story.pass("the Service is there, and the route goes");
    story.pass("nothing happens");
    story.is("traffic-removed");
}

#[test]
fn replicas_alone_start_no_attempt() {
    let mut story = Story::of("spec.replicas is edited", World::serving());
    story.world.edit(|spec| spec.replicas = Some(6));
    story.pass("six replicas");
    story.is("replicas-edited");
}

#[test]
fn the_same_bytes_under_another_entry_roll_nothing_out() {
    let mut world = World::serving();
    let entry = world.entries["churn-1"].as_ref().clone();
    world.entries.insert("churn-1b".into(), std::sync::Arc::new(entry));
    let mut story = Story::of("Another entry with the same artifact", world);
    story.world.deploy("churn-1b");
    story.pass("the spec names it");
    story.is("same-bytes-another-entry");
}

#[test]
fn no_ready_pod_of_stable_is_told_and_does_not_stop_a_canary() {
    let mut world = World::mid_canary();
    let stable = world.status().stable.unwrap().revision;
    world.pods_ready_of(&stable, 0);
    let mut story = Story::of("Stable is broken: its repair goes on", world);
    story.pass("no pod of stable is ready");
    story.world.advance(600);
    story.pass("the step ends as if nothing were");
    story.is("stable-broken");
}
