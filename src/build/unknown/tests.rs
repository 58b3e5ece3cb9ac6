use k8s_openapi::api::core::v1::PodTemplateSpec;
use proptest::prelude::*;
use schemars::generate::SchemaSettings;
use serde_json::json;

use super::*;

/// A key of a map that takes any.
const ANY: &str = "any.example/key";

/// A template with everything that the types know, made from their own schema.
fn everything() -> Value {
    let root = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<PodTemplateSpec>().to_value();
    sample(&root, &root)
}

fn sample(schema: &Value, root: &Value) -> Value {
    if let Some(place) = schema["$ref"].as_str() {
        return sample(root.pointer(&place[1..]).unwrap(), root);
    }
    if let Some(all) = ["allOf", "anyOf", "oneOf"].iter().find_map(|it| schema[it].as_array()) {
        return sample(all.iter().find(|it| it["type"] != "null").unwrap(), root);
    }
    let types = match &schema["type"] {
        Value::Array(all) => all.iter().find(|it| *it != "null").unwrap(),
        one => one,
    };
    match types.as_str() {
        Some("object") => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            let mut object: serde_json::Map<String, Value> =
                fields.map(|(key, it)| (key.clone(), sample(it, root))).collect();
            if schema["additionalProperties"].is_object() {
                object.insert(ANY.into(), sample(&schema["additionalProperties"], root));
            }
            Value::Object(object)
        }
        Some("array") => json!([sample(&schema["items"], root)]),
        Some("string") if schema["format"] == "date-time" => json!("2026-11-24T00:00:00Z"),
        Some("string") => json!("x"),
        Some("boolean") => json!(true),
        _ => json!(1),
    }
}

fn checked(template: &Value) -> Result<(), String> {
    let typed: PodTemplateSpec = serde_json::from_value(template.clone()).unwrap();
    refuse("spec.template", "a pod template", template, &serde_json::to_value(typed).unwrap())
}

/// Leaves out, or leaves open, some of what is in `value`, as `choices` say.
fn thin(value: &mut Value, choices: &mut impl Iterator<Item = u8>) {
    match value {
        Value::Object(all) => {
            all.retain(|_, _| choices.next() != Some(0));
            for (key, it) in all.iter_mut() {
                match (choices.next(), &mut *it) {
                    (Some(1), it) if key != ANY => *it = Value::Null,
                    (Some(2), Value::Object(all)) => all.clear(),
                    (Some(2), Value::Array(all)) => all.clear(),
                    (_, it) => thin(it, choices),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|it| thin(it, choices)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn a_template_of_known_fields_is_never_refused(choices in prop::collection::vec(0..12_u8, 64)) {
        let mut template = everything();
        thin(&mut template, &mut choices.into_iter().cycle());
        prop_assert_eq!(checked(&template), Ok(()));
    }
}

#[test]
fn everything_that_the_types_know_is_known() {
    let template = everything();
    assert!(template.pointer("/spec/containers/0/securityContext/capabilities/drop/0").is_some(), "{template}");
    assert_eq!(checked(&template), Ok(()));
}

#[test]
fn a_field_that_would_vanish_is_named_wherever_it_is() {
    let terms = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0";
    for place in [
        "",
        "/metadata",
        "/spec",
        "/spec/containers/0",
        "/spec/containers/0/resources",
        "/spec/initContainers/0/env/0/valueFrom",
        "/spec/volumes/0/projected/sources/0",
        terms,
    ] {
        let mut template = everything();
        template.pointer_mut(place).unwrap()["securitContext"] = json!({"runAsNonRoot": true});
        let path = place.replace("/0", "[0]").replace('/', ".");
        let error = checked(&template).unwrap_err();
        assert!(error.starts_with(&format!("spec.template{path}.securitContext: ")), "{error}");
    }
}

#[test]
fn what_is_empty_asks_for_nothing_and_many_fields_are_counted() {
    assert_eq!(checked(&json!({"spec": {"affinitty": null, "volumess": [], "securitContext": {}}})), Ok(()));
    let many: Value = (0..8).map(|it| (format!("field{it}"), json!(it))).collect::<serde_json::Map<_, _>>().into();
    let error = checked(&json!({"spec": many})).unwrap_err();
    assert!(error.contains("spec.template.spec.field4 and 3 more: "), "{error}");
}
