//! The demo: what `make demo` runs.

pub mod replay;
