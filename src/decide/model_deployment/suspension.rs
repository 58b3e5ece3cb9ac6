//! Nothing new begins and nothing rises, by `spec.suspend` or by an annotation of the namespace.
//!
//! The annotation is one handle for everything in a namespace: in an incident nobody edits ten thousand specs.
//! Its value is a word that people type. One that is neither `true` nor `false` counts as `true`: whoever wrote `yes`
//! wanted to hold, and a hold that was not meant costs time, where going on against a person's word costs more.

use super::pass::Pass;
use crate::api::labels;

/// So much of a wrong value is quoted.
const QUOTED: usize = 16;

impl Pass<'_> {
    /// Whether nothing new is to happen.
    pub(super) fn is_suspended(&self) -> bool {
        self.resource.spec.suspend == Some(true) || self.namespace_says().is_some()
    }

    /// What suspends it, and how it goes on.
    pub(super) fn suspension(&self) -> Option<String> {
        let (by, go_on) = self.suspended_by()?;
        Some(format!("{by}: {go_on}"))
    }

    /// The same while nothing is under way.
    pub(super) fn begins_nothing(&self) -> Option<String> {
        let (by, _) = self.suspended_by()?;
        Some(format!("{by}: no attempt begins"))
    }

    fn suspended_by(&self) -> Option<(String, String)> {
        let spec = (self.resource.spec.suspend == Some(true)).then_some("spec.suspend is true");
        let lift = |namespace: &str| format!("kubectl annotate namespace {namespace} {}-", labels::SUSPEND);
        let namespace = self.resource.metadata.namespace.as_deref().unwrap_or_default();
        match (spec, self.namespace_says()) {
            (None, None) => None,
            (Some(spec), None) => Some((spec.into(), "it goes on when that is set to false".into())),
            (None, Some(says)) => Some((says, format!("it goes on when that is taken away ({})", lift(namespace)))),
            (Some(spec), Some(says)) => Some((
                format!("{spec}, and {says}"),
                format!("it goes on when the one is set to false and the other taken away ({})", lift(namespace)),
            )),
        }
    }

    /// What the namespace says, if it suspends.
    fn namespace_says(&self) -> Option<String> {
        let (value, key) = (self.observed.namespace_suspend.as_deref()?, labels::SUSPEND);
        let namespace = self.resource.metadata.namespace.as_deref().unwrap_or_default();
        match value {
            "false" => None,
            "true" => Some(format!("the annotation {key} of namespace {namespace} is true")),
            other => {
                let quoted: String = other.chars().take(QUOTED).collect();
                Some(format!(
                    "the annotation {key} of namespace {namespace} is {quoted:?}, which is neither \"true\" nor \"false\" and counts as true"
                ))
            }
        }
    }
}
