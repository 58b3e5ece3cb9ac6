//! A GitOps controller applies the same manifest for ever: nothing is written for it, at rest and mid-canary.

use std::collections::BTreeMap;
use std::time::Duration;

use werkbank::api::labels;
use werkbank::api::model_deployment::{ModelDeploymentStatus, Phase};
use werkbank_e2e::controlplane::Request;
use werkbank_e2e::workbench::{OPERATOR_NAMESPACE, Options};

use crate::scene::{GOOD, Model, Scene, Wanted, unharmed};

#[tokio::test(flavor = "multi_thread")]
async fn applying_the_same_manifest_again_and_again_changes_nothing_at_rest_and_mid_canary() {
    let mut options = Options::from_env();
    options.control_plane.audit = true;
    let scene = Scene::empty(options).await;
    scene.install(&[]).await;
    let (model, alone) = (scene.model("scores"), scene.model("alone"));
    for model in [&model, &alone] {
        reapply(model, &GOOD).await;
        model.until("the first version serves", |it| it.phase == Phase::Stable && it.revisions.len() == 1).await;
    }
    // What was begun before is written by now: events, and the statuses of others.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let load = model.load(50).await;

    let (before, asked) = (versions(&model).await, requests(&scene).len());
    for _ in 0..20 {
        reapply(&model, &GOOD).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(versions(&model).await, before, "resourceVersions of the deployment and its children");
    let written: Vec<Request> = requests(&scene).split_off(asked).into_iter().filter(of_the_operator).collect();
    assert!(written.is_empty(), "{written:?}");

    let next = Wanted { version: "2", ..GOOD };
    let load_alone = alone.load(50).await;
    reapply(&alone, &next).await;
    let end = promoted(&alone).await;
    unharmed(&load_alone.stop().await.unwrap());
    reapply(&model, &next).await;
    let generation = model.api().get(model.name).await.unwrap().metadata.generation;
    let mut times = 0;
    let again = async {
        loop {
            reapply(&model, &next).await;
            times += 1;
        }
    };
    let same = tokio::select! {
        end = promoted(&model) => end,
        () = again => unreachable!(),
    };
    assert!(times >= 20, "the manifest was applied {times} times only");
    assert_eq!(model.api().get(model.name).await.unwrap().metadata.generation, generation);
    assert_eq!((same.attempts, same.sequence), (end.attempts, end.sequence));
    // Each weight was written once, and nothing else that the canary beside it did not write.
    let of = |model: &Model<'_>| counted(&requests(&scene), model.name);
    assert_eq!(of(&model), of(&alone));
    unharmed(&load.stop().await.unwrap());
    scene.end().await;
}

/// As Argo CD does it with server-side apply.
async fn reapply(model: &Model<'_>, wanted: &Wanted) {
    let control_plane = model.scene.workbench.control_plane();
    let file = control_plane.run_dir().join(format!("argo-{}.yaml", model.name));
    std::fs::write(&file, model.manifest(wanted)).unwrap();
    let file = file.to_str().unwrap();
    let args = ["apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller", "-f", file];
    model.scene.kubectl(&args).await;
}

async fn promoted(model: &Model<'_>) -> ModelDeploymentStatus {
    let done = |it: &ModelDeploymentStatus| it.phase == Phase::Stable && it.attempts == 2 && it.revisions.len() == 1;
    model.until("it is promoted and the old revision is gone", done).await
}

/// The deployment, its generation, and its children, each with its resourceVersion.
async fn versions(model: &Model<'_>) -> Vec<String> {
    let control_plane = model.scene.workbench.control_plane();
    let columns = "custom-columns=K:.kind,N:.metadata.name,G:.metadata.generation,V:.metadata.resourceVersion";
    let selector = format!("--selector={}={}", labels::DEPLOYMENT, model.name);
    let own = ["-n", model.namespace, "get", "modeldeployment", model.name, "-o", columns, "--no-headers"];
    let kinds = "deployments,replicasets,pods,services,controllerrevisions,configmaps,httproutes";
    let children = ["-n", model.namespace, "get", kinds, &selector, "-o", columns, "--no-headers"];
    let mut versions = Vec::new();
    for args in [&own[..], &children[..]] {
        let output = control_plane.kubectl(args).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        versions.extend(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned));
    }
    assert!(versions.len() >= 7, "the deployment, its children and theirs: {versions:?}");
    versions
}

fn requests(scene: &Scene) -> Vec<Request> {
    scene.workbench.control_plane().requests().unwrap()
}

/// What the operator writes about deployments: not its lease and not what it tells people.
fn of_the_operator(request: &Request) -> bool {
    let reads = ["get", "list", "watch"].contains(&request.verb.as_str());
    let aside = ["leases", "events"].contains(&request.resource.as_str());
    request.user.contains(OPERATOR_NAMESPACE) && !reads && !aside
}

/// What the operator wrote for a deployment, by verb and resource. Its status is left out:
/// how often it is measured depends on how long pods take.
fn counted(requests: &[Request], name: &str) -> BTreeMap<String, usize> {
    // The registry entry has a status of its own, and happens to be named like one of the two.
    let entry = |it: &Request| it.resource.starts_with("modelregistryentries");
    let named = |it: &Request| it.name == name || it.name.starts_with(&format!("{name}-"));
    let own = |it: &&Request| of_the_operator(it) && named(it) && !entry(it);
    let mut counts = BTreeMap::new();
    for request in requests.iter().filter(own).filter(|it| it.resource != "modeldeployments/status") {
        *counts.entry(format!("{} {} {}", request.verb, request.resource, request.code)).or_default() += 1;
    }
    let weights: usize = counts.iter().filter(|(what, _)| what.contains("httproutes")).map(|(_, count)| count).sum();
    // The first deployment's all, 20 %, 50 %, all.
    assert_eq!(weights, 4, "{counts:?}");
    counts
}
