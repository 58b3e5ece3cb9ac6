//! `kubectl werkbank`: see a rollout as a tree, take it back, try it again.

use std::process::ExitCode;

use clap::Parser;
use werkbank::cli;

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(cli::Arguments::parse()).await
}
