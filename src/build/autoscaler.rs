//! The HorizontalPodAutoscaler of one revision.
//!
//! It decides how many pods a revision has. What the operator needs is a floor: `minReplicas` is raised to
//! what a weight takes, and lowered when the attempt has ended. So nobody fights: the operator does not write the
//! number of pods of a Deployment that an autoscaler has in hand.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{APPLIED, Owner, annotation, applied, metadata, unknown};
use crate::api::ModelDeployment;
use crate::api::model_deployment::Autoscaling;

/// The autoscaler of `revision`, with at least `min` pods.
///
/// # Errors
/// With the field and the remedy, when `metrics` or `behavior` are none.
pub fn write(
    resource: &ModelDeployment,
    asked: &Autoscaling,
    revision: &str,
    owner: &Owner,
    min: i32,
) -> Result<HorizontalPodAutoscaler, String> {
    let rest = json!({"metrics": asked.metrics, "behavior": asked.behavior});
    let annotations = Some(applied(&rest));
    let metadata = metadata(resource, &owner.name, Some(revision), owner.reference());
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": owner.name});
    let mut whole = json!({"scaleTargetRef": target, "minReplicas": min, "maxReplicas": asked.max.max(min)});
    extend(&mut whole, &rest);
    let spec = HorizontalPodAutoscalerSpec::deserialize(&whole).map_err(|error| {
        format!(
            "spec.autoscaling: {error}; write metrics and behavior as in a HorizontalPodAutoscaler (autoscaling/v2)"
        )
    })?;
    unknown::refuse("spec.autoscaling", "a HorizontalPodAutoscaler", &whole, &json!(spec))?;
    Ok(HorizontalPodAutoscaler { metadata: ObjectMeta { annotations, ..metadata }, spec: Some(spec), status: None })
}

fn extend(whole: &mut Value, rest: &Value) {
    if let (Some(whole), Some(rest)) = (whole.as_object_mut(), rest.as_object()) {
        whole
            .extend(rest.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), value.clone())));
    }
}

/// How many pods an autoscaler keeps at least.
#[must_use]
pub fn min(live: &HorizontalPodAutoscaler) -> i32 {
    live.spec.as_ref().and_then(|it| it.min_replicas).unwrap_or(1)
}

/// Whether the live autoscaler is the wanted one.
///
/// The API server writes quantities and `behavior` in its own way; what was applied tells whether they are as
/// wanted, and which metrics there are whether somebody has changed them since.
#[must_use]
pub fn same(live: &HorizontalPodAutoscaler, wanted: &HorizontalPodAutoscaler) -> bool {
    let bounds = |it: &HorizontalPodAutoscaler| {
        let spec = it.spec.as_ref();
        spec.map(|it| (it.min_replicas, it.max_replicas, named(&it.scale_target_ref)))
    };
    let kinds = |it: &HorizontalPodAutoscaler| -> Vec<String> {
        let metrics = it.spec.as_ref().and_then(|spec| spec.metrics.as_ref());
        // In their own order: an API server that keeps them in an older version gives them back in another.
        let mut kinds: Vec<String> = metrics.into_iter().flatten().map(|metric| metric.type_.clone()).collect();
        kinds.sort_unstable();
        kinds
    };
    let applied = |it: &HorizontalPodAutoscaler| annotation(&it.metadata, APPLIED).map(str::to_owned);
    applied(live) == applied(wanted) && bounds(live) == bounds(wanted) && kinds(live) == kinds(wanted)
}

fn named(target: &CrossVersionObjectReference) -> (String, String) {
    (target.kind.clone(), target.name.clone())
}

#[cfg(test)]
mod tests;
