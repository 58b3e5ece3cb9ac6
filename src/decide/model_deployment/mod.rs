//! The state machine of a ModelDeployment: what to do now.
//!
//! ```text
//!           ready            accepted           Pass, time        last step
//! Starting ───────► Shifting ───────► Observing ──────────► … ───────────► Promoting ─► Promoted
//!     │    ▲ Shadowing, if asked for: copied requests, before the first step
//!     ▲                 ▲                 │ more pods needed                    (the candidate
//!     └─────────────────┼─────────────────┘                                      is now stable)
//!     └── no pod is left: weight 0 until there are pods again (from any state with weight) ──┘
//!                       │ any of these:  abort · revert · breach · superseded · outage · deadline
//!                       └──────────────────────────────────► RollingBack ─► RolledBack
//! ```
//!
//! Before all of it, and before each rise, stand the gates: see [`gate`].
//! After the promotion, outcomes that arrive late may still take it back: see [`probation`].
//!
//! One pass does at most one transition. [`transition`] changes the status;
//! everything else of the plan ([`children`], [`conditions`]) is derived from the status as it will be
//! written. So the status is the only thing that must survive a crash, and
//! deciding again from it repeats no effect.
//!
//! Priority, highest first: what is revoked, going back from a revision on probation, abort, revert, guardrail breach, superseded by
//! another revision, a rollback on the record that status does not know of, refused artifact, lost capacity, deadlines (a silent metric source first), suspend, pause, promote, advance.

pub mod acceptance;
mod asker;
mod begin;
mod capacity;
pub mod children;
pub mod conditions;
mod contest;
mod counted;
mod deadline;
mod edit;
mod emergency;
mod first;
mod gate;
pub mod hold;
mod images;
pub mod inquiry;
mod job;
pub mod judge;
mod kept;
pub mod live;
pub mod measure;
pub mod observed;
mod pass;
pub mod policy;
mod probation;
mod progress;
pub mod question;
mod recall;
pub mod request;
pub mod restored;
pub mod revocation;
mod scale;
pub mod settle;
mod shadow;
mod stable_breach;
mod suspension;
pub mod target;
#[cfg(test)]
mod tests;
mod traffic;
pub mod transition;
mod used_for;
mod woken;
mod words;

use chrono::{DateTime, Utc};

use self::children::Converged;
use self::observed::Observed;
use self::pass::Pass;
use super::Plan;
use crate::api::ModelDeployment;
use crate::api::model_deployment::ModelDeploymentStatus;

/// Decides. Pure and total.
#[must_use]
pub fn decide(resource: &ModelDeployment, observed: &Observed, now: DateTime<Utc>) -> Plan<ModelDeploymentStatus> {
    if resource.metadata.deletion_timestamp.is_some() {
        // Children go by ownerReference; nothing here waits for anything.
        return Plan::default();
    }
    let mut pass = Pass::new(resource, observed, now);
    pass.settle();
    pass.name_asker();
    pass.judge();
    pass.watch_route();
    pass.watch_children();
    pass.watch_stable();
    pass.transition();
    pass.watch_use();
    pass.record_words();
    pass.keep_images();
    pass.let_go();
    pass.forget_drained();
    pass.ask_again();
    pass.ask_for_approvals();
    pass.watch_gate();
    pass.await_edit();
    pass.wake_for_jobs();
    pass.keep_watch();
    pass.wake_up();
    let Converged { ops, resets, problem } = children::converge(&pass);
    pass.tell_of_contest(&resets);
    conditions::conclude(&mut pass, problem);
    Plan { resets, ..pass.into_plan(ops) }
}
