//! `kubectl werkbank approve` and `reject`: one person's word, written as the Approval that the operator counts.
//!
//! It is of the very entry, or step, that is there at this moment, and in the name that the API server knows the person by. The API
//! server's admission policies decide whether it may be given; what is sure to be refused is refused here, with what to do.

use clap::Args;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::PostParams;
use kube::{Api, Resource, ResourceExt};

use super::cluster::ClusterOptions;
use super::subject::Subject;
use super::{CliError, get, request};
use crate::api::approval::{self, Approval, ApprovalDecision, ApprovalSpec, ApprovalSubject, SubjectKind};
use crate::api::{ModelDeployment, ModelRegistryEntry};

/// What is decided, and as whom.
#[derive(Debug, Args)]
pub struct ApproveArguments {
    /// The ModelRegistryEntry; or `modeldeployment/NAME`, for the step that its attempt asks for next.
    subject: Subject,
    /// The role in which you decide: one that it asks for.
    #[arg(long)]
    role: String,
    /// The weight of the step, such as 50%, where several ask for the role; otherwise the next one.
    #[arg(long)]
    weight: Option<String>,
    /// Why, for people who read it later.
    #[arg(long)]
    comment: Option<String>,
}

/// What is decided, by whom.
struct Word<'a> {
    role: &'a str,
    decision: ApprovalDecision,
    by: &'a str,
    comment: Option<&'a str>,
}

pub(super) async fn run(
    options: &ClusterOptions,
    arguments: &ApproveArguments,
    decision: ApprovalDecision,
) -> Result<String, CliError> {
    let cluster = options.connect().await?;
    let by = request::requester(&cluster).await?;
    let word = Word { role: &arguments.role, decision, by: &by, comment: arguments.comment.as_deref() };
    let name = arguments.subject.name.as_str();
    let approval = match arguments.subject.kind_or(SubjectKind::ModelRegistryEntry) {
        SubjectKind::ModelRegistryEntry => {
            let entry: ModelRegistryEntry = get::one(&cluster, name).await?;
            of_entry(&entry, &word)
        }
        SubjectKind::ModelDeployment => {
            let deployment: ModelDeployment = get::one(&cluster, name).await?;
            of_step(&deployment, arguments.weight.as_deref(), &word)
        }
    };
    let approval = approval.map_err(CliError::NothingToDo)?;
    let api: Api<Approval> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    match api.create(&PostParams::default(), &approval).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Err(CliError::NothingToDo(format!(
            "role {} has decided on this already: kubectl get approval {} -n {}; whoever did can take it back by deleting it",
            word.role,
            approval.name_any(),
            cluster.namespace
        ))),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(format!("{name} is {} by {by} as {}\n", format!("{decision:?}").to_lowercase(), word.role)),
    }
}

fn of_entry(entry: &ModelRegistryEntry, word: &Word<'_>) -> Result<Approval, String> {
    let name = entry.name_any();
    let status = entry.status.as_ref().filter(|it| !it.spec_digest.is_empty());
    let status = status.ok_or_else(|| format!("the operator has not looked at {name} yet: try again in a moment"))?;
    let asked: Vec<&str> = status.approvals.iter().map(|it| it.role.as_str()).collect();
    if !asked.contains(&word.role) {
        return Err(not_asked(&name, word.role, &asked));
    }
    if word.decision == ApprovalDecision::Approved && entry.spec.submitted_by.as_deref() == Some(word.by) {
        return Err(format!("nobody approves their own work, and {} has submitted {name}", word.by));
    }
    Ok(written(SubjectKind::ModelRegistryEntry, entry, &status.spec_digest, word))
}

fn of_step(deployment: &ModelDeployment, weight: Option<&str>, word: &Word<'_>) -> Result<Approval, String> {
    let name = deployment.name_any();
    let attempt = deployment.status.as_ref().and_then(|it| it.attempt.as_ref());
    let steps = attempt.map(|it| it.approvals.as_slice()).unwrap_or_default();
    let is_meant = |at: String| weight.is_none_or(|weight| weight.trim_end_matches('%') == at.trim_end_matches('%'));
    let step = steps.iter().find(|it| it.role == word.role && is_meant(it.weight.to_string())).ok_or_else(|| {
        let asked: Vec<String> = steps.iter().map(|it| format!("{} by {}", it.weight, it.role)).collect();
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        not_asked(&format!("the attempt of {name}"), word.role, &asked)
    })?;
    Ok(written(SubjectKind::ModelDeployment, deployment, &step.digest, word))
}

fn not_asked(what: &str, role: &str, asked: &[&str]) -> String {
    let asked = if asked.is_empty() { "nobody".into() } else { asked.join(", ") };
    format!("{what} does not ask role {role}; it asks: {asked}")
}

fn written<K>(kind: SubjectKind, subject: &K, digest: &str, word: &Word<'_>) -> Approval
where
    K: Resource<DynamicType = ()>,
{
    let (name, uid) = (subject.name_any(), subject.uid().unwrap_or_default());
    let spec = ApprovalSpec {
        subject: ApprovalSubject { kind, name: name.clone(), uid: uid.clone(), digest: digest.into() },
        role: word.role.into(),
        decision: word.decision,
        approver: word.by.into(),
        comment: word.comment.map(str::to_owned),
    };
    let mut approval = Approval::new(&approval::name_of(&name, word.role, digest), spec);
    // It goes with what it is about.
    approval.metadata.owner_references = Some(vec![OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name,
        uid,
        ..OwnerReference::default()
    }]);
    approval
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DIGEST: &str = "sha256:9f2c41aa00000000000000000000000000000000000000000000000000000000";

    fn entry(asked: &[&str]) -> ModelRegistryEntry {
        let approvals: Vec<_> = asked.iter().map(|it| json!({"role": it, "word": "Missing"})).collect();
        serde_json::from_value(json!({
            "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelRegistryEntry", "metadata": {"name": "churn-2", "uid": "u"},
            "spec": {"model": {"name": "churn", "version": "2", "kind": "Predictor"}, "submittedBy": "anna",
                "artifact": {"uri": "s3://models/churn/2/", "sha256": "0".repeat(64)}},
            "status": {"specDigest": DIGEST, "approvals": approvals},
        }))
        .unwrap()
    }

    fn deployment() -> ModelDeployment {
        let at = "2026-11-24T00:00:00Z";
        let step = |weight: &str, digit: &str| json!({"weight": weight, "role": "owner", "digest": DIGEST.replace('9', digit)});
        serde_json::from_value(json!({
            "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "churn", "uid": "d"},
            "spec": {"modelRef": {"name": "churn-2"}, "port": 80, "template": {}, "analysis": {"none": "a test"}},
            "status": {"attempt": {"id": "ab-2-d", "revision": "ab", "entry": {"revision": "ab", "name": "churn-2", "uid": "u"},
                "state": "Observing", "weight": "5%", "startedAt": at, "enteredAt": at,
                "approvals": [step("25%", "1"), step("50%", "2")]}},
        }))
        .unwrap()
    }

    fn word<'a>(role: &'a str, by: &'a str) -> Word<'a> {
        Word { role, decision: ApprovalDecision::Approved, by, comment: Some("looks right") }
    }

    #[test]
    fn what_is_written_is_what_the_operator_counts_and_goes_with_its_subject() {
        let it = of_entry(&entry(&["technical"]), &word("technical", "ben")).unwrap();
        assert_eq!(it.name_any(), "churn-2-technical-9f2c41aa");
        let owner = &it.owner_references()[0];
        assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("ModelRegistryEntry", "u"));
        assert_eq!((it.spec.subject.digest.as_str(), it.spec.approver.as_str()), (DIGEST, "ben"));
    }

    #[test]
    fn the_next_step_that_asks_for_the_role_is_meant_or_the_one_that_is_named() {
        let digest = |weight| of_step(&deployment(), weight, &word("owner", "olga")).map(|it| it.spec.subject.digest);
        assert_eq!(digest(None).unwrap(), DIGEST.replace('9', "1"));
        assert_eq!(digest(Some("50%")).unwrap(), DIGEST.replace('9', "2"));
        assert_eq!(
            digest(Some("30%")).unwrap_err(),
            "the attempt of churn does not ask role owner; it asks: 25% by owner, 50% by owner"
        );
    }

    #[test]
    fn what_is_sure_to_be_refused_is_refused_with_the_reason() {
        let asked = entry(&["technical", "business"]);
        let own = of_entry(&asked, &word("technical", "anna")).unwrap_err();
        assert_eq!(own, "nobody approves their own work, and anna has submitted churn-2");
        let rejects = Word { decision: ApprovalDecision::Rejected, ..word("technical", "anna") };
        assert!(of_entry(&asked, &rejects).is_ok(), "she may say no");
        let unasked = of_entry(&asked, &word("legal", "ben")).unwrap_err();
        assert_eq!(unasked, "churn-2 does not ask role legal; it asks: technical, business");
        let mut new = entry(&[]);
        assert!(of_entry(&new, &word("legal", "ben")).unwrap_err().ends_with("it asks: nobody"));
        new.status = None;
        assert!(of_entry(&new, &word("legal", "ben")).unwrap_err().contains("not looked at churn-2 yet"));
    }
}
