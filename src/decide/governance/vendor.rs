//! What has to be said of whoever runs the model, if that is somebody else.

use super::{lacking, says};
use crate::api::model_registry_entry::ModelRegistryEntrySpec;

/// A processor is bound by a contract, and of data about people it is said who else has it, where, and on what grounds it goes there.
pub(super) fn undocumented(spec: &ModelRegistryEntrySpec) -> Vec<String> {
    let Some(vendor) = &spec.vendor else { return Vec::new() };
    let about_people = spec.data_sources.iter().any(|it| it.personal_data);
    let of_people = [
        ("residency", vendor.residency.is_empty()),
        ("subprocessorsRef", !says(&vendor.subprocessors_ref)),
        ("transferMechanism", vendor.transfer_mechanism.is_none()),
    ];
    let unbound = [("dpaRef", vendor.dpa_ref.trim().is_empty())];
    let alone = lacking("spec.vendor", &unbound);
    let with_people = lacking("spec.vendor, to whom data about people goes,", &of_people).filter(|_| about_people);
    alone.into_iter().chain(with_people).collect()
}
