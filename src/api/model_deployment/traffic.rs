//! How requests reach the model.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How requests reach the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// Weights through the Gateway API: the operator owns one HTTPRoute of the
    /// deployment's name.
    pub gateway: Gateway,
}

/// An HTTPRoute without its backends. An edit is in effect once every Gateway it names has accepted
/// it; until then the route stays as it was last accepted.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// The Gateways to attach to, as in an HTTPRoute.
    #[schemars(length(min = 1, max = 8), schema_with = "objects")]
    pub parent_refs: Vec<Value>,
    /// Host names, as in an HTTPRoute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub hostnames: Vec<String>,
    /// HTTPRoute rules without `backendRefs` (the operator sets them); when left
    /// out, one rule that matches everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), schema_with = "objects")]
    #[x_kube(validation = Rule::new("self.all(rule, !has(rule.backendRefs))")
        .message("traffic.gateway.rules must not hold backendRefs: the operator sets them to the stable revision and the candidate"))]
    pub rules: Vec<Value>,
}

/// A list of objects of the Gateway API, passed through; `backendRefs` is declared
/// so that a rule can refuse it.
fn objects(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"backendRefs": {"type": "array", "maxItems": 16, "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
        },
    })
}
