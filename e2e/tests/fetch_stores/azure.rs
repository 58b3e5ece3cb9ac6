//! Azure Blob Storage: Azurite, which is Microsoft's own for tests.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Result, ensure};
use object_store::ObjectStoreExt as _;
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential, MicrosoftAzureBuilder};
use werkbank::api::artifact_failure::ArtifactFailureReason as Reason;
use werkbank_e2e::process::{Command, Process, Supervisor};
use werkbank_e2e::tools::Tools;

use super::{FILES, Pod, digest, listens};

/// Azurite's own account, which its documentation gives: no secret of anybody's.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

struct Azurite {
    process: Process,
    address: SocketAddr,
    _data: tempfile::TempDir,
    _supervisor: Supervisor,
}

impl Azurite {
    async fn start() -> Result<Self> {
        let supervisor = Supervisor::new()?;
        let script = Tools::new(supervisor.clone())?.azurite().await?;
        let (data, address) = (tempfile::tempdir()?, TcpListener::bind("127.0.0.1:0")?.local_addr()?);
        let command = Command::new("node", data.path().join("log"))
            .arg(script)
            .args(["--blobHost", "127.0.0.1", "--blobPort", &address.port().to_string(), "--location"])
            .arg(data.path())
            .args(["--skipApiVersionCheck", "--disableTelemetry", "--silent"]);
        let process = supervisor.spawn(command)?;
        listens(&process, address).await?;
        let it = Self { process, address, _data: data, _supervisor: supervisor };
        it.make_container().await?;
        Ok(it)
    }

    fn endpoint(&self) -> String {
        format!("http://{}/{ACCOUNT}", self.address)
    }

    /// No object store makes one.
    async fn make_container(&self) -> Result<()> {
        let url = format!("{}/models?restype=container", self.endpoint());
        let mut request = http::Request::put(url).header("content-length", "0").body(Vec::new().into())?;
        let key = AzureCredential::AccessKey(AzureAccessKey::try_new(KEY)?);
        AzureAuthorizer::new(&key, ACCOUNT).authorize(&mut request);
        let (parts, _) = request.into_parts();
        let client = reqwest::Client::new();
        let made = client.put(parts.uri.to_string()).headers(parts.headers).send().await?;
        ensure!(made.status().is_success(), "{}: {}", made.status(), made.text().await?);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_azure_arrives_verified_and_every_refusal_has_its_reason() {
    let azurite = Azurite::start().await.unwrap();
    let builder = MicrosoftAzureBuilder::new().with_account(ACCOUNT).with_access_key(KEY).with_container_name("models");
    let store = builder.with_endpoint(azurite.endpoint()).with_allow_http(true).build().unwrap();
    for (path, text) in FILES {
        store.put(&format!("churn/v1/{path}").into(), text.into()).await.unwrap();
    }
    let endpoint = azurite.endpoint();
    let pod = Pod::new(&[
        ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
        ("AZURE_STORAGE_ACCOUNT_KEY", KEY),
        ("AZURE_STORAGE_ENDPOINT", &endpoint),
        ("AZURE_ALLOW_HTTP", "true"),
    ])
    .unwrap();
    pod.has_the_directory_of("az://models").unwrap();
    assert_eq!(pod.refused("az://absent/churn/v1/").unwrap(), Reason::ArtifactNotFound);
    let other = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";
    let denied = pod.with("AZURE_STORAGE_ACCOUNT_KEY", other).unwrap().verify("az://models/churn/v1/", digest(), &[]);
    let denied = denied.unwrap().unwrap_err();
    assert_eq!(denied.reason, Reason::ArtifactAccessDenied);
    assert!(denied.message.contains("check the AZURE_* credentials"), "{}", denied.message);
    let plain = pod.with("AZURE_ALLOW_HTTP", "false").unwrap().verify("az://models/churn/v1/", digest(), &[]);
    assert!(plain.unwrap().unwrap_err().message.contains("set AZURE_ALLOW_HTTP=true"));
    azurite.process.stop().await;
    assert_eq!(pod.refused("az://models/churn/v1/").unwrap(), Reason::ArtifactUnreachable);
}
