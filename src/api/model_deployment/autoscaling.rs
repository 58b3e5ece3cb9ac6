//! How many pods there are, where a HorizontalPodAutoscaler decides it.

use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One HorizontalPodAutoscaler for each revision that has traffic. It decides how many pods there are; the
/// operator decides only how many there are at least, so that weight never exceeds capacity.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.min <= self.max")
    .message("autoscaling.min is above autoscaling.max: there would be no number of pods between them"))]
pub struct Autoscaling {
    /// Pods at least. During a rollout the stable revision keeps at least as many as it had when it began.
    #[schemars(range(min = 1, max = 2000))]
    pub min: i32,
    /// Pods of one revision at most.
    #[schemars(range(min = 1, max = 2000))]
    pub max: i32,
    /// What the number follows: `metrics` of a HorizontalPodAutoscaler (autoscaling/v2).
    #[schemars(length(min = 1, max = 16), schema_with = "metrics")]
    pub metrics: Vec<Value>,
    /// How fast it follows: `behavior` of a HorizontalPodAutoscaler (autoscaling/v2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "behavior")]
    pub behavior: Option<Value>,
}

/// Kubernetes' own schema of these is large, and checks them better: what the API server says of the
/// autoscaler made from them becomes a condition.
fn metrics(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "minItems": 1, "maxItems": 16,
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    })
}

fn behavior(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true})
}
