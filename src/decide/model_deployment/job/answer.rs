//! What a Job has said, if it has said anything.
//!
//! A number is one only if the Job ended well. That it crashed, ran out of time or never began says nothing of the
//! revision: it is told, and no verdict. Of what its containers wrote nothing is repeated but the number.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::api::duration::{after, written};
use crate::build::job::Purpose;
use crate::decide::Measurement;
use crate::decide::live_job::{End, LiveJob};
use crate::decide::model_deployment::live;

/// More is no number.
const LONGEST: usize = 4096;
/// When a Job that has not ended is given up. It may have been created a while after the moment that it is about.
pub(super) fn limit(live: &LiveJob, purpose: &Purpose) -> DateTime<Utc> {
    let created = live::moment(live.job.metadata.creation_timestamp.as_ref());
    let began = created.map_or(purpose.moment, |at| at.max(purpose.moment));
    after(began, Duration::from_secs(purpose.timeout_seconds))
}

/// Whether its controller says that it has ended.
pub(super) fn has_ended(live: &LiveJob) -> bool {
    live.end().is_some()
}

/// What it says; `None`: nothing yet.
pub(super) fn of(live: &LiveJob, purpose: &Purpose, now: DateTime<Utc>) -> Option<Measurement> {
    let name = live.name();
    let Some(end) = live.end() else {
        let stuck = live.stuck().map(|it| format!("{it}; correct it in job.template"));
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
    let said = match live.terminated(&purpose.container) {
        Some(it) if end.well && it.exit_code == 0 => read(it.message.as_deref(), &purpose.container),
        // The Job is seen before its pod is.
        None if end.is_fresh(now) => return None,
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
    let why = match live.pods.first() {
        None => "it has no pod: see kubectl describe job, which says whether a quota or a policy is in the way",
        Some(_) if live.is_unscheduled() => "no node takes its pod: see its resources and spec.region",
        Some(_) => "make it faster, or raise job.timeout",
    };
    format!("it did not end within {limit}; {why}")
}

fn failure(live: &LiveJob, end: &End, purpose: &Purpose) -> String {
    if end.is_overdue() {
        return overdue(live, purpose);
    }
    match live.crashed() {
        Some(bad) => bad,
        None if end.well => format!("its pod is gone, or has no container {}", purpose.container),
        None => format!("it failed, {}", end.reason),
    }
}

#[cfg(test)]
mod tests;
