//! An artifact is verified because its pod has said so; one Job at a time looks at it; and what is wrong is not rolled out.

use serde_json::Value;

use super::Oracles;
use crate::api::artifact_report::ArtifactReport;
use crate::sim::others::jobs;
use crate::sim::server::Cluster;
use crate::sim::view::{ENTRIES, PODS, path};

/// Whether its status says that the artifact is verified.
fn is_verified(entry: &Value) -> bool {
    let conditions = entry["status"]["conditions"].as_array().into_iter().flatten();
    conditions.filter(|it| it["type"] == "ArtifactVerified").any(|it| it["status"] == "True")
}

/// The number of a look.
fn number(job: &Value) -> i64 {
    job["metadata"]["annotations"]["werkbank.dev/look"].as_str().unwrap().parse().unwrap()
}

impl Oracles {
    /// The operator has written an entry.
    pub(super) fn artifact(&mut self, cluster: &Cluster, before: &Value, after: &Value) {
        if !is_verified(after) || is_verified(before) {
            return;
        }
        let its = |job: &Value| job["metadata"]["ownerReferences"][0]["uid"] == after["metadata"]["uid"];
        let looks = jobs::looks(cluster).into_iter().map(|(_, it)| it).filter(its);
        let last = looks.max_by_key(number).map(|it| it["metadata"]["uid"].clone());
        let has_said = |pod: &Value| {
            let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
            let said = ended["message"].as_str().and_then(ArtifactReport::parse);
            said.is_some() && ended["exitCode"] == 0
        };
        let mut pods = cluster.all(PODS).into_iter();
        let said =
            pods.any(|(_, it)| Some(&it["metadata"]["ownerReferences"][0]["uid"]) == last.as_ref() && has_said(&it));
        if !said {
            self.broken(format!("{} is verified, and no pod of the last look has said so", after["metadata"]["name"]));
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

    /// Something of this entry begins, or gets more weight, that has not proven itself before; the artifacts are verified.
    pub(super) fn rolled_out_verified(&mut self, cluster: &Cluster, entry: &str) {
        let object = cluster.get(&path(ENTRIES, entry));
        if !is_verified(&object) {
            self.broken(format!("{entry} is rolled out, and its artifact is not verified"));
        }
    }
}
