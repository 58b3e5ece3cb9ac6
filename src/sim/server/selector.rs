//! Which objects a list or a watch is about.

use serde_json::Value;

use super::Asked;

/// The query with what selectors consist of as it is.
pub(super) fn decoded(query: &str) -> String {
    query.replace("%2F", "/").replace("%3D", "=").replace("%21", "!").replace("%2C", ",")
}

impl Asked {
    /// Whether an object of the collection is asked for.
    pub(super) fn selects(&self, object: &Value) -> bool {
        let selector = self.param("labelSelector").unwrap_or_default();
        assert!(!selector.contains(['%', '(']), "teach the server this selector: {selector}");
        let labels = &object["metadata"]["labels"];
        selector.split(',').filter(|it| !it.is_empty()).all(|it| holds(it, labels))
    }

    /// The collection over all namespaces, and the namespace if it is about one only.
    pub(super) fn scope(&self) -> (String, Option<&str>) {
        match self.path.split_once("/namespaces/").and_then(|(root, rest)| Some((root, rest.split_once('/')?))) {
            Some((root, (namespace, plural))) => (format!("{root}/{plural}"), Some(namespace)),
            None => (self.path.clone(), None),
        }
    }
}

/// `label`, `!label`, `label=value` or `label!=value`.
fn holds(requirement: &str, labels: &Value) -> bool {
    let of = |label: &str| labels[label].as_str();
    if let Some(label) = requirement.strip_prefix('!') {
        return of(label).is_none();
    }
    if let Some((label, value)) = requirement.split_once("!=") {
        return of(label) != Some(value);
    }
    match requirement.split_once('=') {
        Some((label, value)) => of(label) == Some(value.trim_start_matches('=')),
        None => of(requirement).is_some(),
    }
}
