//! Werkbank.

pub mod act;
pub mod api;
pub mod audit;
pub mod decide;
pub mod runtime;
#[cfg(test)]
mod sim;
