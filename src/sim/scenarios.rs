//! The scenarios, by subject. To add one is to add it to a list.
//!
//! Where a scenario ends must not depend on who is faster: people act on what they see, and what metrics and pods
//! are like follows from the cluster, not from the clock.

mod children;
mod edits;
mod outages;
mod rollbacks;
mod rollouts;

use super::scenario::{Scenario, deploy};

/// All of them.
pub(super) fn all() -> Vec<Scenario> {
    [rollouts::all(), rollbacks::all(), outages::all(), edits::all(), children::all()].into_iter().flatten().collect()
}

/// `churn-2` is deployed once `churn-1` serves.
fn canary(name: &'static str) -> Scenario {
    upgraded(Scenario::named(name))
}

fn upgraded(scenario: Scenario) -> Scenario {
    scenario.when(|it| it.serves("churn-1"), deploy("churn-2"))
}
