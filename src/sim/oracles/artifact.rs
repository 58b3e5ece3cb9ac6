//! An artifact is verified because its pod has said so; one Job at a time looks at it; and what is wrong is not rolled out.

use serde_json::Value;

use super::Oracles;
use crate::sim::others::jobs;
use crate::sim::server::Cluster;
use crate::sim::view::{ENTRIES, PODS, path};

/// Whether its status says that the artifact is verified.
fn is_verified(entry: &Value) -> bool {
    let conditions = entry["status"]["conditions"].as_array().into_iter().flatten();
    conditions.filter(|it| it["type"] == "ArtifactVerified").any(|it| it["status"] == "True")
}

impl Oracles {
    /// The operator has written an entry.
    pub(super) fn artifact(&mut self, cluster: &Cluster, before: &Value, after: &Value) {
        if !is_verified(after) || is_verified(before) {
            return;
        }
        let its = |job: &Value| job["metadata"]["ownerReferences"][0]["uid"] == after["metadata"]["uid"];
        let jobs: Vec<Value> = jobs::looks(cluster)
            .into_iter()
            .filter(|(_, it)| its(it))
            .map(|(_, it)| it["metadata"]["uid"].clone())
            .collect();
        let said = cluster.all(PODS).into_iter().any(|(_, pod)| {
            let message = &pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"];
            jobs.contains(&pod["metadata"]["ownerReferences"][0]["uid"])
                && message.as_str().is_some_and(|it| it.contains("verified"))
        });
        if !said {
            self.broken(format!("{} is verified, and no pod has said so", after["metadata"]["name"]));
        }
    }

    /// The operator has created a Job that looks at an artifact.
    pub(super) fn look(&mut self, cluster: &Cluster, job: &Value) {
        let owner = &job["metadata"]["ownerReferences"][0]["uid"];
        let same = |it: &Value| it["metadata"]["ownerReferences"][0]["uid"] == *owner && !jobs::is_over(it);
        if jobs::looks(cluster).iter().filter(|(_, it)| same(it)).count() > 1 {
            self.broken(format!("two Jobs at a time look at the artifact of {:?}", jobs::looks_at(job)));
        }
    }

    /// Something of this entry begins, or gets more weight; the artifacts are verified.
    pub(super) fn rolled_out_verified(&mut self, cluster: &Cluster, entry: &str) {
        let object = cluster.get(&path(ENTRIES, entry));
        if !is_verified(&object) {
            self.broken(format!("{entry} is rolled out, and its artifact is not verified"));
        }
        if object["metadata"]["annotations"][jobs::ARTIFACT] == "wrong" {
            self.broken(format!("{entry} is rolled out, and its artifact is not what is registered"));
        }
    }
}
