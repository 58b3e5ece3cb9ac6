//! What is wrong is a condition that says what to do; the stable revision serves on, and once it is put right the
//! rollout goes on.
//!
//! Every case is a deployment of its own under its own load. They live beside each other on one workbench: what is
//! wrong with one is nobody else's business either.

use futures::future::join_all;
use serde_json::{Value, json};
use werkbank::api::labels;
use werkbank::api::model_deployment::{ModelDeploymentStatus, Phase};
use werkbank_e2e::workbench::Options;

use crate::scene::{GOOD, NAMESPACE, Scene, Wanted, foreign, of_entry, revision_of, unharmed};

/// Where every reason is explained.
const REFERENCE: &str = include_str!("../../../docs/reference/conditions.md");

/// A region that the operator knows and no node is in.
const MOON: &str = "regions.moon.topology\\.kubernetes\\.io/region=moon";

const NEXT: Wanted = Wanted { version: "2", steps: "[{weight: 50%, for: 1s}]", ..GOOD };

/// Something that is wrong with the next version.
struct Case {
    /// The deployment's name.
    name: &'static str,
    /// The manifest it is in, from the good one.
    spoil: fn(&str) -> String,
    /// Reason of `Ready`.
    reason: &'static str,
    /// What the message has to say.
    says: &'static [&'static str],
    /// kubectl's arguments that put it right; none: the good manifest does.
    repair: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "missing-entry",
        spoil: |it| of_entry(it, "nowhere"),
        reason: "EntryNotFound",
        says: &["nowhere", "register it"],
        repair: &[],
    },
    Case {
        name: "wrong-digest",
        spoil: |it| of_entry(it, "tampered"),
        reason: "ArtifactRefused",
        says: &["digest", "deploy another revision"],
        repair: &[],
    },
    Case {
        name: "unreachable-store",
        spoil: |it| of_entry(it, "unreachable"),
        reason: "ArtifactNotVerified",
        says: &["s3://models", "check"],
        repair: &[],
    },
    Case {
        name: "refused-query",
        spoil: |it| it.replace("or vector(0))", "or vector(0)"),
        reason: "QueryRefused",
        says: &["error-rate", "parse error", "correct its query in spec.analysis"],
        repair: &[],
    },
    Case {
        name: "undefined-variable",
        spoil: |it| it.replacen("{{ revision }}", "{{ revison }}", 1),
        reason: "QueryInvalid",
        says: &["error-rate", "revison", "deployment, namespace, revision, window, windowEnd, windowStart"],
        repair: &[],
    },
    Case {
        name: "falling-weights",
        spoil: |it| it.replace(NEXT.steps, "[{weight: 50%}, {weight: 20%}]"),
        reason: "InvalidSpec",
        says: &["spec.rollout.steps[1].weight", "raise it, or remove the step"],
        repair: &[],
    },
    Case {
        name: "unknown-region",
        spoil: |it| in_region(it, "mars"),
        reason: "RegionUnknown",
        says: &["mars", "regions"],
        repair: &[],
    },
    Case {
        name: "empty-region",
        spoil: |it| in_region(it, "moon"),
        reason: "Unschedulable",
        says: &["0/1 nodes", "add nodes in the region"],
        repair: &[],
    },
    Case {
        name: "missing-configmap",
        spoil: |it| it.replace("        env:", "        envFrom: [{configMapRef: {name: later}}]\n        env:"),
        reason: "ConfigMapNotFound",
        says: &["later", "create it"],
        repair: &["create", "configmap", "later", "--from-literal=LIMIT=1"],
    },
    Case {
        name: "missing-image",
        spoil: |it| it.replace("model-server:local", "nobody:1"),
        reason: "PodsNotStarting",
        says: &["server", "see its logs"],
        repair: &[],
    },
    Case {
        name: "crashing-image",
        spoil: |it| it.replace("value: \"0\"", "value: \"plenty\""),
        reason: "PodsNotStarting",
        says: &["CrashLoopBackOff", "exit code", "see its logs"],
        repair: &[],
    },
    Case {
        name: "refusing-gateway",
        spoil: |it| it.replace("{name: internal}", "{name: internal, sectionName: nowhere}"),
        reason: "RouteRejected",
        says: &["Gateway internal, section nowhere", "correct it or the Gateway"],
        repair: &[],
    },
    // The name is one of the good revision's: nothing is wrong with the manifest.
    Case {
        name: "taken-record",
        spoil: str::to_owned,
        reason: "ChildNameTaken",
        says: &["already a ControllerRevision taken-record-", "delete"],
        repair: &["delete", "controllerrevision", "--selector=somebody=else"],
    },
    Case {
        name: "taken-deployment",
        spoil: str::to_owned,
        reason: "ChildNameTaken",
        says: &["already a Deployment taken-deployment-", "delete"],
        repair: &["delete", "deployment", "--selector=somebody=else"],
    },
    Case {
        name: "taken-service",
        spoil: str::to_owned,
        reason: "ChildNameTaken",
        says: &["already a Service taken-service-", "delete"],
        repair: &["delete", "service", "--selector=somebody=else"],
    },
];

/// Deployments whose next revision finds one of its names taken, by an object of this kind.
const TAKEN: [(&str, &str); 3] =
    [("taken-record", "ControllerRevision"), ("taken-deployment", "Deployment"), ("taken-service", "Service")];

fn in_region(manifest: &str, region: &str) -> String {
    manifest.replace("  replicas:", &format!("  region: {region}\n  replicas:"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_a_condition_that_says_what_to_do_and_the_stable_version_keeps_serving() {
    let scene = Scene::empty(Options::from_env()).await;
    scene.install(&[MOON]).await;
    prepare(&scene).await;
    let before = scene.operators().await;
    join_all(CASES.iter().map(|case| is_told_and_put_right(&scene, case))).await;
    assert_eq!(scene.operators().await, before, "an operator ended");
    scene.end().await;
}

/// What the cases refer to and is wrong.
async fn prepare(scene: &Scene) {
    let (uri, sha256) = scene.artifact();
    scene.register("tampered", json!({"uri": uri, "sha256": "0".repeat(64)})).await;
    let secret = "kind: Secret\napiVersion: v1\nmetadata: {name: store, namespace: crm}\nstringData: {AWS_ACCESS_KEY_ID: none, AWS_SECRET_ACCESS_KEY: none, AWS_REGION: eu-central-1, AWS_ENDPOINT_URL: \"http://127.0.0.1:1\", AWS_ALLOW_HTTP: \"true\"}\n";
    scene.apply("secret", secret).await;
    let unreachable = json!({"uri": "s3://models/scores.json", "sha256": sha256, "secretRef": {"name": "store"}});
    scene.register("unreachable", unreachable).await;
    for (name, kind) in TAKEN {
        let revision = revision_of(scene, &good(scene, name, &NEXT), &[]);
        let mut object: Value = serde_json::from_str(&foreign(kind, &labels::name(&[name, &revision]))).unwrap();
        object["metadata"]["labels"] = json!({"somebody": "else"});
        scene.apply(&format!("foreign-{name}"), &object.to_string()).await;
    }
}

/// One pod each, and time enough on a busy machine.
fn good(scene: &Scene, name: &str, wanted: &Wanted) -> String {
    scene
        .model(name)
        .manifest(wanted)
        .replace("replicas: 2", "replicas: 1")
        .replace("progressDeadline: 60s", "progressDeadline: 5m")
}

async fn is_told_and_put_right(scene: &Scene, case: &Case) {
    let Case { name, spoil, reason, says, repair } = *case;
    assert!(REFERENCE.contains(&format!("| `{reason}` |")), "{reason} is not documented");
    let model = scene.model(name);
    model.apply(&good(scene, name, &GOOD)).await;
    let stable = model.until("the first version serves", |it| it.phase == Phase::Stable).await.stable.unwrap().revision;
    let load = model.load(10).await;
    let next = good(scene, name, &NEXT);
    model.apply(&spoil(&next)).await;
    let told = |it: &ModelDeploymentStatus| {
        it.conditions
            .iter()
            .any(|it| it.type_ == "Ready" && it.reason == reason && says.iter().all(|part| it.message.contains(part)))
    };
    let status = model.until(&format!("it is told as {reason} with {says:?}"), told).await;
    assert_eq!(status.stable.map(|it| it.revision), Some(stable.clone()), "{name}");
    match repair {
        [] => model.apply(&next).await,
        repair => scene.kubectl(&[&["-n", NAMESPACE], repair].concat()).await,
    }
    let goes_on = |it: &ModelDeploymentStatus| {
        it.phase == Phase::Stable && it.stable.as_ref().is_some_and(|it| it.revision != stable)
    };
    model.until("it is put right and promoted", goes_on).await;
    unharmed(&load.stop().await.unwrap());
}
