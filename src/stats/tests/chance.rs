//! Numbers that look like chance, the same ones each time.

use std::f64::consts::TAU;

use crate::sim::Random;

/// A generator for each run of each scenario.
pub(super) struct Chance(Random);

impl Chance {
    /// That of one run of one scenario.
    pub(super) fn of(scenario: &str, run: usize) -> Self {
        let name = scenario.bytes().fold(14_695_981_039_346_656_037_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(1_099_511_628_211)
        });
        let mut seeds = Random::of(name ^ (run as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self(Random::of(seeds.next()))
    }

    /// In [0, 1).
    pub(super) fn uniform(&mut self) -> f64 {
        (self.0.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn happens(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Box and Muller's.
    pub(super) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (TAU * self.uniform()).cos()
    }
}
