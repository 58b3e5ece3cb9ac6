//! `workbench`: the local cluster by itself, for trying things by hand.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};
use werkbank::runtime::operator::OperatorOptions;
use werkbank::start;
use werkbank_e2e::bench::{Acceptance, Part, log_cost};
use werkbank_e2e::demo;
use werkbank_e2e::process::{Supervisor, guard};
use werkbank_e2e::recorder;
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
    /// What rollouts cost, how soon a breach is weight 0, and what rest costs.
    Bench {
        /// What is measured.
        #[arg(long, value_enum, default_value = "rollouts")]
        part: Part,
        /// How many deployments there are; of breaches, how many are watched at the same time; of the audit log, how many entries.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
        deployments: u32,
        /// Who accepts the routes.
        #[arg(long, value_enum, default_value = "writer")]
        acceptance: Acceptance,
    },
    /// Find or build every tool and print where it is.
    Tools,
    /// The operator without an audit log, which the benchmark compares it with.
    #[command(hide = true)]
    Operator(Box<OperatorOptions>),
    /// Decisions on an audit log until it is killed, the number of each in a line.
    #[command(hide = true)]
    Record {
        /// Where the log is.
        log: String,
        /// The number of the first.
        first: i64,
        /// What each of them decides.
        #[arg(default_value = "Shift")]
        decision: String,
    },
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
        Action::Demo => runtime.block_on(demo()),
        Action::Bench { part, deployments, acceptance } => {
            runtime.block_on(bench(part, usize::try_from(deployments).unwrap_or(usize::MAX), acceptance))
        }
        Action::Tools => runtime.block_on(tools()).map(|()| ExitCode::SUCCESS),
        Action::Record { log, first, decision } => match runtime.block_on(recorder::record(&log, first, &decision))? {},
        Action::Operator(options) => Ok(runtime.block_on(start::operator_with(*options, log_cost::nothing()))),
    }
}

/// Ctrl-C and SIGTERM, from now on.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for one; gives the exit code that a shell gives to whoever ends by it.
    async fn told(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}

/// A signal drops what runs half-way, which ends its processes. That is no success: whoever set a
/// time limit learns that it was reached, as from a shell.
async fn until_told<T>(signals: &mut Signals, story: impl Future<Output = Result<T>>) -> Result<Result<T, ExitCode>> {
    tokio::select! {
        ended = story => ended.map(Ok),
        code = signals.told() => Ok(Err(ExitCode::from(code))),
    }
}

async fn bench(part: Part, deployments: usize, acceptance: Acceptance) -> Result<ExitCode> {
    let bench = werkbank_e2e::bench::run(part, deployments, acceptance);
    Ok(until_told(&mut Signals::listen()?, bench).await?.map_or_else(|code| code, |()| ExitCode::SUCCESS))
}

/// With `KEEP` set, the story's cluster stays until a signal comes, above all when a promise was broken: that
/// is when one wants to look. How the story went is how this ends.
async fn demo() -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let told = match until_told(&mut signals, demo::tell()).await? {
        Ok(told) => told,
        Err(code) => return Ok(code),
    };
    let broken = told.broken().map(str::to_owned);
    if let Some(broken) = &broken {
        eprintln!("workbench: {broken}");
    }
    if std::env::var_os("KEEP").is_some_and(|it| !it.is_empty() && it != "0") {
        let mut stdout = std::io::stdout();
        writeln!(stdout, "\nEverything is left running; Ctrl-C ends it. To use it, in another terminal:\n")?;
        writeln!(stdout, "{}", told.lines().await)?;
        signals.told().await;
    }
    told.end().await?;
    Ok(if broken.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn up(options: Options) -> Result<()> {
    let mut signals = Signals::listen()?;
    let begin = Instant::now();
    // A start that is interrupted is dropped half-way, which ends its processes.
    let Ok(workbench) = until_told(&mut signals, Workbench::start(options)).await? else { return Ok(()) };
    announce(&workbench, begin.elapsed())?;
    signals.told().await;
    workbench.stop().await
}

/// Says how to use it. What is printed can be pasted into a shell as it is.
fn announce(workbench: &Workbench, took: Duration) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "# ready after {:.1} s; Ctrl-C ends it", took.as_secs_f64())?;
    if let Some(prometheus) = workbench.prometheus() {
        writeln!(stdout, "# Prometheus is at {}", prometheus.url())?;
    }
    writeln!(stdout, "{}", workbench.kubectl_lines())?;
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
