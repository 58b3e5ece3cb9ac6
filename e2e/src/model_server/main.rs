//! model-server
fn main() {}
