//! `workbench`: the local cluster by itself, for trying things by hand.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use werkbank_e2e::bench::Acceptance;
use werkbank_e2e::process::{Supervisor, guard};
use werkbank_e2e::tools::Tools;
use werkbank_e2e::workbench::{Options, Workbench};

/// A real Kubernetes control plane on this machine, without containers or root.
#[derive(Parser)]
#[command(name = "workbench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Start it and keep it running until Ctrl-C.
    Up {
        /// Keep its state in this directory and find it again the next time.
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Start the control plane without Prometheus.
        #[arg(long)]
        no_prometheus: bool,
        /// How often Prometheus scrapes, in milliseconds.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..))]
        scrape_interval: u64,
    },
    /// A churn model's canary on real data: one version rolled back, the next promoted.
    Demo,
    /// What a thousand rollouts cost: time, requests, CPU and memory, beside the floor.
    Bench {
        /// How many deployments change together.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=20_000))]
        deployments: u16,
        /// Who accepts the routes.
        #[arg(long, value_enum, default_value = "writer")]
        acceptance: Acceptance,
    },
    /// Find or build every tool and print where it is.
    Tools,
}

fn main() -> ExitCode {
    // Before everything else: the guard must be small, and speaks to no person.
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == "guard") {
        return guarded(args.collect());
    }
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("workbench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn guarded(args: Vec<std::ffi::OsString>) -> ExitCode {
    match guard::run(args) {
        // Threads that still wait out a grace period end here.
        Ok(code) => std::process::exit(code),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments.command {
        Action::Up { dir, no_prometheus, scrape_interval } => {
            let mut options = Options::from_env();
            options.control_plane.dir = dir;
            options.prometheus = (!no_prometheus).then(|| Duration::from_millis(scrape_interval));
            runtime.block_on(up(options)).map(|()| ExitCode::SUCCESS)
        }
        Action::Demo => runtime.block_on(until_told(werkbank_e2e::demo::run())),
        Action::Bench { deployments, acceptance } => {
            runtime.block_on(until_told(werkbank_e2e::bench::run(deployments.into(), acceptance)))
        }
        Action::Tools => runtime.block_on(tools()).map(|()| ExitCode::SUCCESS),
    }
}

/// Ctrl-C and SIGTERM drop what runs half-way, which ends its processes. That is no success: whoever set a
/// time limit learns that it was reached, as from a shell.
async fn until_told(story: impl Future<Output = Result<()>>) -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = story => ended.map(|()| ExitCode::SUCCESS),
        _ = interrupt.recv() => Ok(ExitCode::from(130)),
        _ = terminate.recv() => Ok(ExitCode::from(143)),
    }
}

async fn up(options: Options) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let begin = Instant::now();
    // A start that is interrupted is dropped half-way, which ends its processes.
    let workbench = tokio::select! {
        started = Workbench::start(options) => started?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    announce(&workbench, begin.elapsed())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    workbench.stop().await
}

/// Says how to use it. What is printed can be pasted into a shell as it is.
fn announce(workbench: &Workbench, took: Duration) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "# ready after {:.1} s; Ctrl-C ends it", took.as_secs_f64())?;
    if let Some(prometheus) = workbench.prometheus() {
        writeln!(stdout, "# Prometheus is at {}", prometheus.url())?;
    }
    let control_plane = workbench.control_plane();
    writeln!(stdout, "export KUBECONFIG='{}'", control_plane.kubeconfig().display())?;
    writeln!(stdout, "alias kubectl='{}'", control_plane.kubectl_path().display())?;
    Ok(stdout.flush()?)
}

async fn tools() -> Result<()> {
    let tools = Tools::new(Supervisor::new()?)?;
    let control_plane = tools.control_plane().await?;
    println!("kubectl                  {}", control_plane.kubectl.display());
    println!("etcd                     {}", control_plane.etcd.display());
    println!("kube-apiserver           {}", control_plane.apiserver.display());
    println!("kube-controller-manager  {}", control_plane.controller_manager.display());
    println!("Gateway API CRDs         {}", tools.gateway_api_crds().await?.display());
    println!("envoy                    {}", tools.envoy().await?.display());
    println!("helm                     {}", tools.helm().await?.display());
    println!("prometheus               {}", tools.prometheus().await?.display());
    Ok(())
}
