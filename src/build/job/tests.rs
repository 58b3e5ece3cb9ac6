use serde_json::json;

use super::*;

fn resource() -> ModelDeployment {
    serde_json::from_value(json!({
        "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": "churn", "namespace": "crm", "uid": "11112222-3333"},
        "spec": {"modelRef": {"name": "e"}, "port": 1, "template": {}, "analysis": {"none": "a test"}},
    }))
    .unwrap()
}

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_003_200, 0).unwrap()
}

fn purpose_of(subject: Subject) -> Purpose {
    Purpose {
        attempt: "avq9s8kgcx-2-11112222".into(),
        on_probation: false,
        metric: "holdout-auc".into(),
        digest: "0a1b".into(),
        subject,
        moment: noon(),
        timeout_seconds: 600,
        container: "judge".into(),
    }
}

fn task(template: Value) -> Task {
    let variables =
        vec![("WERKBANK_REVISION".to_owned(), "avq9s8kgcx".to_owned()), (SUBJECT.into(), "Candidate".into())];
    Task { template: PodTemplate::new(&template).unwrap(), timeout: Duration::from_secs(600), variables }
}

fn judge() -> Value {
    json!({"metadata": {"labels": {"team": "crm"}},
        "spec": {"containers": [{"name": "judge", "image": "registry/judge:1", "env": [{"name": "URL", "value": "http://churn-$(WERKBANK_REVISION)"}],
            "resources": {"requests": {"cpu": 1}}}]}})
}

fn written(template: Value) -> Job {
    write(&resource(), &purpose_of(Subject::Candidate), &task(template), &BTreeMap::new(), noon()).unwrap()
}

fn refused(template: Value) -> String {
    pods(&task(template), &BTreeMap::new()).unwrap_err()
}

#[test]
fn a_job_is_the_users_template_tried_once_within_its_time() {
    let job = serde_json::to_value(written(judge())).unwrap();
    assert_eq!(
        job,
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": "churn-holdout-auc-candidate-3eaa901477", "namespace": "crm",
                "labels": {"werkbank.dev/deployment": "churn", "werkbank.dev/metric": "holdout-auc", "app.kubernetes.io/managed-by": "werkbank"},
                "annotations": {"werkbank.dev/measures": job["metadata"]["annotations"]["werkbank.dev/measures"]},
                "ownerReferences": [{"apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeployment", "name": "churn", "uid": "11112222-3333",
                    "controller": true, "blockOwnerDeletion": false}],
            },
            "spec": {
                "activeDeadlineSeconds": 600, "backoffLimit": 0, "completions": 1, "parallelism": 1, "ttlSecondsAfterFinished": 3600,
                "template": {
                    "metadata": {"labels": {"team": "crm", "werkbank.dev/deployment": "churn", "werkbank.dev/metric": "holdout-auc"}},
                    "spec": {
                        "automountServiceAccountToken": false, "restartPolicy": "Never",
                        "containers": [{"name": "judge", "image": "registry/judge:1",
                            "env": [{"name": "WERKBANK_REVISION", "value": "avq9s8kgcx"}, {"name": "WERKBANK_SUBJECT", "value": "Candidate"},
                                {"name": "URL", "value": "http://churn-$(WERKBANK_REVISION)"}],
                            "resources": {"requests": {"cpu": "1"}}}],
                    },
                },
            },
        })
    );
}

#[test]
fn what_it_is_for_is_read_back_from_it() {
    let job = written(judge());
    assert_eq!(purpose(&job.metadata), Some(purpose_of(Subject::Candidate)));
    assert_eq!(purpose(&ObjectMeta::default()), None);
    assert_eq!(speaker(&task(judge()).template).as_deref(), Some("judge"));
}

#[test]
fn a_name_is_the_same_for_the_same_question_and_another_for_any_other() {
    let of = |purpose: &Purpose, seconds| name(&resource(), purpose, noon() + chrono::TimeDelta::seconds(seconds));
    let candidate = purpose_of(Subject::Candidate);
    let later = Purpose { moment: noon() + chrono::TimeDelta::hours(1), ..candidate.clone() };
    assert_eq!(of(&candidate, 0), of(&later, 0), "it is named by when it was due, not by when it is created");
    let others = [
        Purpose { attempt: "another".into(), ..candidate.clone() },
        Purpose { on_probation: true, ..candidate.clone() },
        Purpose { digest: "another".into(), ..candidate.clone() },
        purpose_of(Subject::Stable),
    ];
    let mut names: Vec<String> =
        others.iter().map(|it| of(it, 0)).chain([of(&candidate, 0), of(&candidate, 30)]).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 6);
    let long = Purpose { metric: "m".repeat(63), ..candidate };
    assert!(of(&long, 0).len() <= 63);
}

#[test]
fn its_pods_stay_in_the_region_and_are_no_pods_of_a_revision() {
    let region = BTreeMap::from([("topology.kubernetes.io/region".to_owned(), vec!["eu-1".to_owned()])]);
    let template = pods(&task(judge()), &region).unwrap();
    let affinity = serde_json::to_value(template.spec.unwrap().affinity).unwrap();
    let terms = &affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    assert_eq!(terms[0]["matchExpressions"][0]["values"], json!(["eu-1"]));
    let mut forged = judge();
    forged["metadata"]["labels"][labels::REVISION] = "avq9s8kgcx".into();
    assert_eq!(refused(forged), "template.metadata.labels: werkbank.dev/revision is the operator's; remove it");
}

#[test]
fn the_token_of_a_service_account_is_there_only_if_the_template_says_so() {
    let mut asked = judge();
    asked["spec"]["automountServiceAccountToken"] = true.into();
    assert_eq!(written(asked).spec.unwrap().template.spec.unwrap().automount_service_account_token, Some(true));
}

#[test]
fn init_containers_are_told_as_well() {
    let mut asked = judge();
    asked["spec"]["initContainers"] = json!([{"name": "download", "image": "registry/judge:1"}]);
    let pod = written(asked).spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.init_containers.unwrap()[0].env.as_ref().unwrap()[0].name, "WERKBANK_REVISION");
}

#[test]
fn what_is_not_for_a_template_to_say_is_refused_with_its_place() {
    let with = |pointer: &str, value: Value| {
        let mut asked = judge();
        *asked.pointer_mut(pointer).unwrap() = value;
        refused(asked)
    };
    let ours = with("/spec/containers/0/env", json!([{"name": "WERKBANK_REVISION", "value": "r"}]));
    assert_eq!(
        ours,
        "template.spec.containers[0].env: WERKBANK_REVISION is the operator's, which says there what to look at; choose another name"
    );
    let mut again = judge();
    again["spec"]["restartPolicy"] = "OnFailure".into();
    assert!(refused(again).starts_with("template.spec.restartPolicy is Never: "));
    assert!(with("/spec/containers", json!([])).starts_with("template.spec.containers is empty"));
    let misspelt = with("/spec/containers/0", json!({"name": "judge", "imag": "x"}));
    assert!(misspelt.starts_with("template.spec.containers[0].imag: no such field"), "{misspelt}");
    assert!(refused(json!([])).starts_with("template is not an object"));
    assert!(
        with("/spec/containers/0", json!({"name": "judge", "image": 1})).starts_with("template is not a pod template")
    );
}
