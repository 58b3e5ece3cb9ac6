//! What is asked of whom: the template of a metric, and the question that comes of it.
//!
//! A template is tried out when it is read, with stand-ins for the values, so that a mistake in it is
//! told before anything is measured.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use super::measure::{Part, VARIABLES};
use crate::api::model_deployment::{Count, HttpHeader, HttpMethod, HttpQuery, Metric, PrometheusQuery};
use crate::text::json_path::JsonPath;
use crate::text::query::{self, Language, TemplateError, render_in};

/// How long an HTTP answer is waited for, unless said otherwise.
const HTTP_TIMEOUT: Duration = Duration::from_secs(5);
/// And at most: who waits holds one of a few slots.
const LONGEST_HTTP_TIMEOUT: Duration = Duration::from_secs(10);
/// Headers that say how the request is sent, which is not the user's to say.
const OUR_HEADERS: [&str; 9] =
    ["host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect"];

/// A question with variables in it.
#[derive(Debug, Clone, PartialEq)]
pub enum Template {
    /// PromQL.
    Prometheus(String),
    /// A request. Its timeout is one.
    Http(Box<HttpQuery>),
}

/// A question, all variables filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// PromQL, for the operator's Prometheus.
    Prometheus(String),
    /// A request, for whom the user names.
    Http(Box<HttpQuestion>),
}

/// A request and where the number is in its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpQuestion {
    /// With a host, and without a user, a password and a fragment.
    pub url: Url,
    /// GET or POST.
    pub method: HttpMethod,
    /// As the user wrote them.
    pub headers: Vec<HttpHeader>,
    /// JSON.
    pub body: Option<String>,
    /// The path as written in messages, and as followed.
    pub path: (String, JsonPath),
    /// For the whole answer.
    pub timeout: Duration,
}

/// The field of a metric that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}; correct {field}")]
pub struct Unusable {
    /// Below the metric.
    pub field: &'static str,
    /// In words.
    pub why: String,
}

/// What a metric asks: for its number, or for each of its counts.
///
/// # Errors
/// It does not ask exactly one provider.
pub fn of(metric: &Metric) -> Result<Vec<(Part, Template)>, &'static str> {
    let number = Template::of(metric.prometheus.as_ref(), metric.http.as_ref());
    match (number, &metric.proportion, &metric.mean) {
        (Asked::Once(number), None, None) => Ok(vec![(Part::Value, number)]),
        (Asked::Never, Some(it), None) => counts([(Part::Successes, &it.successes), (Part::Trials, &it.trials)]),
        (Asked::Never, None, Some(it)) => {
            counts([(Part::Sum, &it.sum), (Part::SumSquares, &it.sum_squares), (Part::Count, &it.count)])
        }
        _ => Err("a metric needs exactly one of prometheus, http, proportion and mean"),
    }
}

fn counts<const N: usize>(counts: [(Part, &Count); N]) -> Result<Vec<(Part, Template)>, &'static str> {
    let one = |(part, count): (Part, &Count)| match Template::of(count.prometheus.as_ref(), count.http.as_ref()) {
        Asked::Once(template) => Ok((part, template)),
        Asked::Never | Asked::Twice => Err("a count needs exactly one of prometheus and http"),
    };
    counts.into_iter().map(one).collect()
}

/// How many providers are given.
enum Asked {
    Never,
    Once(Template),
    Twice,
}

impl Template {
    fn of(prometheus: Option<&PrometheusQuery>, http: Option<&HttpQuery>) -> Asked {
        match (prometheus, http) {
            (None, None) => Asked::Never,
            (Some(it), None) => Asked::Once(Self::Prometheus(it.query.clone())),
            (None, Some(it)) => Asked::Once(Self::Http(Box::new(it.clone()))),
            (Some(_), Some(_)) => Asked::Twice,
        }
    }

    /// The field that names whom it asks.
    #[must_use]
    pub fn provider(&self) -> &'static str {
        match self {
            Self::Prometheus(_) => "prometheus",
            Self::Http(_) => "http",
        }
    }

    /// Whether it can be filled in, whatever the values.
    ///
    /// # Errors
    /// What to correct.
    pub fn check(&self) -> Result<(), Unusable> {
        match self {
            Self::Prometheus(query) => query::check(query, &VARIABLES).map_err(unusable("prometheus.query")),
            Self::Http(_) => {
                let stand_ins = VARIABLES.iter().map(|name| (*name, "1".to_owned())).collect();
                self.fill_in(&stand_ins).map(drop)
            }
        }
    }

    /// The question about one revision.
    ///
    /// # Errors
    /// What to correct.
    pub fn fill_in(&self, variables: &BTreeMap<&str, String>) -> Result<Question, Unusable> {
        match self {
            Self::Prometheus(query) => {
                let query = query::render(query, variables).map_err(unusable("prometheus.query"))?;
                Ok(Question::Prometheus(query))
            }
            Self::Http(it) => http(it, variables).map(|it| Question::Http(Box::new(it))),
        }
    }

    /// Whether it depends on a variable, as far as it can be read.
    #[must_use]
    pub fn uses(&self, variable: &str) -> bool {
        let texts = match self {
            Self::Prometheus(query) => vec![query],
            Self::Http(it) => [&it.url, &it.json_path].into_iter().chain(&it.body).collect(),
        };
        texts.into_iter().any(|text| query::uses(text, variable) != Ok(false))
    }
}

fn unusable(field: &'static str) -> impl Fn(TemplateError) -> Unusable {
    move |error| Unusable { field, why: error.to_string() }
}

fn http(it: &HttpQuery, variables: &BTreeMap<&str, String>) -> Result<HttpQuestion, Unusable> {
    let path = render_in(Language::JsonPath, &it.json_path, variables).map_err(unusable("http.jsonPath"))?;
    let steps = JsonPath::parse(&path).map_err(|error| Unusable { field: "http.jsonPath", why: error.to_string() })?;
    Ok(HttpQuestion {
        url: url(&render_in(Language::Url, &it.url, variables).map_err(unusable("http.url"))?)?,
        method: it.method.unwrap_or(HttpMethod::Get),
        headers: headers(&it.headers)?,
        body: it.body.as_ref().map(|text| body(it, text, variables)).transpose()?,
        path: (path, steps),
        timeout: timeout(it)?,
    })
}

fn url(text: &str) -> Result<Url, Unusable> {
    let wrong = |why: &str| Unusable { field: "http.url", why: why.to_owned() };
    let url = Url::parse(text).map_err(|error| wrong(&format!("it is no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("it does not begin with http:// or https:// and a host"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(wrong("it holds a user, a password or a fragment"));
    }
    Ok(url)
}

/// A ConfigMap has no schema: what the API server refuses in a spec is refused here.
fn headers(headers: &[HttpHeader]) -> Result<Vec<HttpHeader>, Unusable> {
    for HttpHeader { name, value, secret_key_ref } in headers {
        let is_name = !name.is_empty() && name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
        if !is_name || OUR_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            let why =
                "a header's name is letters, digits and -, and none that says how a request is sent, such as Host";
            return Err(Unusable { field: "http.headers", why: why.to_owned() });
        }
        if value.is_some() == secret_key_ref.is_some() {
            return Err(Unusable { field: "http.headers", why: format!("{name} needs either value or secretKeyRef") });
        }
        if value.iter().flat_map(|it| it.bytes()).any(|it| !(b' '..=b'~').contains(&it)) {
            return Err(Unusable { field: "http.headers", why: format!("the value of {name} is not plain ASCII") });
        }
    }
    Ok(headers.to_vec())
}

fn body(it: &HttpQuery, text: &str, variables: &BTreeMap<&str, String>) -> Result<String, Unusable> {
    let wrong = |why: String| Unusable { field: "http.body", why };
    if it.method != Some(HttpMethod::Post) {
        return Err(wrong("it needs method: POST".to_owned()));
    }
    let body = render_in(Language::Json, text, variables).map_err(unusable("http.body"))?;
    match serde_json::from_str::<serde::de::IgnoredAny>(&body) {
        Ok(_) => Ok(body),
        Err(error) => Err(wrong(format!("it is not JSON: {error}"))),
    }
}

fn timeout(it: &HttpQuery) -> Result<Duration, Unusable> {
    let wrong = |why: String| Unusable { field: "http.timeout", why };
    let timeout = match &it.timeout {
        Some(text) => text.duration().map_err(|error| wrong(error.to_string()))?,
        None => HTTP_TIMEOUT,
    };
    if timeout.is_zero() || timeout > LONGEST_HTTP_TIMEOUT {
        return Err(wrong("it is not above 0s and at most 10s".to_owned()));
    }
    Ok(timeout)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn template(http: Value) -> Template {
        Template::Http(serde_json::from_value(http).unwrap())
    }

    fn filled_in(http: Value) -> Result<HttpQuestion, Unusable> {
        let values = ["crm", "churn", "a\"'b", "90s", "1763900000", "1763900090"].map(str::to_owned);
        match template(http).fill_in(&VARIABLES.into_iter().zip(values).collect())? {
            Question::Http(question) => Ok(*question),
            Question::Prometheus(_) => panic!("another provider"),
        }
    }

    #[test]
    fn each_part_of_a_request_is_filled_in_and_its_values_are_escaped_for_their_place() {
        let question = filled_in(json!({
            "url": "https://{{ deployment }}.{{ namespace }}.svc:8443/kpi/{{ revision }}?since={{ windowStart }}&r={{ revision }}",
            "method": "POST",
            "body": r#"{"revision": "{{ revision }}", "since": {{ windowStart }}}"#,
            "jsonPath": "$.revisions['{{ revision }}'].rate",
        }))
        .unwrap();
        let expected = "https://churn.crm.svc:8443/kpi/a%22%27b?since=1763900000&r=a%22%27b";
        assert_eq!(question.url.as_str(), expected);
        assert_eq!(question.body.as_deref(), Some(r#"{"revision": "a\"'b", "since": 1763900000}"#));
        assert_eq!(question.path.0, r#"$.revisions['a"\'b'].rate"#);
        assert_eq!(question.timeout, HTTP_TIMEOUT);
    }

    #[test]
    fn whatever_cannot_be_used_names_its_field() {
        let with = |field: &str, value: Value| {
            let mut http = json!({"url": "http://kpi/", "jsonPath": "$.a"});
            http.as_object_mut().unwrap().extend([(field.to_owned(), value)]);
            template(http).check()
        };
        assert_eq!(with("url", json!("http://kpi:80/a?b=c")), Ok(()));
        for (field, value) in [
            ("url", json!("ftp://kpi/")),
            ("url", json!("file:///etc/passwd")),
            ("url", json!("http://user@kpi/")),
            ("url", json!("http://kpi/#top")),
            ("url", json!("{{ deployment }}://kpi/")),
            ("url", json!("http://kpi/{{ revison }}")),
            ("jsonPath", json!("$..a")),
            ("jsonPath", json!("$.a['{{ revison }}']")),
            ("body", json!("{}")),
            ("headers", json!([{"name": "Host", "value": "other"}])),
            ("headers", json!([{"name": "a b", "value": ""}])),
            ("headers", json!([{"name": "a", "value": "b\r\nc: d"}])),
            ("headers", json!([{"name": "a"}])),
            ("headers", json!([{"name": "a", "value": "b", "secretKeyRef": {"name": "c", "key": "d"}}])),
            ("timeout", json!("11s")),
            ("timeout", json!("0s")),
            ("timeout", json!("soon")),
        ] {
            let error = with(field, value.clone()).unwrap_err();
            assert_eq!(error.field, format!("http.{field}"), "{value}");
        }
    }

    #[test]
    fn a_body_is_json_that_is_posted() {
        let check = |body: &str| {
            template(json!({"url": "http://kpi/", "method": "POST", "body": body, "jsonPath": "$"})).check()
        };
        assert_eq!(check(r#"{"revision": "{{ revision }}"}"#), Ok(()));
        for body in ["revision={{ revision }}", r#"{"revision": "{{ revision }}"#, r#"{"a": {{ other }}}"#] {
            assert_eq!(check(body).unwrap_err().field, "http.body", "{body}");
        }
    }

    #[test]
    fn any_part_may_tell_the_revisions_apart() {
        let uses = |http: Value| template(http).uses("revision");
        assert!(!uses(json!({"url": "http://kpi/", "jsonPath": "$.revision"})));
        assert!(uses(json!({"url": "http://kpi/{{ revision }}", "jsonPath": "$"})));
        assert!(uses(json!({"url": "http://kpi/", "jsonPath": "$['{{ revision }}']"})));
        assert!(uses(json!({"url": "http://kpi/", "jsonPath": "$", "body": "[\"{{ revision }}\"]"})));
    }
}
