//! The state machine, walked pass by pass in an in-memory world.
//!
//! [`world`] plays API server, kubelet, gateway and metric source; [`story`] writes down what each
//! pass saw and decided, and compares it with the files in `golden/`: what a reviewer reads.
//! `UPDATE=1 cargo test -p werkbank --lib model_deployment` rewrites them.

mod artifacts;
mod askers;
mod autoscaling;
mod canary;
mod capacity;
mod causes;
mod consents;
mod contest;
mod deadlines;
mod emergency;
mod explore;
mod failures_of_others;
mod first_deployment;
mod gates;
mod gateway;
mod governance;
mod images;
mod jobs;
mod kept;
mod obstacles;
mod pause;
mod people;
mod probation;
mod promote;
mod properties;
mod recall;
mod record;
mod replicas;
mod rest;
mod restored;
mod retry;
mod revocation;
mod shadow;
mod slow_sources;
mod stable_breach;
mod story;
mod suspend;
mod traffic;
mod trail;
mod under_recall;
mod unreadable;
mod unwatched;
mod vanished;
mod verdicts;
mod woken;
mod words;
mod world;
