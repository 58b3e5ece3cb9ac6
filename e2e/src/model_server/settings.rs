//! What the environment sets, read once at the start.
//!
//! Every variable has either a documented default or none; a value that does not
//! parse ends the process with a sentence instead of being replaced by a default.
//!
//! | variable | default | |
//! |---|---|---|
//! | `WERKBANK_MODEL_PATH` | none | artifact: a file, or a directory that holds `model.json` |
//! | `WERKBANK_REVISION` | `unknown` | sent as `x-werkbank-revision` on every answer |
//! | `HOST`, `PORT` | `0.0.0.0`, `8080` | where to listen |
//! | `DRAIN_SECONDS` | `2` | how long to go on serving after SIGTERM, no longer ready |
//! | `FAULT_ERROR_RATE` | `0` | **tests only**: this share of inferences answers 500 |
//! | `FAULT_FILE` | none | **tests only**: the error rate holds only while this file exists |
//! | `FAULT_LATENCY_MS` | `0` | **tests only**: every inference waits this long first |

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

/// The server's settings.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) model_path: PathBuf,
    pub(crate) revision: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) drain: Duration,
    pub(crate) fault: Fault,
}

/// Faults that tests inject to build a revision that is broken or slow.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fault {
    /// Share of inferences, 0 to 1, that answer 500.
    pub(crate) error_rate: f64,
    /// Only while this file exists; so a revision that served well breaks when a test says so.
    pub(crate) file: Option<PathBuf>,
    /// Wait before every inference.
    pub(crate) latency: Duration,
}

impl Settings {
    /// Reads the settings from `var`, which is the environment outside tests.
    pub(crate) fn from_env(var: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let Some(model_path) = var("WERKBANK_MODEL_PATH").filter(|path| !path.is_empty()) else {
            bail!("WERKBANK_MODEL_PATH is not set; point it at a model.json or the directory that holds one");
        };
        let drain: f64 = parse(&var, "DRAIN_SECONDS", "2", "a number of seconds such as 2")?;
        let latency: u64 = parse(&var, "FAULT_LATENCY_MS", "0", "a whole number of milliseconds")?;
        let error_rate: f64 = parse(&var, "FAULT_ERROR_RATE", "0", "a share from 0 to 1")?;
        ensure!((0.0..=1.0).contains(&error_rate), "FAULT_ERROR_RATE={error_rate} is not a share from 0 to 1");
        ensure!((0.0..=3600.0).contains(&drain), "DRAIN_SECONDS={drain} is not between 0 and 3600");
        Ok(Self {
            model_path: model_path.into(),
            revision: var("WERKBANK_REVISION").filter(|r| !r.is_empty()).unwrap_or_else(|| "unknown".into()),
            host: var("HOST").unwrap_or_else(|| "0.0.0.0".into()),
            port: parse(&var, "PORT", "8080", "a port number such as 8080")?,
            drain: Duration::from_secs_f64(drain),
            fault: Fault {
                error_rate,
                file: var("FAULT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from),
                latency: Duration::from_millis(latency),
            },
        })
    }
}

fn parse<T: FromStr>(
    var: impl Fn(&str) -> Option<String>,
    name: &str,
    default: &str,
    wanted: &str,
) -> anyhow::Result<T> {
    let text = var(name).unwrap_or_else(|| default.to_owned());
    text.parse().ok().with_context(|| format!("{name}={text} is not {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> anyhow::Result<Settings> {
        let vars: Vec<(String, String)> = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings::from_env(|name| vars.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
    }

    #[test]
    fn only_the_model_path_is_required() {
        let settings = read(&[("WERKBANK_MODEL_PATH", "/models")]).unwrap();
        assert_eq!((settings.port, settings.drain), (8080, Duration::from_secs(2)));
        assert_eq!(settings.fault, Fault::default());
        assert!(read(&[]).unwrap_err().to_string().starts_with("WERKBANK_MODEL_PATH is not set"));
    }

    #[test]
    fn a_value_that_does_not_parse_is_refused_not_defaulted() {
        for (name, value) in [
            ("PORT", "http"),
            ("PORT", "70000"),
            ("DRAIN_SECONDS", "-1"),
            ("DRAIN_SECONDS", "NaN"),
            ("FAULT_ERROR_RATE", "5%"),
            ("FAULT_ERROR_RATE", "1.5"),
            ("FAULT_LATENCY_MS", "1.5"),
        ] {
            let error = read(&[("WERKBANK_MODEL_PATH", "/models"), (name, value)]).unwrap_err();
            assert!(error.to_string().starts_with(&format!("{name}={value} is not")), "{error}");
        }
    }
}
