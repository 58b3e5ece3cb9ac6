//! What one rollout costs the API server: a number that does not depend on how fast anything is.
#![cfg(test)]

use werkbank_e2e::bench::requests::Account;
use werkbank_e2e::bench::stage::Stage;
use werkbank_e2e::bench::{Acceptance, one};

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_of_four_steps_reads_nothing_and_sends_at_most_three_requests_for_each_and_nine_besides() {
    let stage = Stage::set(Acceptance::Writer).await.unwrap();
    let rollout = one(&stage).await.unwrap();
    let sent = format!("{:#?}", rollout.requests);
    assert_eq!(rollout.requests.reads(Account::Rollouts), 0, "{sent}");
    let allowed = 3 * rollout.steps + 9;
    assert!(rollout.requests_per_rollout() <= allowed as f64, "more than {allowed}: {sent}");
    // The entry before is let go, after the API server was asked, the next one held, and both say so: however many deployments share them.
    assert!(rollout.requests.of(Account::Entries) <= 5, "{sent}");
    // Fewer than a step's weight, the route and its acceptance cannot be: something was not counted.
    assert!(rollout.requests_per_rollout() >= (2 * rollout.steps) as f64, "{sent}");
    stage.end().await.unwrap();
}
