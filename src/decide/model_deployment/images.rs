//! A revision is one image for each container, whatever a tag says.
//!
//! A tag can be pushed over. Pods that start afterwards run something else under the same revision: what was
//! judged is not what gets more weight. So while the candidate's pods differ, nothing advances and no weight rises;
//! guardrails, abort and rollback go on, as does every deadline. Of the stable revision it is only told (in
//! `Available`): a new attempt is how that is repaired, and must not wait for it.
//!
//! Compared is what the kubelet reports as `imageID`, of pods that are neither ending nor ended, for the
//! containers and init containers that the template names: a sidecar that a mesh adds is the mesh's, and
//! `werkbank fetch` hands over verified bytes whatever its image is. Not compared is
//!
//! - an image that the template pins by digest: it cannot differ. A runtime may report the digest of the platform
//!   instead of that of the whole image, so that nodes of two architectures seem to differ (nothing in a
//!   pod tells its node's architecture); the remedy is the same;
//! - an image that is not reported yet;
//! - a digest in a repository with the id of a local image: they are digests of different things.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::Value;

use super::pass::Pass;
use crate::api::labels;

/// Reason: pods of the candidate run different images.
pub(super) const DIFFER: &str = "ImagesDiffer";
/// So many letters tell one digest from another for people.
pub(super) const TOLD: usize = 19;
/// So many images of a container are named.
const NAMED: usize = 3;

impl Pass<'_> {
    /// What holds an attempt that goes up because its pods differ.
    pub(super) fn mixed_candidate(&self) -> Option<String> {
        let attempt = self.active().filter(|it| it.state.goes_up())?;
        let mixed = self.mixed_images(&attempt.revision)?;
        Some(format!(
            "{mixed}; nothing advances and no weight rises while they differ: pin the image by digest in spec.template, which is a new revision"
        ))
    }

    /// What is to be said of the stable revision.
    pub(super) fn mixed_stable(&self) -> Option<String> {
        let mixed = self.mixed_images(&self.status.stable.as_ref()?.revision)?;
        Some(format!("{mixed}; pin the image by digest in spec.template"))
    }

    fn mixed_images(&self, revision: &str) -> Option<String> {
        let seen = images(&self.observed.running, revision);
        let mixed: Vec<_> = seen.into_iter().filter(|(_, digests)| digests.len() > 1).collect();
        if mixed.is_empty() {
            return None;
        }
        // Only now: a template is read as a tree.
        let template = self.template_of(revision)?;
        let ((container, _), digests) = mixed.into_iter().find(|((name, _), _)| is_by_tag(&template, name))?;
        let told: Vec<String> = digests.iter().take(NAMED).map(|it| it.chars().take(TOLD).collect()).collect();
        let more = if digests.len() > NAMED { " and others" } else { "" };
        Some(format!(
            "pods of revision {revision} run different images: {}{more} for container {container}, so its tag was pushed over, or nodes report digests of their platform",
            told.join(" and ")
        ))
    }

    /// The pod template of a revision, from its record.
    pub(super) fn template_of(&self, revision: &str) -> Option<Value> {
        Some(self.recorded(revision)?.record.as_ref().ok()?.template.value())
    }
}

/// Whether the template names this container, and its image not by digest.
pub(super) fn is_by_tag(template: &Value, container: &str) -> bool {
    let lists = ["containers", "initContainers"].map(|it| template.pointer(&format!("/spec/{it}")));
    let mut all = lists.into_iter().flatten().filter_map(Value::as_array).flatten();
    let named = all.find(|it| it.get("name").and_then(Value::as_str) == Some(container));
    named.and_then(|it| it.get("image")?.as_str()).is_some_and(|image| !image.contains('@'))
}

/// The digests that a revision's pods run, by container and by whether they are digests in a repository.
pub(super) fn images<'a>(pods: &'a [Arc<Pod>], revision: &str) -> BTreeMap<(&'a str, bool), BTreeSet<&'a str>> {
    let mut seen = BTreeMap::<_, BTreeSet<_>>::new();
    for pod in pods.iter().filter(|pod| is_of(pod, revision) && is_alive(pod)) {
        let Some(status) = &pod.status else { continue };
        for container in status.init_container_statuses.iter().chain(&status.container_statuses).flatten() {
            if let Some((digest, in_repository)) = digest(container) {
                seen.entry((container.name.as_str(), in_repository)).or_default().insert(digest);
            }
        }
    }
    seen
}

fn is_of(pod: &Pod, revision: &str) -> bool {
    pod.metadata.labels.as_ref().and_then(|it| it.get(labels::REVISION)).map(String::as_str) == Some(revision)
}

fn is_alive(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
}

/// `registry/scorer@sha256:…` and `docker-pullable://registry/scorer@sha256:…` → `sha256:…` in a repository, wherever
/// it was pulled from; `docker://sha256:…` and `sha256:…` → `sha256:…` of a local image.
fn digest(container: &ContainerStatus) -> Option<(&str, bool)> {
    let id = container.image_id.as_str();
    let (digest, in_repository) = match id.rsplit_once('@') {
        Some((_, digest)) => (digest, true),
        None => (id.rsplit_once("://").map_or(id, |(_, digest)| digest), false),
    };
    (!digest.is_empty()).then_some((digest, in_repository))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pods(ids: &[&str]) -> Vec<Arc<Pod>> {
        let pod = |id: &&str| {
            let container = json!({"name": "server", "image": "x:1", "imageID": id, "ready": true, "restartCount": 0});
            let pod = json!({"metadata": {"labels": {"werkbank.dev/revision": "r"}},
                "status": {"phase": "Running", "containerStatuses": [container]}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        ids.iter().map(pod).collect()
    }

    fn differ(ids: &[&str]) -> bool {
        images(&pods(ids), "r").values().any(|it| it.len() > 1)
    }

    #[test]
    fn the_digest_counts_and_not_where_it_was_pulled_from() {
        assert!(differ(&["registry/x@sha256:aa", "registry/x@sha256:bb"]));
        assert!(!differ(&[
            "registry/x@sha256:aa",
            "mirror:5000/x@sha256:aa",
            "docker-pullable://registry/x@sha256:aa"
        ]));
        assert!(differ(&["docker://sha256:aa", "sha256:bb"]));
        assert!(!differ(&["docker://sha256:aa", "sha256:aa"]));
    }

    #[test]
    fn what_is_not_reported_yet_or_is_a_digest_of_something_else_is_no_difference() {
        assert!(!differ(&["registry/x@sha256:aa", ""]));
        assert!(!differ(&["registry/x@sha256:aa", "sha256:bb"]));
        assert!(!differ(&[]));
    }

    #[test]
    fn pods_that_end_or_have_ended_and_those_of_other_revisions_do_not_count() {
        let with = |change: fn(&mut Pod)| {
            let mut pods = pods(&["registry/x@sha256:aa", "registry/x@sha256:bb"]);
            change(Arc::make_mut(&mut pods[1]));
            images(&pods, "r").values().any(|it| it.len() > 1)
        };
        assert!(with(|_| ()));
        assert!(!with(
            |it| it.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-11-24T00:00:00Z")).unwrap())
        ));
        assert!(!with(|it| it.status.as_mut().unwrap().phase = Some("Failed".into())));
        assert!(!with(|it| drop(it.metadata.labels.as_mut().unwrap().insert(labels::REVISION.into(), "other".into()))));
    }

    #[test]
    fn a_container_counts_that_the_template_names_by_tag() {
        let template = json!({"spec": {
            "initContainers": [{"name": "tokens", "image": "registry/tokens:latest"}],
            "containers": [{"name": "server", "image": "registry/x@sha256:aa"}, {"name": "side", "image": "side"}],
        }});
        let by_tag = ["tokens", "server", "side", "istio-proxy", "werkbank-fetch"].map(|it| is_by_tag(&template, it));
        assert_eq!(by_tag, [true, false, true, false, false]);
    }
}
