//! Requests to whom a user names, answered with JSON that holds one number.
//!
//! The user chooses address, path and what is sent, so everything else is bounded: which addresses may be called
//! (see [`address`]), no redirect, no proxy (it would look the name up by itself), 256 KiB, a few seconds, and how many
//! requests are under way at the same time. Of the answer only the number is kept, and messages repeat nothing of it.
//! A host that does not answer is soon not waited for any more, and takes no places from others meanwhile.

use std::sync::Arc;

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use url::Url;

use super::address::{self, Callable};
use super::places::{Failure, Places};
use crate::api::model_deployment::HttpMethod;
use crate::decide::Measurement;
use crate::decide::model_deployment::question::HttpQuestion;
use crate::text::json_path::Found;

/// The largest answer read.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Requests under way at the same time: what bounds the memory for answers.
const AT_ONCE: usize = 32;
/// Of them to one host.
const AT_ONCE_TO_ONE: usize = 8;

/// Asks hosts that users name.
#[derive(Debug)]
pub struct HttpSource {
    client: reqwest::Client,
    callable: Callable,
    places: Places,
}

impl HttpSource {
    /// Asks addresses on loopback only if `loopback` says so.
    ///
    /// # Errors
    /// The TLS library does not start.
    pub fn new(loopback: bool) -> Result<Self, reqwest::Error> {
        let callable = Callable { loopback };
        Ok(Self { client: client(callable)?, callable, places: Places::new(AT_ONCE, AT_ONCE_TO_ONE) })
    }

    /// Asks, and reads the number from the answer.
    ///
    /// `own` are the question's headers, with the values of those that are secrets; `namespace` is whose question it is.
    pub async fn ask(&self, namespace: &str, question: &HttpQuestion, own: HeaderMap) -> Measurement {
        if let Err(never) = question.url.host().map_or(Ok(()), |it| self.callable.check_literal(&it)) {
            return Measurement::Refused(format!("{never}; correct http.url"));
        }
        let host = host(&question.url);
        match self.places.call(namespace, &host, self.answer(question, own, &host)).await {
            Ok(body) => read(question, &body),
            Err(measurement) => measurement,
        }
    }

    async fn answer(&self, question: &HttpQuestion, own: HeaderMap, host: &str) -> Result<Vec<u8>, Failure> {
        let request = match question.method {
            HttpMethod::Get => self.client.get(question.url.clone()),
            HttpMethod::Post => self.client.post(question.url.clone()),
        };
        let request = request.headers(headers(question, own)).timeout(question.timeout);
        let request = match &question.body {
            Some(body) => request.body(body.clone()),
            None => request,
        };
        let mut response = request.send().await.map_err(|error| explain(&error, question, host))?;
        judge_status(response.status(), host)?;
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| explain(&error, question, host))? {
            if body.len() + piece.len() > MAX_ANSWER_BYTES {
                let why = format!("{host} answers with more than 256 KiB; ask it for less");
                return Err(Failure::Answered(Measurement::Refused(why)));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

/// Follows no redirect, uses no proxy, and calls what may be called.
///
/// # Errors
/// The TLS library does not start.
pub(super) fn client(callable: Callable) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .dns_resolver(Arc::new(callable))
        .pool_max_idle_per_host(1)
        .user_agent(concat!("werkbank/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Host and port: path and query may tell more than a status should.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn headers(question: &HttpQuestion, own: HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if question.body.is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.extend(own);
    headers
}

/// What asking again may change is an outage; what somebody has to correct is not.
fn judge_status(status: StatusCode, host: &str) -> Result<(), Failure> {
    let answered = |measurement| Err(Failure::Answered(measurement));
    match status.as_u16() {
        204 => answered(Measurement::NoData(format!("{host} has no content ({status})"))),
        200..300 => Ok(()),
        300..400 => answered(Measurement::Refused(format!(
            "{host} redirects elsewhere ({status}), which is not followed; write the final address into http.url"
        ))),
        // Later, perhaps.
        408 | 425 | 429 => answered(Measurement::ProviderError(format!("{host} has no answer now ({status})"))),
        401 | 403 => answered(Measurement::Refused(format!(
            "{host} does not let the request in ({status}); correct http.headers, or what it may do there"
        ))),
        400..500 => answered(Measurement::Refused(format!(
            "{host} refuses the request ({status}); correct http.url or http.body"
        ))),
        _ => answered(Measurement::ProviderError(format!("{host} fails ({status}); see its logs"))),
    }
}

fn read(question: &HttpQuestion, body: &[u8]) -> Measurement {
    let (written, path) = &question.path;
    match path.find(body) {
        Ok(Found::Number(number)) => Measurement::of(number),
        Ok(Found::Nothing) => Measurement::NoData(format!("the answer has nothing at {written}")),
        Ok(Found::Other(kind)) => {
            Measurement::Refused(format!("the answer has {kind} at {written}; correct http.jsonPath"))
        }
        Err(error) => Measurement::Refused(format!(
            "{} does not answer with JSON (line {}, column {}); check http.url",
            host(&question.url),
            error.line(),
            error.column()
        )),
    }
}

fn explain(error: &reqwest::Error, question: &HttpQuestion, host: &str) -> Failure {
    if let Some(never) = address::never_called(error) {
        return Failure::Answered(Measurement::Refused(format!("{host}: {never}; correct http.url")));
    }
    let what = if error.is_timeout() {
        format!("did not answer within {:?}", question.timeout)
    } else if error.is_connect() {
        "cannot be connected to".to_owned()
    } else {
        "broke off its answer".to_owned()
    };
    let why = format!("{host} {what}; check http.url, that it runs, its certificate, and the network policies");
    if error.is_timeout() || error.is_connect() {
        Failure::Silent(why)
    } else {
        Failure::Answered(Measurement::ProviderError(why))
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
