//! Google Cloud Storage: fake-gcs-server, which knows no credentials; so what they do is not tried here.

use std::net::TcpListener;

use werkbank::api::artifact_failure::ArtifactFailureReason as Reason;
use werkbank_e2e::process::{Command, Supervisor};
use werkbank_e2e::tools::Tools;

use super::{FILES, Pod, digest, listens};

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_google_cloud_storage_arrives_verified_and_every_refusal_has_its_reason() {
    let supervisor = Supervisor::new().unwrap();
    let program = Tools::new(supervisor.clone()).unwrap().fake_gcs_server().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    for (path, text) in FILES {
        let file = data.path().join("buckets/models/churn/v1").join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let public = address.to_string();
    let command = Command::new(program, data.path().join("log"))
        .args(["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", &address.port().to_string()])
        .args(["-public-host", &public, "-data"])
        .arg(data.path().join("buckets"));
    let process = supervisor.spawn(command).unwrap();
    listens(&process, address).await.unwrap();
    let base = format!("http://{public}");
    let pod = Pod::new(&[("GOOGLE_BASE_URL", &base), ("GOOGLE_SKIP_SIGNATURE", "true"), ("GOOGLE_ALLOW_HTTP", "true")])
        .unwrap();
    pod.has_the_directory_of("gs://models").unwrap();
    // Of a bucket that is not there this server says 500, where Google's says 404: that is not tried.
    let plain = pod.with("GOOGLE_ALLOW_HTTP", "false").unwrap().verify("gs://models/churn/v1/", digest(), &[]);
    assert!(plain.unwrap().unwrap_err().message.contains("set GOOGLE_ALLOW_HTTP=true"));
    process.stop().await;
    assert_eq!(pod.refused("gs://models/churn/v1/").unwrap(), Reason::ArtifactUnreachable);
}
