//! The contract: what users write and what the operator answers. No I/O.
//!
//! Field documentation here is the reference documentation: it becomes the
//! descriptions in `crds/` (`kubectl explain modeldeployment.spec.rollout`).
//! A number, weight or duration keeps the text it was written as; it is read
//! once, in [`crate::decide::model_deployment::policy`], where a bad one becomes a condition that
//! names the field, not an object the operator cannot see.

pub mod approval;
pub mod artifact;
pub mod artifact_digest;
pub mod artifact_failure;
pub mod artifact_report;
pub mod condition;
pub mod crd;
pub mod date;
pub mod duration;
pub mod gateway;
pub mod governance;
pub mod labels;
pub mod model_deployment;
pub mod model_registry_entry;
pub mod pod_template;
pub mod provenance;
pub mod quantity;
pub mod revision;
pub mod vendor;
pub mod verbatim;
pub mod verification;
pub mod weight;

pub use approval::Approval;
pub use condition::Condition;
pub use date::{DayText, MomentText};
pub use duration::DurationText;
pub use model_deployment::ModelDeployment;
pub use model_registry_entry::ModelRegistryEntry;
pub use pod_template::PodTemplate;
pub use quantity::Quantity;
pub use verbatim::Verbatim;
pub use weight::{Weight, WeightText};
