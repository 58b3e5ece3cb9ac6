//! Pods that have a weight are not taken away: neither all of them, nor more than the weight can spare.

use serde_json::Value;

use super::Oracles;
use crate::api::Weight;
use crate::api::model_deployment::Attempt;
use crate::sim::server::Cluster;
use crate::sim::view::{DEPLOYMENTS, MODELS, NAME, ROUTES, path, weights};

/// Pods that this weight needs: of those that are asked for or, where autoscalers have them in hand, that the stable revision had when it began.
pub(super) fn needed(cluster: &Cluster, attempt: &Attempt, weight: i64) -> i64 {
    let spec = &cluster.get(&path(MODELS, NAME))["spec"];
    let number = |it: &Value| it.as_i64().map(|it| i32::try_from(it).unwrap());
    let autoscaled = number(&spec["autoscaling"]["max"])
        .map(|max| attempt.stable_replicas.min(max).max(number(&spec["autoscaling"]["min"]).unwrap_or(1)));
    let replicas = autoscaled.unwrap_or_else(|| number(&spec["replicas"]).unwrap_or(1));
    let weight = Weight::from_hundredths(u16::try_from(weight).unwrap()).min(attempt.weight);
    i64::from(weight.capacity(replicas))
}

impl Oracles {
    /// The operator has changed a Deployment.
    pub(super) fn leaves_pods(&mut self, cluster: &Cluster, path_: &str, before: &Value, after: &Value) {
        let name = path_.rsplit('/').next().unwrap_or_default();
        let (model, route) = (cluster.get(&path(MODELS, NAME)), cluster.get(&path(ROUTES, NAME)));
        let weight = weights(&route).into_iter().find(|(it, _)| it == name).map_or(0, |(_, it)| it);
        if model.is_null() || before.is_null() || weight == 0 || path_ != path(DEPLOYMENTS, name) {
            return;
        }
        if after.is_null() {
            return self.broken(format!("{name} is deleted, and its weight is {weight}"));
        }
        let replicas = |it: &Value| it["spec"]["replicas"].as_i64().unwrap_or(1);
        if replicas(after) >= replicas(before) {
            return;
        }
        // How many are needed is the autoscaler's business, but not whether any are.
        if replicas(after) > 0 && !model["spec"]["autoscaling"].is_null() {
            return;
        }
        let all = i32::try_from(replicas(&model)).unwrap();
        let needed = Weight::from_hundredths(u16::try_from(weight).unwrap()).capacity(all);
        if replicas(after) < i64::from(needed) {
            self.broken(format!("{name} has {} pods left, and its weight of {weight} needs {needed}", replicas(after)));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is said of it when a Deployment that has 4 pods and half of the traffic is changed to this.
    fn said_of(change: &Value) -> Vec<String> {
        said(&json!({"replicas": 4}), "churn-a", change)
    }

    /// The same of the Deployment of this name; `churn-c` has no traffic.
    fn said(spec: &Value, name: &str, change: &Value) -> Vec<String> {
        let cluster = Cluster::default();
        cluster.put(&path(MODELS, NAME), json!({"metadata": {"name": NAME}, "spec": spec}));
        let backends =
            json!([{"name": "churn-a", "port": 80, "weight": 5_000}, {"name": "churn-b", "port": 80, "weight": 5_000}]);
        cluster.put(
            &path(ROUTES, NAME),
            json!({"metadata": {"name": NAME}, "spec": {"parentRefs": [], "rules": [{"backendRefs": backends}]}}),
        );
        let mut oracles = Oracles::default();
        oracles.leaves_pods(&cluster, &path(DEPLOYMENTS, name), &json!({"spec": {"replicas": 4}}), change);
        oracles.violations
    }

    #[test]
    fn pods_that_have_traffic_are_neither_deleted_nor_scaled_below_their_weight() {
        assert_eq!(said_of(&json!({"spec": {"replicas": 2}})), Vec::<String>::new());
        assert_eq!(
            said_of(&json!({"spec": {"replicas": 1}})),
            ["churn-a has 1 pods left, and its weight of 5000 needs 2"]
        );
        assert_eq!(said_of(&Value::Null), ["churn-a is deleted, and its weight is 5000"]);
        assert_eq!(said(&json!({"replicas": 4}), "churn-c", &Value::Null), Vec::<String>::new());
        let autoscaled = json!({"autoscaling": {"min": 1, "max": 8}});
        let scaled = |replicas| said(&autoscaled, "churn-a", &json!({"spec": {"replicas": replicas}})).len();
        assert_eq!((scaled(1), scaled(0)), (0, 1));
    }

    #[test]
    fn a_weight_needs_its_share_of_what_the_stable_revision_had() {
        let now = "2026-12-01T00:00:00Z";
        let attempt = json!({"id": "a", "revision": "r", "entry": {"revision": "r", "name": "e", "uid": "u"}, "state": "Shifting",
            "weight": "50%", "startedAt": now, "enteredAt": now, "stableReplicas": 6});
        let attempt: Attempt = serde_json::from_value(attempt).unwrap();
        let needs = |spec: Value| {
            let cluster = Cluster::default();
            cluster.put(&path(MODELS, NAME), json!({"metadata": {"name": NAME}, "spec": spec}));
            needed(&cluster, &attempt, 5_000)
        };
        assert_eq!(needs(json!({"replicas": 4})), 2);
        assert_eq!(needs(json!({"autoscaling": {"min": 2, "max": 8}})), 3);
        assert_eq!(needs(json!({"autoscaling": {"min": 2, "max": 4}})), 2);
        assert_eq!(needs(json!({"autoscaling": {"min": 8, "max": 9}})), 4);
    }
}
