//! What the checks find, each by itself, and what they let through.

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::allowed_use::not_allowed;
use super::time::{next_change, too_late};
use super::*;
use crate::api::model_deployment::ModelDeploymentSpec;

/// What every entry has, and this.
fn entry(patch: Value) -> ModelRegistryEntrySpec {
    let mut it = json!({
        "model": {"name": "churn", "version": "1", "kind": "Predictor"},
        "artifact": {"uri": "s3://models/churn/1/", "sha256": "0".repeat(64)},
    });
    it.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
    serde_json::from_value(it).unwrap()
}

/// Null takes a field away.
fn patched(mut it: Value, patch: Value) -> Value {
    for (key, value) in patch.as_object().unwrap() {
        match value {
            Value::Null => drop(it.as_object_mut().unwrap().remove(key)),
            value => it[key] = value.clone(),
        }
    }
    it
}

/// A data source about people that lacks nothing, less or more this.
fn source(patch: Value) -> Value {
    let it = json!({"name": "crm-orders", "personalData": true, "legalBasis": "Contract",
        "purposes": ["retention-email", "churn-report"], "retention": "395d", "ropaId": "R-17"});
    patched(it, patch)
}

/// With that data source, for retention mail.
fn on(patch: Value) -> ModelRegistryEntrySpec {
    entry(json!({"dataSources": [source(patch)], "governance": {"purposes": ["retention-email"]}}))
}

/// Of class High, which lacks nothing, less or more this.
fn high(patch: Value) -> ModelRegistryEntrySpec {
    let it = json!({"riskClass": "High", "purposes": ["credit"], "dpiaRef": "dpia-4", "limitations": "adults only",
        "approvals": ["technical", "business", "data-protection"],
        "automatedDecision": {"significantEffect": true, "humanReview": true},
        "risks": [{"id": "bias", "description": "age", "severity": "High", "mitigation": "audited each quarter"}]});
    entry(json!({"governance": patched(it, patch)}))
}

fn found(spec: &ModelRegistryEntrySpec) -> Option<(&'static str, String)> {
    incomplete(spec, false).map(|it| {
        assert!(it.is_final);
        (it.reason, it.message)
    })
}

/// It finds this reason, and the message has the word.
fn finds(spec: &ModelRegistryEntrySpec, reason: &str, word: &str) {
    let (is, message) = found(spec).unwrap_or_else(|| panic!("{reason} is not found"));
    assert!(is == reason && message.contains(word), "{is}: {message}");
}

/// A vendor's, with this more or less, for data about people unless told otherwise.
fn vendors(patch: Value, personal: bool, regions: &[&str]) -> ModelRegistryEntrySpec {
    let exit = json!({"fallbackRef": {"name": "own"}, "evidence": format!("sha256:{}", "0".repeat(64))});
    let vendor = json!({"name": "mistral", "model": "large", "dpaRef": "dpa-1", "exit": exit, "residency": ["eu"],
        "subprocessorsRef": "list-1", "transferMechanism": "NotNeeded"});
    let data = if personal { source(json!({})) } else { json!({"name": "briefs", "personalData": false}) };
    let governance = json!({"purposes": ["retention-email"], "regions": regions});
    let mut it = entry(json!({"vendor": patched(vendor, patch), "dataSources": [data], "governance": governance}));
    it.artifact = None;
    it
}

#[test]
fn a_vendor_is_bound_by_a_contract_and_of_data_about_people_it_is_said_where_it_goes() {
    assert_eq!(found(&vendors(json!({}), true, &["eu"])), None);
    let unbound = found(&vendors(json!({"dpaRef": " "}), false, &[])).unwrap();
    assert_eq!(unbound, ("VendorUndocumented", "spec lacks vendor.dpaRef".into()));
    let mut silent = vendors(json!({}), false, &[]);
    silent.data_sources.clear();
    finds(&silent, "VendorUndocumented", "dataSources, which say what is sent to the vendor");
    for (field, nothing) in
        [("residency", Value::Null), ("subprocessorsRef", json!(" ")), ("transferMechanism", Value::Null)]
    {
        let patch = || json!({field: nothing});
        let (reason, message) = found(&vendors(patch(), true, &[])).unwrap();
        assert_eq!((reason, message.contains(field)), ("VendorUndocumented", true), "{message}");
        assert_eq!(found(&vendors(patch(), false, &[])), None, "{field}, of data about nobody");
    }
    assert!(concerns(&vendors(json!({}), false, &[]), false), "and that is said");
}

#[test]
fn a_vendor_runs_a_model_nowhere_that_it_may_not_be() {
    let of = |residency: Value, regions: &[&str]| found(&vendors(json!({"residency": residency}), false, regions));
    assert_eq!(of(json!(["eu"]), &["eu", "ch"]), None);
    assert_eq!(of(json!(["us"]), &[]), None, "anywhere is anywhere");
    assert_eq!(of(json!(["eu", "us"]), &["eu"]).unwrap().0, "RegionTooWide");
    assert_eq!(of(Value::Null, &["eu"]).unwrap().0, "RegionTooWide");
}

#[test]
fn an_entry_that_says_nothing_contradicts_nothing() {
    assert_eq!(found(&entry(json!({}))), None);
    assert!(!concerns(&entry(json!({})), false));
    assert_eq!(found(&on(json!({}))), None);
    assert_eq!(found(&high(json!({}))), None);
}

#[test]
fn where_the_operator_is_told_so_every_entry_says_what_it_is_for_and_who_answers_for_it() {
    let it = incomplete(&entry(json!({})), true).unwrap();
    assert_eq!(it.reason, "GovernanceMissing");
    for field in ["governance.riskClass", "governance.purposes", "dataSources", "owners.business", "owners.technical"] {
        assert!(it.message.contains(field), "{}", it.message);
    }
    let governance = json!({"riskClass": "Minimal", "purposes": ["report"]});
    let machines = json!({"name": "bids", "personalData": false});
    let said =
        json!({"governance": governance, "dataSources": [machines], "owners": {"business": "crm", "technical": "ml"}});
    assert_eq!(incomplete(&entry(said), true), None);
}

#[test]
fn what_the_law_prohibits_is_found_first() {
    let governance = json!({"riskClass": "Prohibited", "purposes": ["a"]});
    let it = entry(json!({"governance": governance, "dataSources": [source(json!({"purposes": ["b"]}))]}));
    finds(&it, "RiskProhibited", "Article 5");
    assert!(found(&it).unwrap().1.contains("spec.governance.purposes has a"), "and the rest is said, too");
}

#[test]
fn a_high_risk_is_assessed_and_approved_by_three_and_a_person_can_step_in() {
    for field in ["dpiaRef", "limitations", "risks"] {
        finds(&high(json!({field: null})), "HighRiskUnassessed", field);
    }
    finds(&high(json!({"approvals": ["technical", "business"]})), "HighRiskUnassessed", "three roles");
    finds(&high(json!({"automatedDecision": null})), "HumanReviewMissing", "humanReview");
    let weighs = json!({"significantEffect": true, "humanReview": false});
    finds(&high(json!({"automatedDecision": weighs})), "HumanReviewMissing", "humanReview");
    finds(&entry(json!({"governance": {"automatedDecision": weighs}})), "HumanReviewMissing", "humanReview");
    let harmless = json!({"significantEffect": false, "humanReview": false});
    assert_eq!(found(&entry(json!({"governance": {"automatedDecision": harmless}}))), None);
}

#[test]
fn data_about_people_has_grounds_purposes_an_end_and_a_record() {
    for field in ["legalBasis", "retention", "ropaId", "purposes"] {
        finds(&on(json!({field: null})), "PersonalDataUndocumented", field);
    }
    let machines =
        json!({"personalData": false, "legalBasis": null, "retention": null, "ropaId": null, "purposes": null});
    assert_eq!(found(&on(machines)), None);
}

#[test]
fn tcf_purposes_rest_on_consent_and_some_of_them_on_legitimate_interests() {
    for purpose in 1..=11 {
        let it = on(json!({"tcfPurposes": [7, purpose], "legalBasis": "LegitimateInterests"}));
        if [1, 3, 4, 5, 6].contains(&purpose) {
            finds(&it, "ConsentRequired", &format!("TCF purpose {purpose}, which needs legalBasis: Consent"));
        } else {
            assert_eq!(found(&it), None, "{purpose}");
        }
        assert_eq!(found(&on(json!({"tcfPurposes": [purpose], "legalBasis": "Consent"}))), None, "{purpose}");
        let contract = on(json!({"tcfPurposes": [purpose], "legalBasis": "Contract"}));
        finds(&contract, "ConsentRequired", "legalBasis: Consent");
    }
}

#[test]
fn data_that_people_consent_to_is_about_people() {
    let nobody = json!({"personalData": false, "retention": null, "ropaId": null});
    let with = |field: &str, value: Value| {
        let mut it = nobody.clone();
        it["legalBasis"] = Value::Null;
        it[field] = value;
        on(it)
    };
    finds(&with("legalBasis", json!("Consent")), "PersonalDataDenied", "personalData: false");
    finds(&with("consentSignals", json!(["ad_user_data"])), "PersonalDataDenied", "personalData: false");
    finds(&with("tcfPurposes", json!([7])), "PersonalDataDenied", "personalData: false");
    assert_eq!(found(&on(nobody)), None);
}

#[test]
fn blanks_say_nothing() {
    for field in ["dpiaRef", "limitations"] {
        finds(&high(json!({field: "  "})), "HighRiskUnassessed", field);
    }
    finds(&on(json!({"ropaId": "\t"})), "PersonalDataUndocumented", "ropaId");
}

#[test]
fn consent_is_known_by_a_signal() {
    finds(&on(json!({"legalBasis": "Consent"})), "ConsentUnsignalled", "consentSignals");
    assert_eq!(found(&on(json!({"legalBasis": "Consent", "consentSignals": ["ad_user_data"]}))), None);
}

#[test]
fn a_model_is_used_for_nothing_and_runs_nowhere_that_its_data_may_not() {
    let wide = json!({"purposes": ["retention-email", "ads"], "regions": ["eu"]});
    finds(&entry(json!({"dataSources": [source(json!({}))], "governance": wide})), "PurposeTooWide", "ads");
    finds(&entry(json!({"dataSources": [source(json!({}))]})), "PurposeTooWide", "says nothing");
    let here = |regions: &[&str]| {
        let governance = json!({"purposes": ["churn-report"], "regions": regions});
        entry(json!({"dataSources": [source(json!({"residency": ["eu", "ch"]}))], "governance": governance}))
    };
    finds(&here(&["eu", "us"]), "RegionTooWide", "us");
    finds(&here(&[]), "RegionTooWide", "says nothing");
    assert_eq!(found(&here(&["ch"])), None);
}

#[test]
fn times_that_are_none_are_named() {
    finds(&on(json!({"asOf": "2027-02-30", "maxAge": "2d"})), "TimeUnreadable", "asOf");
    finds(&on(json!({"asOf": "2027-02-01", "maxAge": "9999999d"})), "TimeUnreadable", "maxAge");
    finds(&on(json!({"maxAge": "2d"})), "TimeUnreadable", "asOf");
    finds(&on(json!({"retention": "1d1d"})), "TimeUnreadable", "retention");
}

#[test]
fn every_invalid_example_that_the_api_server_refuses_for_its_governance_is_found_here_too() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/modelregistryentry");
    let mut found = std::collections::BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
        let text = std::fs::read_to_string(&file).unwrap();
        let object: Value = serde_yaml::from_str(&text).unwrap();
        let Ok(spec) = serde_json::from_value::<ModelRegistryEntrySpec>(object["spec"].clone()) else { continue };
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        match (incomplete(&spec, false), name.starts_with("invalid-")) {
            (Some(it), true) => drop(found.insert(it.reason)),
            (Some(it), false) => panic!("{name}: {}", it.message),
            (None, _) => {}
        }
    }
    let in_crd: std::collections::BTreeSet<_> = CHECKS.iter().map(|(reason, _)| *reason).collect();
    assert_eq!(in_crd.difference(&found).count(), 0, "no example for {:?}", in_crd.difference(&found));
}

fn deployment(patch: Value) -> ModelDeploymentSpec {
    let mut it = json!({"modelRef": {"name": "churn-1"}, "port": 8080, "analysis": {"none": "a test"},
        "template": {"spec": {"containers": [{"name": "server", "image": "scorer:1"}]}}});
    it.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
    serde_json::from_value(it).unwrap()
}

/// What is not allowed of it: reason and message.
fn refused(entry: &ModelRegistryEntrySpec, patch: Value) -> Option<(&'static str, String)> {
    not_allowed("churn-1", entry, &deployment(patch)).map(|it| {
        assert!(it.is_final);
        (it.reason, it.message)
    })
}

#[test]
fn a_deployment_says_what_it_is_for_and_the_entry_allows_it() {
    let some = entry(json!({"governance": {"purposes": ["retention-email", "churn-report"]}}));
    assert_eq!(refused(&some, json!({"purpose": "churn-report"})), None);
    let (reason, message) = refused(&some, json!({"purpose": "ads"})).unwrap();
    assert!(
        reason == "PurposeNotAllowed" && message.contains("(it allows retention-email, churn-report)"),
        "{message}"
    );
    assert!(refused(&some, json!({})).unwrap().1.contains("spec.purpose must say"));
    let none = entry(json!({}));
    assert_eq!(refused(&none, json!({})), None);
    assert!(refused(&none, json!({"purpose": "ads"})).unwrap().1.contains("has no governance.purposes"));
}

#[test]
fn a_deployment_runs_where_the_entry_allows_it() {
    let eu = entry(json!({"governance": {"regions": ["eu"]}}));
    assert_eq!(refused(&eu, json!({"region": "eu"})), None);
    assert_eq!(refused(&eu, json!({"region": "us"})).unwrap().0, "RegionNotAllowed");
    assert!(refused(&eu, json!({})).unwrap().1.contains("spec.region must say"));
    assert_eq!(refused(&entry(json!({})), json!({"region": "us"})), None);
}

#[test]
fn whoever_calls_a_model_that_rests_on_consent_says_that_people_are_asked() {
    let signals = json!({"legalBasis": "Consent", "consentSignals": ["ad_user_data"], "tcfPurposes": [3, 4]});
    let it = on(signals);
    let ask = |signals: &[&str]| refused(&it, json!({"purpose": "retention-email", "consentSignals": signals}));
    let (reason, message) = ask(&["ad_user_data"]).unwrap();
    assert!(reason == "ConsentNotChecked" && message.contains("lacks tcf-3, tcf-4:"), "{message}");
    assert_eq!(ask(&["tcf-4", "tcf-3", "ad_user_data", "more"]), None);
    assert_eq!(refused(&on(json!({"tcfPurposes": [7]})), json!({"purpose": "retention-email"})), None);
}

#[test]
fn all_that_is_not_allowed_is_said_at_once() {
    let it = entry(json!({"governance": {"purposes": ["a"], "regions": ["eu"]}}));
    let (reason, message) = refused(&it, json!({"purpose": "b", "region": "us"})).unwrap();
    assert!(reason == "PurposeNotAllowed" && message.contains("spec.region"), "{message}");
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Why it is too late at that time, and when that may change.
fn late(spec: &ModelRegistryEntrySpec, now: &str) -> (Option<&'static str>, Option<String>) {
    let (late, next) = (too_late("churn-1", spec, at(now)), next_change(spec, at(now)));
    (late.map(|it| it.reason), next.map(|it| it.format("%FT%TZ").to_string()))
}

#[test]
fn a_rollout_may_begin_on_the_last_day_before_the_review() {
    let it = entry(json!({"reviewBy": "2027-05-01"}));
    assert_eq!(late(&it, "2027-05-01T23:59:59Z"), (None, Some("2027-05-02T00:00:00Z".into())));
    assert_eq!(late(&it, "2027-05-02T00:00:00Z"), (Some("ReviewOverdue"), None));
}

#[test]
fn a_review_on_a_day_that_is_none_bars_beginnings_and_is_nothing_that_is_missing() {
    let it = entry(json!({"reviewBy": "2027-02-30"}));
    let barred = too_late("churn-1", &it, at("2027-01-01T00:00:00Z")).unwrap();
    assert!(barred.message.contains("spec.reviewBy \"2027-02-30\" is not in the calendar"), "{}", barred.message);
    assert_eq!((barred.reason, barred.is_final, found(&it)), ("TimeUnreadable", true, None));
}

#[test]
fn data_of_a_time_to_come_is_only_waited_for() {
    let it = on(json!({"asOf": "2026-11-20T06:00:00Z", "maxAge": "2d"}));
    assert!(!too_late("churn-1", &it, at("2026-11-20T05:00:00Z")).unwrap().is_final);
}

#[test]
fn data_is_too_old_at_its_age_and_not_before() {
    let it = on(json!({"asOf": "2026-11-20T06:00:00Z", "maxAge": "2d"}));
    assert_eq!(late(&it, "2026-11-20T05:49:59Z"), (Some("DataAgeUnknown"), Some("2026-11-20T05:50:00Z".into())));
    assert_eq!(late(&it, "2026-11-20T05:50:00Z"), (None, Some("2026-11-22T06:00:00Z".into())));
    assert_eq!(late(&it, "2026-11-22T06:00:00Z"), (Some("DataTooOld"), None));
}

proptest! {
    /// Whatever a model may be used for by these checks, each of its sources may be, too.
    #[test]
    fn no_deployment_uses_data_for_what_it_was_not_collected_for(
        sources in proptest::collection::vec(proptest::collection::vec("[abc]", 0..4), 0..4),
        purposes in proptest::collection::vec("[abc]", 0..4),
        purpose in proptest::option::of("[abc]"),
    ) {
        let named = |(number, purposes): (usize, &Vec<String>)| {
            source(json!({"name": format!("s{number}"), "personalData": false, "purposes": purposes}))
        };
        let sources_of: Vec<Value> = sources.iter().enumerate().map(named).collect();
        let it = entry(json!({"dataSources": sources_of, "governance": {"purposes": purposes}}));
        let wants = purpose.as_ref().map_or(json!({}), |it| json!({"purpose": it}));
        if incomplete(&it, false).is_none() && refused(&it, wants).is_none() {
            for limits in sources.iter().filter(|it| !it.is_empty()) {
                prop_assert!(purpose.as_ref().is_some_and(|it| limits.contains(it)), "{purpose:?} of {limits:?}");
            }
        }
    }
}
