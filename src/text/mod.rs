//! Text that people write and machines fill in, and digests in the form people see. Pure.

mod bind;
pub mod hex;
mod json_literal;
pub mod json_path;
mod promql_literal;
pub mod query;
mod sql_parameter;
mod url_component;
