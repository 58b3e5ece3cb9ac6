//! A Job and its pods as they are: whether it has ended, and what its container has said.
//!
//! Of what containers and runtimes write nothing is repeated but single words: a termination message is read by whoever knows what
//! is in it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};

use super::model_deployment::live;
use crate::api::duration::after;

/// How long a pod is waited for that the Job's controller has seen the end of.
const PATIENCE: Duration = Duration::from_secs(10);
/// Why a container waits when it will not begin before somebody changes something.
pub const STUCK: [&str; 6] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
];

/// A Job with its pods, whose containers say what was found.
#[derive(Debug, Clone, Default)]
pub struct LiveJob {
    /// The Job.
    pub job: Arc<Job>,
    /// Its pods: one, if nobody else meddles.
    pub pods: Vec<Arc<Pod>>,
}

/// How a Job ended, as its controller says.
#[derive(Debug)]
pub struct End {
    /// Whether it completed.
    pub well: bool,
    /// The controller's word for it.
    pub reason: String,
    /// When, if that is said.
    pub at: Option<DateTime<Utc>>,
}

impl End {
    /// Whether the pod may still be seen that has come to this end: the Job is seen first. What is long to come is of a clock that
    /// goes before this one.
    #[must_use]
    pub fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        let is_near = |at: DateTime<Utc>| after(at, PATIENCE) > now && at <= after(now, PATIENCE);
        self.at.is_some_and(is_near) && !self.is_overdue()
    }

    /// Whether it ran out of time: then its pod is deleted.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        self.reason == "DeadlineExceeded"
    }
}

impl LiveJob {
    /// `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.job.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its end, if its controller says that it has ended.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        let conditions = self.job.status.as_ref()?.conditions.iter().flatten();
        let ended = conditions.filter(|it| it.status == "True");
        let mut ended = ended.filter(|it| it.type_ == "Complete" || it.type_ == "Failed");
        let it = ended.next()?;
        Some(End {
            well: it.type_ == "Complete",
            reason: word(it.reason.as_deref()),
            at: live::moment(it.last_transition_time.as_ref()),
        })
    }

    /// How this container ended.
    #[must_use]
    pub fn terminated(&self, container: &str) -> Option<&ContainerStateTerminated> {
        self.pods.iter().find_map(|pod| {
            let all = pod.status.as_ref()?.container_statuses.as_ref()?;
            ended(all.iter().find(|it| it.name == container)?.state.as_ref())
        })
    }

    /// The first container that ended badly: its name, exit code, and the runtime's word for it.
    #[must_use]
    pub fn crashed(&self) -> Option<String> {
        self.containers().find_map(|container| {
            let it = ended(container.state.as_ref()).filter(|it| it.exit_code != 0)?;
            let (name, reason) = (&container.name, word(it.reason.as_deref()));
            Some(format!("container {name} ended with exit code {}, {reason}", it.exit_code))
        })
    }

    /// A container that waits for what does not come by itself.
    #[must_use]
    pub fn stuck(&self) -> Option<String> {
        self.containers().find_map(|container| {
            let reason = container.state.as_ref()?.waiting.as_ref()?.reason.as_deref()?;
            let known = STUCK.iter().find(|it| **it == reason)?;
            Some(format!("container {} waits, {known}", container.name))
        })
    }

    /// Where this container runs, if it does: of more than one pod, nobody knows which is the Job's own.
    #[must_use]
    pub fn address_of(&self, container: &str) -> Option<&str> {
        let [pod] = self.pods.as_slice() else { return None };
        let status = pod.status.as_ref()?;
        let of_container = |it: &&ContainerStatus| it.name == container;
        status.container_statuses.iter().flatten().find(of_container)?.state.as_ref()?.running.as_ref()?;
        status.pod_ip.as_deref()
    }

    /// Why this container has not begun, if it has not.
    #[must_use]
    pub fn why_not_begun(&self, container: &str) -> Option<String> {
        let runs = |it: &ContainerState| it.running.is_some() || it.terminated.is_some();
        if self.containers().any(|it| it.name == container && it.state.as_ref().is_some_and(runs)) {
            return None;
        }
        let waits = if self.pods.is_empty() { "it has no pod" } else { "its container waits" };
        Some(self.why_stuck().unwrap_or_else(|| waits.to_owned()))
    }

    /// Why it will not begin before somebody changes something.
    #[must_use]
    pub fn why_stuck(&self) -> Option<String> {
        self.stuck().or_else(|| self.is_unscheduled().then(|| "no node takes its pod".to_owned()))
    }

    /// Whether no node takes its pod.
    #[must_use]
    pub fn is_unscheduled(&self) -> bool {
        let mut conditions =
            self.pods.iter().filter_map(|it| it.status.as_ref()).flat_map(|it| it.conditions.iter().flatten());
        conditions.any(|it| it.type_ == "PodScheduled" && it.status == "False")
    }

    fn containers(&self) -> impl Iterator<Item = &ContainerStatus> {
        let status = self.pods.iter().filter_map(|it| it.status.as_ref());
        status.flat_map(|it| it.init_container_statuses.iter().chain(&it.container_statuses).flatten())
    }
}

fn ended(state: Option<&ContainerState>) -> Option<&ContainerStateTerminated> {
    state?.terminated.as_ref()
}

/// A reason is one word; whatever else a runtime says is not repeated.
fn word(reason: Option<&str>) -> String {
    let is_word = |it: &&str| it.len() <= 64 && it.bytes().all(|it| it.is_ascii_alphanumeric());
    reason.filter(is_word).filter(|it| !it.is_empty()).unwrap_or("without a reason").to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(pods: &[Value]) -> LiveJob {
        let pods = pods.iter().map(|it| Arc::new(serde_json::from_value(it.clone()).unwrap())).collect();
        LiveJob { pods, ..LiveJob::default() }
    }

    #[test]
    fn a_container_is_asked_only_where_it_runs_and_only_of_the_one_pod_there_is() {
        let pod = |state, ip| {
            let status = json!([{"name": "verify", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state}]);
            json!({"metadata": {}, "status": {"podIP": ip, "containerStatuses": status}})
        };
        let runs = pod(json!({"running": {}}), json!("10.1.2.3"));
        let it = |pods: &[Value]| job(pods).address_of("verify").map(str::to_owned);
        let one = std::slice::from_ref(&runs);
        assert_eq!(it(one), Some("10.1.2.3".to_owned()));
        assert_eq!(job(one).address_of("sidecar"), None);
        assert_eq!(it(&[runs.clone(), runs]), None);
        assert_eq!(it(&[pod(json!({"waiting": {}}), json!("10.1.2.3"))]), None);
        assert_eq!(it(&[pod(json!({"running": {}}), json!(null))]), None);
    }
}
