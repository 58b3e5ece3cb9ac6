//! What gets in the way: each is a condition that says what to do, and stable keeps serving.

use serde_json::json;

use super::story::Story;
use super::world::World;
use crate::api::revision::ConfigMapContent;
use crate::decide::{ChildKind, Measurement};

fn content(text: &str) -> ConfigMapContent {
    ConfigMapContent { data: [("rules.json".to_owned(), text.to_owned())].into(), ..ConfigMapContent::default() }
}

/// Serves with a ConfigMap mounted.
fn with_config_map() -> World {
    let mut world = World::new();
    world.edit_template(|it| it["spec"]["volumes"] = json!([{"name": "rules", "configMap": {"name": "rules"}}]));
    world.config_maps.insert("rules".into(), content("{}"));
    world.come_to_rest();
    world
}

#[test]
fn a_missing_entry_mid_canary_holds_and_keeps_guardrails_on() {
    let mut story = Story::of("The candidate's entry disappears mid-canary", World::mid_canary());
    story.world.entries.remove("churn-2");
    story.pass("the entry is gone");
    story.world.advance(600);
    story.pass("the step would end: hold");
    story.world.measure("error-rate", Measurement::of(0.2));
    story.world.advance(30);
    story.pass("breached");
    story.world.advance(30);
    story.pass("breached twice");
    story.is("missing-entry-mid-canary");
}

#[test]
fn a_missing_entry_starts_nothing() {
    let mut story = Story::of("modelRef names no entry", World::serving());
    story.world.deploy("churn-9");
    story.pass("the spec names churn-9");
    story.world.register("churn-9", 9);
    story.pass("it is registered");
    story.is("missing-entry");
}

#[test]
fn a_missing_config_map_starts_nothing() {
    let mut world = World::new();
    world.edit_template(|it| it["spec"]["volumes"] = json!([{"name": "rules", "configMap": {"name": "rules"}}]));
    let mut story = Story::of("The template refers to a ConfigMap that does not exist", world);
    story.pass("the object is created");
    story.world.config_maps.insert("rules".into(), content("{}"));
    story.pass("the ConfigMap is created");
    story.pass("its record is there");
    story.is("missing-config-map");
}

#[test]
fn an_optional_config_map_that_appears_later_comes_with_a_canary() {
    let mut world = World::new();
    world.edit_template(|it| {
        it["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "rules", "optional": true}}]);
    });
    world.come_to_rest();
    let refers_to = |world: &World| -> Vec<String> {
        let text = |it: &k8s_openapi::api::apps::v1::Deployment| serde_json::to_value(it).unwrap();
        let name = "/spec/template/spec/containers/0/envFrom/0/configMapRef/name";
        world.children.deployments.values().map(|it| text(it).pointer(name).unwrap().to_string()).collect()
    };
    let stable = world.status().stable.unwrap().revision;
    assert_eq!(refers_to(&world), [format!("\"churn-rules-{stable}\"")]);
    assert!(world.children.copies.is_empty());
    let mut story = Story::of("An optional ConfigMap that did not exist is created", world);
    story.world.config_maps.insert("rules".into(), content("{}"));
    story.pass("the ConfigMap is created: another revision");
    story.pass("the record is there");
    assert!(refers_to(&story.world).contains(&format!("\"churn-rules-{stable}\"")));
    story.is("optional-config-map-appears");
}

#[test]
fn an_edited_config_map_is_a_new_revision() {
    let mut story = Story::of("A ConfigMap is edited", with_config_map());
    story.world.config_maps.insert("rules".into(), content("{\"max\": 3}"));
    story.pass("rules are edited");
    story.pass("the record is there");
    story.is("edited-config-map");
}

#[test]
fn a_lost_copy_is_made_again_only_from_what_the_revision_was_made_of() {
    let mut world = with_config_map();
    world.come_to_rest();
    let (copy, original) = world.children.copies.pop_first().unwrap();
    world.pass();
    assert_eq!(world.children.copies[&copy].data, original.data, "the original still is what it was");
    world.config_maps.insert("rules".into(), content("{\"max\": 3}"));
    world.pass();
    world.children.copies.remove(&copy);
    world.pass();
    assert!(!world.children.copies.contains_key(&copy), "it would be what another revision is made of");
    let told = world.status().conditions.into_iter().find(|it| it.reason == "ConfigMapCopyLost").unwrap();
    assert!(told.message.contains(&copy), "{}", told.message);
}

/// A ConfigMap of the template that the API server does not hand out any more, while a canary is watched.
fn unread_mid_canary() -> World {
    let mut world = World::new();
    world.edit_template(|it| {
        it["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "rules", "optional": true}}]);
    });
    world.config_maps.insert("rules".into(), content("{}"));
    world.come_to_rest();
    world.deploy("churn-2");
    for _ in 0..5 {
        world.pass();
        world.all_is_well();
    }
    assert_eq!(world.attempt().weight.to_string(), "5%");
    world.unread.insert("rules".into(), "configmaps \"rules\" is forbidden".into());
    world
}

#[test]
fn a_config_map_that_is_not_handed_out_holds_and_switches_no_guardrail_off() {
    let mut story = Story::of("The API server does not hand out a ConfigMap mid-canary", unread_mid_canary());
    story.world.advance(600);
    story.pass("the step would end: hold");
    story.world.measure("error-rate", Measurement::of(0.2));
    story.world.advance(30);
    story.pass("breached");
    story.world.advance(30);
    story.pass("breached twice");
    story.is("unread-config-map");
}

#[test]
fn a_config_map_that_is_not_handed_out_stops_no_abort_and_names_no_other_revision() {
    let mut world = unread_mid_canary();
    let revisions = world.status().revisions.len();
    world.request("abort", "n1");
    world.pass();
    world.gateway_accepts();
    (0..2).for_each(|_| drop(world.pass()));
    assert_eq!(world.attempt().cause, Some(crate::api::model_deployment::Cause::Aborted));
    assert_eq!((world.attempt().state.is_active(), world.status().revisions.len()), (false, revisions));
}

#[test]
fn shared_metrics_that_are_not_handed_out_make_a_serving_revision_not_unready() {
    let mut world = World::serving();
    world.analysis(json!({"metricsFrom": [{"configMapRef": {"name": "http"}}]}));
    world.shared_metrics.insert("http".into(), Err("ConfigMap http cannot be read: timeout".into()));
    world.unread.insert("http".into(), "timeout".into());
    let plan = world.pass();
    let status = |type_: &str| world.status().conditions.into_iter().find(|it| it.type_ == type_).unwrap();
    assert_eq!(status("Ready").reason, "Stable");
    assert_eq!(status("Stalled").reason, "Progressing");
    assert_eq!(plan.requeue, Some(std::time::Duration::from_secs(10)));
}

#[test]
fn a_config_map_edited_again_before_it_was_copied_supersedes_quietly() {
    let mut story = Story::of("A ConfigMap is edited twice, faster than copied", with_config_map());
    story.world.config_maps.insert("rules".into(), content("{\"max\": 3}"));
    story.pass("rules are edited");
    story.world.config_maps.insert("rules".into(), content("{\"max\": 4}"));
    story.pass("and again, before the copy was made");
    story.pass("there is no traffic to take back");
    story.pass("the way is free");
    story.is("config-map-edited-twice");
}

#[test]
fn a_foreign_child_is_not_adopted() {
    let mut world = World::serving();
    world.deploy("churn-2");
    (0..2).for_each(|_| drop(world.pass()));
    let name = format!("churn-{}", world.attempt().revision);
    world.children.deployments.remove(&name);
    world.memory.foreign_children.push(format!("Deployment/{name}"));
    let mut story = Story::of("Somebody else has our child's name", world);
    story.pass("it exists and is not ours");
    story.pass("nothing happens");
    story.world.memory.foreign_children.clear();
    story.pass("it is gone");
    story.is("foreign-child");
}

#[test]
fn a_refused_child_is_told_in_the_api_servers_words() {
    let mut world = World::serving();
    world.deploy("churn-2");
    (0..2).for_each(|_| drop(world.pass()));
    let name = format!("churn-{}", world.attempt().revision);
    world.children.deployments.remove(&name);
    world.refuses(ChildKind::Deployment, &name, "spec.template.spec.containers[0].image: Required value");
    let mut story = Story::of("The API server refuses a child (422)", world);
    story.pass("the Deployment was refused");
    story.world.deploy("churn-1");
    story.world.memory.refused = None;
    story.pass("reverted");
    story.is("child-refused");
}

#[test]
fn a_template_that_is_none_is_told() {
    let mut world = World::serving();
    world.edit_template(|it| *it = json!({"spec": {"containers": [{"name": "server", "image": 7}]}}));
    let mut story = Story::of("The template is no pod template", world);
    story.pass("image is a number");
    story.pass("the record is there");
    story.is("invalid-template");
}

#[test]
fn without_the_gateway_api_nothing_gets_traffic() {
    let mut world = World::new();
    world.children.gateway_api = false;
    let mut story = Story::of("The cluster has no Gateway API", world);
    story.pass("the object is created");
    story.pass("the record is there");
    story.world.pods_ready();
    story.pass("pods are ready");
    story.world.children.gateway_api = true;
    story.pass("its CRDs are installed");
    story.is("gateway-api-missing");
}

#[test]
fn without_the_trail_nothing_advances_but_rollback_does() {
    let mut story = Story::of("The trail takes no entries", World::mid_canary());
    story.world.trail_is_down();
    story.world.advance(600);
    story.pass("the step would end: hold");
    story.world.measure("error-rate", Measurement::of(0.2));
    story.world.advance(30);
    story.pass("breached");
    story.world.advance(30);
    story.pass("breached twice: the intent goes into status");
    story.world.gateway_accepts();
    story.pass("the gateway accepts weight 0");
    story.world.memory.trail_unavailable_since = None;
    story.pass("the trail answers again");
    story.pass("nothing is left to record");
    story.is("trail-unavailable");
}

#[test]
fn a_trail_outage_longer_than_the_deadline_kills_no_candidate() {
    let mut world = World::serving();
    world.deploy("churn-2");
    (0..2).for_each(|_| drop(world.pass()));
    world.pods_ready();
    world.trail_is_down();
    let mut story = Story::of("Pods are ready, the trail is down for longer than progressDeadline", world);
    story.pass("pods are ready");
    story.world.advance(3600);
    story.pass("an hour later");
    story.world.memory.trail_unavailable_since = None;
    story.pass("the trail answers again");
    story.is("trail-outage-longer-than-the-deadline");
}

#[test]
fn a_trail_outage_makes_a_serving_revision_not_unready() {
    let mut story = Story::of("The trail is down while nothing is to be decided", World::serving());
    story.world.trail_is_down();
    story.pass("the trail does not answer");
    story.is("trail-unavailable-at-rest");
}
