//! Opening a store: which one, with which credentials, and with how much patience.
//!
//! | | where, and who asks |
//! |---|---|
//! | `s3://` | `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and the other usual variables (web identity, container credentials); plain HTTP only with `AWS_ALLOW_HTTP=true` |
//! | `gs://` | `GOOGLE_SERVICE_ACCOUNT_KEY` (the JSON itself) or `GOOGLE_SERVICE_ACCOUNT` (its path), otherwise the pod's identity |
//! | `az://` | `AZURE_STORAGE_ACCOUNT_NAME`, and `AZURE_STORAGE_ACCOUNT_KEY`, a SAS, or the pod's identity (`AZURE_CLIENT_ID`, `AZURE_TENANT_ID`, `AZURE_FEDERATED_TOKEN_FILE`) |

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::local::local_path;
use super::{Patience, StorageError};
use crate::api::artifact::{ArtifactScheme, ArtifactUri};

/// Opens the store a URI lies in; the path returned is the URI's within that store.
/// For `file://` the store's root is the directory itself (made if need be) and the path empty.
///
/// # Errors
/// The configuration is not usable, the directory cannot be made, or it is no store.
pub fn open_object_store(uri: &ArtifactUri, patience: Patience) -> Result<(Arc<dyn ObjectStore>, Path), StorageError> {
    if uri.scheme() == ArtifactScheme::File {
        let root = local_path(uri);
        let what = uri.to_string();
        std::fs::create_dir_all(&root).map_err(|error| StorageError::of_io(&error, &what))?;
        let store = LocalFileSystem::new_with_prefix(root).map_err(|error| StorageError::of_store(&error, &what))?;
        return Ok((Arc::new(store), Path::default()));
    }
    let key = Path::parse(uri.path()).map_err(|error| StorageError::Unusable(error.to_string()))?;
    Ok((open(uri, patience)?, key))
}

fn open(uri: &ArtifactUri, patience: Patience) -> Result<Arc<dyn ObjectStore>, StorageError> {
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(4),
            base: 2.,
        },
        max_retries: patience.retries,
        retry_timeout: patience.answer,
    };
    let unfit = |what: &str| {
        let prefix = uri.scheme().credentials();
        StorageError::Unusable(format!("the {prefix} variables do not fit together; check {what}"))
    };
    Ok(match uri.scheme() {
        ArtifactScheme::S3 => {
            let options = client(plain_http("AWS_ALLOW_HTTP", &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])?);
            let builder = AmazonS3Builder::from_env().with_bucket_name(uri.bucket());
            let built = builder.with_client_options(options).with_retry(retry).build();
            Arc::new(built.map_err(|_| unfit("AWS_ENDPOINT_URL, AWS_REGION and the credentials"))?)
        }
        ArtifactScheme::Gcs => {
            let options = client(plain_http("GOOGLE_ALLOW_HTTP", &["GOOGLE_BASE_URL"])?);
            let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(uri.bucket());
            let built = builder.with_client_options(options).with_retry(retry).build();
            Arc::new(built.map_err(|_| unfit("GOOGLE_SERVICE_ACCOUNT_KEY or GOOGLE_SERVICE_ACCOUNT"))?)
        }
        ArtifactScheme::Azure => {
            let options = client(plain_http("AZURE_ALLOW_HTTP", &["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"])?);
            let builder = MicrosoftAzureBuilder::from_env().with_container_name(uri.bucket());
            let built = builder.with_client_options(options).with_retry(retry).build();
            Arc::new(built.map_err(|_| unfit("AZURE_STORAGE_ACCOUNT_NAME and the credentials"))?)
        }
        ArtifactScheme::File | ArtifactScheme::Https => {
            return Err(StorageError::Unusable(format!(
                "{uri} is in no store that can be written to; use s3://, gs:// or az://"
            )));
        }
    })
}

/// The client's own timeout would cover a whole body, however large; each answer and each piece is waited for with
/// [`Patience::answer`] instead.
fn client(allow_http: bool) -> ClientOptions {
    let options = ClientOptions::new().with_connect_timeout(Duration::from_secs(5)).with_timeout_disabled();
    options.with_allow_http(allow_http)
}

/// Whether plain HTTP is allowed.
///
/// # Errors
/// An endpoint is, and it is not: that would look like an outage.
fn plain_http(allows: &str, endpoints: &[&str]) -> Result<bool, StorageError> {
    let is_allowed = std::env::var(allows).is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    let endpoint = endpoints.iter().find_map(|name| std::env::var(name).ok().map(|url| (name, url)));
    match endpoint.filter(|(_, url)| url.starts_with("http://") && !is_allowed) {
        Some((name, _)) => Err(StorageError::Unusable(format!(
            "{name} is plain http://; use https://, or set {allows}=true if the network is trusted"
        ))),
        None => Ok(is_allowed),
    }
}
