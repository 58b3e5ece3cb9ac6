//! The keys that sign the log's checkpoints, as the operator is given them.
//!
//! A file with a private key in each line. One is enough; while a key is replaced there are two, and both sign: whoever
//! verifies with either accepts the log. All have the log's origin as their name.

use std::path::Path;

use super::tlog::note::{NoKey, Signer};

/// Why a file has no keys to sign with. Holds nothing of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoKeys {
    /// It cannot be read.
    #[error("{0}: {1}; mount the Secret with the audit log's key there")]
    Unread(String, String),
    /// It holds none.
    #[error("{0} holds no key; make one with `werkbank audit key`")]
    Empty(String),
    /// One of its lines is none.
    #[error("line {line} of {file}: {why}")]
    Line {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        why: NoKey,
    },
    /// They are of different logs.
    #[error("{file} has keys of {one} and of {other}: all keys of a log have its origin as their name")]
    Origins {
        /// The file.
        file: String,
        /// The first key's name.
        one: String,
        /// Another's.
        other: String,
    },
}

/// Reads the keys.
///
/// # Errors
/// The file cannot be read, or a line is no key.
pub fn read(path: &Path) -> Result<Vec<Signer>, NoKeys> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| NoKeys::Unread(file.clone(), error.to_string()))?;
    parse(&file, &text)
}

fn parse(file: &str, text: &str) -> Result<Vec<Signer>, NoKeys> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let signer = |(line, text)| Signer::parse(text).map_err(|why| NoKeys::Line { file: file.into(), line, why });
    let signers = lines.map(signer).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = signers.first() else { return Err(NoKeys::Empty(file.into())) };
    match signers.iter().find(|it| it.id().name != first.id().name) {
        None => Ok(signers),
        Some(other) => {
            Err(NoKeys::Origins { file: file.into(), one: first.id().name.clone(), other: other.id().name.clone() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, seed: u8) -> String {
        Signer::of_seed(name, &[seed; 32]).unwrap().text(&[seed; 32])
    }

    #[test]
    fn a_key_in_each_line_and_what_is_empty_or_said_besides() {
        let text = format!("# until March\n{}\n\n{}\n", line("log", 1), line("log", 2));
        assert_eq!(parse("keys", &text).unwrap().len(), 2);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_nothing_of_the_key() {
        let refused = |text: &str| parse("keys", text).unwrap_err().to_string();
        assert_eq!(refused("# none\n"), "keys holds no key; make one with `werkbank audit key`");
        let cut = format!("\n{}", &line("log", 1)[..40]);
        assert!(refused(&cut).starts_with("line 2 of keys: a private key is written PRIVATE+KEY+<name>+<id>+<key>"));
        let two = format!("{}\n{}", line("log", 1), line("another", 2));
        assert_eq!(
            refused(&two),
            "keys has keys of log and of another: all keys of a log have its origin as their name"
        );
        assert!(read(Path::new("/nowhere")).unwrap_err().to_string().contains("mount the Secret"));
    }
}
