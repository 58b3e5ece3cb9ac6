//! The kubectl plugin.
//!
//! A rollout is a small tree (revisions, their weights, the verdicts about them) and one sentence: what
//! it waits for. `kubectl get` shows one line; this shows the tree. And a person's request is an annotation
//! that must name the attempt it means: this writes it, in the name that the API server knows the person by; and so are approvals.
//!
//! [`tree`], [`gates`], [`overview`] and [`explanation`] are pure: resources and time in, text out, by [`screen`]. Everything that talks
//! to the cluster is in [`get`], [`watch`], [`status`], [`why`], [`request`], [`approve`], [`completion`] and [`cluster`].
//! [`audit`] belongs to `werkbank` itself: it reads the audit log and no cluster.

pub mod approve;
pub mod audit;
pub mod cluster;
pub mod completion;
pub mod explanation;
pub mod gates;
pub mod get;
pub mod overview;
mod provenance;
pub mod recorded;
mod request;
pub mod screen;
pub mod status;
mod subject;
pub mod tree;
pub mod watch;
pub mod why;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use self::approve::ApproveArguments;
use self::cluster::ClusterOptions;
use self::completion::CompleteArguments;
use self::get::GetArguments;
use self::request::RequestArguments;
use self::status::StatusArguments;
use self::why::WhyArguments;
use crate::api::approval::ApprovalDecision;
use crate::decide::model_deployment::request::Verb;

const EXIT_CODES: &str = "Exit codes: 0 done; 1 the cluster cannot be reached or refuses; 2 wrong arguments; \
3 there is nothing that the request, or the approval, could be for; 4 nothing of that name.";

/// See and steer the rollouts of ModelDeployments.
#[derive(Debug, Parser)]
#[command(name = "kubectl werkbank", bin_name = "kubectl werkbank", version, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(flatten)]
    cluster: ClusterOptions,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show revisions with role, weight and verdicts, the gates, and what the rollout waits for.
    Get(GetArguments),
    /// Show all there is to know of one deployment: more with -v, most with -v -v.
    Status(StatusArguments),
    /// Say why a model serves: what it may be used for, on what data it rests, who approved it, and what was decided last; or what
    /// there is to know of an entry.
    Why(WhyArguments),
    /// Take the candidate of the attempt under way back now.
    Abort(RequestArguments),
    /// Hold the weight of the attempt under way; guardrails go on.
    Pause(RequestArguments),
    /// Go on after a pause.
    Resume(RequestArguments),
    /// All traffic to the candidate now, if every metric says Pass: skips times and steps, never proof.
    Promote(RequestArguments),
    /// Try a revision again that was taken back.
    Retry(RequestArguments),
    /// Approve an entry, or the next step of a deployment, in a role that it asks for.
    Approve(ApproveArguments),
    /// Reject an entry, or the next step of a deployment, in a role that it asks for: that counts whatever others say.
    Reject(ApproveArguments),
    /// Print what completes these commands in your shell: save it on the PATH as kubectl_complete-werkbank, executable.
    Completion,
    #[command(name = "__complete", hide = true)]
    Complete(CompleteArguments),
}

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The kubeconfig is missing or names something that is not there.
    #[error("kubeconfig: {0}; choose one with --kubeconfig, or a context of it with --context")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// No answer from the API server, or one that says no.
    #[error("{}", explain(.0))]
    Cluster(#[from] kube::Error),
    /// No such object.
    #[error("there is no {kind} {name} in namespace {namespace}; list them with: kubectl get {kind} --all-namespaces")]
    NotFound {
        /// What it would be.
        kind: String,
        /// Where it was looked for.
        namespace: String,
        /// What was looked for.
        name: String,
    },
    /// The request would be for nothing.
    #[error("{0}")]
    NothingToDo(String),
    /// The audit log cannot be read, or is not what was signed.
    #[error("the audit log: {0}")]
    Record(String),
    /// The object cannot be written as JSON or YAML, or the text not at all.
    #[error("cannot be printed: {0}")]
    Print(String),
}

impl CliError {
    /// As documented in `--help`.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NothingToDo(_) => 3,
            Self::NotFound { .. } => 4,
            Self::Kubeconfig(_) | Self::Cluster(_) | Self::Record(_) | Self::Print(_) => 1,
        }
    }
}

fn explain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("the API server says: {}", status.message),
        other => format!("the API server does not answer: {other}; check --context and the network"),
    }
}

/// Runs a command. The exit codes are those of `--help`.
pub async fn run(arguments: Arguments) -> ExitCode {
    let done = match arguments.command {
        Command::Get(get) => get::run(&arguments.cluster, &get).await,
        Command::Status(it) => status::run(&arguments.cluster, &it).await,
        Command::Completion => Ok(completion::SCRIPT.to_owned()),
        Command::Complete(it) => Ok(completion::run(Arguments::command(), &it).await),
        Command::Why(it) => why::run(&arguments.cluster, &it).await,
        Command::Abort(it) => request::run(&arguments.cluster, &it, Verb::Abort).await,
        Command::Pause(it) => request::run(&arguments.cluster, &it, Verb::Pause).await,
        Command::Resume(it) => request::run(&arguments.cluster, &it, Verb::Resume).await,
        Command::Promote(it) => request::run(&arguments.cluster, &it, Verb::Promote).await,
        Command::Approve(it) => approve::run(&arguments.cluster, &it, ApprovalDecision::Approved).await,
        Command::Reject(it) => approve::run(&arguments.cluster, &it, ApprovalDecision::Rejected).await,
        Command::Retry(it) => request::run(&arguments.cluster, &it, Verb::Retry).await,
    };
    match done {
        Ok(text) => match print(&mut std::io::stdout().lock(), &text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
        Err(error) => fail(&error),
    }
}

fn fail(error: &CliError) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(error.exit_code())
}

/// Prints a text to its end, in colours only where a terminal shows them and nobody has said otherwise (`NO_COLOR`). Whoever closes
/// the pipe, as `head` does, has read enough.
///
/// # Errors
/// When it cannot be written otherwise, such as to a full disk.
pub fn print(out: &mut impl Write, text: &str) -> Result<(), CliError> {
    match write(out, text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CliError::Print(error.to_string())),
        _ => Ok(()),
    }
}

/// Whether nobody would see colours.
fn is_plain() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) == anstream::ColorChoice::Never
}

fn write(out: &mut impl Write, text: &str) -> std::io::Result<()> {
    let text = if is_plain() { anstream::adapter::strip_str(text).to_string() } else { text.to_owned() };
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent_and_global_flags_stand_anywhere() {
        Arguments::command().debug_assert();
        let arguments = ["kubectl-werkbank", "abort", "churn", "-n", "crm", "--context", "prod", "--as", "ana"];
        assert!(Arguments::try_parse_from(arguments).is_ok());
        assert!(Arguments::try_parse_from(["kubectl-werkbank", "-n", "crm", "get", "-o", "yaml"]).is_ok());
        assert!(Arguments::try_parse_from(["kubectl-werkbank", "abort"]).is_err());
    }

    /// A reader that closes its end.
    struct Closed(ErrorKind);

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_enough_is_no_error_and_a_full_disk_is() {
        assert!(print(&mut Closed(ErrorKind::BrokenPipe), "tree").is_ok());
        assert!(matches!(print(&mut Closed(ErrorKind::StorageFull), "tree"), Err(CliError::Print(_))));
    }

    #[test]
    fn help_documents_every_exit_code() {
        let help = Arguments::command().render_help().to_string();
        let not_found =
            CliError::NotFound { kind: "ModelDeployment".into(), namespace: "crm".into(), name: "churn".into() };
        for error in [not_found, CliError::NothingToDo(String::new()), CliError::Print(String::new())] {
            assert!(help.contains(&format!("{} ", error.exit_code())), "{help}");
        }
    }
}
