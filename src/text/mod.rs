//! Text that people write and machines fill in, and digests in the form people see. Pure.

pub mod hex;
mod promql_literal;
pub mod query;
