//! The HTTPRoute: the user's rules, with the operator's weights.
//!
//! The user's part is written twice: into the spec, where the API server completes it with
//! defaults, and as it was into an annotation. What a Gateway has accepted can so be written
//! again, with other weights, while the spec already asks for something else. It is kept on
//! the route because both are then one write and never disagree, because it goes with the
//! route, and because the API server bounds it (annotations: 256 KiB); a status, which is
//! written at every step, would carry it along each time.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};

use super::{APPLIED, annotation, applied, metadata, owned_by};
use crate::api::gateway::{HttpRoute, HttpRouteSpec, ParentRef};
use crate::api::model_deployment::Gateway;
use crate::api::{ModelDeployment, Weight, labels};

/// `spec.traffic.gateway` as the route was written from it.
const GATEWAY: &str = "werkbank.dev/gateway";
/// The header that keeps requests away from a proposal; its value is the deployment's uid.
const NO_REQUEST: &str = "x-werkbank-proposed";

/// One revision's part of the traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The revision.
    pub revision: String,
    /// Its share.
    pub weight: Weight,
    /// The port its Service was made with; the spec's belongs to the revision the spec asks for.
    pub port: i32,
}

/// The route of a deployment with these backends in every rule; `mirror` gets copies of its share of the requests.
#[must_use]
pub fn write(
    resource: &ModelDeployment,
    gateway: &Gateway,
    backends: &[Backend],
    mirror: Option<&Backend>,
) -> HttpRoute {
    let name = resource.metadata.name.as_deref().unwrap_or_default();
    assemble(resource, name, gateway, rules(resource, gateway, backends, mirror))
}

/// Copies its share of the requests to a revision.
fn mirror_filter(name: &str, Backend { revision, weight, port }: &Backend) -> Value {
    let backend = json!({"name": labels::name(&[name, revision]), "port": port});
    let percent = weight.hundredths() / 100;
    json!({"type": "RequestMirror", "requestMirror": {"backendRef": backend, "percent": percent}})
}

fn add_filter(rule: &mut Map<String, Value>, filter: &Value) {
    match rule.get_mut("filters").and_then(Value::as_array_mut) {
        Some(filters) => filters.push(filter.clone()),
        None => drop(rule.insert("filters".into(), json!([filter]))),
    }
}

/// The proposal: the same to the Gateways, which accept or refuse it, and nobody's route, because
/// each match asks for a header that no request has. So nothing is served by it before it is
/// accepted, nor without what other objects (a security policy, say) attach to the true route by name.
#[must_use]
pub fn propose(
    resource: &ModelDeployment,
    gateway: &Gateway,
    backend: &Backend,
    mirror: Option<&Backend>,
) -> HttpRoute {
    let uid = resource.metadata.uid.as_deref().unwrap_or_default();
    let mut rules = rules(resource, gateway, std::slice::from_ref(backend), mirror);
    rules.iter_mut().filter_map(Value::as_object_mut).for_each(|rule| ask_for_header(rule, uid));
    let name = proposed_name(resource.metadata.name.as_deref().unwrap_or_default());
    assemble(resource, &name, gateway, rules)
}

/// Name of the proposal. No ModelDeployment has a dot in its name: it is nobody else's route.
#[must_use]
pub fn proposed_name(name: &str) -> String {
    format!("{name}.proposed")
}

fn assemble(resource: &ModelDeployment, name: &str, gateway: &Gateway, rules: Vec<Value>) -> HttpRoute {
    let (parent_refs, hostnames) = (gateway.parent_refs.clone().into(), gateway.hostnames.clone());
    let spec = HttpRouteSpec { parent_refs, hostnames, rules: rules.into() };
    let mut annotations = applied(&json!(spec));
    annotations.insert(GATEWAY.into(), json!(gateway).to_string());
    let metadata = ObjectMeta { annotations: Some(annotations), ..metadata(resource, name, None, owned_by(resource)) };
    HttpRoute { metadata, spec, status: None }
}

fn rules(resource: &ModelDeployment, gateway: &Gateway, backends: &[Backend], mirror: Option<&Backend>) -> Vec<Value> {
    let name = resource.metadata.name.as_deref().unwrap_or_default();
    let reference = |it: &Backend| json!({"name": labels::name(&[name, &it.revision]), "port": it.port, "weight": it.weight.hundredths()});
    let backend_refs: Vec<Value> = backends.iter().map(reference).collect();
    let everything = vec![json!({})];
    let rules = if gateway.rules.is_empty() { &everything } else { &gateway.rules };
    let filter = mirror.map(|it| mirror_filter(name, it));
    rules.iter().map(|rule| with_backends(rule, &backend_refs, filter.as_ref())).collect()
}

fn with_backends(rule: &Value, backend_refs: &[Value], filter: Option<&Value>) -> Value {
    let mut rule = rule.as_object().cloned().unwrap_or_default();
    if let Some(filter) = filter {
        add_filter(&mut rule, filter);
    }
    rule.insert("backendRefs".into(), backend_refs.into());
    Value::Object(rule)
}

fn ask_for_header(rule: &mut Map<String, Value>, value: &str) {
    let matches = rule.entry("matches").or_insert_with(|| json!([]));
    // No match at all means every request.
    if matches.as_array().is_some_and(Vec::is_empty) || matches.is_null() {
        *matches = json!([{}]);
    }
    for it in matches.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        let header = json!({"name": NO_REQUEST, "value": value});
        match it.get_mut("headers").and_then(Value::as_array_mut) {
            Some(headers) => headers.push(header),
            None => drop(it.insert("headers".into(), json!([header]))),
        }
    }
}

/// The part of the user's that a live route was written from.
#[must_use]
pub fn gateway(live: &HttpRoute) -> Option<Gateway> {
    let written = annotation(&live.metadata, GATEWAY)?;
    serde_json::from_str(written).ok()
}

/// How a live route stands beside the wanted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// It was applied from the wanted one and still has its parents, hosts, backends and weights. The API server
    /// completes rules with defaults, and drops what it does not know, so the whole cannot be compared.
    pub is_same: bool,
    /// It was applied from the wanted one, and somebody has edited it since.
    pub is_edited: bool,
    /// Each rule has the wanted backends and weights.
    pub weighs_alike: bool,
}

/// Compares a live route with the wanted one.
#[must_use]
pub fn compare(live: &HttpRoute, wanted: &HttpRoute) -> Comparison {
    let (rules, wanted_rules) = (live.spec.rules.list(), wanted.spec.rules.list());
    let is_written_alike = |key| annotation(&live.metadata, key) == annotation(&wanted.metadata, key);
    let is_applied = is_written_alike(APPLIED);
    let weighs_alike = weights_of(&rules) == weights_of(&wanted_rules);
    let is_same = is_applied
        && is_written_alike(GATEWAY)
        && live.spec.hostnames == wanted.spec.hostnames
        && parents(live) == parents(wanted)
        && weighs_alike
        && ports(&rules) == ports(&wanted_rules)
        && mirrors(&rules) == mirrors(&wanted_rules);
    Comparison { is_same, is_edited: is_applied && !is_same, weighs_alike }
}

/// Whether the live route is the wanted one: [`Comparison::is_same`].
#[must_use]
pub fn same(live: &HttpRoute, wanted: &HttpRoute) -> bool {
    compare(live, wanted).is_same
}

fn ports(rules: &[Value]) -> Vec<Option<i64>> {
    let backends = rules.iter().filter_map(|rule| rule.get("backendRefs")?.as_array()).flatten();
    backends.map(|it| it.get("port").and_then(Value::as_i64)).collect()
}

/// Per rule, where requests are copied to, and how many of a hundred; a cluster whose Gateway API knows no
/// `percent` drops it, and would copy all.
fn mirrors(rules: &[Value]) -> Vec<Vec<(Option<&str>, Option<i64>)>> {
    fn mirror(filter: &Value) -> Option<(Option<&str>, Option<i64>)> {
        let mirror = filter.get("requestMirror")?;
        Some((
            mirror.pointer("/backendRef/name").and_then(Value::as_str),
            mirror.get("percent").and_then(Value::as_i64),
        ))
    }
    let filters = |rule| Value::get(rule, "filters").and_then(Value::as_array).into_iter().flatten();
    rules.iter().map(|rule| filters(rule).filter_map(mirror).collect()).collect()
}

fn parents(route: &HttpRoute) -> Vec<Option<ParentRef>> {
    let namespace = route.metadata.namespace.as_deref().unwrap_or_default();
    route.spec.parents().into_iter().map(|it| it.map(|it| it.resolved(namespace))).collect()
}

/// Per rule, the backends' names and weights.
#[must_use]
pub fn weights(route: &HttpRoute) -> Vec<Vec<(String, i64)>> {
    weights_of(&route.spec.rules.list())
}

fn weights_of(rules: &[Value]) -> Vec<Vec<(String, i64)>> {
    let backend = |it: &Value| {
        (
            it.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            it.get("weight").and_then(Value::as_i64).unwrap_or(1),
        )
    };
    let backends = |rule: &Value| {
        rule.get("backendRefs")
            .and_then(Value::as_array)
            .map(|all| all.iter().map(backend).collect())
            .unwrap_or_default()
    };
    rules.iter().map(backends).collect()
}

#[cfg(test)]
mod tests;
