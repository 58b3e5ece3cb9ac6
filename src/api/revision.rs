//! What a revision is, and its name.
//!
//! A revision is everything that decides what its pods do: the pod template as
//! the user wrote it, the artifact (URI and digest), the contents of the ConfigMaps the template
//! refers to, and the region and port that the operator writes into it. Its
//! name is a digest of these, so the same input is the same revision for ever:
//! on every leader, after every restart and across library upgrades.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::PodTemplate;
use super::model_deployment::EntryRef;
use super::model_registry_entry::LocalRef;

/// Names the way the digest is made; a new way gets a new letter.
const ALGORITHM: char = 'a';

/// Kubernetes' own alphabet for generated names: no vowels (no words), nothing that is read as something else.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The contents of a ConfigMap, in the form they are digested and copied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapContent {
    /// Text by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// Bytes by key, in base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub binary_data: BTreeMap<String, String>,
}

/// What a revision's name is made of.
#[derive(Debug, Clone, Copy)]
pub struct RevisionInput<'a> {
    /// The pod template, raw.
    pub template: &'a PodTemplate,
    /// The artifact's URI.
    pub artifact_uri: &'a str,
    /// The artifact's SHA-256, in hexadecimal.
    pub artifact_sha256: &'a str,
    /// Referenced ConfigMaps by name; `None` for an optional one that is missing.
    pub config_maps: &'a BTreeMap<String, Option<ConfigMapContent>>,
    /// The region, if one is asked for.
    pub region: Option<&'a str>,
    /// The port.
    pub port: i32,
}

impl RevisionInput<'_> {
    /// The revision: an algorithm tag and nine characters, about 42 bits of the SHA-256
    /// over the canonical JSON (RFC 8785) of the input.
    ///
    /// # Errors
    /// When something in it has no canonical form.
    pub fn revision(&self) -> Result<String, serde_json::Error> {
        let rest = json!({
            "artifact": {"uri": self.artifact_uri, "sha256": self.artifact_sha256},
            "configMaps": self.config_maps,
            "region": self.region,
            "port": self.port,
        });
        let rest = serde_json_canonicalizer::to_string(&rest)?;
        // Canonical JSON sorts its keys, and `template` comes last.
        let rest = rest.strip_suffix('}').unwrap_or(&rest);
        let input = format!(r#"{rest},"template":{}}}"#, self.template.canonical());
        let digest = Sha256::digest(input);
        let letters = digest.iter().take(9).filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()));
        Ok(std::iter::once(ALGORITHM).chain(letters.map(|byte| char::from(*byte))).collect())
    }
}

/// What the operator keeps of a revision, in a ControllerRevision: enough to build all its children
/// again after the spec, the entry, the region map or the operator's own image
/// have moved on. Only so can a stable revision be kept as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionRecord {
    /// The revision and the entry it serves.
    pub entry: EntryRef,
    /// The artifact's URI.
    pub artifact_uri: String,
    /// The artifact's SHA-256, in hexadecimal.
    pub artifact_sha256: String,
    /// Secret with the store's credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalRef>,
    /// The pod template, raw.
    pub template: PodTemplate,
    /// The port.
    pub port: i32,
    /// Node labels of the region, resolved when the revision was first seen.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_labels: BTreeMap<String, Vec<String>>,
    /// Referenced ConfigMaps: name → name of the immutable copy.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config_maps: BTreeMap<String, String>,
    /// Those that did not exist when the revision was first seen: they have no copy, so that
    /// what appears under their name later does not reach its pods.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub missing_config_maps: BTreeSet<String>,
    /// Image of the fetching init container.
    pub fetch_image: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(key: &str, text: &str) -> ConfigMapContent {
        ConfigMapContent { data: [(key.to_owned(), text.to_owned())].into(), ..ConfigMapContent::default() }
    }

    fn maps(all: &[(&str, Option<ConfigMapContent>)]) -> BTreeMap<String, Option<ConfigMapContent>> {
        all.iter().map(|(name, content)| ((*name).to_owned(), content.clone())).collect()
    }

    fn template(text: &str) -> PodTemplate {
        serde_yaml::from_str(text).unwrap()
    }

    const PLAIN: &str = "{spec: {containers: [{name: server, image: 'scorer:1.4'}]}}";

    /// Twenty inputs and their names, taken down once. A change here would start a canary of every
    /// deployment in every cluster when the operator is updated: correct the code, not the table.
    #[test]
    fn twenty_revisions_keep_their_names_for_ever() {
        let none = maps(&[]);
        let binary = ConfigMapContent {
            binary_data: [("b".to_owned(), "AAEC".to_owned())].into(),
            ..ConfigMapContent::default()
        };
        let name =
            |template_text: &str, artifact: (&str, u8), config_maps: &BTreeMap<_, _>, region: Option<&str>, port| {
                let template = template(template_text);
                let sha256 = format!("{:02x}", artifact.1).repeat(32);
                let input = RevisionInput {
                    template: &template,
                    artifact_uri: artifact.0,
                    artifact_sha256: &sha256,
                    config_maps,
                    region,
                    port,
                };
                input.revision().unwrap()
            };
        let s3 = ("s3://models/churn/1/", 1);
        let table = [
            (name(PLAIN, s3, &none, None, 8080), "acqnkggjkr"),
            (name(PLAIN, s3, &none, None, 8081), "a8jssltmxv"),
            (name(PLAIN, s3, &none, Some("eu"), 8080), "ajb9nvb2mg"),
            (name(PLAIN, s3, &none, Some("us"), 8080), "a5z5t7zcmd"),
            (name(PLAIN, ("s3://models/churn/1/", 2), &none, None, 8080), "a5fg4pj7sr"),
            (name(PLAIN, ("s3://models/churn/2/", 1), &none, None, 8080), "aml7rl97sf"),
            (name(PLAIN, ("file:///models/churn.onnx", 255), &none, None, 8080), "ahcj9sj2jz"),
            (name(PLAIN, s3, &maps(&[("rules", Some(content("a", "1")))]), None, 8080), "a2gthlwdbp"),
            (name(PLAIN, s3, &maps(&[("rules", Some(content("a", "2")))]), None, 8080), "af2h9k8htg"),
            (name(PLAIN, s3, &maps(&[("rules", Some(content("b", "1")))]), None, 8080), "agllk9wnlt"),
            (name(PLAIN, s3, &maps(&[("rules", None)]), None, 8080), "ascvch2r4b"),
            (name(PLAIN, s3, &maps(&[("rules", Some(binary))]), None, 8080), "avf8dfh68m"),
            (
                name(PLAIN, s3, &maps(&[("a", Some(content("a", "1"))), ("b", Some(content("a", "1")))]), None, 8080),
                "ar2ckkbmdk",
            ),
            (name("{spec: {containers: [{name: server, image: 'scorer:1.5'}]}}", s3, &none, None, 8080), "a2pl8s7hvl"),
            (
                name("{spec: {containers: [{image: 'scorer:1.4', name: server, env: []}]}}", s3, &none, None, 8080),
                "a2lbxxp4db",
            ),
            (
                name(
                    "{metadata: {labels: {team: crm}}, spec: {containers: [{name: server, image: x}]}}",
                    s3,
                    &none,
                    None,
                    80,
                ),
                "amd8xz7292",
            ),
            (
                name(
                    "{spec: {containers: [{name: server, image: x, resources: {limits: {cpu: 1}}}]}}",
                    s3,
                    &none,
                    None,
                    80,
                ),
                "amnkpmdstx",
            ),
            (
                name(
                    "{spec: {containers: [{name: server, image: x, resources: {limits: {cpu: 0.5}}}]}}",
                    s3,
                    &none,
                    None,
                    80,
                ),
                "a2r99g7snp",
            ),
            (
                name(
                    "{spec: {containers: [{name: server, image: x, args: ['ä€😀', \"\\n\", '\"']}]}}",
                    s3,
                    &none,
                    None,
                    80,
                ),
                "addzdttcmm",
            ),
            (
                name(
                    "{spec: {containers: [{name: server, image: x, ports: [{containerPort: 1e21}]}]}}",
                    s3,
                    &none,
                    None,
                    80,
                ),
                "avgj8h9lcf",
            ),
        ];
        let wrong: Vec<_> = table.iter().filter(|(name, golden)| name != golden).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn the_order_of_keys_is_no_difference_and_the_name_fits_a_label() {
        let none = maps(&[]);
        let revision = |text: &str| {
            let template = template(text);
            RevisionInput {
                template: &template,
                artifact_uri: "u",
                artifact_sha256: "s",
                config_maps: &none,
                region: None,
                port: 1,
            }
            .revision()
            .unwrap()
        };
        let one = revision("{spec: {containers: [{name: server, image: x}]}}");
        assert_eq!(one, revision("{spec: {containers: [{image: x, name: server}]}}"));
        assert_ne!(one, revision("{spec: {containers: [{image: x, name: Server}]}}"));
        assert_eq!((one.len(), &one[..1]), (10, "a"));
        assert!(one.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit()), "{one}");
    }
}
