//! May this route attach to that Gateway, and under which host names?
//!
//! The answers are the reasons of the Gateway API: `NoMatchingParent`,
//! `NotAllowedByListeners`, `NoMatchingListenerHostname`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};

use werkbank::api::gateway::GROUP;

use super::api::{AllowedRoutes, Gateway, HttpRoute, Listener, ParentRef};

/// Labels of namespaces by name.
pub(crate) type Namespaces = BTreeMap<String, BTreeMap<String, String>>;

/// Why a route does not attach: reason and message of its `Accepted` condition.
pub(crate) type Refusal = (&'static str, String);

/// A listener that the route attaches to, with the host names it serves there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// Name of the listener.
    pub(crate) listener: String,
    /// Port of the listener, as its author wrote it.
    pub(crate) port: u16,
    /// Host names; `*` is every host.
    pub(crate) hostnames: Vec<String>,
}

/// Is this a Gateway of the Gateway API at all?
pub(crate) fn names_gateway(parent: &ParentRef) -> bool {
    parent.group.as_deref().unwrap_or(GROUP) == GROUP && parent.kind.as_deref().unwrap_or("Gateway") == "Gateway"
}

/// The listeners that `route` attaches to by `parent`, which names `gateway`.
pub(crate) fn attach(
    route: &HttpRoute,
    parent: &ParentRef,
    gateway: &Gateway,
    namespaces: &Namespaces,
) -> Result<Vec<Attachment>, Refusal> {
    let named: Vec<_> = gateway.spec.listeners.iter().filter(|it| is_named(it, parent)).collect();
    if named.is_empty() {
        let message = "the Gateway has no HTTP listener with this sectionName and port";
        return Err(("NoMatchingParent", message.to_owned()));
    }
    let from = route.metadata.namespace.as_deref().unwrap_or_default();
    let home = gateway.metadata.namespace.as_deref().unwrap_or_default();
    let allowing: Vec<_> = named.into_iter().filter(|it| allows(it, from, home, namespaces)).collect();
    if allowing.is_empty() {
        let message = format!("no listener allows HTTPRoutes from namespace {from}; see its allowedRoutes");
        return Err(("NotAllowedByListeners", message));
    }
    let attachments: Vec<_> = allowing
        .into_iter()
        .map(|listener| Attachment {
            listener: listener.name.clone(),
            port: listener.port,
            hostnames: hostnames(listener.hostname.as_deref(), &route.spec.hostnames),
        })
        .filter(|it| !it.hostnames.is_empty())
        .collect();
    if attachments.is_empty() {
        let message = "no hostname of the route is served by a listener";
        return Err(("NoMatchingListenerHostname", message.to_owned()));
    }
    Ok(attachments)
}

/// Does the listener serve HTTPRoutes, by its protocol and its allowed kinds?
pub(crate) fn serves_http_routes(listener: &Listener) -> bool {
    let kinds = listener.allowed_routes.as_ref().map(|it| &*it.kinds).unwrap_or_default();
    let http = kinds.iter().any(|it| it.group.as_deref().unwrap_or(GROUP) == GROUP && it.kind == "HTTPRoute");
    listener.protocol == "HTTP" && (kinds.is_empty() || http)
}

fn is_named(listener: &Listener, parent: &ParentRef) -> bool {
    serves_http_routes(listener)
        && parent.section_name.as_ref().is_none_or(|name| *name == listener.name)
        && parent.port.is_none_or(|port| port == listener.port)
}

fn allows(listener: &Listener, from: &str, home: &str, namespaces: &Namespaces) -> bool {
    let default = AllowedRoutes::default();
    let allowed = listener.allowed_routes.as_ref().unwrap_or(&default).namespaces.as_ref();
    match allowed.and_then(|it| it.from.as_deref()).unwrap_or("Same") {
        "All" => true,
        "Same" => from == home,
        "Selector" => {
            let selector = allowed.and_then(|it| it.selector.clone());
            let labels = namespaces.get(from);
            selector.zip(labels).is_some_and(|(selector, labels)| matches(selector, labels))
        }
        _ => false,
    }
}

/// A selector that cannot be read matches nothing: a listener must not open by mistake.
fn matches(selector: LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(selector).is_ok_and(|selector| selector.matches(labels))
}

/// The host names that both sides know; `*` alone is every host.
fn hostnames(listener: Option<&str>, route: &[String]) -> Vec<String> {
    let listener = listener.unwrap_or("*");
    if route.is_empty() {
        return vec![listener.to_owned()];
    }
    let mut both: Vec<_> = route.iter().filter_map(|it| narrower(listener, it)).map(str::to_owned).collect();
    both.sort();
    both.dedup();
    both
}

fn narrower<'a>(one: &'a str, other: &'a str) -> Option<&'a str> {
    let covers = |wide: &str, narrow: &str| {
        wide == "*" || wide == narrow || wide.strip_prefix('*').is_some_and(|end| narrow.ends_with(end))
    };
    if covers(one, other) { Some(other) } else { covers(other, one).then_some(one) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn gateway(listener: Value) -> Gateway {
        let mut full = json!({"name": "http", "port": 80, "protocol": "HTTP"});
        full.as_object_mut().unwrap().extend(listener.as_object().unwrap().clone());
        serde_json::from_value(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "edge", "namespace": "infra"},
            "spec": {"gatewayClassName": "envoy", "listeners": [full]}
        }))
        .unwrap()
    }

    fn outcome(listener: Value, parent: Value, hostnames: &[&str]) -> Result<Vec<String>, &'static str> {
        let mut full = json!({"name": "edge", "namespace": "infra"});
        full.as_object_mut().unwrap().extend(parent.as_object().unwrap().clone());
        let route: HttpRoute = serde_json::from_value(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "churn", "namespace": "shop"},
            "spec": {"parentRefs": [full], "hostnames": hostnames}
        }))
        .unwrap();
        let namespaces = BTreeMap::from([("shop".to_owned(), BTreeMap::from([("team".to_owned(), "crm".to_owned())]))]);
        attach(&route, &route.spec.parent_refs[0], &gateway(listener), &namespaces)
            .map(|all| all.into_iter().flat_map(|it| it.hostnames).collect())
            .map_err(|(reason, _)| reason)
    }

    fn from(from: &str) -> Value {
        json!({"allowedRoutes": {"namespaces": {"from": from}}})
    }

    #[test]
    fn a_listener_admits_routes_of_its_own_namespace_unless_it_says_otherwise() {
        assert_eq!(outcome(json!({}), json!({}), &[]), Err("NotAllowedByListeners"));
        assert_eq!(outcome(from("Same"), json!({}), &[]), Err("NotAllowedByListeners"));
        assert_eq!(outcome(from("All"), json!({}), &[]), Ok(vec!["*".to_owned()]));
    }

    #[test]
    fn a_selector_admits_the_namespaces_with_its_labels_only() {
        let of = |team| json!({"allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": team}}}}});
        assert_eq!(outcome(of("crm"), json!({}), &[]), Ok(vec!["*".to_owned()]));
        assert_eq!(outcome(of("web"), json!({}), &[]), Err("NotAllowedByListeners"));
        assert_eq!(outcome(from("Selector"), json!({}), &[]), Err("NotAllowedByListeners"));
    }

    #[test]
    fn a_section_or_port_that_does_not_exist_has_no_matching_parent() {
        assert_eq!(outcome(from("All"), json!({"sectionName": "admin"}), &[]), Err("NoMatchingParent"));
        assert_eq!(outcome(from("All"), json!({"port": 81}), &[]), Err("NoMatchingParent"));
        assert!(outcome(from("All"), json!({"sectionName": "http", "port": 80}), &[]).is_ok());
    }

    #[test]
    fn the_narrower_host_name_of_listener_and_route_is_served() {
        let under = |hostname: &str| {
            let mut it = from("All");
            it["hostname"] = json!(hostname);
            it
        };
        let names = |it: &[&str]| Ok(it.iter().map(|it| (*it).to_owned()).collect());
        assert_eq!(
            outcome(under("*.shop.example"), json!({}), &["a.shop.example", "b.example"]),
            names(&["a.shop.example"])
        );
        assert_eq!(outcome(under("a.shop.example"), json!({}), &["*.shop.example"]), names(&["a.shop.example"]));
        assert_eq!(outcome(under("a.shop.example"), json!({}), &[]), names(&["a.shop.example"]));
        assert_eq!(outcome(under("*.shop.example"), json!({}), &["shop.example"]), Err("NoMatchingListenerHostname"));
    }
}
