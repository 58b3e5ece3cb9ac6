//! What a version may be used for, and on what grounds: the part of an entry that a data protection officer reads.
//!
//! Two lists carry it. `dataSources` says what data the model was made of, and what that data may be used for; `governance` says
//! what the model may be used for. The second is never wider than the first, and a ModelDeployment never wider than the
//! second. The rules of form are CEL rules here, and refused when somebody writes them; the same are decided again in
//! [`crate::decide::governance`], for entries that are older than a rule.
//!
//! The terms are those of the GDPR, of the EU AI Act (Regulation 2024/1689), of IAB Europe's Transparency and Consent Framework 2.2,
//! and of Google's consent mode.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::provenance::Evidence;
use super::{DurationText, MomentText};

/// Blanks say nothing.
pub(super) const SAID: &str = r"\S";

/// Of what says where something is, and stays for as long as the entry: with a password or a token in it, or a query that signs or lets
/// in, it would be told in status, on screens and to whoever may read the entry. A plain user is part of an address of SSH.
pub(super) const PLAIN: &str = r"(!self.matches('://[^/]*@') || self.matches('^([a-z]+[+])?ssh://[A-Za-z0-9._-]+@')) && !self.matches('(?i)[?&#]([^=&#]*[-_])?(token|signature|sig|secret|password|credential|key|apikey)=')";
/// What to do about it.
pub(super) const NOT_PLAIN: &str = "must be an address without credentials: nobody before '@', and no signature or token in the query; who may read it asks for that where it is";

/// What a version may be used for, and who has to agree.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.riskClass) || self.riskClass != 'Prohibited'")
        .message("governance.riskClass: Prohibited: what Article 5 of the EU AI Act prohibits is not put into service; it cannot be registered"),
    validation = Rule::new("!has(self.riskClass) || self.riskClass != 'High' || (has(self.dpiaRef) && has(self.limitations) && has(self.risks) && size(self.risks) > 0)")
        .message("governance.riskClass: High needs dpiaRef, limitations and at least one of risks: what was assessed, and what was found"),
    validation = Rule::new("!has(self.riskClass) || self.riskClass != 'High' || (has(self.approvals) && size(self.approvals) >= 3)")
        .message("governance.riskClass: High needs approvals by at least three roles"),
    validation = Rule::new("(has(self.automatedDecision) && self.automatedDecision.humanReview) || ((!has(self.riskClass) || self.riskClass != 'High') && (!has(self.automatedDecision) || !self.automatedDecision.significantEffect))")
        .message("automatedDecision.humanReview must be true where riskClass is High or the effect on people is significant (GDPR, Article 22): say who looks at a decision when asked to, or lower what the model decides")
)]
pub struct Governance {
    /// Roles that must approve the entry, each by another person, beside those that the chart's `approvals.roles` asks for:
    /// RBAC says who has a role, by the verb `approve-<role>` on modelregistryentries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 32)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(it, it.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$'))")
        .message("governance.approvals are roles: lower-case letters, digits and '-', such as data-protection"))]
    pub approvals: Vec<String>,
    /// The model's class of risk by the EU AI Act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk_class: Option<RiskClass>,
    /// What it may be used for: `spec.purpose` of a ModelDeployment must be one of them; where there are none, it must not say
    /// any. The words are yours; never more than each data source has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63), regex(pattern = SAID)), extend("x-kubernetes-list-type" = "set"))]
    pub purposes: Vec<String>,
    /// Where it may run: `spec.region` of a ModelDeployment must be one of them; anywhere when left out. Never more than each data
    /// source's residency.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63), regex(pattern = SAID)), extend("x-kubernetes-list-type" = "set"))]
    pub regions: Vec<String>,
    /// What it decides by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automated_decision: Option<AutomatedDecision>,
    /// Where the data protection impact assessment is (GDPR, Article 35).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(PLAIN).message(NOT_PLAIN))]
    #[schemars(length(min = 1, max = 1024), regex(pattern = SAID))]
    pub dpia_ref: Option<String>,
    /// What can go wrong, and what is done about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub risks: Vec<Risk>,
    /// What it is not good for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096), regex(pattern = SAID))]
    pub limitations: Option<String>,
}

/// Class of risk of the EU AI Act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RiskClass {
    /// No duties of its own.
    Minimal,
    /// Duties of transparency (Article 50).
    Limited,
    /// Annex III: needs an assessment, three approvals and a person who can step in.
    High,
    /// Article 5: refused.
    Prohibited,
}

/// What a model decides by itself (GDPR, Article 22).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutomatedDecision {
    /// Whether what it decides has legal or similarly significant effects on a person.
    pub significant_effect: bool,
    /// Whether a person looks at a decision when somebody asks for it.
    pub human_review: bool,
}

/// Something that can go wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Risk {
    /// Its name in your register of risks.
    #[schemars(length(min = 1, max = 63), regex(pattern = SAID))]
    pub id: String,
    /// What can go wrong.
    #[schemars(length(min = 1, max = 1024), regex(pattern = SAID))]
    pub description: String,
    /// How bad that is.
    pub severity: Severity,
    /// What is done about it.
    #[schemars(length(min = 1, max = 1024), regex(pattern = SAID))]
    pub mitigation: String,
    /// Whose task that is: a role or a team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = SAID))]
    pub owner: Option<String>,
}

/// How bad it is when a risk comes true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Severity {
    /// A nuisance.
    Low,
    /// Harm that can be made good.
    Medium,
    /// Harm that cannot.
    High,
}

/// Data that a model was made of, and what it may be used for.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!self.personalData || (has(self.legalBasis) && has(self.retention) && has(self.ropaId) && has(self.purposes) && size(self.purposes) > 0)")
        .message("dataSources with personalData: true need legalBasis, purposes, retention and ropaId (GDPR, Articles 5, 6 and 30)"),
    validation = Rule::new("self.personalData || ((!has(self.legalBasis) || self.legalBasis != 'Consent') && (!has(self.consentSignals) || size(self.consentSignals) == 0) && (!has(self.tcfPurposes) || size(self.tcfPurposes) == 0))")
        .message("dataSources that people consent to (legalBasis: Consent, consentSignals, tcfPurposes) are about people: personalData must be true"),
    validation = Rule::new("!has(self.tcfPurposes) || size(self.tcfPurposes) == 0 || (has(self.legalBasis) && (self.legalBasis == 'Consent' || (self.legalBasis == 'LegitimateInterests' && self.tcfPurposes.all(p, p == 2 || p >= 7))))")
        .message("dataSources with tcfPurposes need legalBasis: Consent, or LegitimateInterests for 2 and 7 to 11: the TCF accepts no other"),
    validation = Rule::new("!has(self.legalBasis) || self.legalBasis != 'Consent' || (has(self.consentSignals) && size(self.consentSignals) > 0) || (has(self.tcfPurposes) && size(self.tcfPurposes) > 0)")
        .message("dataSources with legalBasis: Consent need consentSignals or tcfPurposes: by what signal a person's consent is known"),
    validation = Rule::new("has(self.maxAge) == has(self.asOf)")
        .message("dataSources.maxAge and asOf go together: how old the data may be when a rollout begins, and of when it is")
)]
pub struct DataSource {
    /// Its name in messages.
    #[schemars(length(min = 1, max = 63), regex(pattern = SAID))]
    pub name: String,
    /// The system it is from, such as `crm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = SAID))]
    pub system: Option<String>,
    /// Who answers for it: a team, or its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = SAID))]
    pub owner: Option<String>,
    /// Whether it is about people (GDPR, Article 4).
    pub personal_data: bool,
    /// What it is called in your feature store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = SAID))]
    pub feature_view: Option<String>,
    /// What its owner promises of it: the data contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<Evidence>,
    /// On what grounds it is processed (GDPR, Article 6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legal_basis: Option<LegalBasis>,
    /// What it was collected for; anything when left out, which data about people cannot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63), regex(pattern = SAID)), extend("x-kubernetes-list-type" = "set"))]
    pub purposes: Vec<String>,
    /// The signals that say that a person has consented, such as `ad_personalization`: whoever calls the model checks them, and the
    /// ModelDeployment says so in `spec.consentSignals`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63), regex(pattern = SAID)), extend("x-kubernetes-list-type" = "set"))]
    pub consent_signals: Vec<String>,
    /// The purposes of the Transparency and Consent Framework that it was collected for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 11), inner(range(min = 1, max = 11)), extend("x-kubernetes-list-type" = "set"))]
    pub tcf_purposes: Vec<i32>,
    /// Where it may be: regions; anywhere when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63), regex(pattern = SAID)), extend("x-kubernetes-list-type" = "set"))]
    pub residency: Vec<String>,
    /// How long it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<DurationText>,
    /// Its number in the record of processing activities (GDPR, Article 30).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = SAID))]
    pub ropa_id: Option<String>,
    /// Of when the data is that the model was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<MomentText>,
    /// How old it may be when a rollout begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<DurationText>,
}

/// On what grounds personal data is processed: GDPR, Article 6(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LegalBasis {
    /// (a) The person has consented.
    Consent,
    /// (b) A contract with the person needs it.
    Contract,
    /// (c) The law demands it.
    LegalObligation,
    /// (d) Somebody's life depends on it.
    VitalInterests,
    /// (e) It is a task in the public interest.
    PublicTask,
    /// (f) Interests that outweigh the person's.
    LegitimateInterests,
}

/// Who answers for a version. Can be changed: people come and go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Owners {
    /// For what it is used for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = SAID))]
    pub business: Option<String>,
    /// For how it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = SAID))]
    pub technical: Option<String>,
    /// For the rights of the people it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = SAID))]
    pub data_protection: Option<String>,
}
