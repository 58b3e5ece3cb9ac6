//! Completion of `kubectl werkbank …` in any shell that completes kubectl.
//!
//! kubectl asks the executable `kubectl_complete-werkbank` on the PATH, in the way of Cobra: the words so far, the last of them to be
//! completed; a word with its description in each line of the answer, and at the end a number, of which 4 says that no file
//! is meant. That executable is [`SCRIPT`], and it asks the plugin, so that what is completed is what the plugin knows.

use std::time::Duration;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::cluster::ClusterOptions;
use crate::api::{ModelDeployment, ModelRegistryEntry};

/// `kubectl_complete-werkbank`.
pub const SCRIPT: &str = "#!/bin/sh\n# Completes kubectl werkbank: put it on the PATH as kubectl_complete-werkbank, executable.\nexec kubectl-werkbank __complete -- \"$@\"\n";

/// How long somebody who has pressed the key is made to wait for names.
const ANSWER: Duration = Duration::from_secs(2);

/// The words so far.
#[derive(Debug, Args)]
pub struct CompleteArguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// What the last word can be.
#[derive(Debug, PartialEq, Eq)]
enum Candidates {
    /// One of these, each with its description.
    Words(Vec<(String, String)>),
    /// The name of something in the cluster.
    Names(Of),
}

/// Names of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// ModelDeployments.
    Deployments,
    /// What can be approved: an entry, or `modeldeployment/` and a deployment.
    Approved,
    /// What can be explained: a deployment, or `modelregistryentry/` and an entry.
    Explained,
}

/// What kubectl reads.
pub(super) async fn run(command: Command, arguments: &CompleteArguments) -> String {
    let words = arguments.words.as_slice();
    let last = words.last().map(String::as_str).unwrap_or_default();
    let found = match candidates(command.clone(), words) {
        Candidates::Words(words) => words,
        Candidates::Names(of) => names(command, words, of).await,
    };
    let lines = found.into_iter().filter(|(word, _)| word.starts_with(last));
    let lines = lines.map(|(word, about)| if about.is_empty() { word + "\n" } else { format!("{word}\t{about}\n") });
    lines.collect::<String>() + ":4\n"
}

fn candidates(mut command: Command, words: &[String]) -> Candidates {
    command.build();
    let (mut at, mut awaits, mut names) = (&command, None, 0);
    let (last, before) = words.split_last().map_or(("", words), |(last, before)| (last.as_str(), before));
    for word in before {
        if awaits.take().is_some() {
            continue;
        }
        if word.starts_with('-') {
            awaits = flag(at, word).filter(|it| it.get_action().takes_values() && !word.contains('='));
        } else if let Some(subcommand) = at.find_subcommand(word).filter(|_| names == 0) {
            at = subcommand;
        } else {
            names += 1;
        }
    }
    if let Some(awaits) = awaits {
        let values = awaits.get_possible_values();
        return Candidates::Words(values.iter().map(|it| (it.get_name().to_owned(), String::new())).collect());
    }
    if last.starts_with('-') {
        let shown = at.get_arguments().filter(|it| !it.is_hide_set());
        return Candidates::Words(
            shown.filter_map(|it| Some((format!("--{}", it.get_long()?), about(it.get_help())))).collect(),
        );
    }
    if at.has_subcommands() {
        let shown = at.get_subcommands().filter(|it| !it.is_hide_set());
        return Candidates::Words(shown.map(|it| (it.get_name().to_owned(), about(it.get_about()))).collect());
    }
    match at.get_positionals().nth(names).map(|it| it.get_id().as_str()) {
        Some("name") => Candidates::Names(Of::Deployments),
        Some("subject") => Candidates::Names(Of::Approved),
        Some("explained") => Candidates::Names(Of::Explained),
        _ => Candidates::Words(Vec::new()),
    }
}

/// The flag that a word is.
fn flag<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let name = word.split('=').next().unwrap_or(word);
    let is_it = |it: &&Arg| match name.strip_prefix("--") {
        Some(long) => it.get_long() == Some(long),
        None => it.get_short().is_some_and(|short| name == format!("-{short}")),
    };
    command.get_arguments().find(is_it)
}

/// Its first line.
fn about(help: Option<&clap::builder::StyledStr>) -> String {
    help.map(ToString::to_string).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

/// Names in the cluster that the words before name, if it answers soon.
async fn names(command: Command, words: &[String], of: Of) -> Vec<(String, String)> {
    let found = tokio::time::timeout(ANSWER, ask(&options(command, words), of)).await;
    found.ok().flatten().unwrap_or_default().into_iter().map(|it| (it, String::new())).collect()
}

/// The flags that say which cluster and which namespace, among words that are not complete.
fn options(command: Command, words: &[String]) -> ClusterOptions {
    let all = ["kubectl-werkbank".to_owned()].into_iter().chain(words.iter().cloned());
    let matches: Option<ArgMatches> = command.ignore_errors(true).try_get_matches_from(all).ok();
    matches.and_then(|it| ClusterOptions::from_arg_matches(&it).ok()).unwrap_or_default()
}

async fn ask(options: &ClusterOptions, of: Of) -> Option<Vec<String>> {
    let cluster = options.connect().await.ok()?;
    let every = ListParams::default();
    let deployments: Api<ModelDeployment> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    if of == Of::Deployments {
        return Some(deployments.list_metadata(&every).await.ok()?.items.iter().map(ResourceExt::name_any).collect());
    }
    let entries: Api<ModelRegistryEntry> = Api::namespaced(cluster.client, &cluster.namespace);
    // Who may see the ones only is offered those.
    let (deployments, entries) = tokio::join!(deployments.list_metadata(&every), entries.list_metadata(&every));
    let deployments = deployments.into_iter().flat_map(|it| it.items).map(|it| it.name_any());
    let entries = entries.into_iter().flat_map(|it| it.items).map(|it| it.name_any());
    Some(match of {
        Of::Explained => deployments.chain(entries.map(|it| format!("modelregistryentry/{it}"))).collect(),
        _ => entries.chain(deployments.map(|it| format!("modeldeployment/{it}"))).collect(),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Arguments;

    fn of(words: &[&str]) -> Candidates {
        let words: Vec<String> = words.iter().map(|it| (*it).to_owned()).collect();
        candidates(Arguments::command(), &words)
    }

    fn words(of: Candidates) -> Vec<String> {
        let Candidates::Words(words) = of else { panic!("{of:?}") };
        words.into_iter().map(|(word, _)| word).collect()
    }

    #[test]
    fn what_comes_next_is_completed() {
        let commands = words(of(&[""]));
        assert!(["get", "status", "why", "approve"].iter().all(|it| commands.contains(&(*it).to_owned())));
        assert!(!commands.contains(&"__complete".to_owned()));
        assert_eq!(words(of(&["-n", "crm", "ge"])), commands, "kubectl's flags come before the command, too");
        assert_eq!(of(&["get", ""]), Candidates::Names(Of::Deployments));
        assert_eq!(of(&["pause", "-n", "crm", "ch"]), Candidates::Names(Of::Deployments));
        assert_eq!(of(&["approve", ""]), Candidates::Names(Of::Approved));
        assert_eq!(of(&["why", ""]), Candidates::Names(Of::Explained));
        assert_eq!(words(of(&["get", "churn", ""])), [""; 0], "one is enough");
        assert_eq!(words(of(&["get", "-o", ""])), ["json", "yaml"]);
        let flags = words(of(&["get", "--"]));
        assert!(["--watch", "--output", "--namespace"].iter().all(|it| flags.contains(&(*it).to_owned())), "{flags:?}");
        assert_eq!(of(&["get", "--namespace=crm", ""]), Candidates::Names(Of::Deployments));
    }

    #[test]
    fn names_are_asked_of_the_cluster_that_the_words_name() {
        let words = ["get", "-n", "crm", "--context", "prod", ""].map(str::to_owned);
        let expected = ["kubectl-werkbank", "get", "-n", "crm", "--context", "prod"];
        let expected = Arguments::command().get_matches_from(expected);
        let expected = ClusterOptions::from_arg_matches(&expected).unwrap();
        assert_eq!(format!("{:?}", options(Arguments::command(), &words)), format!("{expected:?}"));
    }

    #[tokio::test]
    async fn the_answer_is_as_kubectl_reads_it() {
        let arguments = CompleteArguments { words: vec!["wh".into()] };
        let answer = run(Arguments::command(), &arguments).await;
        assert!(answer.starts_with("why\tSay why a model serves") && answer.ends_with("\n:4\n"), "{answer}");
    }
}
