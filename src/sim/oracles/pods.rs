//! Pods that have a weight are not taken away: neither all of them, nor more than the weight can spare.

use serde_json::Value;

use super::Oracles;
use crate::api::Weight;
use crate::sim::server::Cluster;
use crate::sim::view::{DEPLOYMENTS, MODELS, NAME, ROUTES, path, weights};

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
        let autoscaled = json!({"autoscaling": {"minReplicas": 1, "maxReplicas": 8}});
        let scaled = |replicas| said(&autoscaled, "churn-a", &json!({"spec": {"replicas": replicas}})).len();
        assert_eq!((scaled(1), scaled(0)), (0, 1));
    }
}
