//! The state machine of a ModelDeployment in small worlds: see [`crate::explore`].
//!
//! Where each begins and what can happen there is in [`worlds`]; what two are taken for one by, in [`same`].

mod event;
mod regions;
mod same;
mod worlds;

use serde_json::Value;

use self::event::{Event, happen};
use super::world::World;
use crate::explore::Small;

impl Small for World {
    type Event = Event;

    fn happen(&mut self, event: Event) {
        happen(self, event);
        check(self);
    }

    fn seen(&self) -> Value {
        same::seen_of(self)
    }
}

/// What holds in each of them.
fn check(world: &World) {
    let status = world.status();
    if status.unrecorded.is_empty() && world.memory.lost.is_empty() && world.trail.beyond(status.sequence).is_empty() {
        assert_eq!(world.trail.recorded(), world.trail.effects());
    }
    let Some(attempt) = &status.attempt else { return };
    if !attempt.state.goes_up() {
        return;
    }
    let refused = status.taken_back.iter().any(|it| it.revision == attempt.revision);
    assert!(!refused, "{attempt:#?} was taken back");
}
