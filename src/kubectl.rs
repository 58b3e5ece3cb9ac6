//! kubectl werkbank
fn main() {}
