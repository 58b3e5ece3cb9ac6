//! What is found of a way out, and what is not.

mod settled;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::model_registry_entry::ModelKind;
use crate::api::vendor::{TransferMechanism, Vendor};

const DIGEST: &str = "4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce";

fn of(name: &str, spec: Value) -> ModelRegistryEntry {
    let mut all = json!({"model": {"name": "texts", "version": "1", "kind": "Generator"}});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let mut it = ModelRegistryEntry::new(name, serde_json::from_value(all).unwrap());
    it.metadata.generation = Some(1);
    it.status = serde_json::from_value(json!({"conditions": [ready("True", "Registered")]})).ok();
    it
}

fn ready(status: &str, reason: &str) -> Value {
    json!({"type": "Ready", "status": status, "reason": reason, "message": "", "observedGeneration": 1,
        "lastTransitionTime": "2026-11-28T08:00:00Z"})
}

/// A vendor's, that leads to this one.
fn vendors(name: &str, fallback: &str) -> ModelRegistryEntry {
    let exit = json!({"fallbackRef": {"name": fallback}, "evidence": format!("sha256:{DIGEST}")});
    of(
        name,
        json!({"vendor": {"name": "mistral", "model": "large", "dpaRef": "dpa-1", "residency": ["eu"], "exit": exit},
            "governance": {"purposes": ["retention-email"], "regions": ["eu"]},
            "evaluations": [{"name": "backtest", "sha256": DIGEST}]}),
    )
}

/// One's own, which can take its place.
fn own(name: &str) -> ModelRegistryEntry {
    of(
        name,
        json!({"artifact": {"uri": "s3://models/texts/7/", "sha256": DIGEST},
            "governance": {"purposes": ["retention-email", "web"], "regions": ["eu", "us"]},
            "evaluations": [{"name": "backtest", "sha256": DIGEST}]}),
    )
}

/// Reason and message of what is found of a vendor's entry that falls back on this one.
fn found(change: impl Fn(&mut ModelRegistryEntry)) -> Option<(&'static str, String)> {
    let mut fallback = own("own-7");
    change(&mut fallback);
    found_of(&vendors("theirs", "own-7"), fallback).map(|it| (it.reason, it.message))
}

fn found_of(entry: &ModelRegistryEntry, fallback: ModelRegistryEntry) -> Option<Missing> {
    look(entry, &Way { behind: vec![Arc::new(fallback)], ..Way::default() }).unwrap().err()
}

fn reason(change: impl Fn(&mut ModelRegistryEntry)) -> Option<&'static str> {
    found(change).map(|it| it.0)
}

#[test]
fn nobody_has_to_leave_what_is_ones_own() {
    assert_eq!(look(&own("own-7"), &Way::default()), None);
}

#[test]
fn what_is_ready_allowed_the_same_and_examined_can_take_its_place() {
    assert_eq!(found(|_| ()), None);
    let everywhere = |it: &mut ModelRegistryEntry| it.spec.governance.as_mut().unwrap().regions.clear();
    assert_eq!(found(everywhere), None);
}

#[test]
fn each_thing_that_is_missing_has_a_reason_and_says_what_to_do() {
    let entry = vendors("theirs", "own-7");
    let nobody = look(&entry, &Way::default()).unwrap().unwrap_err();
    assert_eq!((nobody.reason, nobody.is_final), ("FallbackNotFound", true));
    assert!(nobody.message.contains("there is no ModelRegistryEntry own-7"), "{}", nobody.message);

    let unreadable = Way { is_unreadable: true, ..Way::default() };
    assert_eq!(look(&entry, &unreadable).unwrap().unwrap_err().reason, "FallbackUnreadable");

    let of = |lifecycle| move |it: &mut ModelRegistryEntry| it.spec.lifecycle = Some(lifecycle);
    assert_eq!(reason(of(Lifecycle::Revoked)), Some("FallbackRetired"));
    assert_eq!(reason(of(Lifecycle::Deprecated)), Some("FallbackRetired"));
    let end = || serde_json::from_value(json!("2026-11-28T08:00:00Z")).ok();
    assert_eq!(reason(|it| it.metadata.deletion_timestamp = end()), Some("FallbackRetired"));

    let narrow = |purposes: &[&str], regions: &[&str]| {
        let words = |it: &[&str]| it.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let (purposes, regions) = (words(purposes), words(regions));
        found(move |it| {
            let governance = it.spec.governance.as_mut().unwrap();
            (governance.purposes, governance.regions) = (purposes.clone(), regions.clone());
        })
    };
    let (why, message) = narrow(&["web"], &["us"]).unwrap();
    assert_eq!(why, "FallbackTooNarrow");
    assert!(message.contains("may not be used for retention-email, as this one may"), "{message}");
    assert!(
        message.contains("spec.governance.regions has eu, and entry own-7 has governance.regions us only"),
        "{message}"
    );
    assert_eq!(narrow(&[], &["eu"]).unwrap().0, "FallbackTooNarrow", "what is for nothing is not for that");
    assert_eq!(reason(|it| it.spec.governance = None), Some("FallbackTooNarrow"));

    assert_eq!(reason(|it| it.spec.evaluations.clear()), Some("FallbackUnproven"));
    assert_eq!(reason(|it| it.spec.evaluations[0].sha256 = "0".repeat(64)), Some("FallbackUnproven"));

    let (why, message) = found(|it| {
        it.status = serde_json::from_value(json!({"conditions": [ready("False", "AwaitingApproval")]})).ok();
    })
    .unwrap();
    assert_eq!(why, "FallbackNotReady");
    assert!(message.contains("is not ready (AwaitingApproval)"), "{message}");
    assert_eq!(reason(|it| it.status = None), Some("FallbackNotReady"));
}

#[test]
fn what_does_something_else_takes_nobodys_place() {
    let (why, message) = found(|it| it.spec.model.kind = ModelKind::Embedder).unwrap();
    assert_eq!(why, "FallbackOfAnotherKind");
    assert!(message.contains("entry own-7 is of kind Embedder, and this one of Generator"), "{message}");
}

#[test]
fn what_rests_on_data_that_is_too_old_is_ready_and_begins_nowhere() {
    let old = |it: &mut ModelRegistryEntry| {
        it.status = serde_json::from_value(json!({"conditions": [ready("True", "DataTooOld")]})).ok();
    };
    let (why, message) = found(old).unwrap();
    assert_eq!(why, "FallbackRetired");
    assert!(message.contains("rests on data that is too old"), "{message}");
}

#[test]
fn what_was_ready_is_until_somebody_has_looked_at_what_was_changed_since() {
    let changed = |it: &mut ModelRegistryEntry| {
        it.metadata.generation = Some(2);
        it.spec.owners = serde_json::from_value(json!({"business": "crm"})).ok();
    };
    assert_eq!(found(changed), None);
    let mut now = own("own-7");
    changed(&mut now);
    assert!(!is_news(&own("own-7"), &now), "nobody is woken for the owner's name");
}

#[test]
fn what_needs_a_person_there_needs_one_here() {
    let of = |stalled: &str| {
        let mut fallback = own("own-7");
        let mut stands = ready("False", "ArtifactDigestMismatch");
        let mut stall = stands.clone();
        (stall["type"], stall["status"]) = (json!("Stalled"), json!(stalled));
        stands["message"] = json!("other bytes");
        fallback.status = serde_json::from_value(json!({"conditions": [stands, stall]})).ok();
        found_of(&vendors("theirs", "own-7"), fallback).map(|it| (it.reason, it.is_final))
    };
    assert_eq!(of("True"), Some(("FallbackNotReady", true)));
    assert_eq!(of("False"), Some(("FallbackNotReady", false)));
}

/// Reason and message of what is found of a vendor's entry about people that falls back on another vendor's.
fn found_behind(
    change: impl Fn(&mut Vendor),
    entry: impl Fn(&mut ModelRegistryEntrySpec),
) -> Option<(&'static str, String)> {
    let (mut ours, mut its) = (vendors("theirs", "others"), vendors("others", "own-7"));
    ours.spec.data_sources = serde_json::from_value(json!([{"name": "letters", "personalData": true}])).unwrap();
    entry(&mut ours.spec);
    let vendor = its.spec.vendor.as_mut().unwrap();
    vendor.subprocessors_ref = Some("others-1".into());
    vendor.residency = vec!["eu".into()];
    vendor.transfer_mechanism = Some(TransferMechanism::NotNeeded);
    change(vendor);
    found_of(&ours, its).map(|it| (it.reason, it.message))
}

#[test]
fn data_about_people_goes_to_no_other_vendor_who_does_not_say_who_has_it_where_and_on_what_grounds() {
    assert_eq!(found_behind(|_| (), |_| ()), None);
    type Take = fn(&mut Vendor);
    let lacking: [(&str, Take); 3] = [
        ("subprocessorsRef", |it| it.subprocessors_ref = None),
        ("transferMechanism", |it| it.transfer_mechanism = None),
        ("residency", |it| it.residency.clear()),
    ];
    for (what, take) in lacking {
        let (_, message) = found_behind(take, |_| ()).unwrap();
        assert!(message.contains("to whom data about people would go, lacks") && message.contains(what), "{message}");
    }
    assert_eq!(found_behind(lacking[0].1, |_| ()).unwrap().0, "FallbackUndocumented");
    assert_eq!(found_behind(lacking[0].1, |it| it.data_sources.clear()), None, "nothing about people is sent");
}

#[test]
fn whom_the_next_vendor_would_hand_it_on_to_counts_as_well() {
    let mut ours = vendors("theirs", "others");
    ours.spec.data_sources = serde_json::from_value(json!([{"name": "letters", "personalData": true}])).unwrap();
    let mut others = vendors("others", "third");
    let documented = |it: &mut ModelRegistryEntry| {
        let vendor = it.spec.vendor.as_mut().unwrap();
        vendor.subprocessors_ref = Some("others-1".into());
        vendor.transfer_mechanism = Some(TransferMechanism::NotNeeded);
    };
    documented(&mut others);
    // What it says of itself lets it fall back on that one.
    others.spec.governance.as_mut().unwrap().regions.push("us".into());
    let found = |change: &dyn Fn(&mut ModelRegistryEntry)| {
        let mut third = vendors("third", "own-7");
        documented(&mut third);
        change(&mut third);
        let all = [others.clone(), third, own("own-7")];
        let missing = look(&ours, &way(&ours, &all)).unwrap().err();
        missing.map(|it| (it.reason, it.message))
    };
    assert_eq!(found(&|_| ()), None);
    let (why, message) = found(&|it| it.spec.vendor.as_mut().unwrap().subprocessors_ref = None).unwrap();
    assert_eq!(why, "FallbackUndocumented");
    assert!(
        message.contains("vendor of entry third, to whom data about people would go, lacks subprocessorsRef"),
        "{message}"
    );
    let (why, message) = found(&|it| it.spec.vendor.as_mut().unwrap().residency = vec!["us".into()]).unwrap();
    assert_eq!(why, "FallbackTooWide");
    assert!(message.contains("vendor.residency of entry third has us"), "{message}");
}

#[test]
fn data_goes_to_no_vendor_who_has_it_processed_where_it_may_not_be() {
    let (why, message) = found_behind(|it| it.residency = vec!["us".into()], |_| ()).unwrap();
    assert_eq!(why, "FallbackTooWide");
    assert!(
        message.contains("vendor.residency of entry others has us, and here spec.governance.regions has eu only"),
        "{message}"
    );
    let by_residency = |it: &mut ModelRegistryEntrySpec| {
        it.governance.as_mut().unwrap().regions.clear();
        it.vendor.as_mut().unwrap().residency = vec!["eu".into()];
    };
    assert_eq!(found_behind(|_| (), by_residency), None, "where its own vendor runs it is where it runs");
    let (_, message) = found_behind(|it| it.residency = vec!["us".into()], by_residency).unwrap();
    assert!(message.contains("here spec.vendor.residency has eu only"), "{message}");
}

#[test]
fn everything_that_is_missing_is_said_at_once() {
    let (why, message) = found(|it| {
        it.spec.lifecycle = Some(Lifecycle::Deprecated);
        it.spec.evaluations.clear();
    })
    .unwrap();
    assert_eq!(why, "FallbackRetired");
    assert!(message.contains("is deprecated") && message.contains("has no evaluation"), "{message}");
}

/// What the observing side hands over, of entries that fall back on each other as said.
fn way(from: &ModelRegistryEntry, all: &[ModelRegistryEntry]) -> Way {
    let behind = |it: &ModelRegistryEntry| {
        let name = fallback_of(&it.spec)?;
        all.iter().find(|it| it.name_any() == name).cloned()
    };
    let behind = std::iter::successors(behind(from), behind).take(MOST + 1).map(Arc::new).collect();
    Way { behind, is_unreadable: false }
}

#[test]
fn a_circle_is_named_from_where_it_closes() {
    let all = [vendors("a", "b"), vendors("b", "c"), vendors("c", "b")];
    for (from, circle) in [(0, "b → c → b"), (1, "b → c → b"), (2, "c → b → c")] {
        let missing = look(&all[from], &way(&all[from], &all)).unwrap().unwrap_err();
        assert_eq!((missing.reason, missing.is_final), ("FallbackWithoutEnd", true));
        assert!(missing.message.contains(&format!("in a circle, {circle}:")), "{}", missing.message);
    }
    let alone = vendors("a", "a");
    let missing = look(&alone, &way(&alone, std::slice::from_ref(&alone))).unwrap().unwrap_err();
    assert!(missing.message.contains("a → a"), "{}", missing.message);
}

proptest! {
    /// Entries 0 to n-1, each falling back on any other or being one's own: there is a way out of a vendor's exactly if following the exits
    /// ends at one's own, behind eight other vendors at most.
    #[test]
    fn a_way_has_an_end_exactly_if_it_ends(next in prop::collection::vec(prop::option::of(0_usize..14), 14)) {
        let name = |it: usize| format!("entry-{it}");
        let entry = |(at, next): (usize, &Option<usize>)| next.map_or_else(|| own(&name(at)), |it| vendors(&name(at), &name(it)));
        let all: Vec<ModelRegistryEntry> = next.iter().enumerate().map(entry).collect();
        for (at, entry) in all.iter().enumerate() {
            let steps = std::iter::successors(Some(at), |it| next[*it]).take(100).count();
            let Some(found) = look(entry, &way(entry, &all)) else {
                prop_assert_eq!(next[at], None);
                continue;
            };
            // The entry, those behind it, and one's own.
            let ends = steps <= MOST + 2;
            prop_assert_eq!(found.is_ok(), ends, "{} steps: {:?}", steps, found);
            prop_assert!(found.err().is_none_or(|it| it.reason == "FallbackWithoutEnd"));
        }
    }
}

#[test]
fn those_behind_it_are_woken_by_what_they_read_and_by_nothing_else() {
    let before = own("own-7");
    let changed = |change: &dyn Fn(&mut ModelRegistryEntry)| {
        let mut now = before.clone();
        change(&mut now);
        is_news(&before, &now)
    };
    assert!(!changed(&|it| it.status.as_mut().unwrap().lease_epoch = 7));
    assert!(!changed(&|it| it.metadata.finalizers = Some(vec!["x".into()])));
    assert!(changed(&|it| it.status = None));
    assert!(changed(&|it| it.spec.lifecycle = Some(Lifecycle::Revoked)));
    assert!(changed(&|it| it.metadata.uid = Some("another".into())));
    assert!(changed(&|it| it.status.as_mut().unwrap().conditions[0].status = ConditionStatus::False));
    assert!(changed(&|it| it.status.as_mut().unwrap().conditions[0].reason = "DataTooOld".into()));
}
