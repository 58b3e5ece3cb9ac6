//! The scenarios, by subject. To add one is to add it to a list.
//!
//! Where a scenario ends must not depend on who is faster: people act on what they see, and what metrics and pods
//! are like follows from the cluster, not from the clock.

mod approvals;
mod artifacts;
mod autoscaling;
mod children;
mod contests;
mod counted;
mod edits;
mod emergencies;
mod governance;
mod images;
mod jobs;
mod neighbours;
mod outages;
mod people;
mod probation;
mod restored;
mod returns;
mod revocations;
mod rollbacks;
mod rollouts;
mod shadows;
mod watches;

use super::scenario::{Scenario, deploy};

/// All of them.
pub(super) fn all() -> Vec<Scenario> {
    let ways = [rollouts::all(), rollbacks::all(), shadows::all(), returns::all(), emergencies::all()];
    let others = [outages::all(), edits::all(), children::all(), contests::all(), people::all()];
    let metrics = [counted::all(), autoscaling::all(), watches::all(), neighbours::all(), revocations::all()];
    let late = [probation::all(), images::all(), restored::all(), jobs::all(), approvals::all(), governance::all()];
    ways.into_iter().chain(others).chain(metrics).chain(late).chain([artifacts::all()]).flatten().collect()
}

/// `churn-2` is deployed once `churn-1` serves.
fn canary(name: &'static str) -> Scenario {
    upgraded(Scenario::named(name))
}

fn upgraded(scenario: Scenario) -> Scenario {
    scenario.when(|it| it.serves("churn-1"), deploy("churn-2"))
}
