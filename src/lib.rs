//! Werkbank.

pub mod api;
pub mod audit;
pub mod decide;
pub mod runtime;
