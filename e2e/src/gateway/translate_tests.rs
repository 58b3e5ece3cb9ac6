//! Golden translations: `golden/<name>.yaml` holds the observed objects and, after `---`,
//! what Envoy and the routes are told. `UPDATE=1 cargo test` writes the second half anew.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::json;

use super::super::api::Filter;
use super::*;

fn read<T: serde::de::DeserializeOwned>(object: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(object).unwrap())
}

fn world(objects: &[Value]) -> World {
    let mut world = World {
        controller_name: "werkbank.test/gateway".to_owned(),
        address: "127.0.0.1".to_owned(),
        ..World::default()
    };
    for object in objects {
        let object = object.clone();
        match object["kind"].as_str().unwrap() {
            "GatewayClass" => world.classes.push(read(object)),
            "Gateway" => world.gateways.push(read(object)),
            "HTTPRoute" => world.routes.push(read(object)),
            "Service" => world.services.push(read(object)),
            "Pod" => world.pods.push(read(object)),
            other => panic!("{other} is no part of a golden world"),
        }
    }
    for gateway in &world.gateways {
        for listener in &gateway.spec.listeners {
            world.ports.insert((key(&**gateway), listener.port), 10_000 + listener.port);
        }
    }
    world
}

fn shown(translation: &Translation) -> Value {
    let resources = &translation.resources;
    let routes: BTreeMap<_, _> = translation
        .routes
        .iter()
        .map(|(route, parents)| {
            let told = parents
                .iter()
                .flat_map(|it| &it.verdicts)
                .map(|it| format!("{}={} {} {}", it.kind, it.holds, it.reason, it.message).trim().to_owned());
            (route.name_any(), told.collect::<Vec<_>>())
        })
        .collect();
    json!({
        "told": routes,
        "listeners": resources.listeners.keys().collect::<Vec<_>>(),
        "clusters": resources.clusters.keys().collect::<Vec<_>>(),
        "endpoints": resources.endpoints.values().collect::<Vec<_>>(),
        "routes": resources.routes,
    })
}

fn golden(name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("src/gateway/golden/{name}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap();
    let (given, expected) = text.split_once("\n---\n").unwrap_or((&text, ""));
    let objects = Vec::<Value>::deserialize(serde_yaml::Deserializer::from_str(given)).unwrap();
    let actual = serde_yaml::to_string(&shown(&translate(&world(&objects)))).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, format!("{}\n---\n{actual}", given.trim_end())).unwrap();
    } else {
        assert_eq!(actual, expected, "{}; UPDATE=1 writes it anew", path.display());
    }
}

#[test]
fn a_canary_is_two_weighted_clusters_with_the_ready_pods() {
    golden("canary");
}

#[test]
fn missing_backends_and_foreign_references_are_told_and_keep_their_share() {
    golden("unresolved");
}

#[test]
fn the_oldest_of_equal_routes_wins_and_the_most_specific_match_comes_first() {
    golden("precedence");
}

fn canary() -> World {
    let text = include_str!("golden/canary.yaml");
    let given = text.split_once("\n---\n").map_or(text, |(given, _)| given);
    world(&serde_yaml::from_str::<Vec<Value>>(given).unwrap())
}

fn changed(route: &HttpRoute, generation: i64) -> Arc<HttpRoute> {
    let mut route = route.clone();
    route.metadata.generation = Some(generation);
    route.spec.rules[0].backend_refs[1].weight = Some(99);
    Arc::new(route)
}

#[test]
fn a_route_that_envoy_refuses_keeps_the_configuration_that_envoy_has() {
    let mut world = canary();
    let before = translate(&world).resources;
    let accepted = world.routes[0].clone();
    let uid = accepted.uid().unwrap();
    world.accepted.insert(uid.clone(), accepted.clone());
    world.routes[0] = changed(&accepted, 8);
    assert_ne!(translate(&world).resources, before);
    world.refused.insert((uid, 8), "Envoy says no".to_owned());
    let after = translate(&world);
    assert_eq!(after.resources, before);
    let told = &after.routes[0].1[0].verdicts[0];
    assert_eq!((told.holds, told.reason, &*told.message), (false, "UnsupportedValue", "Envoy says no"));
}

#[test]
fn a_route_that_asks_for_what_is_not_implemented_is_not_programmed_whatever_it_was() {
    let mut world = canary();
    let accepted = world.routes[0].clone();
    world.accepted.insert(accepted.uid().unwrap(), accepted.clone());
    let mut asks = HttpRoute::clone(&accepted);
    asks.spec.rules[0].filters = vec![Filter { kind: "URLRewrite".to_owned(), ..Filter::default() }];
    world.routes[0] = Arc::new(asks);
    let translation = translate(&world);
    assert_eq!(translation.resources.routes["shop/edge/80"]["virtual_hosts"], json!([]));
    let told = &translation.routes[0].1[0].verdicts[0];
    assert_eq!((told.holds, told.reason), (false, "UnsupportedValue"));
}

#[test]
fn a_route_that_was_never_accepted_and_is_refused_serves_nothing() {
    let mut world = canary();
    let uid = world.routes[0].uid().unwrap();
    world.refused.insert((uid, 7), "Envoy says no".to_owned());
    let routes = &translate(&world).resources.routes["shop/edge/80"];
    assert_eq!(routes["virtual_hosts"], json!([]));
}

#[test]
fn a_held_route_is_told_nothing() {
    let mut world = canary();
    world.held.insert(world.routes[0].uid().unwrap());
    assert!(translate(&world).routes.is_empty());
}

#[test]
fn a_gateway_of_another_controller_is_not_ours() {
    let mut world = canary();
    world.controller_name = "other".to_owned();
    let translation = translate(&world);
    assert_eq!(translation.resources, Resources::default());
    assert_eq!(translation.routes[0].1, vec![]);
}
