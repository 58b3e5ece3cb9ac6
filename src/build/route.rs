//! The HTTPRoute: the user's rules, with the operator's weights.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::{APPLIED, applied, metadata, owned_by_deployment};
use crate::api::gateway::{HttpRoute, HttpRouteSpec};
use crate::api::model_deployment::Gateway;
use crate::api::{ModelDeployment, Weight, labels};

/// One revision's part of the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend<'a> {
    /// The revision.
    pub revision: &'a str,
    /// Its share.
    pub weight: Weight,
    /// The port its Service was made with; the spec's belongs to the revision the spec asks for.
    pub port: i32,
}

/// The route of a deployment with these backends in every rule.
#[must_use]
pub fn write(resource: &ModelDeployment, gateway: &Gateway, backends: &[Backend<'_>]) -> HttpRoute {
    let name = resource.metadata.name.as_deref().unwrap_or_default();
    let reference = |it: &Backend<'_>| json!({"name": labels::name(&[name, it.revision]), "port": it.port, "weight": it.weight.hundredths()});
    let backend_refs: Vec<Value> = backends.iter().map(reference).collect();
    let everything = vec![json!({})];
    let rules = if gateway.rules.is_empty() { &everything } else { &gateway.rules };
    let rules = rules.iter().map(|rule| with_backends(rule, &backend_refs)).collect();
    let spec = HttpRouteSpec { parent_refs: gateway.parent_refs.clone(), hostnames: gateway.hostnames.clone(), rules };
    let metadata = ObjectMeta {
        annotations: Some(applied(&json!(spec))),
        ..metadata(resource, name, None, owned_by_deployment(resource))
    };
    HttpRoute { metadata, spec, status: None }
}

fn with_backends(rule: &Value, backend_refs: &[Value]) -> Value {
    let mut rule = rule.as_object().cloned().unwrap_or_default();
    rule.insert("backendRefs".into(), backend_refs.into());
    Value::Object(rule)
}

/// Whether the live route was applied from the wanted one and still has its parents, hosts
/// and weights. The API server completes rules with defaults, so the whole cannot be compared.
#[must_use]
pub fn same(live: &HttpRoute, wanted: &HttpRoute) -> bool {
    let digest = |it: &HttpRoute| it.metadata.annotations.as_ref().and_then(|all| all.get(APPLIED).cloned());
    digest(live) == digest(wanted)
        && live.spec.hostnames == wanted.spec.hostnames
        && names(&live.spec.parent_refs) == names(&wanted.spec.parent_refs)
        && weights(live) == weights(wanted)
}

fn names(parents: &[Value]) -> Vec<Option<&str>> {
    parents.iter().map(|it| it.get("name").and_then(Value::as_str)).collect()
}

/// Per rule, the backends' names and weights.
#[must_use]
pub fn weights(route: &HttpRoute) -> Vec<Vec<(String, i64)>> {
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
    route.spec.rules.iter().map(backends).collect()
}
