//! What happens at the same time: the most urgent of it is why a candidate is taken back.

use serde_json::json;

use super::world::World;
use crate::api::model_deployment::Cause;
use crate::decide::Measurement;

/// In the order of their urgency.
const CAUSES: [Cause; 6] = [
    Cause::Revoked,
    Cause::Aborted,
    Cause::Reverted,
    Cause::GuardrailBreached,
    Cause::Superseded,
    Cause::StepTimeExceeded,
];

/// Watched at 5 %, with one Fail that is tolerated; then all of this happens before the next pass.
fn taken_back_by(causes: &[Cause]) -> Option<Cause> {
    let mut world = World::mid_canary();
    world.rollout(json!({"steps": [{"weight": "5%", "for": "10m", "maxStepTime": "20m"}]}));
    world.measure("error-rate", Measurement::of(0.5));
    world.advance(30);
    world.pass();
    assert_eq!(world.attempt().cause, None);
    world.measure("error-rate", Measurement::NoData("no series".into()));
    world.advance(30);
    for cause in causes {
        match cause {
            Cause::Revoked => world.revoke("churn-2"),
            Cause::Aborted => world.request("abort", "n1"),
            Cause::Reverted => world.deploy("churn-1"),
            Cause::GuardrailBreached => world.measure("error-rate", Measurement::of(0.5)),
            Cause::Superseded => world.deploy("churn-3"),
            _ => world.advance(3600),
        }
    }
    world.pass();
    world.status().attempt?.cause
}

#[test]
fn of_two_causes_at_once_the_more_urgent_is_the_reason() {
    for (index, urgent) in CAUSES.iter().enumerate() {
        assert_eq!(taken_back_by(&[*urgent]), Some(*urgent));
        for other in &CAUSES[index + 1..] {
            // The spec names one entry.
            if (*urgent, *other) != (Cause::Reverted, Cause::Superseded) {
                assert_eq!(taken_back_by(&[*urgent, *other]), Some(*urgent), "{urgent:?} and {other:?}");
                assert_eq!(taken_back_by(&[*other, *urgent]), Some(*urgent), "{other:?} and {urgent:?}");
            }
        }
    }
}

#[test]
fn weight_0_is_urgent_until_it_is_written() {
    let mut world = World::mid_canary();
    world.request("abort", "n1");
    let decided = world.decide();
    assert!(decided.urgent);
    // The status write has got through, and nothing after it.
    world.carry_out(&decided, decided.entries.len() + 1);
    assert_eq!(world.attempt().cause, Some(Cause::Aborted));
    let again = world.decide();
    assert!(!again.ops.is_empty() && again.urgent, "{again:#?}");
}
