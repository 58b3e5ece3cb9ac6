//! Certificates and tokens of one run.
//!
//! One authority per run signs everything: the API server's and etcd's
//! certificates and the certificate by which the API server proves itself to
//! etcd. People and controllers use random tokens.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

/// The files of one run's certificates and tokens.
#[derive(Debug)]
pub(super) struct Pki {
    directory: PathBuf,
    pub(super) admin_token: String,
    pub(super) controller_manager_token: String,
    pub(super) ca_pem: String,
}

impl Pki {
    /// Makes all of them anew for servers at `ip`. Only the key that signs
    /// service account tokens is kept if it is there, so that a cluster whose
    /// directory is kept still knows the tokens it gave out.
    pub(super) fn create(directory: &Path, ip: IpAddr) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let (authority, ca_pem) = authority()?;
        let this = Self {
            directory: directory.to_owned(),
            admin_token: random_token()?,
            controller_manager_token: random_token()?,
            ca_pem,
        };
        this.write("ca.crt", &this.ca_pem)?;
        let (certificate, key) = certificate("werkbank", ip, &authority)?;
        this.write("server.crt", &certificate)?;
        this.write("server.key", &key)?;
        if !this.path("service-accounts.key").exists() {
            let key = KeyPair::generate()?;
            this.write("service-accounts.key", &key.serialize_pem())?;
            this.write("service-accounts.pub", &key.public_key_pem())?;
        }
        this.write("admin.token", &this.admin_token)?;
        this.write("tokens.csv", &this.tokens())?;
        Ok(this)
    }

    /// The path of one file.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes a kubeconfig for the holder of `token`.
    pub(super) fn write_kubeconfig(&self, path: &Path, url: &str, token: &str) -> Result<()> {
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "werkbank",
            "clusters": [{"name": "werkbank", "cluster": {
                "server": url,
                "certificate-authority-data": STANDARD.encode(&self.ca_pem),
            }}],
            "users": [{"name": "werkbank", "user": {"token": token}}],
            "contexts": [{"name": "werkbank", "context": {"cluster": "werkbank", "user": "werkbank"}}],
        });
        write_private(path, &serde_yaml::to_string(&config)?)
    }

    fn tokens(&self) -> String {
        format!(
            "{},admin,admin,\"system:masters\"\n{},system:kube-controller-manager,controller-manager\n",
            self.admin_token, self.controller_manager_token
        )
    }

    fn write(&self, name: &str, content: &str) -> Result<()> {
        write_private(&self.path(name), content)
    }
}

/// A certificate as PEM, from the DER that a kubeconfig is read into.
pub(super) fn to_pem(certificates: &[Vec<u8>]) -> String {
    let mut pem = String::new();
    for der in certificates {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut rest = STANDARD.encode(der);
        while !rest.is_empty() {
            let tail = rest.split_off(rest.len().min(64));
            pem.push_str(&rest);
            pem.push('\n');
            rest = tail;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

fn authority() -> Result<(Issuer<'static, KeyPair>, String)> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(DnType::CommonName, "werkbank-run");
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((Issuer::new(params, key), pem))
}

/// One certificate for server and client, as etcd needs both of its peers.
fn certificate(name: &str, ip: IpAddr, authority: &Issuer<'_, KeyPair>) -> Result<(String, String)> {
    let mut params = CertificateParams::new(vec![
        "localhost".to_owned(),
        "kubernetes".to_owned(),
        "kubernetes.default.svc".to_owned(),
    ])?;
    params.subject_alt_names.push(SanType::IpAddress(ip));
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn random_token() -> Result<String> {
    let mut bytes = [0_u8; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("cannot read random bytes from /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a file only its owner may read.
fn write_private(path: &Path, content: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(content.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_has_tokens_and_an_authority_of_its_own_that_only_the_owner_may_read() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let ip = IpAddr::from([127, 77, 0, 1]);
        let first = Pki::create(&dir.path().join("a"), ip).unwrap();
        let second = Pki::create(&dir.path().join("b"), ip).unwrap();
        assert_ne!(first.admin_token, second.admin_token);
        assert_ne!(first.admin_token, first.controller_manager_token);
        assert_ne!(first.ca_pem, second.ca_pem);
        for file in std::fs::read_dir(dir.path().join("a")).unwrap() {
            let mode = file.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
    }

    #[test]
    fn a_kept_directory_keeps_the_key_of_its_service_accounts() {
        let dir = tempfile::tempdir().unwrap();
        let ip = IpAddr::from([127, 77, 0, 1]);
        let read = |pki: &Pki| std::fs::read_to_string(pki.path("service-accounts.key")).unwrap();
        let first = read(&Pki::create(dir.path(), ip).unwrap());
        assert_eq!(first, read(&Pki::create(dir.path(), ip).unwrap()));
    }
}
