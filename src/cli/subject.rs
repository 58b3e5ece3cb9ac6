//! What a command is about: an entry or a deployment, by kind and name as kubectl takes them.

use std::str::FromStr;

use crate::api::approval::SubjectKind;

/// A name, and the kind before its `/` if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    kind: Option<SubjectKind>,
    /// `metadata.name`.
    pub(super) name: String,
}

impl Subject {
    /// Its kind, which is `otherwise` if nothing is said.
    pub(super) fn kind_or(&self, otherwise: SubjectKind) -> SubjectKind {
        self.kind.unwrap_or(otherwise)
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = match text.split_once('/') {
            None => (None, text),
            Some((kind, name)) => (Some(kind.to_ascii_lowercase()), name),
        };
        let kind = match kind.as_deref() {
            None => None,
            Some("modelregistryentry" | "modelregistryentries" | "mre") => Some(SubjectKind::ModelRegistryEntry),
            Some("modeldeployment" | "modeldeployments" | "md") => Some(SubjectKind::ModelDeployment),
            Some(_) => return Err("name modelregistryentry/NAME or modeldeployment/NAME".into()),
        };
        if name.is_empty() || name.contains('/') {
            return Err("a name has no `/`, and is not empty".into());
        }
        Ok(Self { kind, name: name.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_what_a_command_is_mostly_about_unless_it_says_otherwise() {
        let (entry, deployment) = (SubjectKind::ModelRegistryEntry, SubjectKind::ModelDeployment);
        let of = |text: &str, otherwise| {
            let it: Subject = text.parse().unwrap();
            (it.kind_or(otherwise), it.name)
        };
        assert_eq!(of("churn-2", entry), (entry, "churn-2".into()));
        assert_eq!(of("churn", deployment), (deployment, "churn".into()));
        assert_eq!(of("mre/churn-2", deployment), (entry, "churn-2".into()));
        assert_eq!(of("ModelDeployment/churn", entry), (deployment, "churn".into()));
        for text in ["pod/churn", "mre/", "", "mre/a/b", "/a"] {
            assert!(text.parse::<Subject>().is_err(), "{text}");
        }
    }
}
