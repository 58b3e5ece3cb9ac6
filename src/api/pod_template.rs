//! A pod template, as its author wrote it.
//!
//! The caches hold one for every deployment, and nobody looks into it but to make a revision of it.
//! So it is kept as text, a tenth of the size of the same JSON as a tree, together with what every pass
//! asks for: its canonical form, which a revision's name is made of, and the ConfigMaps it refers to.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// See the module. Clones share the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodTemplate(Arc<Written>);

#[derive(Debug, PartialEq, Eq)]
struct Written {
    text: Box<str>,
    /// RFC 8785, where that is another text: it writes integers above 2^53 as the nearest double.
    canonical: Option<Box<str>>,
    config_maps: Result<BTreeMap<String, bool>, String>,
}

impl PodTemplate {
    /// Keeps `template`.
    ///
    /// # Errors
    /// It holds a number that JSON has no canonical form for.
    pub fn new(template: &Value) -> Result<Self, serde_json::Error> {
        let text = template.to_string();
        let canonical = serde_json_canonicalizer::to_string(template)?;
        Ok(Self(Arc::new(Written {
            canonical: (canonical != text).then(|| canonical.into_boxed_str()),
            config_maps: config_map_references(template),
            text: text.into_boxed_str(),
        })))
    }

    /// The template as a tree.
    #[must_use]
    pub fn value(&self) -> Value {
        // It was written by serde from such a tree.
        serde_json::from_str(&self.0.text).unwrap_or_default()
    }

    /// Its canonical form (RFC 8785).
    #[must_use]
    pub fn canonical(&self) -> &str {
        self.0.canonical.as_deref().unwrap_or(&self.0.text)
    }

    /// The ConfigMaps it refers to, and whether each reference is optional: volumes, projected volumes,
    /// `env` and `envFrom` of all containers.
    ///
    /// # Errors
    /// When it has no containers; with a remedy.
    pub fn config_maps(&self) -> Result<&BTreeMap<String, bool>, &String> {
        self.0.config_maps.as_ref()
    }
}

impl Serialize for PodTemplate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PodTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The template is the user's and belongs to Kubernetes' own schema, which would
/// make the CRD too large for `kubectl apply`: what the API server says of the Deployment made
/// from it becomes a condition.
impl JsonSchema for PodTemplate {
    fn schema_name() -> Cow<'static, str> {
        "PodTemplate".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

fn config_map_references(template: &Value) -> Result<BTreeMap<String, bool>, String> {
    let spec = template.get("spec").ok_or("spec.template.spec is missing; write a pod template as in a Deployment")?;
    let containers = list(spec, "containers");
    if containers.is_empty() {
        return Err("spec.template.spec.containers is empty; name at least the container of the model server".into());
    }
    let mut names: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    let mut refer = |reference: Option<&Value>, key: &str| {
        let Some(reference) = reference else { return };
        if let Some(name) = reference.get(key).and_then(Value::as_str) {
            names
                .entry(name.into())
                .or_default()
                .insert(reference.get("optional").and_then(Value::as_bool).unwrap_or(false));
        }
    };
    for volume in list(spec, "volumes") {
        refer(volume.get("configMap"), "name");
        for source in volume.get("projected").map(|it| list(it, "sources")).unwrap_or_default() {
            refer(source.get("configMap"), "name");
        }
    }
    for container in list(spec, "initContainers").iter().chain(containers) {
        for variable in list(container, "env") {
            refer(variable.pointer("/valueFrom/configMapKeyRef"), "name");
        }
        for source in list(container, "envFrom") {
            refer(source.get("configMapRef"), "name");
        }
    }
    // Needed by one container is needed, whatever another says.
    Ok(names.into_iter().map(|(name, optional)| (name, !optional.contains(&false))).collect())
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(template: &Value) -> PodTemplate {
        serde_json::from_value(template.clone()).unwrap()
    }

    #[test]
    fn what_was_written_is_kept_to_the_last_digit_and_its_canonical_form_besides() {
        for template in
            [json!({"b": [1, 2.5], "a": "é\n\u{1F600}"}), json!({"a": 9_007_199_254_740_993_u64}), Value::Null]
        {
            let kept = kept(&template);
            assert_eq!(kept.value(), template);
            assert_eq!(serde_json::to_value(&kept).unwrap(), template);
            assert_eq!(kept.canonical(), serde_json_canonicalizer::to_string(&template).unwrap());
        }
        assert_eq!(kept(&json!({"a": 9_007_199_254_740_993_u64})).canonical(), r#"{"a":9007199254740992}"#);
    }

    #[test]
    fn config_maps_are_found_wherever_a_template_can_name_them() {
        let template = json!({"spec": {
            "volumes": [
                {"name": "a", "configMap": {"name": "volume"}},
                {"name": "b", "projected": {"sources": [{"configMap": {"name": "projected", "optional": true}}, {"secret": {"name": "no"}}]}},
                {"name": "c", "secret": {"secretName": "no"}},
            ],
            "initContainers": [{"name": "i", "envFrom": [{"configMapRef": {"name": "init", "optional": false}}]}],
            "containers": [{"name": "s",
                "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "env", "key": "a"}}}, {"name": "B", "value": "b"}],
                "envFrom": [{"configMapRef": {"name": "from", "optional": true}}, {"secretRef": {"name": "no"}}]}],
        }});
        let kept = kept(&template);
        let found = kept.config_maps().unwrap();
        let wanted = [("env", false), ("from", true), ("init", false), ("projected", true), ("volume", false)];
        assert_eq!(*found, wanted.map(|(name, optional)| (name.to_owned(), optional)).into());
    }

    #[test]
    fn needed_once_is_needed() {
        let reference = |optional: bool| json!({"configMapRef": {"name": "rules", "optional": optional}});
        for order in [[true, false], [false, true]] {
            let template = json!({"spec": {"containers": [{"name": "s", "envFrom": order.map(reference)}]}});
            assert_eq!(kept(&template).config_maps(), Ok(&[("rules".to_owned(), false)].into()));
        }
    }

    #[test]
    fn a_template_without_containers_is_refused_with_a_remedy() {
        for template in [json!({}), json!({"spec": {}}), json!({"spec": {"containers": {}}}), json!("x"), Value::Null] {
            let kept = kept(&template);
            let error = kept.config_maps().unwrap_err();
            assert!(error.contains("write a pod template") || error.contains("name at least"), "{error}");
        }
    }
}
