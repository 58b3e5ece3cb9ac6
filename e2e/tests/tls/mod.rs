//! A server with HTTPS on the loopback interface, and the certificate to trust.

use std::future::Future;
use std::sync::Arc;

use anyhow::Result;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Serves as long as the runtime does, as `localhost` and `127.0.0.1`: its port, and the certificate in PEM. `answer` gets a request and
/// the server's address, and gives what goes over the wire.
pub async fn serve<F>(answer: impl Fn(String, String) -> F + Clone + Send + Sync + 'static) -> Result<(u16, String)>
where
    F: Future<Output = String> + Send,
{
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()])?.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await?);
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await.ok()?;
                let mut request = vec![0; 8192];
                let read = stream.read(&mut request).await.ok()?;
                let request = String::from_utf8_lossy(request.get(..read)?).into_owned();
                let answer = answer(request, format!("localhost:{port}")).await;
                stream.write_all(answer.as_bytes()).await.ok()?;
                stream.shutdown().await.ok()
            });
        }
    });
    Ok((port, certificate.pem()))
}
