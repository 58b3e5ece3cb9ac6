//! A canary on a real control plane, with real Envoy, real Prometheus and the operator installed by its chart.
#![cfg(test)]

mod actors;
mod approvals;
mod artifacts;
mod autoscaling;
mod bad_input;
mod contested;
mod crashes;
mod gateway_api;
mod gateway_edit;
mod images;
mod jobs;
mod late;
mod leaders;
mod outages;
mod people;
mod promotion;
mod providers;
mod reapply;
mod returning;
mod revocation;
mod rights;
mod rollouts;
mod scene;
mod shadowing;
mod stable;
mod store_away;
mod stories;
mod vendors;
