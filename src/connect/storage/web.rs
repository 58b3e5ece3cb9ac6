//! One file of a web server, over HTTPS.
//!
//! Whoever registers an entry names the address, and a pod in the cluster calls it: no address that gives credentials to whoever
//! asks ([`Callable`]), neither at first nor after a redirect; HTTPS all the way; at most [`MOST_REDIRECTS`], because what keeps files
//! often hands out an address of its storage. No proxy: it would look names up by itself. `HTTPS_AUTHORIZATION` is the `Authorization`
//! header for the host that the entry names, and for no other.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::stream::{BoxStream, TryStreamExt};
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Method, Response, StatusCode};

use super::{ArtifactFile, Listed, Patience, StorageError, Version, is_as_listed};
use crate::api::artifact::ArtifactUri;
use crate::connect::address::{Callable, NeverCalled, never_called};

/// Redirects that are followed.
const MOST_REDIRECTS: usize = 5;
/// Of whom the address is called. Loopback is the pod's own.
const CALLABLE: Callable = Callable { loopback: true };

/// The file.
#[derive(Debug)]
pub(super) struct WebFile {
    client: Client,
    what: String,
    retries: usize,
}

impl WebFile {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// `HTTPS_AUTHORIZATION` is no header, or the address is one that is never called.
    pub(super) fn open(uri: &ArtifactUri, patience: Patience) -> Result<Self, StorageError> {
        let what = uri.to_string();
        // Nobody looks up what is an address already.
        let host = url::Url::parse(&what).ok().and_then(|it| it.host().map(|host| CALLABLE.check_literal(&host)));
        if let Some(Err(never)) = host {
            return Err(StorageError::Unusable(leads_nowhere(&what, never)));
        }
        let mut headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
        if let Ok(authorization) = std::env::var("HTTPS_AUTHORIZATION") {
            let unfit =
                |_| StorageError::Unusable("HTTPS_AUTHORIZATION is no header; write e.g. Bearer and a token".into());
            let mut value = HeaderValue::from_str(authorization.trim()).map_err(unfit)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = Client::builder()
            .https_only(true)
            .no_proxy()
            // It would tell one host the address, with its signature, of another.
            .referer(false)
            .dns_resolver(std::sync::Arc::new(CALLABLE))
            .redirect(Policy::custom(follow))
            .connect_timeout(Duration::from_secs(5))
            .default_headers(headers)
            .build()
            .map_err(|_| {
                StorageError::Unusable("no HTTPS is possible here; see the certificates of the image".into())
            })?;
        Ok(Self { client, what, retries: patience.retries })
    }

    /// What is there.
    ///
    /// # Errors
    /// As the server says.
    pub(super) async fn head(&self) -> Result<Listed, StorageError> {
        let answer = match self.ask(Method::HEAD).await {
            // Not every server knows what that is, and a signed address is signed for another question. Of the other answer nothing is
            // read but its head.
            Ok(answer) if answer.status().is_client_error() || answer.status() == StatusCode::NOT_IMPLEMENTED => {
                self.ask(Method::GET).await?
            }
            other => other?,
        };
        self.check(&answer)?;
        let version = match (text(&answer, &ETAG), text(&answer, &LAST_MODIFIED)) {
            (Some(tag), _) => Version::Tag(tag),
            (None, Some(at)) => Version::Written(at),
            (None, None) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Version::Written(format!("unknown, {}", now.as_nanos()))
            }
        };
        let length =
            answer.headers().get(reqwest::header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
        Ok(Listed { size: length.unwrap_or(0), version })
    }

    /// Its bytes.
    ///
    /// # Errors
    /// As the server says; later pieces bring their own errors.
    pub(super) async fn read(
        &self,
        file: &ArtifactFile,
    ) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, StorageError> {
        let answer = self.ask(Method::GET).await?;
        self.check(&answer)?;
        if !is_as_listed(file, text(&answer, &ETAG).as_deref()) {
            return Err(StorageError::changed(&self.what));
        }
        let what = self.what.clone();
        Ok(Box::pin(answer.bytes_stream().map_err(move |error| unanswered(&error, &what))))
    }

    /// Asks, and again if that may help.
    async fn ask(&self, method: Method) -> Result<Response, StorageError> {
        let mut pause = Duration::from_millis(200);
        for _ in 0..self.retries {
            match self.client.request(method.clone(), &self.what).send().await {
                Ok(answer) if !answer.status().is_server_error() || answer.status() == StatusCode::NOT_IMPLEMENTED => {
                    return Ok(answer);
                }
                Err(error) if error.is_redirect() || never_called(&error).is_some() => {
                    return Err(unanswered(&error, &self.what));
                }
                _ => tokio::time::sleep(pause).await,
            }
            pause = pause.saturating_mul(2);
        }
        self.client.request(method, &self.what).send().await.map_err(|error| unanswered(&error, &self.what))
    }

    fn check(&self, answer: &Response) -> Result<(), StorageError> {
        let (what, status) = (&self.what, answer.status());
        Err(match status.as_u16() {
            200..=299 => return Ok(()),
            404 | 410 => {
                StorageError::NotFound(format!("{what} does not exist ({status}); correct the URI or upload it"))
            }
            401 | 403 => StorageError::Denied(format!(
                "the server refuses access to {what} ({status}); check HTTPS_AUTHORIZATION, a key of the Secret of artifact.secretRef"
            )),
            _ => StorageError::Unreachable(format!("the server of {what} does not answer as it should ({status})")),
        })
    }
}

fn text(answer: &Response, name: &HeaderName) -> Option<String> {
    answer.headers().get(name)?.to_str().ok().map(Into::into)
}

/// Whether a redirect is followed.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    if attempt.previous().len() > MOST_REDIRECTS {
        return attempt.error("it redirects in circles, or too often");
    }
    if attempt.url().scheme() != "https" {
        return attempt.error("it redirects to an address that is not https://");
    }
    match attempt.url().host().map(|host| CALLABLE.check_literal(&host)) {
        Some(Err(never)) => attempt.error(never),
        _ => attempt.follow(),
    }
}

fn leads_nowhere(what: &str, never: NeverCalled) -> String {
    format!("{what} leads to where nothing may be fetched from: {never}")
}

/// No address is repeated that a server has redirected to: it may hold a signature.
fn unanswered(error: &reqwest::Error, what: &str) -> StorageError {
    if let Some(never) = never_called(error) {
        return StorageError::Unusable(leads_nowhere(what, never));
    }
    if error.is_redirect() {
        let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        return StorageError::Unusable(format!("{what} is not followed: {why}; write the final address into the URI"));
    }
    let why = if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "cannot connect"
    } else {
        "the answer broke off"
    };
    StorageError::Unreachable(format!(
        "the server of {what} does not answer: {why}; check the host, its certificate and the network"
    ))
}
