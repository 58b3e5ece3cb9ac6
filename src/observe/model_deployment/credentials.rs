//! Secrets that a metric names: values of headers, databases with their passwords.
//!
//! They are read when a question needs them and kept nowhere: not in a cache, not in status, not in a log. The chart grants
//! no right on Secrets, so each is readable only if its namespace binds a Role for it, and the message is how.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::sync::OnceCell;

use crate::api::model_deployment::{HttpHeader, SecretKeyRef};
use crate::decide::Measurement;

/// The Secrets of one namespace, each read at most once for all questions that a pass asks.
pub(super) struct Secrets {
    client: Client,
    namespace: String,
    read: Mutex<BTreeMap<String, Arc<OnceCell<Read>>>>,
}

/// A Secret, or the measurement that is none without it.
type Read = Result<Option<Secret>, Measurement>;

impl Secrets {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned(), read: Mutex::default() }
    }

    /// What is in a Secret, without blanks at its end.
    ///
    /// # Errors
    /// The measurement that is none without it.
    pub(super) async fn value(&self, reference: &SecretKeyRef) -> Result<Vec<u8>, Measurement> {
        let SecretKeyRef { name, key } = reference;
        let cell = self.read.lock().unwrap_or_else(PoisonError::into_inner).entry(name.clone()).or_default().clone();
        let found = cell.get_or_init(|| self.get(name)).await.as_ref().map_err(Clone::clone)?;
        let value = found.as_ref().and_then(|it| it.data.as_ref()?.get(key));
        // What `echo secret | kubectl create secret --from-file` leaves behind.
        value.map(|it| it.0.trim_ascii_end().to_vec()).ok_or_else(|| {
            let namespace = self.namespace.as_str();
            Measurement::SecretNotReadable(format!(
                "there is no Secret {name} with key {key} in {namespace}; create it"
            ))
        })
    }

    async fn get(&self, name: &str) -> Read {
        let namespace = self.namespace.as_str();
        match Api::<Secret>::namespaced(self.client.clone(), namespace).get_opt(name).await {
            Ok(found) => Ok(found),
            Err(kube::Error::Api(status)) if status.code == StatusCode::FORBIDDEN.as_u16() => {
                Err(Measurement::SecretNotReadable(how_to_grant(namespace, name, &status.message)))
            }
            Err(error) => {
                tracing::warn!(namespace, name, %error, "a Secret cannot be read");
                let why = format!("Secret {name} cannot be read from the API server now; check that it runs");
                Err(Measurement::ProviderError(why))
            }
        }
    }
}

/// The headers with their values.
///
/// # Errors
/// The measurement that is none without them.
pub(super) async fn headers(secrets: &Secrets, headers: &[HttpHeader]) -> Result<HeaderMap, Measurement> {
    let mut filled_in = HeaderMap::new();
    for header in headers {
        let value = match &header.secret_key_ref {
            Some(reference) => secrets.value(reference).await?,
            None => header.value.clone().unwrap_or_default().into_bytes(),
        };
        let (Ok(name), Ok(mut value)) = (HeaderName::try_from(&header.name), HeaderValue::from_bytes(&value)) else {
            return Err(Measurement::SecretNotReadable(format!(
                "the value of header {} is no header's: remove line breaks from its Secret",
                header.name
            )));
        };
        value.set_sensitive(header.secret_key_ref.is_some());
        filled_in.insert(name, value);
    }
    Ok(filled_in)
}

/// The Role as commands: for this Secret, this verb, and whom the API server refused.
fn how_to_grant(namespace: &str, name: &str, refusal: &str) -> String {
    let user = refusal.split_once("User \"").and_then(|(_, rest)| rest.split_once('"')).map(|(user, _)| user);
    let subject = match user.map(|it| it.strip_prefix("system:serviceaccount:").ok_or(it)) {
        Some(Ok(account)) => format!("--serviceaccount={account}"),
        Some(Err(user)) => format!("--user={user}"),
        None => "--serviceaccount=<the operator's namespace:name>".to_owned(),
    };
    let role = format!("werkbank-reads-{name}");
    format!(
        "the operator may not read Secret {name}; grant it with: \
         kubectl -n {namespace} create role {role} --verb=get --resource=secrets --resource-name={name}; \
         kubectl -n {namespace} create rolebinding {role} --role={role} {subject}"
    )
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// An API server that has this to say about every Secret.
    fn server(code: u16, answer: Value) -> Client {
        let service = tower::service_fn(move |request: Request<Body>| {
            assert_eq!(request.uri().path(), "/api/v1/namespaces/crm/secrets/kpi");
            let answer = Body::from(answer.to_string().into_bytes());
            async move { Ok::<_, tower::BoxError>(Response::builder().status(code).body(answer).unwrap()) }
        });
        Client::new(service, "crm")
    }

    async fn read(code: u16, answer: Value) -> Result<HeaderMap, Measurement> {
        let wanted = json!([
            {"name": "Authorization", "secretKeyRef": {"name": "kpi", "key": "authorization"}},
            {"name": "X-Team", "value": "crm"},
        ]);
        let client = server(code, answer);
        headers(&Secrets::new(client, "crm"), &serde_json::from_value::<Vec<_>>(wanted).unwrap()).await
    }

    fn refusal(code: u16, reason: &str, message: &str) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
    }

    #[tokio::test]
    async fn a_header_is_the_value_of_its_secrets_key_and_is_not_printed() {
        // "Bearer abc\n"
        let headers = read(200, json!({"metadata": {"name": "kpi"}, "data": {"authorization": "QmVhcmVyIGFiYwo="}}));
        let headers = headers.await.unwrap();
        assert_eq!(
            (&headers["authorization"], &headers["x-team"]),
            (&"Bearer abc".parse().unwrap(), &"crm".parse().unwrap())
        );
        assert!(!format!("{headers:?}").contains("abc"), "{headers:?}");
    }

    #[tokio::test]
    async fn a_secret_that_may_not_be_read_prints_the_role_that_lets_it() {
        let said =
            "secrets \"kpi\" is forbidden: User \"system:serviceaccount:werkbank-system:werkbank\" cannot get resource";
        let Err(Measurement::SecretNotReadable(why)) = read(403, refusal(403, "Forbidden", said)).await else {
            panic!()
        };
        for part in [
            "kubectl -n crm create role werkbank-reads-kpi --verb=get --resource=secrets --resource-name=kpi;",
            "kubectl -n crm create rolebinding werkbank-reads-kpi --role=werkbank-reads-kpi --serviceaccount=werkbank-system:werkbank",
        ] {
            assert!(why.contains(part), "{why}");
        }
    }

    #[tokio::test]
    async fn no_such_secret_or_key_and_no_header_in_it_are_told_and_an_api_server_that_is_away_is_an_outage() {
        for (code, answer) in [
            (404, refusal(404, "NotFound", "no")),
            (200, json!({"metadata": {"name": "kpi"}, "data": {"other": "YQ=="}})),
            (200, json!({"metadata": {"name": "kpi"}, "data": {"authorization": "YQpiOiBj"}})),
        ] {
            let measurement = read(code, answer.clone()).await.unwrap_err();
            assert!(matches!(measurement, Measurement::SecretNotReadable(_)), "{answer}: {measurement:?}");
        }
        let measurement = read(503, refusal(503, "ServiceUnavailable", "no")).await.unwrap_err();
        assert!(matches!(measurement, Measurement::ProviderError(_)), "{measurement:?}");
    }
}
