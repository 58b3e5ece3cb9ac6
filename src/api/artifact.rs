//! Where a model's bytes are: `spec.artifact.uri`, and where they end up in the pod.
//!
//! One grammar for the entry, the operator and the init container, stricter than
//! a URL's on purpose. A URI is written into objects, logs and environment
//! variables, so it must hold no credential (no userinfo, no query, hence no
//! signed URL); and it becomes a path, so it must mean exactly one (no `..`, no
//! empty segment, no percent encoding that one reader decodes and another does
//! not). A path that ends in `/` is a directory; without the slash it is the
//! file of that name, or the directory if there is no such file.

use std::fmt;
use std::str::FromStr;

/// The longest URI accepted; S3 keys end at 1024 bytes.
const MAX_URI_BYTES: usize = 1200;

/// The name of the staging directory of `werkbank fetch`, inside its target directory.
pub const STAGING_DIR: &str = ".werkbank-fetch";

/// How an artifact is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArtifactScheme {
    /// `file:///dir/model.json`: a path that the pod sees, e.g. a mounted volume.
    File,
    /// `s3://bucket/key`: any S3-compatible store.
    S3,
    /// `gs://bucket/key`: Google Cloud Storage.
    Gcs,
    /// `az://container/key`: Azure Blob Storage; the account is in the environment.
    Azure,
    /// `https://host/path/model.json`: one file of a web server.
    Https,
}

impl ArtifactScheme {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::File, Self::S3, Self::Gcs, Self::Azure, Self::Https];

    /// What stands before `://`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
            Self::Https => "https",
        }
    }

    /// Names of the environment variables that give access.
    #[must_use]
    pub fn credentials(self) -> &'static str {
        match self {
            Self::File | Self::S3 => "AWS_*",
            Self::Gcs => "GOOGLE_*",
            Self::Azure => "AZURE_*",
            Self::Https => "HTTPS_AUTHORIZATION",
        }
    }
}

/// A valid artifact URI, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactUri {
    scheme: ArtifactScheme,
    bucket: String,
    path: String,
    directory: bool,
}

/// Why a text is no artifact URI, and how to write one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactUriError {
    /// Nothing, or no `scheme://`.
    #[error("`{0}` is not a URI; write s3://bucket/path, gs://, az://, https:// or file:///path")]
    NotAUri(String),
    /// A scheme nobody here can open. Only the scheme is repeated: the rest may hold a secret.
    #[error(
        "scheme `{0}` is not supported; use s3:// (any S3-compatible store), gs://, az://, https:// or file:// (a path in the pod)"
    )]
    UnknownScheme(String),
    /// `user:password@`.
    #[error(
        "the URI holds a user name or password; remove everything up to `@` and give credentials by environment variables (artifact.secretRef)"
    )]
    Userinfo,
    /// `?…` or `#…`.
    #[error(
        "the URI holds a query or fragment; give the plain path, not a signed URL, and credentials by environment variables (artifact.secretRef)"
    )]
    QueryOrFragment,
    /// No path, or a whole bucket.
    #[error("the URI names no file or directory; add a path after the bucket, as in s3://bucket/path")]
    NoPath,
    /// The part between `//` and `/` fits the scheme not.
    #[error("`{0}` is not a bucket name; use letters, digits, `.`, `-` and `_`")]
    Bucket(String),
    /// The part between `//` and `/` is no host.
    #[error("`{0}` is not a host; use letters, digits, `.` and `-`, and perhaps `:` and a port")]
    Host(String),
    /// `https://host/directory/`.
    #[error("a web server lists no directory; name one file, without the trailing `/`")]
    HttpsDirectory,
    /// `file://host/…`.
    #[error("file URIs name no host; write file:/// with three slashes and the absolute path")]
    FileHost,
    /// `..`, empty segments, control characters and the like.
    #[error("the path is not usable: {0}; rename the object or directory")]
    Path(#[from] PathError),
    /// Longer than any store allows.
    #[error("the URI is longer than {MAX_URI_BYTES} bytes; shorten the path")]
    TooLong,
}

/// Why a relative path cannot be one of an artifact's files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// `a//b`, a leading or a trailing slash.
    #[error("it has an empty segment")]
    EmptySegment,
    /// `.` or `..`.
    #[error("it has a segment `.` or `..`")]
    DotSegment,
    /// Would be read differently by different tools.
    #[error("it holds a control character, a backslash or a percent sign")]
    Character,
    /// The staging directory of `werkbank fetch`.
    #[error("it has a segment `{STAGING_DIR}`, which `werkbank fetch` uses itself")]
    Reserved,
    /// Longer than file systems (255 a segment) or stores (1024) allow.
    #[error("it is too long (255 bytes a segment, 1024 in all)")]
    TooLong,
}

/// Accepts a path relative to an artifact's root: what may be joined to a
/// directory without leaving it, and stands on one line of a digest list.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_relative_path(path: &str) -> Result<(), PathError> {
    if path.len() > 1024 {
        return Err(PathError::TooLong);
    }
    if path.chars().any(|c| c.is_control() || c == '\\' || c == '%') {
        return Err(PathError::Character);
    }
    for segment in path.split('/') {
        match segment {
            "" => return Err(PathError::EmptySegment),
            "." | ".." => return Err(PathError::DotSegment),
            STAGING_DIR => return Err(PathError::Reserved),
            long if long.len() > 255 => return Err(PathError::TooLong),
            _ => {}
        }
    }
    Ok(())
}

impl ArtifactUri {
    /// How it is reached.
    #[must_use]
    pub fn scheme(&self) -> ArtifactScheme {
        self.scheme
    }

    /// The bucket, the container, or the host with its port; empty for `file://`.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The path without leading and trailing slash: the key or prefix in the bucket, or
    /// the absolute file path less its first slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// It ended in `/`: certainly a directory. Without the slash it may still be one.
    #[must_use]
    pub fn is_marked_directory(&self) -> bool {
        self.directory
    }

    /// The last path segment: what the file or directory is called in the pod.
    #[must_use]
    pub fn basename(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

impl FromStr for ArtifactUri {
    type Err = ArtifactUriError;

    fn from_str(text: &str) -> Result<Self, ArtifactUriError> {
        if text.len() > MAX_URI_BYTES {
            return Err(ArtifactUriError::TooLong);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(ArtifactUriError::NotAUri(text.chars().filter(|c| !c.is_control()).take(40).collect()));
        };
        let Some(scheme) = ArtifactScheme::ALL.into_iter().find(|it| it.as_str() == scheme) else {
            let shown = scheme.chars().filter(char::is_ascii_alphanumeric).take(20).collect();
            return Err(ArtifactUriError::UnknownScheme(shown));
        };
        if rest.contains(['?', '#']) {
            return Err(ArtifactUriError::QueryOrFragment);
        }
        let (authority, path) = rest.split_once('/').ok_or(ArtifactUriError::NoPath)?;
        if authority.contains('@') {
            return Err(ArtifactUriError::Userinfo);
        }
        check_authority(scheme, authority)?;
        let directory = path.ends_with('/');
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.is_empty() {
            return Err(ArtifactUriError::NoPath);
        }
        check_relative_path(path)?;
        if directory && scheme == ArtifactScheme::Https {
            return Err(ArtifactUriError::HttpsDirectory);
        }
        Ok(Self { scheme, bucket: authority.to_owned(), path: path.to_owned(), directory })
    }
}

fn check_authority(scheme: ArtifactScheme, authority: &str) -> Result<(), ArtifactUriError> {
    match scheme {
        ArtifactScheme::File if authority.is_empty() => Ok(()),
        ArtifactScheme::File => Err(ArtifactUriError::FileHost),
        ArtifactScheme::Https => {
            let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
            let is_name = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '-');
            let fits = (1..=253).contains(&host.len()) && host.chars().all(is_name) && !host.starts_with(['.', '-']);
            let fits = fits && port.bytes().all(|it| it.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|it| it > 0);
            if fits { Ok(()) } else { Err(ArtifactUriError::Host(authority.chars().take(40).collect())) }
        }
        ArtifactScheme::S3 | ArtifactScheme::Gcs | ArtifactScheme::Azure => {
            let fits = (1..=255).contains(&authority.len())
                && authority.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
                && !authority.starts_with('.');
            if fits { Ok(()) } else { Err(ArtifactUriError::Bucket(authority.chars().take(40).collect())) }
        }
    }
}

impl fmt::Display for ArtifactUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.as_str();
        let slash = if self.directory { "/" } else { "" };
        write!(f, "{scheme}://{}/{}{slash}", self.bucket, self.path)
    }
}

/// Where `werkbank fetch --to dir` leaves the artifact, and so the value of
/// `WERKBANK_MODEL_PATH`: `dir/<last segment of the URI>`, a file or a directory.
#[must_use]
pub fn model_path(uri: &ArtifactUri, dir: &str) -> String {
    format!("{}/{}", dir.trim_end_matches('/'), uri.basename())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<ArtifactUri, ArtifactUriError> {
        text.parse()
    }

    #[test]
    fn a_file_in_a_bucket_and_one_on_a_volume_are_taken_apart() {
        let uri = parse("s3://models/churn/2026-11/model.json").unwrap();
        assert_eq!((uri.bucket(), uri.path(), uri.basename()), ("models", "churn/2026-11/model.json", "model.json"));
        let uri = parse("file:///data/churn/").unwrap();
        assert_eq!((uri.bucket(), uri.path(), uri.is_marked_directory()), ("", "data/churn", true));
    }

    #[test]
    fn the_model_path_is_the_last_segment_below_the_directory() {
        assert_eq!(model_path(&parse("s3://models/churn/model.json").unwrap(), "/model"), "/model/model.json");
        assert_eq!(model_path(&parse("s3://models/churn/v1/").unwrap(), "/model/"), "/model/v1");
    }

    #[test]
    fn what_could_hold_a_secret_or_leave_its_place_is_refused() {
        for (text, error) in [
            ("s3://AKIA:secret@models/x", ArtifactUriError::Userinfo),
            ("s3://models/x?X-Amz-Signature=abc", ArtifactUriError::QueryOrFragment),
            ("s3://models/x#part", ArtifactUriError::QueryOrFragment),
            ("https://jane:secret@models.example.com/x", ArtifactUriError::Userinfo),
            ("https://models.example.com/x?token=abc", ArtifactUriError::QueryOrFragment),
            ("https://models.example.com/churn/", ArtifactUriError::HttpsDirectory),
            ("https://models.example.com:0/x", ArtifactUriError::Host("models.example.com:0".into())),
            ("https://[::1]/x", ArtifactUriError::Host("[::1]".into())),
            ("https:///x", ArtifactUriError::Host("".into())),
            ("http://models.example.com/x", ArtifactUriError::UnknownScheme("http".into())),
            ("s3://models", ArtifactUriError::NoPath),
            ("s3://models/", ArtifactUriError::NoPath),
            ("file://host/etc/passwd", ArtifactUriError::FileHost),
            ("file:///data/../etc/passwd", PathError::DotSegment.into()),
            ("s3://models//x", PathError::EmptySegment.into()),
            ("s3://models/%2e%2e/x", PathError::Character.into()),
            ("s3://models/.werkbank-fetch", PathError::Reserved.into()),
            ("model.json", ArtifactUriError::NotAUri("model.json".into())),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn an_unknown_scheme_is_answered_with_those_that_work() {
        let message = parse("ftp://models/x").unwrap_err().to_string();
        assert!(message.contains("`ftp`") && message.contains("s3://") && message.contains("file://"), "{message}");
    }

    proptest! {
        #[test]
        fn what_parses_prints_as_it_was_written_and_stays_below_its_directory(text in "(s3|file|https|gs|az)://[a-z@:]{0,5}/[a-z./%?#\\\\ ]{0,20}") {
            if let Ok(uri) = parse(&text) {
                prop_assert_eq!(uri.to_string(), text);
                let path = model_path(&uri, "/model");
                prop_assert!(path.starts_with("/model/") && path.split('/').all(|segment| segment != ".."));
                prop_assert_eq!(path.matches('/').count(), 2);
            }
        }
    }
}
