//! werkbank
fn main() {}
