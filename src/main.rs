//! `werkbank`: the operator, and what its pods and its release need besides.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use werkbank::runtime::operator::OperatorOptions;
use werkbank::{api, cli, start, worker};

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
    /// Say whether an artifact is the registered one: what the Job of a registry entry runs.
    Verify(worker::verify::VerifyArgs),
    /// Keep and check the audit log.
    Audit(cli::audit::AuditArguments),
    /// Print the CRDs.
    Crd,
}

/// Two threads: passes wait for the API server far more than they compute. One for each core of the node, as tokio
/// has it by default, would take an allocation arena each, whatever the pod's memory limit is.
#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Operator(options) => start::operator(*options).await,
        Command::Fetch(arguments) => worker::fetch::run(arguments).await,
        Command::Verify(arguments) => worker::verify::run(arguments).await,
        Command::Audit(arguments) => cli::audit::run(arguments).await,
        Command::Crd => crd(),
    }
}

fn crd() -> ExitCode {
    let printed = api::crd::files().map_err(|error| error.to_string()).and_then(|files| {
        let documents: String = files.iter().map(|(_, yaml)| format!("---\n{}\n", yaml.trim_end())).collect();
        cli::print(&mut std::io::stdout().lock(), &documents).map_err(|error| error.to_string())
    });
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("werkbank crd: {error}");
            ExitCode::FAILURE
        }
    }
}
