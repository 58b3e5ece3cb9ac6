//! Text that people write and machines fill in. Pure.

mod promql_literal;
pub mod query;
