//! `werkbank`: the operator, and what its pods and its release need besides.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use werkbank::runtime::operator::OperatorOptions;
use werkbank::{api, start, worker};

/// Runs the life of marketing models on Kubernetes.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator.
    Operator(Box<OperatorOptions>),
    /// Fetch and verify an artifact: the init container of every serving pod.
    Fetch(worker::fetch::FetchArgs),
    /// Print the CRDs.
    Crd,
}

#[tokio::main]
async fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Operator(options) => start::operator(*options).await,
        Command::Fetch(arguments) => worker::fetch::run(arguments).await,
        Command::Crd => crd(),
    }
}

fn crd() -> ExitCode {
    match api::crd::files() {
        Ok(files) => {
            files.iter().for_each(|(_, yaml)| println!("---\n{}", yaml.trim_end()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("werkbank crd: {error}");
            ExitCode::FAILURE
        }
    }
}
