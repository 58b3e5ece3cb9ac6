//! Whether an entry says all that has to be said of it, and nothing that contradicts itself.
//!
//! A chain of checks, each a named function of the spec alone, in this order. The first that finds something gives the condition
//! `GovernanceComplete` its reason; the message holds the findings of all.
//!
//! | reason | found when |
//! |---|---|
//! | `GovernanceMissing` | the operator is told that every entry says who answers for it, for what it is and how risky, and this one does not |
//! | `RiskProhibited` | it is of a class that is not put into service (EU AI Act, Article 5) |
//! | `HighRiskUnassessed` | it is of class High, and assessment, limitations, risks or three approvals are not there (Articles 9, 13; GDPR, Article 35) |
//! | `HumanReviewMissing` | it decides over people, and none looks at it (AI Act, Article 14; GDPR, Article 22) |
//! | `PersonalDataUndocumented` | a data source is about people without legal basis, purposes, retention or record (GDPR, Articles 5, 6, 30) |
//! | `PersonalDataDenied` | people consent to the use of a data source that is said not to be about any |
//! | `ConsentRequired` | a TCF purpose rests on grounds that it cannot rest on: 1 and 3 to 6 on nothing but consent, 2 and 7 to 11 on consent or legitimate interests (TCF 2.2) |
//! | `ConsentUnsignalled` | a data source rests on consent, and nothing says how that is known |
//! | `PurposeTooWide` | the model may be used for what its data was not collected for (GDPR, Article 5(1)(b)) |
//! | `RegionTooWide` | the model may run where its data may not be, or a vendor runs it there |
//! | `VendorUndocumented` | somebody else runs it, and contract, or for data about people regions, further processors or grounds of transfer, are not there (GDPR, Articles 28, 44) |
//! | `TimeUnreadable` | a moment or a duration is none |
//!
//! All but the first and the last are CEL rules of the CRD, too. They are decided again because an entry may be older than a
//! rule, and because who may edit CRDs shall not decide what is lawful.
//!
//! What a deployment may do with a complete entry: [`allowed_use`]. Until when: [`time`].

pub mod allowed_use;
pub mod time;
pub(super) mod vendor;

use super::Missing;
use crate::api::governance::{DataSource, Governance, LegalBasis, RiskClass};
use crate::api::model_registry_entry::ModelRegistryEntrySpec;
use crate::api::vendor::Vendor;

/// Reason, on a deployment: the entry that it names does not say all that it has to.
pub const INCOMPLETE: &str = "GovernanceIncomplete";

/// What to do about an entry that is not complete.
pub const REMEDY: &str =
    "what is not lifecycle, reviewBy or owners cannot be changed: register an entry that says so under another name";

/// Approvals that a model of class High needs.
const ROLES_OF_HIGH: usize = 3;
/// TCF purposes that may rest on legitimate interests, too.
const WITHOUT_CONSENT: [i32; 6] = [2, 7, 8, 9, 10, 11];

/// A check: its reason, and what it finds.
type Check = (&'static str, fn(&ModelRegistryEntrySpec) -> Vec<String>);

/// All but the one that the operator can be told to make, in order.
const CHECKS: [Check; 11] = [
    ("RiskProhibited", prohibited),
    ("HighRiskUnassessed", unassessed),
    ("HumanReviewMissing", unreviewed),
    ("PersonalDataUndocumented", undocumented),
    ("PersonalDataDenied", denied),
    ("ConsentRequired", without_consent),
    ("ConsentUnsignalled", unsignalled),
    ("PurposeTooWide", too_wide_a_purpose),
    ("RegionTooWide", too_wide_a_region),
    ("VendorUndocumented", vendor::undocumented),
    ("TimeUnreadable", unreadable),
];

/// Whether anything is said of it that could be incomplete: who has to approve it is not.
#[must_use]
pub fn concerns(spec: &ModelRegistryEntrySpec, required: bool) -> bool {
    let said = spec.governance.clone().map(|it| Governance { approvals: Vec::new(), ..it }).unwrap_or_default();
    required || said != Governance::default() || !spec.data_sources.is_empty() || spec.vendor.is_some()
}

/// What the checks find, if they do; `required`: every entry has to say what it is for, how risky it is and who answers for it.
#[must_use]
pub fn incomplete(spec: &ModelRegistryEntrySpec, required: bool) -> Option<Missing> {
    let demanded: Check = ("GovernanceMissing", unsaid);
    let checks = required.then_some(demanded).into_iter().chain(CHECKS);
    let found = checks.flat_map(|(reason, check)| check(spec).into_iter().map(move |it| (reason, it)));
    Missing::together(found.map(|(reason, message)| Missing { reason, message, is_final: true }))
}

fn unsaid(spec: &ModelRegistryEntrySpec) -> Vec<String> {
    let governance = spec.governance.clone().unwrap_or_default();
    let owners = spec.owners.clone().unwrap_or_default();
    let all = [
        ("spec.governance.riskClass", governance.risk_class.is_none()),
        ("spec.governance.purposes", governance.purposes.is_empty()),
        ("spec.dataSources", spec.data_sources.is_empty()),
        ("spec.owners.business", !says(&owners.business)),
        ("spec.owners.technical", !says(&owners.technical)),
    ];
    lacking("the entry", &all)
        .map(|it| format!("{it}: this operator is told to ask every entry for it"))
        .into_iter()
        .collect()
}

/// Blanks say nothing.
fn says(text: &Option<String>) -> bool {
    text.as_ref().is_some_and(|it| !it.trim().is_empty())
}

/// Names what is not there.
fn lacking(whose: &str, all: &[(&str, bool)]) -> Option<String> {
    let names: Vec<&str> = all.iter().filter(|(_, lacks)| *lacks).map(|(name, _)| *name).collect();
    (!names.is_empty()).then(|| format!("{whose} lacks {}", names.join(", ")))
}

fn is_high(spec: &ModelRegistryEntrySpec) -> bool {
    spec.governance.as_ref().is_some_and(|it| it.risk_class == Some(RiskClass::High))
}

fn prohibited(spec: &ModelRegistryEntrySpec) -> Vec<String> {
    let is = spec.governance.as_ref().is_some_and(|it| it.risk_class == Some(RiskClass::Prohibited));
    let text =
        "spec.governance.riskClass is Prohibited: what Article 5 of the EU AI Act prohibits is not put into service";
    is.then(|| text.to_owned()).into_iter().collect()
}

fn unassessed(spec: &ModelRegistryEntrySpec) -> Vec<String> {
    let Some(governance) = spec.governance.as_ref().filter(|_| is_high(spec)) else { return Vec::new() };
    let few = governance.approvals.len() < ROLES_OF_HIGH;
    let all = [
        ("dpiaRef", !says(&governance.dpia_ref)),
        ("limitations", !says(&governance.limitations)),
        ("risks", governance.risks.is_empty()),
        ("approvals by at least three roles", few),
    ];
    lacking("spec.governance, of riskClass High,", &all).into_iter().collect()
}

fn unreviewed(spec: &ModelRegistryEntrySpec) -> Vec<String> {
    let decision = spec.governance.as_ref().and_then(|it| it.automated_decision);
    let weighs = is_high(spec) || decision.is_some_and(|it| it.significant_effect);
    let reviewed = decision.is_some_and(|it| it.human_review);
    let text = "spec.governance.automatedDecision.humanReview must be true where riskClass is High or the effect on people significant";
    (weighs && !reviewed).then(|| text.to_owned()).into_iter().collect()
}

/// What is found of each data source.
fn of_sources(spec: &ModelRegistryEntrySpec, find: impl Fn(&DataSource) -> Option<String>) -> Vec<String> {
    spec.data_sources.iter().filter_map(find).collect()
}

fn undocumented(spec: &ModelRegistryEntrySpec) -> Vec<String> {
    of_sources(spec, |it| {
        let all = [
            ("legalBasis", it.legal_basis.is_none()),
            ("purposes", it.purposes.is_empty()),
            ("retention", it.retention.is_none()),
            ("ropaId", !says(&it.ropa_id)),
        ];
        lacking(&format!("data source {}, which is about people,", it.name), &all).filter(|_| it.personal_data)
    })
}

fn denied(spec: &ModelRegistryEntrySpec) -> Vec<String> {
    of_sources(spec, |it| {
        let asked = it.legal_basis == Some(LegalBasis::Consent);
        let asked = asked || !it.consent_signals.is_empty() || !it.tcf_purposes.is_empty();
        let text = format!("data source {} is of people who consent, and has personalData: false", it.name);
        (asked && !it.personal_data).then_some(text)
    })
}

fn without_consent(spec: &ModelRegistryEntrySpec) -> Vec<String> {
    of_sources(spec, |it| {
        let (grounds, needs) = (it.legal_basis, |purpose: &&i32| !WITHOUT_CONSENT.contains(purpose));
        if grounds == Some(LegalBasis::Consent) {
            return None;
        }
        let alone = it.tcf_purposes.iter().find(needs).map(|it| (it, ""));
        let any = it.tcf_purposes.first().map(|it| (it, " or LegitimateInterests"));
        let any = any.filter(|_| grounds != Some(LegalBasis::LegitimateInterests));
        let (purpose, or) = alone.or(any)?;
        Some(format!("data source {} has TCF purpose {purpose}, which needs legalBasis: Consent{or}", it.name))
    })
}

fn unsignalled(spec: &ModelRegistryEntrySpec) -> Vec<String> {
    of_sources(spec, |it| {
        let rests = it.legal_basis == Some(LegalBasis::Consent);
        let text = format!("data source {} rests on consent, and has neither consentSignals nor tcfPurposes", it.name);
        (rests && it.consent_signals.is_empty() && it.tcf_purposes.is_empty()).then_some(text)
    })
}

fn too_wide_a_purpose(spec: &ModelRegistryEntrySpec) -> Vec<String> {
    let allowed = spec.purposes();
    of_sources(spec, |it| {
        wider("spec.governance.purposes", allowed, &format!("data source {} has purposes", it.name), &it.purposes)
    })
}

fn too_wide_a_region(spec: &ModelRegistryEntrySpec) -> Vec<String> {
    let allowed = spec.regions();
    let of_data = of_sources(spec, |it| {
        wider("spec.governance.regions", allowed, &format!("data source {} has residency", it.name), &it.residency)
    });
    let of_vendor = |it: &Vendor| wider("spec.vendor.residency", &it.residency, "spec.governance.regions has", allowed);
    of_data.into_iter().chain(spec.vendor.as_ref().and_then(of_vendor)).collect()
}

/// Where `what` has something that is not in `all`, which is `whose`. Nothing at all would be everything.
pub(super) fn wider(what: &str, has: &[String], whose: &str, all: &[String]) -> Option<String> {
    let only = all.join(", ");
    if all.is_empty() {
        return None;
    }
    if has.is_empty() {
        return Some(format!("{what} says nothing, and {whose} {only} only"));
    }
    let more = has.iter().find(|it| !all.contains(it))?;
    Some(format!("{what} has {more}, and {whose} {only} only"))
}

/// Not of `reviewBy`, which can be corrected and bars beginnings only: see [`time`].
fn unreadable(spec: &ModelRegistryEntrySpec) -> Vec<String> {
    of_sources(spec, |it| {
        let as_of = it.as_of.as_ref().and_then(|it| it.moment().err()).map(|it| format!("asOf: {it}"));
        let age = it.max_age.as_ref().and_then(|it| it.duration().err()).map(|it| format!("maxAge: {it}"));
        let kept = it.retention.as_ref().and_then(|it| it.duration().err()).map(|it| format!("retention: {it}"));
        let alone = it.max_age.is_some() && it.as_of.is_none();
        let alone = alone.then(|| "maxAge needs asOf: of when the data is".to_owned());
        as_of.or(age).or(kept).or(alone).map(|error| format!("data source {}: {error}", it.name))
    })
}

#[cfg(test)]
mod tests;
