//! `werkbank audit key`: a new key, as the Secret that the operator is given.

use clap::Args;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

use super::End;
use crate::audit::tlog::note::Signer;

#[derive(Debug, Args)]
pub(super) struct KeyArguments {
    /// Which log: the key's name and the checkpoint's first line, e.g. werkbank.example.org/production; a log has one for ever
    origin: String,
    /// Name of the Secret
    #[arg(long, default_value = "werkbank-audit-key")]
    secret: String,
}

/// The Secret on stdout; the public key, which is none, on stderr, too.
pub(super) fn run(arguments: &KeyArguments) -> Result<String, End> {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).map_err(|_| End::Unread("this machine gives no random bytes".into()))?;
    let signer = Signer::of_seed(&arguments.origin, &seed).ok_or_else(|| {
        End::Arguments(format!("{:?} is no origin: write a name without spaces and `+`", arguments.origin))
    })?;
    let public = signer.verifier();
    eprintln!(
        "The public key, for `werkbank audit verify --key` and whoever checks the log:\n{public}\nKeep a copy of the private one: without it the log cannot go on."
    );
    Ok(secret(&arguments.secret, &signer.text(&seed), &public.to_string()))
}

fn secret(name: &str, private: &str, public: &str) -> String {
    // JSON's strings are YAML's, whatever is in them.
    let (name, public) = (json!(name), json!(public));
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  annotations:\n    werkbank.dev/audit-public-key: {public}\n\
         stringData:\n  keys: |\n    {private}\n"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::audit::tlog::note::Verifier;

    #[test]
    fn the_secret_has_the_key_and_says_the_public_one() {
        let arguments = KeyArguments { origin: "werkbank.example.org/production".into(), secret: "audit".into() };
        let [one, another] = [run(&arguments).unwrap(), run(&arguments).unwrap()];
        assert_ne!(one, another);
        let secret: Value = serde_yaml::from_str(&one).unwrap();
        let signer = Signer::parse(secret["stringData"]["keys"].as_str().unwrap()).unwrap();
        let public = secret["metadata"]["annotations"]["werkbank.dev/audit-public-key"].as_str().unwrap();
        assert_eq!(Verifier::parse(public), Ok(signer.verifier()));
        assert_eq!((secret["kind"].as_str(), secret["metadata"]["name"].as_str()), (Some("Secret"), Some("audit")));
    }

    #[test]
    fn a_name_that_is_no_origin_is_refused() {
        let arguments = KeyArguments { origin: "two words".into(), secret: "audit".into() };
        assert!(matches!(run(&arguments), Err(End::Arguments(_))));
    }
}
