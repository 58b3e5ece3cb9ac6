//! What stays of the revision that served before: its pods for a while, and its good name for longer.
//!
//! After a promotion the old revision keeps its pods for `rollout.keepStable`; one revision at a time does, the
//! one that was replaced last. The last proven one stays longer, without pods, while another is on `probation`. A revision that served as the stable one is proven, and stays so for
//! `rollout.rollbackWindow` after it was replaced: the way back to it skips the steps. It gets all
//! traffic at once, and is watched as long as a guardrail takes to fail before it counts as stable again. Taken
//! back since, or promoted only because nothing else served (`rollout.emergencyPromote`), it is not.

use chrono::{DateTime, Utc};

use super::pass::Pass;
use crate::api::duration::after;
use crate::api::model_deployment::{Attempt, ModelDeploymentStatus, Proven, RevisionRole, RevisionStatus};

/// Revisions whose proof is remembered, the newest ones.
const MOST_PROVEN: usize = 8;

impl Pass<'_> {
    /// The revision that served until now stays as it is for a while, or begins to drain.
    pub(super) fn replaced(&mut self, old: &str) {
        let now = self.now;
        let fallback = self.fallback().map(str::to_owned);
        let is_fallback = |it: &str| fallback.as_deref() == Some(it);
        let stays = |it: &&mut RevisionStatus| matches!(it.role, RevisionRole::Kept | RevisionRole::Fallback);
        for it in self.status.revisions.iter_mut().filter(stays) {
            (it.role, it.draining_since) = if is_fallback(&it.revision) {
                (RevisionRole::Fallback, None)
            } else {
                (RevisionRole::Draining, it.draining_since.or(Some(now)))
            };
        }
        let goes = self.policy.keep_stable.is_zero() && !is_fallback(old);
        let role = if goes { RevisionRole::Draining } else { RevisionRole::Kept };
        self.set_role(old, role);
        for it in self.status.proven.iter_mut().filter(|it| it.revision == old) {
            it.at = now;
        }
    }

    /// A revision has proven itself, on all steps there are or in an earlier attempt.
    pub(super) fn prove(&mut self, revision: &str) {
        forget(&mut self.status, revision);
        self.status.proven.push(Proven { revision: revision.to_owned(), at: self.now });
        let too_many = self.status.proven.len().saturating_sub(MOST_PROVEN);
        self.status.proven.drain(..too_many);
    }

    /// Whether a revision that was gone back to has been watched with all of the traffic for as long as a breach takes
    /// to show: `failureLimit` and one more measurements.
    pub(super) fn return_is_watched(&self, attempt: &Attempt) -> bool {
        let is_over = |since| self.watch_ends(since) <= self.now && !self.guardrail_fails();
        self.policy.guardrails().next().is_none() || attempt.observing_since.is_some_and(is_over)
    }

    /// Watches what has all of the traffic and is not stable yet. Its clock starts when the gateway has accepted it.
    pub(super) fn watch(&mut self, attempt: &Attempt) {
        // What is later than now is of a clock that was set back since.
        let since = attempt.observing_since.filter(|since| *since <= self.now).unwrap_or(self.now);
        self.change(|it| it.observing_since = Some(since));
        let ends = self.watch_ends(since);
        if ends > self.now {
            self.look_again(ends);
        }
    }

    /// When a breach would have shown since then.
    pub(super) fn watch_ends(&self, since: DateTime<Utc>) -> DateTime<Utc> {
        let measurements = u32::try_from(self.policy.failure_limit.saturating_add(1)).unwrap_or(1);
        after(since, self.policy.interval.saturating_mul(measurements))
    }

    /// Until when the way back to this revision skips the steps, if it does at this moment.
    pub(super) fn proven_until(&self, revision: &str) -> Option<DateTime<Utc>> {
        let window = self.policy.rollback_window?;
        let proven = self.status.proven.iter().find(|it| it.revision == revision)?;
        Some(after(proven.at, window)).filter(|until| *until > self.now)
    }

    /// Whose time is over begins to drain; it has had no traffic for long.
    pub(super) fn let_go(&mut self) {
        let fallback = self.fallback().map(str::to_owned);
        let (keep, drain) = (self.policy.keep_stable, self.policy.drain);
        let is_fallback = |it: &RevisionStatus| fallback.as_ref() == Some(&it.revision);
        let end = |it: &RevisionStatus| {
            let since = it.draining_since.filter(|_| it.role == RevisionRole::Kept)?;
            // What is gone back to ends its requests like any other before its pods go.
            Some(after(since, if is_fallback(it) { keep.max(drain) } else { keep }))
        };
        let ends: Vec<_> = self.status.revisions.iter().filter_map(end).filter(|at| *at > self.now).collect();
        let now = self.now;
        for it in self.status.revisions.iter_mut().filter(|it| end(it).is_some_and(|at| at <= now)) {
            if is_fallback(it) {
                (it.role, it.draining_since) = (RevisionRole::Fallback, None);
            } else {
                it.role = RevisionRole::Draining;
            }
        }
        ends.into_iter().for_each(|at| self.look_again(at));
    }
}

/// A revision is not proven any more.
pub(super) fn forget(status: &mut ModelDeploymentStatus, revision: &str) {
    status.proven.retain(|it| it.revision != revision);
}
