//! What a Job has said, if it has said anything.
//!
//! A number is one only if the Job ended well. That it crashed, ran out of time or never began says nothing of the
//! revision: it is told, and no verdict. Of what its containers wrote nothing is repeated but the number.

use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use serde_json::Value;

use crate::api::duration::{after, written};
use crate::build::job::Purpose;
use crate::decide::Measurement;
use crate::decide::model_deployment::live;
use crate::decide::model_deployment::observed::LiveJob;

/// More is no number.
const LONGEST: usize = 4096;
/// How long a pod is waited for that the Job's controller has seen the end of.
const PATIENCE: Duration = Duration::from_secs(10);
/// Why a container waits when it will not begin before somebody changes something.
const STUCK: [&str; 5] =
    ["ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError"];

/// How a Job ended, as its controller says.
struct End {
    well: bool,
    reason: String,
    at: Option<DateTime<Utc>>,
}

/// When a Job that has not ended is given up. It may have been created a while after the moment that it is about.
pub(super) fn limit(live: &LiveJob, purpose: &Purpose) -> DateTime<Utc> {
    let created = live::moment(live.job.metadata.creation_timestamp.as_ref());
    let began = created.map_or(purpose.moment, |at| at.max(purpose.moment));
    after(began, Duration::from_secs(purpose.timeout_seconds))
}

/// Whether its controller says that it has ended.
pub(super) fn has_ended(live: &LiveJob) -> bool {
    end(live).is_some()
}

/// What it says; `None`: nothing yet.
pub(super) fn of(live: &LiveJob, purpose: &Purpose, now: DateTime<Utc>) -> Option<Measurement> {
    let name = live.job.metadata.name.as_deref().unwrap_or_default();
    let Some(end) = end(live) else {
        let stuck = live.pods.iter().find_map(|it| stuck(it));
        let why = stuck.or_else(|| (limit(live, purpose) <= now).then(|| overdue(live, purpose)))?;
        return Some(Measurement::ProviderError(format!("Job {name}: {why}")));
    };
    // Which of them is the Job's own, nobody can tell.
    if live.pods.len() > 1 {
        let pods = live.pods.len();
        return Some(Measurement::Refused(format!(
            "Job {name}: {pods} pods say that it owns them, and it makes one; see who else creates pods in this namespace"
        )));
    }
    let spoken = live.pods.iter().find_map(|pod| terminated(pod, &purpose.container));
    let said = match spoken {
        Some(it) if end.well && it.exit_code == 0 => read(it.message.as_deref(), &purpose.container),
        // The Job is seen before its pod is.
        None if end.at.is_some_and(|at| after(at, PATIENCE) > now) && end.reason != "DeadlineExceeded" => return None,
        _ => Measurement::ProviderError(failure(live, &end, purpose)),
    };
    Some(match said {
        Measurement::Refused(why) => Measurement::Refused(format!("Job {name}: {why}")),
        Measurement::NoData(why) => Measurement::NoData(format!("Job {name}: {why}")),
        Measurement::ProviderError(why) => Measurement::ProviderError(format!(
            "Job {name}: {why}; kubectl logs job/{name} until the next one has ended"
        )),
        other => other,
    })
}

fn end(live: &LiveJob) -> Option<End> {
    let conditions = live.job.status.as_ref()?.conditions.iter().flatten();
    let ended = conditions.filter(|it| it.status == "True");
    let mut ended = ended.filter(|it| it.type_ == "Complete" || it.type_ == "Failed");
    let it = ended.next()?;
    Some(End {
        well: it.type_ == "Complete",
        reason: word(it.reason.as_deref()),
        at: live::moment(it.last_transition_time.as_ref()),
    })
}

/// The number in a termination message.
fn read(message: Option<&str>, container: &str) -> Measurement {
    let text = message.unwrap_or_default().trim();
    let wanted = format!(
        "let container {container} write {{\"value\": 0.93}} to its terminationMessagePath, /dev/termination-log"
    );
    if text.is_empty() {
        return Measurement::Refused(format!("it ended well and said nothing; {wanted}"));
    }
    // Python writes NaN where JSON has no word for it.
    let read = serde_json::from_str::<Value>(text).or_else(|_| serde_json::from_str(&text.replace("NaN", "null")));
    let object = match read {
        Ok(Value::Object(object)) if text.len() <= LONGEST => object,
        _ => {
            return Measurement::Refused(format!(
                "what it said is no JSON object of at most {LONGEST} bytes; {wanted}"
            ));
        }
    };
    match object.get("value") {
        None | Some(Value::Null) => Measurement::NoData("it ended well and has no value".into()),
        Some(value) => match value.as_f64() {
            Some(number) => Measurement::of(number),
            None => Measurement::Refused(format!("its value is no number; {wanted}")),
        },
    }
}

fn overdue(live: &LiveJob, purpose: &Purpose) -> String {
    let limit = written(Duration::from_secs(purpose.timeout_seconds));
    let unscheduled = |pod: &Pod| {
        let mut conditions = pod.status.iter().flat_map(|it| it.conditions.iter().flatten());
        conditions.any(|it| it.type_ == "PodScheduled" && it.status == "False")
    };
    let why = match live.pods.first() {
        None => "it has no pod: see kubectl describe job, which says whether a quota or a policy is in the way",
        Some(pod) if unscheduled(pod) => "no node takes its pod: see its resources and spec.region",
        Some(_) => "make it faster, or raise job.timeout",
    };
    format!("it did not end within {limit}; {why}")
}

fn failure(live: &LiveJob, end: &End, purpose: &Purpose) -> String {
    if end.reason == "DeadlineExceeded" {
        return overdue(live, purpose);
    }
    let bad = live.pods.iter().flat_map(|pod| containers(pod)).find_map(|container| {
        let it = ended(container.state.as_ref()).filter(|it| it.exit_code != 0)?;
        Some(format!(
            "container {} ended with exit code {}, {}",
            container.name,
            it.exit_code,
            word(it.reason.as_deref())
        ))
    });
    match bad {
        Some(bad) => bad,
        None if end.well => format!("its pod is gone, or has no container {}", purpose.container),
        None => format!("it failed, {}", end.reason),
    }
}

/// Waits for what does not come by itself.
fn stuck(pod: &Pod) -> Option<String> {
    containers(pod).find_map(|container| {
        let reason = container.state.as_ref()?.waiting.as_ref()?.reason.as_deref()?;
        let known = STUCK.iter().find(|it| **it == reason)?;
        Some(format!("container {} waits, {known}; correct it in job.template", container.name))
    })
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|it| it.init_container_statuses.iter().chain(&it.container_statuses).flatten())
}

fn terminated<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStateTerminated> {
    let all = pod.status.as_ref()?.container_statuses.as_ref()?;
    ended(all.iter().find(|it| it.name == container)?.state.as_ref())
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
mod tests;
