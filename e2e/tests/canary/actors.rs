//! Who did what: on the audit log as actors, in the clear only where people write it themselves, and forgotten when they are.
#![cfg(test)]

use std::path::Path;
use std::process::Command;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use serde_json::Value;
use werkbank::api::labels;
use werkbank::audit::EntryKind;
use werkbank_e2e::workbench::{OPERATOR_NAMESPACE, sibling};

use crate::approvals::{ANNA, BEN, COMMENT, OLGA};
use crate::scene::{Model, NAMESPACE, Scene};

/// In her own name, while the canary waits.
pub(crate) async fn anna_pauses_and_resumes(scene: &Scene, model: &Model<'_>) {
    for (verb, is_paused) in [("pause", true), ("resume", false)] {
        let attempt = model.status().await.attempt.unwrap();
        let step = werkbank::decide::model_deployment::request::step_of(&attempt);
        let value = format!("{}={verb}/{}/{step}/{verb}/{ANNA}", labels::REQUEST, attempt.id);
        let by = format!("--as={ANNA}");
        scene.kubectl(&["-n", NAMESPACE, "annotate", "modeldeployment", "scores", "--overwrite", &value, &by]).await;
        model.until(verb, |it| it.attempt.as_ref().unwrap().paused_since.is_some() == is_paused).await;
    }
}

pub(crate) async fn roles_and_actors_are_on_the_record(scene: &Scene, model: &Model<'_>) {
    let trail = scene.trail(model).await;
    let intents: Vec<_> = trail.iter().filter(|it| it.kind == EntryKind::Intent).collect();
    let roles = |weight: &str| {
        let of_weight = |it: &&&werkbank::audit::Entry| it.decision == "Shift" && it.weight == weight;
        let shift = intents.iter().rfind(of_weight).unwrap_or_else(|| panic!("no shift to {weight}: {trail:#?}"));
        shift.consents.iter().map(|it| (it.role.clone(), it.actor.clone())).collect::<Vec<_>>()
    };
    let (first, second) = (roles("20%"), roles("50%"));
    let [(technical, ben)] = first.as_slice() else { panic!("{first:?}") };
    let [of_entry, (owner, olga)] = second.as_slice() else { panic!("{second:?}") };
    assert_eq!((technical.as_str(), owner.as_str()), ("technical", "owner"));
    assert_eq!(of_entry, &first[0], "the same person is the same actor");
    let anna = &intents.iter().find(|it| it.decision == "Pause").unwrap().asked_by;
    assert!([ben, olga, anna].iter().all(|it| it.len() == 32) && ben != olga && anna != ben, "{trail:#?}");
}

/// Ben has said no, has taken that back, and then said yes.
pub(crate) async fn a_no_and_what_is_taken_back_are_on_the_record(scene: &Scene, model: &Model<'_>) {
    let trail = scene.trail(model).await;
    let first =
        |what: &str| trail.iter().find(|it| it.decision == what).unwrap_or_else(|| panic!("{what}: {trail:#?}"));
    let (no, gone, yes) = (first("Reject"), first("Retract"), trail.iter().rfind(|it| it.decision == "Start").unwrap());
    assert_eq!(
        (&no.asked_by, no.reason.as_str()),
        (&yes.consents[0].actor, "role technical has rejected entry scores-2")
    );
    assert!(no.consents[0].comment.starts_with("sha256:") && no.consents[0].comment != yes.consents[0].comment);
    assert_eq!(gone.consents, no.consents);
    assert_eq!(trail.iter().filter(|it| it.decision == "Reject").count(), 1);
}

/// Names, addresses and words are in Approvals, in the entry and in the request, and nowhere else.
pub(crate) async fn nobody_is_named(scene: &Scene, model: &Model<'_>) {
    let mut all = Vec::new();
    let control_plane = scene.workbench.control_plane();
    for what in [
        "modeldeployment/scores -o jsonpath={.status}",
        "modelregistryentry/scores-2 -o jsonpath={.status}",
        "events.events.k8s.io -o json",
        "controllerrevisions,deployments,services,httproutes,configmaps -o json",
    ] {
        let args: Vec<&str> = ["-n", NAMESPACE, "get"].into_iter().chain(what.split(' ')).collect();
        let output = control_plane.kubectl(args).await.unwrap();
        all.push((what.to_owned(), String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let events = &all[2].1;
    assert!(events.contains("AwaitingApproval") && events.contains("werkbank.dev/audit-entry"), "{events}");
    let node = scene.workbench.node().unwrap();
    for (pod, address) in addresses(scene).await {
        let log = node.logs(OPERATOR_NAMESPACE, &pod, "operator").unwrap();
        all.push((format!("log of {pod}"), log));
        let metrics = reqwest::get(format!("http://{address}:8080/metrics")).await.unwrap().text().await.unwrap();
        all.push((format!("metrics of {pod}"), metrics));
    }
    let ids: Vec<String> = scene.trail(model).await.iter().map(werkbank::audit::Entry::id).collect();
    let told: Value = serde_json::from_str(&all[2].1).unwrap();
    let of_model = told["items"].as_array().unwrap().iter().filter(|it| it["regarding"]["name"] == model.name);
    let named: Vec<&str> =
        of_model.filter_map(|it| it["metadata"]["annotations"]["werkbank.dev/audit-entry"].as_str()).collect();
    assert!(!named.is_empty() && named.iter().all(|it| ids.iter().any(|id| id == it)), "{named:?} of {ids:?}");
    let logs: String = all.iter().filter(|(what, _)| what.starts_with("log of")).map(|it| it.1.as_str()).collect();
    assert!(ids.iter().all(|id| logs.contains(id)), "each entry is named in a log");
    files(&scene.workbench.audit_log().unwrap().folder, &mut all);
    assert!(
        all.iter().any(|(what, _)| what.contains("/people/")) && all.iter().any(|(what, _)| what.contains("/wal/"))
    );
    for secret in [ANNA, BEN, OLGA, "anna", "schmidt", "weber", "olga", "maier", "backtest", "Krause"] {
        for (what, text) in &all {
            let at = text.find(secret).or_else(|| what.find(secret));
            let around = at
                .map(|at| text.get(at.saturating_sub(200)..).unwrap_or_default().chars().take(400).collect::<String>());
            assert_eq!(around, None, "{secret} in {what}");
        }
    }
}

/// An audit log is one cluster's, and says which.
pub(crate) async fn the_log_is_this_clusters(scene: &Scene) {
    let namespaces: Api<Namespace> = Api::all(scene.client());
    let uid = namespaces.get("kube-system").await.unwrap().metadata.uid;
    let said = std::fs::read_to_string(scene.workbench.audit_log().unwrap().folder.join("cluster"));
    assert_eq!(said.ok(), uid);
}

async fn addresses(scene: &Scene) -> Vec<(String, String)> {
    let args = [
        "-n",
        OPERATOR_NAMESPACE,
        "get",
        "pods",
        "-o",
        "jsonpath={range .items[*]}{.metadata.name} {.status.podIP}{\"\\n\"}{end}",
    ];
    let output = scene.workbench.control_plane().kubectl(args).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|it| it.split_once(' ')).map(|(pod, ip)| (pod.to_owned(), ip.to_owned())).collect()
}

/// Every file below, with its name.
fn files(folder: &Path, into: &mut Vec<(String, String)>) {
    for child in std::fs::read_dir(folder).unwrap() {
        let path = child.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push((
                path.display().to_string(),
                String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned(),
            ));
        }
    }
}

/// By who keeps the log, with the real binary.
pub(crate) async fn somebody_is_found_until_they_are_forgotten(scene: &Scene) {
    let log = scene.workbench.audit_log().unwrap();
    let url = format!("file://{}", log.folder.display());
    let audit = |words: &[&str]| {
        let output = Command::new(sibling("werkbank").unwrap()).arg("audit").args(words).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
    };
    let find = || audit(&["list", &url, "--key", &log.key, "--actor", BEN]);
    let why = Command::new(sibling("kubectl-werkbank").unwrap())
        .arg("--kubeconfig")
        .arg(scene.workbench.control_plane().kubeconfig())
        .args(["-n", NAMESPACE, "why", "scores", "--audit-log", &url, "--key", &log.key])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&why.stdout).into_owned();
    let recorded = said.lines().skip_while(|it| !it.starts_with("  recorded  ")).collect::<Vec<_>>();
    assert!(recorded.len() == 4 && recorded[0].contains("Intent Promote of ModelDeployment crm/scores"), "{said}");
    assert!(recorded[1].ends_with("under the checkpoint of werkbank.dev/workbench: proved"), "{said}");
    let (code, listed) = find();
    assert!(code == 0 && listed.contains("Start") && listed.contains(&format!(": {COMMENT}\n")), "{listed}");
    assert_eq!(audit(&["forget", &url, "--person", BEN]).0, 0);
    assert_eq!(find().0, 4);
    let (code, verified) = audit(&["verify", &url, "--key", &log.key]);
    assert!(code == 0 && verified.starts_with("verified: "), "{verified}");
}
