//! Werkbank.

pub mod act;
pub mod api;
pub mod audit;
pub mod build;
pub mod decide;
pub mod runtime;
pub mod text;
