//! A request and where the number is in its answer.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use super::{Unusable, secret, timeout, unusable};
use crate::api::model_deployment::{HttpHeader, HttpMethod, HttpQuery};
use crate::text::json_path::JsonPath;
use crate::text::query::{Language, render_in};

/// Each may be a Secret to read.
const MOST_HEADERS: usize = 8;
/// Headers that nobody sends but to be let in.
const CREDENTIALS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];
/// Headers that say how the request is sent, which is not the user's to say.
const OUR_HEADERS: [&str; 9] =
    ["host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect"];

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

/// The question about one revision.
pub(super) fn fill_in(it: &HttpQuery, variables: &BTreeMap<&str, String>) -> Result<HttpQuestion, Unusable> {
    let path = render_in(Language::JsonPath, &it.json_path, variables).map_err(unusable("http.jsonPath"))?;
    let steps = JsonPath::parse(&path).map_err(|error| Unusable { field: "http.jsonPath", why: error.to_string() })?;
    Ok(HttpQuestion {
        url: url(&render_in(Language::Url, &it.url, variables).map_err(unusable("http.url"))?)?,
        method: it.method.unwrap_or(HttpMethod::Get),
        headers: headers(&it.headers)?,
        body: it.body.as_ref().map(|text| body(it, text, variables)).transpose()?,
        path: (path, steps),
        timeout: timeout("http.timeout", it.timeout.as_ref())?,
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
    if headers.len() > MOST_HEADERS {
        let why = format!("there are more than {MOST_HEADERS}");
        return Err(Unusable { field: "http.headers", why });
    }
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
        if value.is_some() && CREDENTIALS.contains(&name.to_ascii_lowercase().as_str()) {
            let why = format!("{name} holds a credential: put it into a Secret and name it in secretKeyRef");
            return Err(Unusable { field: "http.headers", why });
        }
        if let Some(reference) = secret_key_ref {
            secret("http.headers", reference)?;
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::decide::model_deployment::measure::VARIABLES;
    use crate::decide::model_deployment::question::{Question, TIMEOUT, Template};

    fn template(http: Value) -> Template {
        Template::Http(serde_json::from_value(http).unwrap())
    }

    fn filled_in(http: Value) -> Result<HttpQuestion, Unusable> {
        let values = ["crm", "churn", "a\"'b", "90s", "1763900000", "1763900090"].map(str::to_owned);
        match template(http).fill_in(&VARIABLES.into_iter().zip(values).collect())? {
            Question::Http(question) => Ok(*question),
            _ => panic!("another provider"),
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
        assert_eq!(question.timeout, TIMEOUT);
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
            ("headers", json!([{"name": "Authorization", "value": "Bearer a"}])),
            ("headers", json!([{"name": "a", "secretKeyRef": {"name": "x;id", "key": "d"}}])),
            ("headers", json!((0..9).map(|it| json!({"name": format!("a{it}"), "value": ""})).collect::<Vec<_>>())),
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
