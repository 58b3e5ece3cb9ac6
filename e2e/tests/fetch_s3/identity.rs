//! A pod that is let in by the role of its account: what EKS calls IAM roles for service accounts.

use std::path::Path;

use anyhow::Result;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode};

use super::*;

const ROLE: &str = "arn:aws:iam::123456789012:role/reader";
/// What the role may, as a form has it: read the objects of any bucket, and list them.
const MAY_READ: &str = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%5B%22s3%3AGetObject%22%2C%22s3%3AListBucket%22%5D%2C%22Resource%22%3A%22%2A%22%7D%5D%7D";

/// Those are let in from now on who have the role, and nobody else.
fn let_readers_in(s3: &S3) -> Result<()> {
    let role = "RoleName=reader&Version=2010-05-08";
    s3.send_form("iam", &format!("Action=CreateRole&{role}&AssumeRolePolicyDocument=%7B%7D"))?;
    s3.send_form("iam", &format!("Action=PutRolePolicy&{role}&PolicyName=read&PolicyDocument={MAY_READ}"))?;
    s3.refuse_everybody()
}

/// moto's token service as AWS has it: with HTTPS, the form in the query, and nobody asked for credentials.
async fn give_token(moto: String, request: String) -> String {
    let query = request.split_whitespace().nth(1).and_then(|it| it.split_once('?')).map_or("", |it| it.1);
    let client = Client::new();
    let asked = client.post(&moto).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(query.to_owned());
    // How many more requests it asks nobody who they are.
    let trusts = |times: &'static str| client.post(format!("{moto}/moto-api/reset-auth")).body(times).send();
    let told = async {
        trusts("inf").await?;
        let answer = asked.send().await;
        trusts("0").await?;
        let answer = answer?;
        Ok::<_, reqwest::Error>((answer.status(), answer.text().await?))
    };
    let (status, body) = told.await.unwrap_or_else(|it| (StatusCode::BAD_GATEWAY, it.to_string()));
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// As EKS sets up pods of an account with a role: no keys, but a token and where to show it.
fn identified(pod: &Pod, s3: &S3, token: &Path, port: u16) -> Result<Command> {
    let mut command = pod.command(&s3.endpoint(), "s3://models/model.json", Sha256Digest::of(b"{}"))?;
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", token)
        .env("AWS_ROLE_ARN", ROLE)
        .env("AWS_ENDPOINT_URL_STS", format!("https://localhost:{port}"))
        .env("SSL_CERT_FILE", pod.root.path().join("ca.pem"));
    Ok(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_let_in_by_the_role_of_its_account_where_keys_let_nobody_in() {
    let s3 = S3::start().unwrap();
    s3.put("/models/model.json", b"{}").unwrap();
    let_readers_in(&s3).unwrap();
    let moto = s3.endpoint();
    let (port, certificate) = tls::serve(move |request, _| give_token(moto.clone(), request)).await.unwrap();
    let pod = Pod::new().unwrap();
    let token = pod.root.path().join("token");
    fs::write(&token, "of-the-pods-account").unwrap();
    fs::write(pod.root.path().join("ca.pem"), certificate).unwrap();

    let by_keys = pod.refused(&s3, "s3://models/model.json", Sha256Digest::of(b"{}")).unwrap();
    assert_eq!(by_keys, Reason::ArtifactAccessDenied);
    let output = identified(&pod, &s3, &token, port).unwrap().output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(fs::read_to_string(pod.model().join("model.json")).unwrap(), "{}");
}
