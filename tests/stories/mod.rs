//! Stories that are played twice: by the simulation, on the API server in memory (`src/sim`), and by the end-to-end
//! tests, on the real control plane (`e2e/tests/canary/stories.rs`). Both have to leave the same transcript.
//!
//! `<story>.yaml` says what a story is about, `<story>.transcript.yaml` what there was to see. Both sides read and write
//! them with the code in this folder, and nothing of it is in the operator.

pub(crate) mod plot;
mod sight;
mod transcript;

pub(crate) use plot::{Moment, Now, Request, Story};
pub(crate) use transcript::{Answered, Seen, difference, transcript};

use std::path::{Path, PathBuf};

/// The ModelDeployment of every story.
pub(crate) const NAME: &str = "churn";

/// All stories, by name. `root` is the checkout.
pub(crate) fn all(root: &Path) -> Vec<Story> {
    let files = std::fs::read_dir(root.join("tests/stories")).unwrap().map(|it| it.unwrap().file_name());
    let names = files.filter_map(|it| it.to_str()?.strip_suffix(".yaml").map(str::to_owned));
    let mut names: Vec<String> = names.filter(|it| it != "base" && !it.ends_with(".transcript")).collect();
    names.sort_unstable();
    names.iter().map(|name| Story::read(root, name)).collect()
}

/// Where the transcript of a story is kept.
pub(crate) fn kept(root: &Path, story: &Story) -> PathBuf {
    root.join(format!("tests/stories/{}.transcript.yaml", story.name))
}
