//! Metrics of provider `sql` against a real PostgreSQL.
#![cfg(test)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use werkbank::connect::sql::SqlSource;
use werkbank::decide::Measurement;
use werkbank::decide::model_deployment::question::{Question, SqlQuestion, Template};
use werkbank_e2e::postgres::Postgres;
use werkbank_e2e::process::Supervisor;
use werkbank_e2e::tools::Tools;

/// A value that would be SQL if it were pasted.
const REVISION: &str = "r1'; DROP TABLE orders; --";

async fn postgres() -> Postgres {
    let wheel = Tools::new(Supervisor::new().unwrap()).unwrap().postgres().await.unwrap();
    Postgres::start(&wheel).await.unwrap()
}

fn question(query: &str, timeout: &str) -> SqlQuestion {
    let sql = json!({
        "connection": {"secretKeyRef": {"name": "warehouse", "key": "uri"}}, "query": query, "timeout": timeout,
    });
    let template = Template::Sql(Box::new(serde_json::from_value(sql).unwrap()));
    let variables: BTreeMap<&str, String> =
        [("revision", REVISION.to_owned()), ("window", "1h30m".to_owned()), ("windowStart", "1763900000".to_owned())]
            .into();
    match template.fill_in(&variables).unwrap() {
        Question::Sql(question) => *question,
        other => panic!("{other:?}"),
    }
}

async fn ask(postgres: &Postgres, query: &str) -> Measurement {
    SqlSource::new(true).ask("crm", &question(query, "5s"), postgres.url().as_bytes(), None).await
}

#[tokio::test]
async fn one_number_of_any_type_is_the_measurement() {
    let postgres = postgres().await;
    for (query, number) in [
        ("SELECT 7::smallint", 7.0),
        ("SELECT -7", -7.0),
        ("SELECT count(*) FROM generate_series(1, 5000000000 / 1000000)", 5000.0),
        ("SELECT 0.25::real", 0.25),
        ("SELECT 0.1::double precision;", 0.1),
        ("SELECT avg(x) FROM (VALUES (1), (2)) AS t(x)", 1.5),
        ("SELECT -123456789012345678901234567890.000001", -123_456_789_012_345_678_901_234_567_890.000_001),
        ("SELECT 0.00000000000000000001234", 1.234e-20),
        ("SELECT 10000::numeric", 10000.0),
        ("SELECT 'Infinity'::numeric", f64::INFINITY),
    ] {
        assert_eq!(ask(&postgres, query).await, Measurement::Value(number), "{query}");
    }
    for nothing in ["SELECT NULL::int", "SELECT 1 WHERE false", "SELECT 'NaN'::numeric", "SELECT 1 / 0"] {
        let measurement = ask(&postgres, nothing).await;
        assert!(matches!(measurement, Measurement::NoData(_)), "{nothing}: {measurement:?}");
    }
}

#[tokio::test]
async fn values_are_compared_and_never_read_as_sql() {
    let postgres = postgres().await;
    postgres.run("CREATE TABLE orders (revision text, at timestamptz, euros numeric)").await.unwrap();
    let hostile = REVISION.replace('\'', "''");
    let orders = format!(
        "INSERT INTO orders VALUES ('{hostile}', now(), 10), ('{hostile}', now(), 20), \
         ('{hostile}', now() - interval '2 hours', 600), ('{hostile}', to_timestamp(1), 6000), ('r2', now(), 60000)"
    );
    postgres.run(&orders).await.unwrap();
    for (condition, sum) in [
        ("at >= to_timestamp({{ windowStart }})", 630.0),
        ("at >= now() - {{ window }}::interval", 30.0),
        ("extract(epoch FROM at) >= {{ windowStart }}", 630.0),
    ] {
        let query = format!("SELECT sum(euros) FROM orders WHERE revision = {{{{ revision }}}} AND {condition}");
        assert_eq!(ask(&postgres, &query).await, Measurement::Value(sum), "{condition}");
    }
}

#[tokio::test]
async fn what_a_person_has_to_correct_is_refused_and_quotes_nothing_that_was_stored() {
    let postgres = postgres().await;
    postgres.run("CREATE TABLE people (mail text)").await.unwrap();
    postgres.run("INSERT INTO people VALUES ('anna@example.com'), ('ben@example.com')").await.unwrap();
    for (query, why) in [
        ("SELEC 1", "syntax error at or near \"SELEC\" (at character 1; 42601); correct sql.query"),
        ("SELECT avg(x) FROM order", "syntax error"),
        ("SELECT count(*) FROM orders", "relation \"orders\" does not exist (at character 22; 42P01)"),
        ("SELECT mail FROM people", "of type text where a number is asked for"),
        ("SELECT count(*), 1 FROM people", "has 2 columns"),
        ("SELECT length(mail) FROM people", "more than one row"),
        ("SELECT max(mail)::int FROM people", "fails on what is stored (22P02, see the database's log)"),
        ("DELETE FROM people RETURNING 1", "a measurement may only read"),
        ("SELECT 1; SELECT 2", "cannot insert multiple commands"),
        ("SELECT $1::int", "parameters of its own"),
        ("SELECT count(*) FROM people WHERE now() >= {{ windowStart }}", "does not fit the type of its place"),
        // Names that are made of what is stored.
        (
            "SELECT count(*) FROM ts_stat((SELECT 'select \"' || string_agg(mail, ',') || '\"' FROM people))",
            "the database refuses what the query does (42703",
        ),
        ("CREATE TABLE t (x int)", "has 0 columns"),
    ] {
        let measurement = ask(&postgres, query).await;
        let Measurement::Refused(said) = &measurement else { panic!("{query}: {measurement:?}") };
        assert!(said.contains(why) && !said.contains("example.com"), "{query}: {said}");
    }
    assert_eq!(ask(&postgres, "SELECT count(*) FROM people").await, Measurement::Value(2.0));
    postgres.run(&format!("CREATE ROLE reader LOGIN PASSWORD '{}'", Postgres::PASSWORD)).await.unwrap();
    let counted = question("SELECT count(*) FROM people", "5s");
    for (url, why) in [
        (postgres.url().replace(Postgres::USER, "reader"), "permission denied for table people (42501)"),
        (postgres.url().replace(Postgres::PASSWORD, "wrong"), "does not let the user in (28P01)"),
        (postgres.url().replace("/kpi", "/other"), "does not let the user in (3D000)"),
    ] {
        let measurement = SqlSource::new(true).ask("crm", &counted, url.as_bytes(), None).await;
        assert!(matches!(&measurement, Measurement::Refused(said) if said.contains(why)), "{measurement:?}");
    }
    let on_loopback =
        SqlSource::new(false).ask("crm", &question("SELECT 1", "5s"), postgres.url().as_bytes(), None).await;
    assert!(matches!(&on_loopback, Measurement::Refused(said) if said.contains("never called")), "{on_loopback:?}");
}

#[tokio::test]
async fn a_slow_statement_is_ended_by_the_database_and_takes_no_place_after_it() {
    let postgres = postgres().await;
    let began = Instant::now();
    let slow = question("SELECT 1 FROM pg_sleep(60)", "500ms");
    let measurement = SqlSource::new(true).ask("crm", &slow, postgres.url().as_bytes(), None).await;
    let ended = |it: &str| it.contains("sql.timeout") || it.contains("did not answer within 500ms");
    assert!(matches!(&measurement, Measurement::ProviderError(said) if ended(said)), "{measurement:?}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()";
    let until = Instant::now() + Duration::from_secs(10);
    while ask(&postgres, running).await != Measurement::Value(0.0) {
        assert!(Instant::now() < until, "the statement still runs");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_an_outage_and_answers_again_when_it_is_back() {
    let mut postgres = postgres().await;
    postgres.stop().await;
    let measurement = ask(&postgres, "SELECT 1").await;
    assert!(matches!(&measurement, Measurement::ProviderError(said) if said.contains("cannot be connected to")));
    postgres.restart().await.unwrap();
    assert_eq!(ask(&postgres, "SELECT 1").await, Measurement::Value(1.0));
}

#[tokio::test]
async fn one_database_is_asked_by_a_few_at_a_time() {
    let postgres = postgres().await;
    let source = SqlSource::new(true);
    let question =
        question("SELECT count(*) FROM pg_stat_activity, pg_sleep(0.2) WHERE application_name = 'werkbank'", "10s");
    let url = postgres.url();
    let all = join_all((0..12).map(|_| source.ask("crm", &question, url.as_bytes(), None))).await;
    for measurement in all {
        let Measurement::Value(connections) = measurement else { panic!("{measurement:?}") };
        assert!(connections <= 4.0, "{connections}");
    }
}

#[tokio::test]
async fn a_connection_is_ended_in_good_order() {
    let postgres = postgres().await;
    for _ in 0..3 {
        assert_eq!(ask(&postgres, "SELECT 1").await, Measurement::Value(1.0));
    }
    for refused in ["SELECT 1, 2", "SELECT nothing"] {
        assert!(matches!(ask(&postgres, refused).await, Measurement::Refused(_)));
    }
    let log = postgres.log().unwrap();
    assert!(log.contains("ready to accept connections"), "{log}");
    assert!(!log.contains("unexpected EOF"), "{log}");
}

#[tokio::test]
async fn what_says_that_it_is_endless_is_not_waited_for_nor_held() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://u:p@{}/kpi?sslmode=disable", listener.local_addr().unwrap());
    let sent = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // An authentication message of two gigabytes.
        stream.write_all(&[b'R', 0x7f, 0xff, 0xff, 0xff]).await.unwrap();
        let mut sent = 0;
        while stream.write_all(&[0; 4096]).await.is_ok() {
            sent += 4096;
        }
        sent
    });
    let measurement = SqlSource::new(true).ask("crm", &question("SELECT 1", "10s"), url.as_bytes(), None).await;
    assert!(matches!(measurement, Measurement::ProviderError(_)), "{measurement:?}");
    // What is under way in the kernel comes on top.
    assert!(sent.await.unwrap() < 16 * 1024 * 1024);
}

/// TLS before a PostgreSQL that has none, as connection poolers have it: whoever asks for encryption gets it.
struct Front {
    address: SocketAddr,
    ca: String,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Front {
    async fn before(postgres: SocketAddr, name: &str) -> Self {
        let certified = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let chain = vec![CertificateDer::from(certified.cert.der().to_vec())];
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move { serve(stream, &acceptor, postgres).await });
            }
        });
        Self { address, ca: certified.cert.pem(), accepting }
    }

    fn url(&self, host: &str) -> String {
        format!("postgres://{}:{}@{host}:{}/kpi", Postgres::USER, Postgres::PASSWORD, self.address.port())
    }
}

async fn serve(mut stream: TcpStream, acceptor: &TlsAcceptor, postgres: SocketAddr) -> Result<()> {
    // SSLRequest: eight bytes, the code 80877103 in the last four.
    let mut request = [0; 8];
    stream.read_exact(&mut request).await?;
    ensure!(request[4..] == 80_877_103_u32.to_be_bytes(), "not encrypted");
    stream.write_all(b"S").await?;
    let mut encrypted = acceptor.accept(stream).await?;
    let mut behind = TcpStream::connect(postgres).await?;
    tokio::io::copy_bidirectional(&mut encrypted, &mut behind).await?;
    Ok(())
}

#[tokio::test]
async fn the_password_is_told_to_nobody_but_who_has_the_certificate() {
    let postgres = postgres().await;
    let front = Front::before(postgres.address(), "localhost").await;
    let source = SqlSource::new(true);
    let question = question("SELECT 1", "5s");
    let trusted = source.ask("crm", &question, front.url("localhost").as_bytes(), Some(front.ca.as_bytes())).await;
    assert_eq!(trusted, Measurement::Value(1.0));

    let other = Front::before(postgres.address(), "localhost").await;
    for (what, url, ca) in [
        ("signed by nobody known", front.url("localhost"), None),
        ("signed by somebody else", front.url("localhost"), Some(other.ca.as_bytes())),
        ("of another name", front.url("127.0.0.1"), Some(front.ca.as_bytes())),
        ("none at all", postgres.url().replace("?sslmode=disable", ""), Some(front.ca.as_bytes())),
    ] {
        let measurement = SqlSource::new(true).ask("crm", &question, url.as_bytes(), ca).await;
        assert!(
            matches!(&measurement, Measurement::ProviderError(said) if said.contains("cannot be spoken to")),
            "{what}: {measurement:?}"
        );
    }
    let no_certificate = source.ask("crm", &question, front.url("localhost").as_bytes(), Some(b"no")).await;
    assert!(matches!(no_certificate, Measurement::SecretNotReadable(_)), "{no_certificate:?}");
}
