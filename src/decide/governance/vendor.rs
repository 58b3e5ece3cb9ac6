//! What has to be said of whoever runs the model, if that is somebody else.

use super::{lacking, says};
use crate::api::model_registry_entry::ModelRegistryEntrySpec;
use crate::api::vendor::Vendor;

/// A processor is bound by a contract, and it is said what is sent there; and of data about people, who else has it, where, and on what
/// grounds it goes there.
pub(super) fn undocumented(spec: &ModelRegistryEntrySpec) -> Vec<String> {
    let Some(vendor) = &spec.vendor else { return Vec::new() };
    let alone = [
        ("vendor.dpaRef", vendor.dpa_ref.trim().is_empty()),
        ("dataSources, which say what is sent to the vendor", spec.data_sources.is_empty()),
    ];
    let alone = lacking("spec", &alone);
    let with_people = lacking_for_people("spec.vendor, to whom data about people goes,", vendor);
    alone.into_iter().chain(with_people.filter(|_| gets_personal_data(spec))).collect()
}

/// Whether data about people is sent to whoever runs the model.
pub(in crate::decide) fn gets_personal_data(spec: &ModelRegistryEntrySpec) -> bool {
    spec.data_sources.iter().any(|it| it.personal_data)
}

/// What is missing for data about people to go there.
pub(in crate::decide) fn lacking_for_people(whose: &str, vendor: &Vendor) -> Option<String> {
    let all = [
        ("residency", vendor.residency.is_empty()),
        ("subprocessorsRef", !says(&vendor.subprocessors_ref)),
        ("transferMechanism", vendor.transfer_mechanism.is_none()),
    ];
    lacking(whose, &all)
}
