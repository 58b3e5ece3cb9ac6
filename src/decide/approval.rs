//! Whether what has to be approved is: by each role that is asked for, by distinct people, none of them the one who submitted it.
//!
//! The chart's admission policies hold an [`Approval`] to its writer's own name and rights when it is written. Everything
//! else is decided here, anew in each pass, and all that an administrator could have written around them is decided again:
//!
//! | an Approval | counts |
//! |---|---|
//! | of another name than its role and digest give it, of another uid or another digest | not at all: it is about something else |
//! | by the person who submitted the subject | for nothing: nobody approves their own work |
//! | by a service account | for nothing: it is nobody's word |
//! | by a person who has approved in another role already | for nothing: each role is another person's |
//! | that is older than the admission policies | for nothing: it may be anybody's |
//! | `Rejected` | against it, whatever others say |
//!
//! While the policies are not known to be in force, no Approval counts (see [`guard`]). What is not approved gets no weight that it
//! has not, and nothing begins for it; what it has it keeps: `lifecycle: Revoked` takes it away.

pub mod guard;

use std::sync::Arc;

use chrono::DateTime;
use kube::ResourceExt;

use self::guard::Guard;
use super::Missing;
use crate::api::approval::{self, ApprovalDecision, SubjectKind};
use crate::api::{Approval, ModelRegistryEntry};

/// Reason: a person has to approve.
pub const AWAITED: &str = "AwaitingApproval";
/// Reason: a person has rejected it.
pub const REJECTED: &str = "ApprovalRejected";
/// Reason: approvals are not known to be guarded, so none counts.
pub const UNGUARDED: &str = "ApprovalGuardNotReady";
/// Reason: nobody can be told from the person who submitted it.
pub const SUBMITTER_UNKNOWN: &str = "SubmitterUnknown";

/// Reason: nobody has the role that is asked for.
pub const ROLE_UNKNOWN: &str = "RoleUnknown";

/// All of them.
pub const REASONS: [&str; 5] = [AWAITED, REJECTED, UNGUARDED, SUBMITTER_UNKNOWN, ROLE_UNKNOWN];

/// Which roles there are, as the operator is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// Those that have to approve every entry.
    pub of_all: Vec<String>,
    /// Those that somebody has, if that is said: nobody approves in another.
    pub known: Option<Vec<String>>,
}

/// What has to be approved, and by whom.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// What it is.
    pub kind: SubjectKind,
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
    /// What of it is approved.
    pub digest: &'a str,
    /// In which roles, each another person's.
    pub roles: &'a [String],
    /// Which there are, if that is said.
    pub known: Option<&'a [String]>,
    /// Whose own work it is.
    pub submitted_by: Option<&'a str>,
}

/// What a role has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// Yes.
    Approved,
    /// Nothing yet.
    Missing,
    /// No.
    Rejected,
    /// Something that counts for nothing, and why.
    Void(String),
}

/// What each role has said, in the order of the question.
#[must_use]
pub fn count<'a>(question: &Question<'a>, approvals: &[Arc<Approval>], guard: &Guard) -> Vec<(&'a str, Word)> {
    let since = if let Guard::Ready(since) = guard { *since } else { DateTime::UNIX_EPOCH };
    let mut people: Vec<(&str, &str)> = Vec::new();
    let mut words = Vec::new();
    for role in question.roles {
        let said = find(question, role, approvals);
        let word = match said.map(|it| (it, &it.spec)) {
            None => Word::Missing,
            Some((_, it)) if it.decision == ApprovalDecision::Rejected => Word::Rejected,
            Some((it, _)) if guard::time_of(&it.metadata).unwrap_or_default() < since => {
                Word::Void("it is older than the admission policies that guard it, so it may be anybody's".into())
            }
            Some((_, it)) if question.submitted_by == Some(it.approver.as_str()) => {
                Word::Void("it is by the person who submitted it, and nobody approves their own work".into())
            }
            Some((_, it)) if it.approver.starts_with("system:") => {
                Word::Void("it is by an account, and not by a person".into())
            }
            Some((_, it)) => match people.iter().find(|(person, _)| *person == it.approver) {
                Some((_, before)) => Word::Void(format!(
                    "it is by the person who approved as {before}, and each role is another person's"
                )),
                None => {
                    people.push((&it.approver, role));
                    Word::Approved
                }
            },
        };
        words.push((role.as_str(), word));
    }
    words
}

/// Whether the API server held its writer to anything.
#[must_use]
pub fn is_guarded(approval: &Approval, guard: &Guard) -> bool {
    let written = || guard::time_of(&approval.metadata).unwrap_or_default();
    matches!(guard, Guard::Ready(since) if written() >= *since)
}

/// The approvals that say this, as far as they count, in the order of the roles.
#[must_use]
pub fn said<'a>(
    question: &Question<'_>,
    approvals: &'a [Arc<Approval>],
    guard: &Guard,
    word: &Word,
) -> Vec<&'a Approval> {
    let said = count(question, approvals, guard).into_iter().filter(|(_, it)| it == word);
    said.filter_map(|(role, _)| find(question, role, approvals)).collect()
}

/// The Approval of this role that is about the very subject.
fn find<'a>(question: &Question<'_>, role: &str, approvals: &'a [Arc<Approval>]) -> Option<&'a Approval> {
    let name = approval::name_of(question.name, role, question.digest);
    let is_meant = |it: &&Arc<Approval>| {
        let subject = &it.spec.subject;
        let about = (subject.kind, subject.name.as_str(), subject.uid.as_str(), subject.digest.as_str());
        about == (question.kind, question.name, question.uid, question.digest)
            && it.spec.role == role
            && it.name_any() == name
            && it.metadata.deletion_timestamp.is_none()
    };
    approvals.iter().find(is_meant).map(AsRef::as_ref)
}

/// What keeps something from being approved; `command` says how a role approves it.
#[must_use]
pub fn missing(
    question: &Question<'_>,
    approvals: &[Arc<Approval>],
    guard: &Guard,
    command: impl Fn(&str) -> String,
) -> Option<Missing> {
    if question.roles.is_empty() {
        return None;
    }
    let words = count(question, approvals, guard);
    let of = |reason, message: String| {
        Some(Missing { reason, message, is_final: [REJECTED, ROLE_UNKNOWN].contains(&reason) })
    };
    let rejected: Vec<&str> = words.iter().filter(|(_, it)| *it == Word::Rejected).map(|(role, _)| *role).collect();
    if !rejected.is_empty() {
        let names = rejected.iter().map(|role| approval::name_of(question.name, role, question.digest));
        let remedy = names.map(|it| format!("kubectl delete approval {it}")).collect::<Vec<_>>().join(", ");
        let roles = rejected.join(", ");
        return of(REJECTED, format!("rejected by role {roles}; who rejected it can take that back: {remedy}"));
    }
    if let Some(message) = unknown(question, &words) {
        return of(ROLE_UNKNOWN, message);
    }
    match guard {
        Guard::Ready(_) => {}
        Guard::NotReady(why) => return of(UNGUARDED, format!("no approval counts: {why}")),
        Guard::NotAsked => {
            return of(UNGUARDED, "no approval counts before the admission policies were looked at".into());
        }
    }
    let awaited: Vec<String> = words
        .iter()
        .filter_map(|(role, word)| match word {
            Word::Approved | Word::Rejected => None,
            Word::Missing => Some(format!("waiting for approval by role {role}: {}", command(role))),
            Word::Void(why) => {
                let name = approval::name_of(question.name, role, question.digest);
                Some(format!("the approval by role {role} counts for nothing: {why}; take it back: kubectl delete approval {name}"))
            }
        })
        .collect();
    if awaited.is_empty() { None } else { of(AWAITED, awaited.join("; ")) }
}

/// That nobody has the roles that have not approved, if it is said which there are. What was approved before that was said stays so.
fn unknown(question: &Question<'_>, words: &[(&str, Word)]) -> Option<String> {
    let known = question.known?;
    let asked = words.iter().filter(|(_, word)| *word != Word::Approved).map(|(role, _)| *role);
    let unknown: Vec<&str> = asked.filter(|role| !known.iter().any(|it| it == role)).collect();
    let message = || {
        let (unknown, known) = (unknown.join(", "), known.join(", "));
        format!(
            "nobody here has role {unknown}, and its approval is asked for: ask for one of {known}, or add it to the chart's approvals.knownRoles"
        )
    };
    (!unknown.is_empty()).then(message)
}

/// The roles that an entry asks for, and those that the operator is told to ask for, each once.
#[must_use]
pub fn roles_of(entry: &ModelRegistryEntry, there_are: &Roles) -> Vec<String> {
    let own = entry.spec.governance.iter().flat_map(|it| &it.approvals);
    let mut roles: Vec<String> = Vec::new();
    own.chain(&there_are.of_all).for_each(|role| {
        if !roles.contains(role) {
            roles.push(role.clone());
        }
    });
    roles
}

/// Puts the question that an entry is to its roles; where it has none, there is nothing to ask.
fn ask_of_entry<T: Default>(entry: &ModelRegistryEntry, there_are: &Roles, ask: impl FnOnce(&Question<'_>) -> T) -> T {
    let roles = roles_of(entry, there_are);
    if roles.is_empty() {
        return T::default();
    }
    ask(&Question {
        kind: SubjectKind::ModelRegistryEntry,
        name: &entry.name_any(),
        uid: entry.metadata.uid.as_deref().unwrap_or_default(),
        digest: &entry.spec.digest(),
        roles: &roles,
        known: there_are.known.as_deref(),
        submitted_by: entry.spec.submitted_by.as_deref(),
    })
}

/// What the roles of an entry have said.
#[must_use]
pub fn words_of_entry(
    entry: &ModelRegistryEntry,
    there_are: &Roles,
    approvals: &[Arc<Approval>],
    guard: &Guard,
) -> Vec<(String, Word)> {
    ask_of_entry(entry, there_are, |question| {
        let words = count(question, approvals, guard);
        words.into_iter().map(|(role, word)| (role.to_owned(), word)).collect()
    })
}

/// The approvals of an entry that say this, as far as they count, in the order of the roles.
#[must_use]
pub fn said_of_entry<'a>(
    entry: &ModelRegistryEntry,
    there_are: &Roles,
    approvals: &'a [Arc<Approval>],
    guard: &Guard,
    word: &Word,
) -> Vec<&'a Approval> {
    ask_of_entry(entry, there_are, |question| said(question, approvals, guard, word))
}

/// What keeps an entry from being deployed, of the approvals it needs.
#[must_use]
pub fn missing_of_entry(
    entry: &ModelRegistryEntry,
    there_are: &Roles,
    approvals: &[Arc<Approval>],
    guard: &Guard,
) -> Option<Missing> {
    ask_of_entry(entry, there_are, |question| {
        if question.submitted_by.is_none() {
            let message = format!(
                "role {} has to approve it, and spec.submittedBy does not say whose work it is: register it again with submittedBy",
                question.roles.join(", ")
            );
            return Some(Missing { reason: SUBMITTER_UNKNOWN, message, is_final: true });
        }
        let name = question.name;
        missing(question, approvals, guard, |role| format!("kubectl werkbank approve {name} --role {role}"))
    })
}

#[cfg(test)]
mod tests;
