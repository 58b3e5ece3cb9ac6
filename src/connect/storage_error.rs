//! What a store's refusal means, without repeating what it said.
//!
//! Stores put access key ids and strings to sign into their error bodies, so only
//! S3's error *code* (`NoSuchBucket`, a closed vocabulary of letters) is taken over.

use std::error::Error;

use crate::api::artifact::ArtifactScheme;

/// Why a store gave nothing, by what a person has to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// No such bucket, object or file.
    #[error("{0}")]
    NotFound(String),
    /// Credentials missing, wrong or without the right.
    #[error("{0}")]
    Denied(String),
    /// No answer in time, or an error of the store's own.
    #[error("{0}")]
    Unreachable(String),
    /// The configuration, or a name in the store, is not usable.
    #[error("{0}")]
    Unusable(String),
    /// Other bytes than those that were listed a moment ago.
    #[error("{0}")]
    Changed(String),
    /// More than the caller allows.
    #[error("{0}")]
    TooLarge(String),
}

/// Codes that stores send, with a 400 among others, and that are about credentials.
const CREDENTIAL_CODES: [&str; 10] = [
    "AccessDenied",
    "AuthenticationFailed",
    "AuthorizationFailure",
    "AuthorizationPermissionMismatch",
    "InvalidAuthenticationInfo",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "AuthorizationHeaderMalformed",
];

/// Listing a bucket that is not there gives no `NotFound` of `object_store`'s, only the code.
const MISSING_CODES: [&str; 4] = ["NoSuchBucket", "NoSuchKey", "ContainerNotFound", "BlobNotFound"];

impl StorageError {
    /// Translates an object store's error about `what` (a URI without credentials).
    #[must_use]
    pub fn of_store(error: &object_store::Error, what: &str) -> Self {
        let code = error_code(&error.to_string());
        let told = code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
        let credentials = credentials(what);
        let denied = format!(
            "the store refuses access to {what}{told}; check the {credentials} credentials of the pod and their right to read and list it"
        );
        let missing = format!("{what} does not exist{told}; correct the URI or upload it");
        let is_one_of = |codes: &[&str]| code.as_deref().is_some_and(|code| codes.contains(&code));
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound(missing),
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                Self::Denied(denied)
            }
            object_store::Error::InvalidPath { .. } => Self::Unusable(format!(
                "below {what} there is an object whose key is no path (`..`, `//` or control characters); rename or remove it"
            )),
            // Its own reading on after an interruption asks for the version that it began with.
            object_store::Error::Precondition { .. } => Self::changed(what),
            _ if is_one_of(&MISSING_CODES) => Self::NotFound(missing),
            _ if is_one_of(&CREDENTIAL_CODES) => Self::Denied(denied),
            _ => Self::Unreachable(format!(
                "the store of {what} does not answer as it should{told}: {}; check its address among {credentials}, and the network",
                root_cause(error)
            )),
        }
    }

    /// Translates a file system's error about `what`.
    #[must_use]
    pub fn of_io(error: &std::io::Error, what: &str) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                Self::NotFound(format!("{what} does not exist; correct the URI or mount the volume that holds it"))
            }
            std::io::ErrorKind::PermissionDenied => {
                Self::Denied(format!("{what} may not be read; give the pod's user the right to read it"))
            }
            kind => Self::Unreachable(format!("{what} cannot be read: {kind}; check the volume")),
        }
    }

    /// Another version than the one that was listed.
    #[must_use]
    pub fn changed(what: &str) -> Self {
        Self::Changed(format!("{what} was written to while it was read; read it again when that is over"))
    }

    /// No answer within the time allowed.
    #[must_use]
    pub fn timeout(what: &str, seconds: u64) -> Self {
        Self::Unreachable(format!(
            "the store of {what} did not answer within {seconds} s; check its address among {}, and the network",
            credentials(what)
        ))
    }
}

/// The variables that give access to what a message is about.
fn credentials(what: &str) -> &'static str {
    let is_in = |it: &ArtifactScheme| what.contains(&format!("{}://", it.as_str()));
    ArtifactScheme::ALL.into_iter().find(is_in).unwrap_or(ArtifactScheme::S3).credentials()
}

/// `<Code>NoSuchBucket</Code>` → `NoSuchBucket`.
fn error_code(text: &str) -> Option<String> {
    let (code, _) = text.split_once("<Code>")?.1.split_once("</Code>")?;
    let fits = (1..=60).contains(&code.len()) && code.chars().all(|c| c.is_ascii_alphanumeric());
    fits.then(|| code.to_owned())
}

/// The innermost error if it is one of the operating system, else a plain word.
fn root_cause(error: &object_store::Error) -> String {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut found = "an error of the store".to_owned();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            found = io.kind().to_string();
        } else if let Some(http) = error.downcast_ref::<reqwest::Error>() {
            if http.is_timeout() {
                found = "timed out".to_owned();
            } else if http.is_connect() {
                found = "cannot connect".to_owned();
            }
        }
        cause = error.source();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(body: &'static str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: body.into() }
    }

    #[test]
    fn a_refusal_names_the_code_and_nothing_else_of_the_answer() {
        let body = "400: <Error><Code>InvalidAccessKeyId</Code><AWSAccessKeyId>AKIASECRET</AWSAccessKeyId></Error>";
        let error = StorageError::of_store(&generic(body), "s3://models/x");
        assert!(matches!(&error, StorageError::Denied(message) if message.contains("InvalidAccessKeyId")), "{error:?}");
        assert!(!error.to_string().contains("AKIASECRET"));
    }

    /// It says nothing of the artifact.
    #[test]
    fn whoever_gives_no_credentials_is_not_the_store() {
        let body =
            "Error performing GET http://169.254.169.254/latest/meta-data/iam/security-credentials/: 404 Not Found";
        let error = StorageError::of_store(&generic(body), "s3://models/x");
        assert!(matches!(error, StorageError::Unreachable(_)), "{error:?}");
    }

    #[test]
    fn an_error_of_the_stores_own_is_unreachable_whatever_it_says() {
        let error = StorageError::of_store(&generic("500: <Code>sig=abc&x</Code> https://a/?sig=abc"), "s3://models/x");
        assert!(matches!(&error, StorageError::Unreachable(message) if !message.contains("sig=")), "{error:?}");
    }
}
