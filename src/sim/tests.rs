//! The scenarios, run.

use super::run::{Ended, natural, no_faults};
use super::scenarios;

fn told(name: &str, ended: &Ended) -> String {
    format!("{name}:\n{}\n{}\n", ended.trace.join("\n"), ended.violations.join("\n"))
}

#[test]
fn without_faults_every_scenario_ends_and_stays_at_rest() {
    for scenario in scenarios::all() {
        let began = std::time::Instant::now();
        let ended = natural(&scenario, no_faults());
        println!(
            "{}: {} writes, {} passes, {} steps, {:?}",
            scenario.name,
            ended.writes,
            ended.passes,
            ended.trace.len(),
            began.elapsed()
        );
        assert!(ended.violations.is_empty(), "{}", told(scenario.name, &ended));
        assert_eq!(ended.fingerprint(), natural(&scenario, no_faults()).fingerprint());
    }
}
