//! What the tests promise, counted: rollouts made of chance, each looked at all the time.
//!
//! `cargo test` runs a few hundred of each kind; `make proof` runs 20,000 and prints the tables of
//! `docs/explanation/counted-metrics.md`. Chance is seeded, so that a run can be repeated.

mod chance;
mod means;
mod proportions;
mod shares;
mod table;
mod time_to_detect;
