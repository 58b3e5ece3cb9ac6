//! What classes, Gateways and routes are told after Envoy has applied a configuration.

use std::collections::BTreeMap;

use kube::ResourceExt;
use werkbank::api::gateway::GROUP;

use super::{
    api::{
        Gateway, GatewayAddress, GatewayClassStatus, GatewayStatus, HttpRoute, HttpRouteStatus, Listener,
        ListenerStatus, RouteKind, RouteParentStatus,
    },
    attach::serves_http_routes,
    status::{StatusWriter, conditions},
    translate::{ParentVerdict, Translation, Verdict, World, key, listener_name},
};

/// Writes every status that differs from what was observed. `closed` are the
/// listeners that Envoy could not open, with its reason.
pub(crate) fn report(
    world: &World,
    translation: &Translation,
    closed: &BTreeMap<String, String>,
    writer: &mut StatusWriter,
) {
    for class in world.classes.iter().filter(|it| it.spec.controller_name == world.controller_name) {
        let before = class.status.clone().unwrap_or_default();
        let verdicts = [Verdict::yes("Accepted", "Accepted")];
        let status =
            GatewayClassStatus { conditions: conditions(&verdicts, class.metadata.generation, &before.conditions) };
        if status != before {
            writer.write(&**class, &status);
        }
    }
    for gateway in &translation.gateways {
        let status = gateway_status(world, translation, closed, gateway);
        if gateway.status.as_ref() != Some(&status) {
            writer.write(&**gateway, &status);
        }
    }
    for (route, parents) in &translation.routes {
        let status = route_status(&world.controller_name, route, parents, closed);
        if route.status.clone().unwrap_or_default() != status {
            writer.write(&**route, &status);
        }
    }
}

fn route_status(
    controller: &str,
    route: &HttpRoute,
    parents: &[ParentVerdict],
    closed: &BTreeMap<String, String>,
) -> HttpRouteStatus {
    let before = route.status.clone().unwrap_or_default().parents;
    let (ours, mut all): (Vec<_>, Vec<_>) = before.into_iter().partition(|it| it.controller_name == controller);
    for it in parents {
        let known = ours.iter().find(|before| before.parent_ref == it.parent);
        let known = known.map(|it| &*it.conditions).unwrap_or_default();
        let mut verdicts = it.verdicts.clone();
        let open = it.listeners.is_empty() || it.listeners.iter().any(|name| !closed.contains_key(name));
        if let Some(accepted) = verdicts.first_mut().filter(|_| !open) {
            *accepted =
                Verdict::no("Accepted", "Pending", "no listener of the Gateway is open; see the Gateway's status");
        }
        all.push(RouteParentStatus {
            parent_ref: it.parent.clone(),
            controller_name: controller.to_owned(),
            conditions: conditions(&verdicts, route.metadata.generation, known),
        });
    }
    HttpRouteStatus { parents: all }
}

fn gateway_status(
    world: &World,
    translation: &Translation,
    closed: &BTreeMap<String, String>,
    gateway: &Gateway,
) -> GatewayStatus {
    let before = gateway.status.clone().unwrap_or_default();
    let generation = gateway.metadata.generation;
    let mut all_programmed = true;
    let mut listeners = Vec::new();
    for listener in &gateway.spec.listeners {
        let verdicts = listener_verdicts(&listener_name(&key(gateway), listener.port), listener, closed);
        all_programmed &= verdicts.iter().all(|it| it.holds);
        let known = before.listeners.iter().find(|it| it.name == listener.name);
        let known = known.map(|it| &*it.conditions).unwrap_or_default();
        let attached = translation.attached.get(&(key(gateway), listener.name.clone()));
        listeners.push(ListenerStatus {
            name: listener.name.clone(),
            supported_kinds: supported_kinds(listener),
            attached_routes: attached.copied().unwrap_or_default(),
            conditions: conditions(&verdicts, generation, known),
        });
    }
    let programmed = if all_programmed {
        Verdict::yes("Programmed", "Programmed")
    } else {
        Verdict::no("Programmed", "Invalid", "see the conditions of the listeners")
    };
    let accepted = Verdict::yes("Accepted", "Accepted");
    GatewayStatus {
        addresses: vec![GatewayAddress { kind: "IPAddress".to_owned(), value: world.address.clone() }],
        conditions: conditions(&[accepted, programmed], generation, &before.conditions),
        listeners,
    }
}

fn supported_kinds(listener: &Listener) -> Vec<RouteKind> {
    let kind = RouteKind { group: Some(GROUP.to_owned()), kind: "HTTPRoute".to_owned() };
    if serves_http_routes(listener) { vec![kind] } else { Vec::new() }
}

fn listener_verdicts(name: &str, listener: &Listener, closed: &BTreeMap<String, String>) -> Vec<Verdict> {
    let resolved = if listener.protocol == "HTTP" && !serves_http_routes(listener) {
        Verdict::no("ResolvedRefs", "InvalidRouteKinds", "only HTTPRoute is supported")
    } else {
        Verdict::yes("ResolvedRefs", "ResolvedRefs")
    };
    if listener.protocol != "HTTP" {
        let message = format!("protocol {} is not supported; use HTTP", listener.protocol);
        let programmed = Verdict::no("Programmed", "Invalid", message.clone());
        return vec![Verdict::no("Accepted", "UnsupportedProtocol", message), programmed, resolved];
    }
    let programmed = match closed.get(name) {
        None => Verdict::yes("Programmed", "Programmed"),
        Some(reason) => Verdict::no("Programmed", "Invalid", reason.clone()),
    };
    vec![Verdict::yes("Accepted", "Accepted"), programmed, resolved]
}

/// uids of everything that can have a status.
pub(crate) fn uids(world: &World) -> std::collections::HashSet<String> {
    let classes = world.classes.iter().filter_map(|it| it.uid());
    let gateways = world.gateways.iter().filter_map(|it| it.uid());
    classes.chain(gateways).chain(world.routes.iter().filter_map(|it| it.uid())).collect()
}
