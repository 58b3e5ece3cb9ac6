//! The simulation.

mod case;
mod chance;
mod digest;
mod oracles;
mod others;
mod process;
mod random;
mod run;
mod scenario;
mod scenarios;
mod server;
mod store;
mod stories;
#[cfg(test)]
mod tests;
mod trouble;
mod view;
mod wire;

pub(crate) use random::Random;
pub(crate) use server::{Cluster, Fault};
