//! What a revision is, and its name.
//!
//! A revision is everything that decides what its pods do: the pod template as
//! the user wrote it, the artifact (URI and digest), the contents of the ConfigMaps the template
//! refers to, and the region and port that the operator writes into it. Its
//! name is a digest of these, so the same input is the same revision for ever:
//! on every leader, after every restart and across library upgrades.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

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
    pub template: &'a Value,
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
    /// When the template holds a number that JSON has no canonical form for.
    pub fn revision(&self) -> Result<String, serde_json::Error> {
        let input = json!({
            "template": self.template,
            "artifact": {"uri": self.artifact_uri, "sha256": self.artifact_sha256},
            "configMaps": self.config_maps,
            "region": self.region,
            "port": self.port,
        });
        let digest = Sha256::digest(serde_json_canonicalizer::to_vec(&input)?);
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
    pub template: Value,
    /// The port.
    pub port: i32,
    /// Node labels of the region, resolved when the revision was first seen.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_labels: BTreeMap<String, Vec<String>>,
    /// Referenced ConfigMaps: name → name of the immutable copy.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config_maps: BTreeMap<String, String>,
    /// Image of the fetching init container.
    pub fetch_image: String,
}
