//! Whether an entry allows what a deployment does with it: its purpose, its region, and that its callers ask people first.
//!
//! | the deployment | and the entry |
//! |---|---|
//! | `spec.purpose` | has it in `governance.purposes`; where the entry has some, the deployment must have one, and where it has none, none |
//! | `spec.region` | has it in `governance.regions`, where it has some |
//! | `spec.consentSignals` | needs no other: those of all data sources that rest on consent, TCF purposes as `tcf-3` |
//!
//! The three are said together: what has to be corrected is corrected once.

use std::collections::BTreeSet;

use crate::api::governance::{DataSource, LegalBasis};
use crate::api::model_deployment::ModelDeploymentSpec;
use crate::api::model_registry_entry::ModelRegistryEntrySpec;
use crate::decide::Missing;

/// Reason: the entry does not allow what it is used for.
pub const PURPOSE: &str = "PurposeNotAllowed";
/// Reason: the entry does not allow where it runs.
pub const REGION: &str = "RegionNotAllowed";
/// Reason: nobody says that people are asked.
pub const CONSENT: &str = "ConsentNotChecked";

/// What the entry `name` does not allow of what the deployment wants.
#[must_use]
pub fn not_allowed(name: &str, entry: &ModelRegistryEntrySpec, deployment: &ModelDeploymentSpec) -> Option<Missing> {
    let (purposes, regions) = (entry.purposes(), entry.regions());
    let purpose = purpose(name, purposes, deployment.purpose.as_deref()).map(|it| (PURPOSE, it));
    let region = region(name, regions, deployment.region.as_deref()).map(|it| (REGION, it));
    let consent = consent(name, entry, deployment).map(|it| (CONSENT, it));
    let all = [purpose, region, consent].into_iter().flatten();
    Missing::together(all.map(|(reason, message)| Missing { reason, message, is_final: true }))
}

fn purpose(name: &str, allowed: &[String], wanted: Option<&str>) -> Option<String> {
    match wanted.filter(|_| allowed.is_empty()) {
        Some(it) => Some(format!(
            "spec.purpose: entry {name} has no governance.purposes, so it allows nothing that is called {it}: register one that does, or remove spec.purpose"
        )),
        None => outside("purpose", "what the model is used for", name, allowed, wanted),
    }
}

fn region(name: &str, allowed: &[String], wanted: Option<&str>) -> Option<String> {
    outside("region", "where it runs", name, allowed, wanted)
}

/// What is wanted and not on a list, or not said at all although there is one.
fn outside(field: &str, says: &str, name: &str, allowed: &[String], wanted: Option<&str>) -> Option<String> {
    if allowed.is_empty() || wanted.is_some_and(|it| allowed.iter().any(|allowed| allowed == it)) {
        return None;
    }
    let all = allowed.join(", ");
    Some(match wanted {
        None => format!("spec.{field} must say {says}: entry {name} allows {all}"),
        Some(it) => format!(
            "spec.{field}: entry {name} does not allow {it} (it allows {all}): correct spec.{field}, or point spec.modelRef at an entry that does"
        ),
    })
}

fn consent(name: &str, entry: &ModelRegistryEntrySpec, deployment: &ModelDeploymentSpec) -> Option<String> {
    let needed: BTreeSet<String> = entry.data_sources.iter().flat_map(signals).collect();
    let lacking: Vec<String> = needed.into_iter().filter(|it| !deployment.consent_signals.contains(it)).collect();
    (!lacking.is_empty()).then(|| {
        let lacking = lacking.join(", ");
        format!("spec.consentSignals lacks {lacking}: data of entry {name} rests on people's consent; have the callers check them, and name them there")
    })
}

/// How it is known that a person has consented to what this data is used for.
fn signals(source: &DataSource) -> Vec<String> {
    if source.legal_basis != Some(LegalBasis::Consent) {
        return Vec::new();
    }
    let tcf = source.tcf_purposes.iter().map(|it| format!("tcf-{it}"));
    source.consent_signals.iter().cloned().chain(tcf).collect()
}
