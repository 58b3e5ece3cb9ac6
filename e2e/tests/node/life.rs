//! How containers start, fail, come back and end.

use std::{path::Path, time::Duration};

use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::api::DeleteParams;
use serde_json::json;

use crate::world::{World, condition, container, server, shell, until, waiting};

pub(crate) async fn a_failing_init_container_shows_its_termination_message(world: World<'_>) {
    let fetch = shell("fetch", "echo 'digest differs' > /dev/termination-log; exit 3");
    let spec = json!({
        "restartPolicy": "Never", "initContainers": [fetch], "containers": [shell("main", "true")]});
    world.create("p", spec).await;
    let (fetch, main) = world
        .until_pod("p", "phase Failed", |pod| {
            let failed = pod.status.as_ref()?.phase.as_deref() == Some("Failed");
            failed.then(|| (container(pod, "fetch").unwrap(), container(pod, "main").unwrap()))
        })
        .await;
    let ended = fetch.state.unwrap().terminated.unwrap();
    assert_eq!((ended.exit_code, ended.message.as_deref()), (3, Some("digest differs\n")));
    assert_eq!(main.state.unwrap().waiting.unwrap().reason.as_deref(), Some("PodInitializing"));
    assert!(world.agent.logs("init", "p", "main").is_err(), "what never started has no log");
}

pub(crate) async fn a_crashing_container_backs_off(world: World<'_>) {
    let mut main = shell("main", "echo no such model; exit 7");
    main["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    world.create("p", json!({"containers": [main]})).await;
    let status = world
        .until_pod("p", "the second back-off", |pod| {
            let (reason, message) = waiting(pod, "main")?;
            (reason == "CrashLoopBackOff" && message.starts_with("back-off 2s")).then(|| container(pod, "main"))?
        })
        .await;
    assert_eq!(status.restart_count, 1);
    let last = status.last_state.unwrap().terminated.unwrap();
    assert_eq!(
        (last.exit_code, last.reason.as_deref(), last.message.as_deref()),
        (7, Some("Error"), Some("no such model"))
    );
    let pod = world.pods().get("p").await.unwrap();
    assert_eq!(pod.status.as_ref().unwrap().phase.as_deref(), Some("Running"));
    assert_eq!(condition(&pod, "Ready").unwrap().1, "ContainersNotReady");
}

pub(crate) async fn readiness_follows_the_probe(world: World<'_>) {
    let state = world.dir.join("readiness-state");
    std::fs::create_dir(&state).unwrap();
    world.create("p", json!({"containers": [server(&state)]})).await;
    world.until_ready("p", "True").await;
    std::fs::write(state.join("unready"), "").unwrap();
    world.until_ready("p", "False").await;
    std::fs::remove_file(state.join("unready")).unwrap();
    world.until_ready("p", "True").await;
    let pod = world.pods().get("p").await.unwrap();
    assert_eq!(container(&pod, "server").unwrap().restart_count, 0, "an unready container is not restarted");
    assert_eq!(condition(&pod, "Ready").unwrap().1, "", "the reason has gone with the failure");
}

pub(crate) async fn deletion_is_graceful(world: World<'_>) {
    let polite = shell("main", "trap 'sleep 1; echo done; exit 0' TERM; echo up; while :; do sleep 0.1; done");
    let stubborn = shell("main", "trap '' TERM; while :; do sleep 0.1; done");
    world.create("polite", json!({"containers": [polite]})).await;
    world.create("stubborn", json!({"terminationGracePeriodSeconds": 2, "containers": [stubborn]})).await;
    for name in ["polite", "stubborn"] {
        world.until_ready(name, "True").await;
    }
    until("the trap to be set", async || {
        world.agent.logs("deletion", "polite", "main").ok().filter(|log| log == "up\n")
    })
    .await;
    let begun = Timestamp::now();
    for name in ["polite", "stubborn"] {
        world.pods().delete(name, &DeleteParams::default()).await.unwrap();
    }
    world.until_ready("polite", "False").await;
    assert!(world.agent.pid("deletion", "polite", "main").is_some(), "it is not ready while it still runs");
    for name in ["polite", "stubborn"] {
        until("the pod to be gone", async || world.pods().get_opt(name).await.unwrap().is_none().then_some(())).await;
        assert_eq!(world.agent.pid("deletion", name, "main"), None);
    }
    assert!(world.agent.logs("deletion", "polite", "main").unwrap().ends_with("done\n"));
    let took = Timestamp::now().duration_since(begun).as_secs_f64();
    assert!((2.0..10.0).contains(&took), "SIGKILL came after the grace period, not {took} s");
}

pub(crate) async fn a_force_deleted_pods_processes_end(world: World<'_>) {
    world.create("p", json!({"containers": [shell("main", "sleep 600")]})).await;
    world.until_ready("p", "True").await;
    let pid = world.agent.pid("vanished", "p", "main").unwrap();
    world.pods().delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    until("the process to end", async || (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())).await;
}

pub(crate) async fn a_sidecar_does_not_keep_a_finished_pod_alive(world: World<'_>) {
    let mut sidecar = shell("proxy", "trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done");
    sidecar["restartPolicy"] = json!("Always");
    let spec = json!({
        "restartPolicy": "Never", "initContainers": [sidecar], "containers": [shell("main", "sleep 1; exit 4")]});
    world.create("p", spec).await;
    let over = |pod: &Pod| (pod.status.as_ref()?.phase.as_deref() == Some("Failed")).then_some(());
    world.until_pod("p", "phase Failed", over).await;
    until("the sidecar to end", async || {
        world.agent.logs("sidecar", "p", "proxy").ok().filter(|log| log.ends_with("bye\n"))
    })
    .await;
}

pub(crate) async fn a_killed_process_is_started_again(world: World<'_>) {
    world.create("p", json!({"containers": [shell("main", "sleep 600")]})).await;
    world.until_ready("p", "True").await;
    let pid = world.agent.pid("killed", "p", "main").unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let status = world
        .until_pod("p", "the restart", |pod| {
            container(pod, "main").filter(|main| main.restart_count == 1 && main.ready)
        })
        .await;
    let last = status.last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.signal), (137, Some(9)));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(world.agent.pid("killed", "p", "main").is_some());
}
