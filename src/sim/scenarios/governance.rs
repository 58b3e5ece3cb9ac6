//! Entries that allow only some of what a deployment could do with them, whatever else is going on.

use serde_json::{Value, json};

use super::super::scenario::{Scenario, deploy, edit, edit_entry, entry, request, revoke};
use super::super::view::{ENTRIES, View};
use crate::api::model_deployment::AttemptState::{Observing, RolledBack};
use crate::api::model_deployment::Phase;

/// May be used for retention mail alone.
const FOR_MAIL: &str = "churn-6";
/// Was to be reviewed long ago.
const OVERDUE: &str = "churn-7";
/// Rests on consent.
const CONSENTED: &str = "churn-8";
/// Of data about people, on no grounds: older than the rule that refuses it.
const UNDOCUMENTED: &str = "churn-9";

fn registered(name: &'static str) -> Scenario {
    Scenario::named(name)
        .given(ENTRIES, entry(FOR_MAIL, 6, &json!({"governance": {"purposes": ["retention-email", "churn-report"]}})))
        .given(ENTRIES, entry(OVERDUE, 7, &json!({"reviewBy": "2020-02-29"})))
        .given(ENTRIES, entry(CONSENTED, 8, &consented()))
        .given(ENTRIES, entry(UNDOCUMENTED, 9, &json!({"dataSources": [{"name": "orders", "personalData": true}]})))
}

fn consented() -> Value {
    let source = json!({"name": "clicks", "personalData": true, "legalBasis": "Consent", "consentSignals": ["ad_user_data"],
        "purposes": ["retention-email"], "retention": "90d", "ropaId": "R-3"});
    json!({"dataSources": [source], "governance": {"purposes": ["retention-email"]}})
}

fn used_for(purpose: Value) -> Value {
    json!({"modelRef": {"name": FOR_MAIL}, "purpose": purpose})
}

/// Deployed for that once `churn-1` serves.
fn deployed(name: &'static str, purpose: Value) -> Scenario {
    registered(name).when(|it| it.serves("churn-1"), edit(used_for(purpose)))
}

/// In its canary, and then used for something else.
fn misused(name: &'static str) -> Scenario {
    let edited = edit(json!({"purpose": "ads"}));
    deployed(name, json!("retention-email")).when(|it| it.is_at(Observing, "5%"), edited)
}

fn is_used_for(view: &View, purpose: &str) -> bool {
    let status = view.status();
    status.revisions.iter().any(|it| it.used_for.as_ref().is_some_and(|it| it.purpose.as_deref() == Some(purpose)))
}

fn is_gating(view: &View) -> bool {
    view.status().phase == Phase::Gating
}

pub(super) fn all() -> Vec<Scenario> {
    vec![
        deployed("purpose_not_said", Value::Null)
            .when(is_gating, edit(json!({"purpose": "retention-email"})))
            .until(|it| it.serves(FOR_MAIL)),
        deployed("purpose_not_allowed_and_another_entry", json!("ads"))
            .when(|it| it.is_stalled_by("PurposeNotAllowed"), edit(json!({"purpose": null})))
            .when(|_| true, deploy("churn-3"))
            .until(|it| it.serves("churn-3")),
        misused("purpose_edited_on_the_way")
            .when(|it| is_gating(it) || it.serves(FOR_MAIL), edit(json!({"purpose": "retention-email"})))
            .until(|it| it.serves(FOR_MAIL) && it.is_at_peace()),
        misused("aborted_for_a_purpose_that_is_not_allowed")
            .when(|_| true, request("abort"))
            .until(|it| it.is_in(RolledBack)),
        misused("revoked_while_it_is_misused")
            .when(is_gating, revoke(FOR_MAIL))
            .when(
                |it| it.is_stalled_by("EntryRevoked"),
                edit(json!({"modelRef": {"name": "churn-3"}, "purpose": null})),
            )
            .until(|it| it.serves("churn-3")),
        deployed("purpose_edited_of_what_serves", json!("retention-email"))
            .when(|it| it.serves(FOR_MAIL), edit(json!({"purpose": "ads"})))
            .when(|it| it.is_stalled_by("PurposeNotAllowed"), edit(json!({"purpose": "retention-email"})))
            .until(View::is_at_peace),
        deployed("used_for_something_else_while_it_serves", json!("retention-email"))
            .when(|it| it.serves(FOR_MAIL), edit(json!({"purpose": "churn-report"})))
            .until(|it| is_used_for(it, "churn-report") && it.is_at_peace()),
        registered("consent_that_nobody_checks_and_then_somebody_does")
            .when(
                |it| it.serves("churn-1"),
                edit(json!({"modelRef": {"name": CONSENTED}, "purpose": "retention-email"})),
            )
            .when(|it| it.is_stalled_by("ConsentNotChecked"), edit(json!({"consentSignals": ["ad_user_data"]})))
            .until(|it| it.serves(CONSENTED)),
        registered("undocumented_data_and_another_entry")
            .when(|it| it.serves("churn-1"), deploy(UNDOCUMENTED))
            .when(|it| it.is_stalled_by("GovernanceIncomplete"), deploy("churn-3"))
            .until(|it| it.serves("churn-3")),
        registered("first_deployment_for_a_purpose")
            .spec(json!({"modelRef": {"name": FOR_MAIL}, "purpose": "ads"}))
            .when(|it| it.is_stalled_by("PurposeNotAllowed"), edit(json!({"purpose": "retention-email"})))
            .until(|it| it.serves(FOR_MAIL)),
        registered("review_overdue_and_moved")
            .when(|it| it.serves("churn-1"), deploy(OVERDUE))
            .when(|it| it.is_stalled_by("ReviewOverdue"), edit_entry(OVERDUE, json!({"reviewBy": "2199-12-31"})))
            .until(|it| it.serves(OVERDUE)),
    ]
}
