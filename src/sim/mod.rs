//! The simulation.

mod server;

pub(crate) use server::{Cluster, Fault};
