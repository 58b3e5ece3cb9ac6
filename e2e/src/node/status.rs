//! The PodStatus that follows from what is known of a pod.
//!
//! Pure, so that the rules people know from the kubelet can be read and tested
//! in one place: phases, the five conditions with their reasons and messages,
//! and `lastTransitionTime` that moves only when the condition's status does.

use k8s_openapi::{
    api::core::v1::{
        ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
        HostIP, Pod, PodCondition, PodIP, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};

use super::facts::{Ended, Facts, Record, State};

/// The status of `pod` given the facts, where `before` are its conditions so far.
pub(super) fn compute(pod: &Pod, facts: &Facts, before: &[PodCondition], now: Timestamp) -> PodStatus {
    let phase = phase(pod, facts);
    let ip = facts.address.to_string();
    let host = facts.node_address.to_string();
    let statuses = |records: &[Record]| records.iter().map(|record| container(pod, record, facts)).collect();
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(conditions(pod, facts, phase, before, now)),
        pod_ips: Some(vec![PodIP { ip: ip.clone() }]),
        pod_ip: Some(ip),
        host_ips: Some(vec![HostIP { ip: host.clone() }]),
        host_ip: Some(host),
        start_time: Some(Time(facts.since)),
        init_container_statuses: (!facts.init.is_empty()).then(|| statuses(&facts.init)),
        container_statuses: Some(statuses(&facts.main)),
        ..PodStatus::default()
    }
}

/// The phase, by the kubelet's rules.
pub(super) fn phase(pod: &Pod, facts: &Facts) -> &'static str {
    let always = restart_policy(pod) == "Always";
    if facts.init.iter().any(|record| record.failed() && !record.sidecar) {
        return "Failed";
    }
    if !facts.main.is_empty() && facts.main.iter().all(|record| record.finished) && (facts.deleting || !always) {
        return if facts.main.iter().all(Record::succeeded) { "Succeeded" } else { "Failed" };
    }
    let begun = |record: &Record| !matches!(record.state, State::Waiting { .. }) || record.last.is_some();
    if facts.init.iter().all(Record::initialized) && facts.main.iter().all(begun) { "Running" } else { "Pending" }
}

/// Whether a pod's phase is final.
pub(super) fn is_over(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
}

/// The pod's restart policy; the API server defaults it to `Always`.
pub(super) fn restart_policy(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always")
}

fn conditions(pod: &Pod, facts: &Facts, phase: &str, before: &[PodCondition], now: Timestamp) -> Vec<PodCondition> {
    let over = matches!(phase, "Succeeded" | "Failed");
    let pending_init: Vec<&str> = facts.init.iter().filter(|r| !r.initialized()).map(|r| r.name.as_str()).collect();
    let initialized = if pending_init.is_empty() || phase == "Succeeded" {
        Ok(())
    } else {
        Err(("ContainersNotInitialized", format!("containers with incomplete status: [{}]", pending_init.join(" "))))
    };
    let ready = readiness(facts, phase);
    let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    let scheduled = if bound { Ok(()) } else { Err(("Unschedulable", String::new())) };
    [
        ("PodReadyToStartContainers", if over { Err(("", String::new())) } else { Ok(()) }),
        ("Initialized", initialized),
        ("Ready", ready.clone()),
        ("ContainersReady", ready),
        ("PodScheduled", scheduled),
    ]
    .into_iter()
    .map(|(type_, verdict)| condition(type_, verdict, before, now))
    .collect()
}

/// Why the pod is not ready, if it is not.
fn readiness(facts: &Facts, phase: &str) -> Result<(), (&'static str, String)> {
    let unready: Vec<&str> = facts
        .main
        .iter()
        .chain(facts.init.iter().filter(|record| record.sidecar))
        .filter(|record| facts.deleting || !record.ready)
        .map(|record| record.name.as_str())
        .collect();
    match (matches!(phase, "Succeeded" | "Failed"), unready.is_empty()) {
        (true, _) if phase == "Succeeded" => Err(("PodCompleted", String::new())),
        (true, _) => Err(("PodFailed", String::new())),
        (false, true) => Ok(()),
        (false, false) => {
            Err(("ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" "))))
        }
    }
}

fn condition(
    type_: &str,
    verdict: Result<(), (&str, String)>,
    before: &[PodCondition],
    now: Timestamp,
) -> PodCondition {
    let status = if verdict.is_ok() { "True" } else { "False" };
    let (reason, message) = verdict.err().unwrap_or_default();
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let since = before
        .iter()
        .find(|condition| condition.type_ == type_ && condition.status == status)
        .and_then(|condition| condition.last_transition_time.clone());
    PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: some(reason),
        message: some(&message),
        last_transition_time: Some(since.unwrap_or(Time(now))),
        ..PodCondition::default()
    }
}

fn container(pod: &Pod, record: &Record, facts: &Facts) -> ContainerStatus {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let id = |restart: i32| format!("process://{uid}/{}/{restart}", record.name);
    let never_ran = matches!(record.state, State::Waiting { .. }) && record.last.is_none();
    ContainerStatus {
        name: record.name.clone(),
        image: record.image.clone(),
        image_id: record.image_id.clone(),
        container_id: (!never_ran).then(|| id(record.restarts)),
        ready: if record.sidecar || facts.main.iter().any(|main| main.name == record.name) {
            record.ready && !facts.deleting
        } else {
            record.succeeded()
        },
        started: Some(record.started),
        restart_count: record.restarts,
        state: Some(state(&record.state, id(record.restarts))),
        last_state: record.last.as_ref().map(|ended| ContainerState {
            terminated: Some(terminated(ended, id(record.restarts.saturating_sub(1)))),
            ..ContainerState::default()
        }),
        ..ContainerStatus::default()
    }
}

fn state(state: &State, id: String) -> ContainerState {
    let mut out = ContainerState::default();
    match state {
        State::Waiting { reason, message } => {
            let message = (!message.is_empty()).then(|| message.clone());
            out.waiting = Some(ContainerStateWaiting { reason: Some((*reason).to_owned()), message });
        }
        State::Running(since) => out.running = Some(ContainerStateRunning { started_at: Some(Time(*since)) }),
        State::Terminated(ended) => out.terminated = Some(terminated(ended, id)),
    }
    out
}

fn terminated(ended: &Ended, id: String) -> ContainerStateTerminated {
    ContainerStateTerminated {
        container_id: Some(id),
        exit_code: ended.exit_code,
        signal: ended.signal,
        reason: Some(ended.reason.to_owned()),
        message: ended.message.clone(),
        started_at: Some(Time(ended.started_at)),
        finished_at: Some(Time(ended.finished_at)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn pod(policy: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {
                "nodeName": "n1", "restartPolicy": policy,
                "initContainers": [{"name": "fetch", "image": "werkbank"}],
                "containers": [{"name": "server", "image": "scorer"}],
            },
        }))
        .unwrap()
    }

    fn facts(pod: &Pod) -> Facts {
        Facts::new(pod, Ipv4Addr::new(127, 0, 1, 5), Ipv4Addr::new(127, 0, 1, 1), NOW)
    }

    fn end(record: &mut Record, exit_code: i32) {
        let reason = if exit_code == 0 { "Completed" } else { "Error" };
        let ended = Ended { exit_code, signal: None, reason, message: None, started_at: NOW, finished_at: NOW };
        record.state = State::Terminated(ended);
        record.finished = true;
    }

    fn run(record: &mut Record) {
        record.state = State::Running(NOW);
        (record.started, record.ready) = (true, true);
    }

    fn condition_of(status: &PodStatus, type_: &str) -> (String, String) {
        let condition = status.conditions.as_ref().unwrap().iter().find(|c| c.type_ == type_).unwrap();
        (condition.status.clone(), condition.reason.clone().unwrap_or_default())
    }

    fn ready(pod: &Pod, facts: &Facts) -> (String, String) {
        condition_of(&compute(pod, facts, &[], NOW), "Ready")
    }

    #[test]
    fn a_pod_has_its_address_before_anything_runs() {
        let pod = pod("Always");
        let status = compute(&pod, &facts(&pod), &[], NOW);
        assert_eq!(status.phase.as_deref(), Some("Pending"));
        assert_eq!(status.pod_ip.as_deref(), Some("127.0.1.5"));
        assert_eq!(status.host_ip.as_deref(), Some("127.0.1.1"));
        assert_eq!(condition_of(&status, "PodScheduled").0, "True");
        assert_eq!(condition_of(&status, "Initialized"), ("False".into(), "ContainersNotInitialized".into()));
    }

    #[test]
    fn it_is_running_once_initialized_and_ready_once_its_containers_are() {
        let pod = pod("Always");
        let mut facts = facts(&pod);
        end(&mut facts.init[0], 0);
        assert_eq!(phase(&pod, &facts), "Pending");
        run(&mut facts.main[0]);
        assert_eq!(phase(&pod, &facts), "Running");
        assert_eq!(ready(&pod, &facts).0, "True");
        facts.main[0].ready = false;
        assert_eq!(ready(&pod, &facts), ("False".into(), "ContainersNotReady".into()));
    }

    #[test]
    fn a_deleted_pod_is_not_ready_though_its_processes_still_serve() {
        let pod = pod("Always");
        let mut facts = facts(&pod);
        end(&mut facts.init[0], 0);
        run(&mut facts.main[0]);
        facts.deleting = true;
        assert_eq!(ready(&pod, &facts).0, "False");
        assert!(!compute(&pod, &facts, &[], NOW).container_statuses.unwrap()[0].ready);
    }

    #[test]
    fn an_init_container_that_failed_for_good_fails_the_pod() {
        let pod = pod("Never");
        let mut facts = facts(&pod);
        end(&mut facts.init[0], 3);
        assert_eq!(phase(&pod, &facts), "Failed");
        assert_eq!(ready(&pod, &facts), ("False".into(), "PodFailed".into()));
    }

    #[test]
    fn a_job_pod_succeeds_or_fails_with_its_containers() {
        let pod = pod("OnFailure");
        let mut facts = facts(&pod);
        end(&mut facts.init[0], 0);
        end(&mut facts.main[0], 0);
        assert_eq!(phase(&pod, &facts), "Succeeded");
        assert_eq!(ready(&pod, &facts), ("False".into(), "PodCompleted".into()));
        end(&mut facts.main[0], 1);
        assert_eq!(phase(&pod, &facts), "Failed");
    }

    #[test]
    fn a_crash_looping_pod_stays_running() {
        let pod = pod("Always");
        let mut facts = facts(&pod);
        end(&mut facts.init[0], 0);
        end(&mut facts.main[0], 1);
        let State::Terminated(ended) = facts.main[0].state.clone() else { panic!("it ended") };
        facts.main[0].last = Some(ended);
        facts.main[0].finished = false;
        facts.main[0].state = State::Waiting { reason: "CrashLoopBackOff", message: "back-off 1s".into() };
        assert_eq!(phase(&pod, &facts), "Running");
        let status = &compute(&pod, &facts, &[], NOW).container_statuses.unwrap()[0];
        assert_eq!(status.last_state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 1);
    }

    #[test]
    fn transition_times_move_only_with_the_status() {
        let pod = pod("Always");
        let mut facts = facts(&pod);
        let first = compute(&pod, &facts, &[], NOW).conditions.unwrap();
        let later = Timestamp::from_second(60).unwrap();
        end(&mut facts.init[0], 0);
        let second = compute(&pod, &facts, &first, later).conditions.unwrap();
        for (was, is) in first.iter().zip(&second) {
            let wanted = if was.status == is.status { NOW } else { later };
            assert_eq!(is.last_transition_time, Some(Time(wanted)), "{}", is.type_);
        }
        assert!(second.iter().any(|condition| condition.last_transition_time == Some(Time(later))));
    }
}
