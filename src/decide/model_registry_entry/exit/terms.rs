//! On what terms the fallback takes the vendor's place: those that the entry itself has, or better ones.
//!
//! | reason | found when |
//! |---|---|
//! | `FallbackTooNarrow` | it may not be used for what, or where, the vendor's model may |
//! | `FallbackTooWide` | it leads to another vendor, who has data processed where this entry may not be |
//! | `FallbackUndocumented` | it leads to another vendor, to whom data about people would go, and who does not say what is asked for then (GDPR, Articles 28, 44) |
//!
//! What is sent to the one vendor is sent to the next once the exit is taken, and to those behind: it is this entry's data that counts
//! with each of them, whatever they allow each other.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;

use super::{ANOTHER, final_};
use crate::api::ModelRegistryEntry;
use crate::api::model_registry_entry::ModelRegistryEntrySpec;
use crate::api::vendor::Vendor;
use crate::decide::Missing;
use crate::decide::governance::{self, vendor};

/// Regions that nobody names are all.
pub(super) fn too_narrow(entry: &ModelRegistryEntry, fallback: &ModelRegistryEntry) -> Option<Missing> {
    let name = fallback.name_any();
    let its_purposes = fallback.spec.purposes();
    let lacks = entry.spec.purposes().iter().find(|it| !its_purposes.contains(it));
    let purpose = lacks.map(|it| format!("entry {name} may not be used for {it}, as this one may"));
    let (whose, ours) = places(&entry.spec);
    let whose_regions = format!("entry {name} has governance.regions");
    let region = governance::wider(whose, ours, &whose_regions, fallback.spec.regions());
    let found = [purpose, region].into_iter().flatten().collect();
    finding("FallbackTooNarrow", found)
}

pub(super) fn too_wide(entry: &ModelRegistryEntry, behind: &[Arc<ModelRegistryEntry>]) -> Option<Missing> {
    let (whose, ours) = places(&entry.spec);
    let found = vendors(entry, behind).filter_map(|(name, vendor)| {
        let what = format!("vendor.residency of entry {name}");
        governance::wider(&what, &vendor.residency, &format!("here {whose} has"), ours)
    });
    finding("FallbackTooWide", found.collect())
}

pub(super) fn undocumented(entry: &ModelRegistryEntry, behind: &[Arc<ModelRegistryEntry>]) -> Option<Missing> {
    let found = vendors(entry, behind).filter(|_| vendor::gets_personal_data(&entry.spec)).filter_map(|(name, it)| {
        let whose = format!("vendor of entry {name}, to whom data about people would go,");
        vendor::lacking_for_people(&whose, it)
    });
    finding("FallbackUndocumented", found.collect())
}

/// Those that the way leads to, each once, with the names of their entries.
fn vendors<'a>(
    entry: &ModelRegistryEntry,
    behind: &'a [Arc<ModelRegistryEntry>],
) -> impl Iterator<Item = (String, &'a Vendor)> {
    let mut seen = BTreeSet::from([entry.name_any()]);
    // In a circle they come again.
    let once = behind.iter().take_while(move |it| seen.insert(it.name_any()));
    once.filter_map(|it| Some((it.name_any(), it.spec.vendor.as_ref()?)))
}

fn finding(reason: &'static str, found: Vec<String>) -> Option<Missing> {
    let message = || format!("spec.vendor.exit.fallbackRef: {}; {ANOTHER}", found.join(", and "));
    (!found.is_empty()).then(|| final_(reason, message()))
}

/// Where a vendor's model runs, and by which field: where the entry may, or where the vendor says that it does.
fn places(spec: &ModelRegistryEntrySpec) -> (&'static str, &[String]) {
    match (spec.regions(), &spec.vendor) {
        ([], Some(vendor)) => ("spec.vendor.residency", &vendor.residency),
        (regions, _) => ("spec.governance.regions", regions),
    }
}
