//! What a command is about: an entry or a deployment, by kind and name as kubectl takes them.

use super::CliError;
use crate::api::approval::SubjectKind;

/// Kind and name of what is meant; without a kind it is `otherwise`.
pub(super) fn of(text: &str, otherwise: SubjectKind) -> Result<(SubjectKind, &str), CliError> {
    let Some((kind, name)) = text.split_once('/') else { return Ok((otherwise, text)) };
    match kind.to_ascii_lowercase().as_str() {
        "modelregistryentry" | "modelregistryentries" | "mre" => Ok((SubjectKind::ModelRegistryEntry, name)),
        "modeldeployment" | "modeldeployments" | "md" => Ok((SubjectKind::ModelDeployment, name)),
        _ => Err(CliError::NothingToDo(format!(
            "{text} is neither: name modelregistryentry/NAME or modeldeployment/NAME"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_what_a_command_is_mostly_about_unless_it_says_otherwise() {
        let (entry, deployment) = (SubjectKind::ModelRegistryEntry, SubjectKind::ModelDeployment);
        let of = |text, otherwise| of(text, otherwise).unwrap();
        assert_eq!(of("churn-2", entry), (entry, "churn-2"));
        assert_eq!(of("churn", deployment), (deployment, "churn"));
        assert_eq!(of("mre/churn-2", deployment), (entry, "churn-2"));
        assert_eq!(of("ModelDeployment/churn", entry), (deployment, "churn"));
        let error = super::of("pod/churn", entry).unwrap_err();
        assert!(error.to_string().contains("pod/churn is neither: name modelregistryentry/NAME"), "{error}");
    }
}
