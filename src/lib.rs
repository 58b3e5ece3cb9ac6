//! Werkbank.

pub mod api;
pub mod audit;
pub mod connect;
pub mod decide;
pub mod text;
pub mod worker;
