//! A container's environment: `envFrom`, `env`, and `$(VAR)`.
//!
//! Gathered in the API's order: what the node and the image give, then
//! `envFrom`, then `env`, each overriding what came before, and each `value`
//! seeing only what came before it. Paths are rewritten at the very end, on
//! finished values, so that `$(ROOT)/x` is one path and not two halves.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow, bail};
use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVarSource, Pod};

use super::{
    facts::Facts,
    field,
    lookup::{Kind, Lookup},
};

/// Names and values, before paths are rewritten.
pub(super) type Variables = BTreeMap<String, String>;

/// The variables of a container that starts with `given` ones.
pub(super) async fn gather(
    container: &Container,
    pod: &Pod,
    facts: &Facts,
    lookup: &Lookup,
    mut given: Variables,
) -> anyhow::Result<Variables> {
    for source in container.env_from.iter().flatten() {
        given.extend(all_of(source, lookup).await?);
    }
    for var in container.env.iter().flatten() {
        let value = match &var.value_from {
            None => Some(expand(var.value.as_deref().unwrap_or_default(), &given)),
            Some(source) => value_of(source, pod, facts, lookup).await.with_context(|| format!("env {}", var.name))?,
        };
        if let Some(value) = value {
            given.insert(var.name.clone(), value);
        }
    }
    Ok(given)
}

async fn all_of(source: &EnvFromSource, lookup: &Lookup) -> anyhow::Result<Variables> {
    let (kind, name, optional) = match (&source.config_map_ref, &source.secret_ref) {
        (Some(map), _) => (Kind::ConfigMap, &map.name, map.optional),
        (None, Some(secret)) => (Kind::Secret, &secret.name, secret.optional),
        (None, None) => bail!("envFrom names neither a configMapRef nor a secretRef"),
    };
    let prefix = source.prefix.as_deref().unwrap_or_default();
    let data = lookup.data(kind, name, optional == Some(true)).await?.unwrap_or_default();
    let pairs = data.into_iter();
    Ok(pairs.map(|(key, bytes)| (format!("{prefix}{key}"), String::from_utf8_lossy(&bytes).into_owned())).collect())
}

async fn value_of(source: &EnvVarSource, pod: &Pod, facts: &Facts, lookup: &Lookup) -> anyhow::Result<Option<String>> {
    if let Some(field) = &source.field_ref {
        return field::resolve(&field.field_path, pod, facts).map(Some).map_err(|message| anyhow!(message));
    }
    if let Some(wanted) = &source.config_map_key_ref {
        return lookup.value(Kind::ConfigMap, &wanted.name, &wanted.key, wanted.optional == Some(true)).await;
    }
    if let Some(wanted) = &source.secret_key_ref {
        return lookup.value(Kind::Secret, &wanted.name, &wanted.key, wanted.optional == Some(true)).await;
    }
    bail!("resourceFieldRef is not supported by this node: give the value itself")
}

/// `text` with each `$(NAME)` of a known name replaced; `$$` is a plain `$`,
/// and what is unknown or unfinished stays as written.
pub(super) fn expand(text: &str, variables: &Variables) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(escaped) = after.strip_prefix('$') {
            out.push('$');
            rest = escaped;
        } else if let Some((name, after)) = after.strip_prefix('(').and_then(|after| after.split_once(')')) {
            match variables.get(name) {
                Some(value) => out.push_str(value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables() -> Variables {
        BTreeMap::from([("A".into(), "1".into()), ("B".into(), "$(A)".into()), ("E".into(), String::new())])
    }

    #[test]
    fn known_names_are_replaced_once_and_everything_else_stays() {
        for (text, wanted) in [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(B)", "$(A)"),
            ("$(E)", ""),
            ("$(UNKNOWN)", "$(UNKNOWN)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A ${A} $", "$A ${A} $"),
            ("$(A", "$(A"),
            ("", ""),
        ] {
            assert_eq!(expand(text, &variables()), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_without_a_dollar_is_unchanged(text in "[^$]*") {
            prop_assert_eq!(expand(&text, &variables()), text);
        }

        #[test]
        fn an_escaped_text_comes_out_as_it_was(text in "\\PC*") {
            prop_assert_eq!(expand(&text.replace('$', "$$"), &variables()), text);
        }
    }
}
