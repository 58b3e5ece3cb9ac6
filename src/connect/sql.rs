//! Statements to PostgreSQL databases that users name, answered with one number.
//!
//! The user chooses the database and the statement, so everything else is bounded: which addresses may be called
//! (see [`address`]), one statement in a read-only transaction with a time limit that the database enforces too, a
//! result that is described before it is fetched and at most two rows of it, a few seconds in all, and how many connections
//! there are. Each question has a connection of its own: what a statement left behind cannot reach the next one, and a
//! new password counts at once. Messages repeat nothing that was stored: a database's errors quote what it read.

use std::cmp::Ordering;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::str::FromStr;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Join, Take};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, Connection, NoTls, Row, Transaction};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::Url;

use super::address::{self, Callable};
use super::places::{Failure, Places};
use super::sql_error::{explain, explain_values};
use super::sql_value::{Number, Text};
use crate::decide::Measurement;
use crate::decide::model_deployment::question::SqlQuestion;

/// Connections at the same time.
const AT_ONCE: usize = 32;
/// Of them to one database, which has few for everybody.
const AT_ONCE_TO_ONE: usize = 4;
/// How much longer the operator waits than the database: so that it is the database that ends a slow statement.
const GRACE: Duration = Duration::from_millis(250);
/// How long a connection may take to end once the answer is there.
const GOODBYE: Duration = Duration::from_millis(250);
/// What is read from one connection at most: a message counts as long as it says it is, and is held until it is complete.
const MOST_BYTES: u64 = 256 * 1024;

/// Asks databases that users name.
pub struct SqlSource {
    callable: Callable,
    /// Checks certificates against those of the operator's image.
    tls: MakeRustlsConnect,
    places: Places,
}

/// To and from a database.
type Stream = Join<Take<OwnedReadHalf>, OwnedWriteHalf>;

/// What a Secret says of a database.
#[derive(Debug)]
struct Target {
    config: Config,
    host: String,
    port: u16,
    encrypted: bool,
}

impl std::fmt::Debug for SqlSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlSource").field("callable", &self.callable).finish_non_exhaustive()
    }
}

impl SqlSource {
    /// Asks databases on loopback only if `loopback` says so.
    #[must_use]
    pub fn new(loopback: bool) -> Self {
        // Without a trusted certificate every encrypted connection says so by itself.
        let trusted = MakeRustlsConnect::with_native_certs().map(|(tls, _)| tls);
        let tls = trusted.unwrap_or_else(|_| trusting(RootCertStore::empty()));
        Self { callable: Callable { loopback }, tls, places: Places::new(AT_ONCE, AT_ONCE_TO_ONE) }
    }

    /// Asks the database at `url`, whose certificate is checked against `ca`, if there is one; `namespace` is whose question
    /// it is.
    pub async fn ask(&self, namespace: &str, question: &SqlQuestion, url: &[u8], ca: Option<&[u8]>) -> Measurement {
        let Some(target) = target(url) else {
            let (name, key) = (&question.connection.name, &question.connection.key);
            return Measurement::SecretNotReadable(format!(
                "Secret {name}, key {key}, holds no URL of a database; write postgres://user:password@host:5432/database, \
                 with no option but sslmode"
            ));
        };
        let tls = match ca.map(certificates) {
            None => self.tls.clone(),
            Some(Some(roots)) => trusting(roots),
            Some(None) => {
                return Measurement::SecretNotReadable(
                    "the Secret in sql.ca holds no certificate; put the PEM of the database's CA there".to_owned(),
                );
            }
        };
        let host = format!("{}:{}", target.host, target.port);
        let answer = async {
            let patience = question.timeout + GRACE;
            let answer = tokio::time::timeout(patience, self.answer(question, &target, tls, &host));
            answer.await.unwrap_or_else(|_| {
                Err(Failure::Silent(format!("the database at {host} did not answer within {:?}", question.timeout)))
            })
        };
        match self.places.call(namespace, &host, answer).await {
            Ok(Some(number)) => Measurement::of(number),
            Ok(None) => Measurement::NoData("the query has no row, or NULL in it".to_owned()),
            Err(measurement) => measurement,
        }
    }

    async fn answer(
        &self,
        question: &SqlQuestion,
        target: &Target,
        mut tls: MakeRustlsConnect,
        host: &str,
    ) -> Result<Option<f64>, Failure> {
        let (read, write) = self.connect(target, host).await?.into_split();
        let stream = tokio::io::join(read.take(MOST_BYTES), write);
        if target.encrypted {
            let Ok(encrypt) = MakeTlsConnect::<Stream>::make_tls_connect(&mut tls, &target.host);
            converse(question, &target.config, stream, encrypt, host).await
        } else {
            converse(question, &target.config, stream, NoTls, host).await
        }
    }

    async fn connect(&self, target: &Target, host: &str) -> Result<TcpStream, Failure> {
        let addresses = self.callable.look_up(&target.host, target.port).await.map_err(|error| {
            match address::never_called(error.as_ref()) {
                Some(never) => {
                    Failure::Answered(Measurement::Refused(format!("{host}: {never}; correct sql.connection")))
                }
                None => Failure::Silent(format!("the database's host {host} is not known; check sql.connection")),
            }
        })?;
        TcpStream::connect(addresses.as_slice()).await.map_err(|_| {
            Failure::Silent(format!(
                "the database at {host} cannot be connected to; check sql.connection, that it runs, and the network policies"
            ))
        })
    }
}

fn trusting(roots: RootCertStore) -> MakeRustlsConnect {
    MakeRustlsConnect::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

fn certificates(pem: &[u8]) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.ok()?).ok()?;
    }
    (!roots.is_empty()).then_some(roots)
}

/// One host, by TCP. What libpq calls `prefer` gives a password to whoever prevents encryption, so it is either, and
/// encryption without a checked certificate is none.
fn target(url: &[u8]) -> Option<Target> {
    let mut url = Url::parse(std::str::from_utf8(url).ok()?.trim()).ok()?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return None;
    }
    if url.fragment().is_some() || url.username().is_empty() || url.password().is_none() {
        return None;
    }
    let options: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let encrypted = match options.as_slice() {
        [] => true,
        [(name, mode)] if name == "sslmode" => match mode.as_str() {
            "disable" => false,
            "prefer" | "require" | "verify-ca" | "verify-full" => true,
            _ => return None,
        },
        _ => return None,
    };
    url.set_query(None);
    let mut config = Config::from_str(url.as_str()).ok()?;
    config.application_name("werkbank");
    config.ssl_mode(if encrypted { SslMode::Require } else { SslMode::Disable });
    let [Host::Tcp(host)] = config.get_hosts() else { return None };
    let port = match config.get_ports() {
        [] => 5432,
        [port] => *port,
        _ => return None,
    };
    Some(Target { host: unbracketed(host), port, encrypted, config })
}

/// An IPv6 address is looked up without its brackets.
fn unbracketed(host: &str) -> String {
    let inner = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    inner.filter(|it| it.parse::<IpAddr>().is_ok()).unwrap_or(host).to_owned()
}

/// Connects, and asks as long as the connection stands.
async fn converse<T: TlsConnect<Stream>>(
    question: &SqlQuestion,
    config: &Config,
    stream: Stream,
    encrypt: T,
    host: &str,
) -> Result<Option<f64>, Failure> {
    let connected = config.connect_raw(stream, encrypt).await;
    let (client, connection) = connected.map_err(|error| explain(&error, host))?;
    let mut driving = pin!(drive(connection));
    let answer = tokio::select! {
        biased;
        answer = query(question, client, host) => answer,
        ended = &mut driving => match ended {
            Err(error) => Err(explain(&error, host)),
            Ok(()) => Err(Failure::Silent(format!("the database at {host} closed the connection"))),
        },
    };
    // The client is gone by now: what is still to be sent is that the transaction is over, and good-bye.
    let _ = tokio::time::timeout(GOODBYE, driving).await;
    answer
}

/// Carries messages until the connection ends. Notices are dropped: they may quote what is stored, and the
/// connection itself would log them.
async fn drive<S, T>(mut connection: Connection<S, T>) -> Result<(), tokio_postgres::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
        message?;
    }
    Ok(())
}

async fn query(question: &SqlQuestion, mut client: Client, host: &str) -> Result<Option<f64>, Failure> {
    let failed = |error: tokio_postgres::Error| explain(&error, host);
    let transaction = client.build_transaction().read_only(true).start().await.map_err(failed)?;
    let limit = format!("SET LOCAL statement_timeout = {}", question.timeout.as_millis());
    transaction.batch_execute(&limit).await.map_err(failed)?;
    let rows = rows(question, &transaction, host).await;
    // The database is told, and does not have to find out.
    let over = transaction.rollback().await;
    let rows = rows?;
    over.map_err(failed)?;
    match rows.as_slice() {
        [] => Ok(None),
        [row] => Ok(row.try_get::<_, Option<Number>>(0).map_err(failed)?.map(|Number(it)| it)),
        _ => Err(refused("the query has more than one row; aggregate them")),
    }
}

/// The first two rows. Described before it is fetched: neither a column nor a row of any size is ever asked for.
async fn rows(question: &SqlQuestion, transaction: &Transaction<'_>, host: &str) -> Result<Vec<Row>, Failure> {
    let statement = transaction.prepare(&question.statement).await.map_err(|error| explain(&error, host))?;
    match statement.params().len().cmp(&question.values.len()) {
        Ordering::Less => return Err(refused("a placeholder stands in a string, where it is no parameter")),
        Ordering::Greater => return Err(refused("the query has parameters of its own, such as $1")),
        Ordering::Equal => {}
    }
    let [column] = statement.columns() else {
        return Err(refused(&format!("the query has {} columns where one is asked for", statement.columns().len())));
    };
    if !Number::reads(column.type_()) {
        return Err(refused(&format!(
            "the query's column is of type {} where a number is asked for, such as double precision",
            column.type_()
        )));
    }
    let values: Vec<Text<'_>> = question.values.iter().map(|it| Text(it)).collect();
    let portal = transaction.bind_raw(&statement, values).await.map_err(|error| explain_values(&error, host))?;
    transaction.query_portal(&portal, 2).await.map_err(|error| explain(&error, host))
}

fn refused(why: &str) -> Failure {
    Failure::Answered(Measurement::Refused(format!("{why}; correct sql.query")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_of_one_database_by_tcp_and_encrypted_unless_it_says_otherwise() {
        for (url, host, port, encrypted) in [
            ("postgres://u:p@db/kpi", "db", 5432, true),
            ("postgresql://u:p%40@db.crm.svc:6432/kpi\n", "db.crm.svc", 6432, true),
            ("postgres://u:p@db/kpi?sslmode=verify-full", "db", 5432, true),
            ("postgres://u:p@db/kpi?sslmode=prefer", "db", 5432, true),
            ("postgres://u:p@[::1]:1/kpi?sslmode=disable", "::1", 1, false),
        ] {
            let target = target(url.as_bytes()).unwrap_or_else(|| panic!("{url}"));
            assert_eq!((target.host.as_str(), target.port, target.encrypted), (host, port, encrypted), "{url}");
        }
        assert_eq!(target(b"postgres://u:p%40@db/kpi").unwrap().config.get_password(), Some(&b"p@"[..]));
    }

    #[test]
    fn whatever_else_it_says_is_refused() {
        for url in [
            "",
            "db",
            "mysql://u:p@db/kpi",
            "postgres://u:p@%2Fvar%2Frun%2Fpostgresql/kpi",
            "postgres://u:p@a,b/kpi",
            "postgres://u@db/kpi",
            "postgres://db/kpi",
            "postgres://u:p@db/kpi#?options=-csearch_path%3Da",
            "postgres://u:p@db/kpi?host=169.254.169.254",
            "postgres://u:p@db/kpi?hostaddr=169.254.169.254",
            "postgres://u:p@db/kpi?options=-csearch_path%3Da",
            "postgres://u:p@db/kpi?sslmode=allow",
            "host=db user=u",
        ] {
            assert!(target(url.as_bytes()).is_none(), "{url}");
        }
        assert!(target(&[0xff]).is_none());
    }

    #[test]
    fn certificates_are_pem() {
        for pem in ["", "no", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(certificates(pem.as_bytes()).is_none(), "{pem}");
        }
    }
}
