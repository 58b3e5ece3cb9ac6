//! Query templates: PromQL with placeholders, `errors_total{revision="{{ revision }}"}`, or another language.
//!
//! A template is written by whoever may write a deployment, its values come from
//! the cluster; neither may surprise the metric source or the operator. So the
//! language is minijinja without any filter, function or test, fuelled for a few
//! thousand steps; a variable that is not among the given ones is refused before
//! anything is rendered, with the list of those that exist; and values are bound
//! (escaped for their place), never pasted.
//!
//! How binding works: rendering wraps every value in NUL characters, which
//! neither templates nor values may hold; the second pass walks over the result
//! and knows exactly which parts are values, whatever the template computed.

use std::collections::BTreeMap;

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};

use super::bind::Bind;
pub use super::bind::BindError;
use super::{json_literal, promql_literal, sql_parameter, url_component};

/// The longest template.
const MAX_TEMPLATE_BYTES: usize = 16 * 1024;
/// The longest query a template may grow to.
const MAX_QUERY_BYTES: usize = 64 * 1024;
/// Instructions, and bytes written or allocated, of one rendering.
const FUEL: u64 = 200_000;
/// Encloses a value between the two passes.
const MARK: char = '\0';

/// Why a template gives no query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A name nobody defines.
    #[error("unknown variable `{name}`; known: {known}")]
    UnknownVariable {
        /// As written.
        name: String,
        /// The names that exist, sorted, separated by commas.
        known: String,
    },
    /// minijinja does not accept it.
    #[error("line {line} of the template: {problem}; correct the template")]
    Syntax {
        /// From 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A value may not stand where the template puts it.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The template or its result is too long, or it takes too many steps.
    #[error("the template is too long or takes too many steps; shorten it (at most 16 KiB, the query at most 64 KiB)")]
    TooLarge,
    /// A NUL character in the template or a value.
    #[error("the template or a value holds a NUL character, or prints captured output; remove it")]
    Nul,
}

/// What a template is written in: what keeps a value data there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Prometheus' query language.
    PromQl,
    /// A URL.
    Url,
    /// JSON.
    Json,
    /// A JSON path.
    JsonPath,
}

/// Fills in a PromQL template with exactly the given variables.
///
/// # Errors
/// Says what to correct in the template.
pub fn render(template: &str, variables: &BTreeMap<&str, String>) -> Result<String, TemplateError> {
    render_in(Language::PromQl, template, variables)
}

/// Fills in a template in any language with exactly the given variables.
///
/// # Errors
/// Says what to correct in the template.
pub fn render_in(
    language: Language,
    template: &str,
    variables: &BTreeMap<&str, String>,
) -> Result<String, TemplateError> {
    match language {
        Language::PromQl => bound(promql_literal::Binder::new(), template, variables),
        Language::Url => bound(url_component::Binder::default(), template, variables),
        Language::Json => bound(json_literal::Binder::json(), template, variables),
        Language::JsonPath => bound(json_literal::Binder::path(), template, variables),
    }
}

/// Fills in an SQL template: the statement with a parameter in place of each value, and their values.
///
/// # Errors
/// Says what to correct in the template.
pub fn render_sql(template: &str, variables: &BTreeMap<&str, String>) -> Result<(String, Vec<String>), TemplateError> {
    let mut query = sql_parameter::Binder::default();
    fill_in(&mut query, template, variables)?;
    let values = query.take_values();
    Ok((short_enough(query.finish())?, values))
}

fn bound(mut query: impl Bind, template: &str, variables: &BTreeMap<&str, String>) -> Result<String, TemplateError> {
    fill_in(&mut query, template, variables)?;
    short_enough(query.finish())
}

fn fill_in(query: &mut impl Bind, template: &str, variables: &BTreeMap<&str, String>) -> Result<(), TemplateError> {
    let names = used_variables(template)?;
    if let Some(name) = names.into_iter().find(|name| !variables.contains_key(name.as_str())) {
        let known = variables.keys().copied().collect::<Vec<_>>().join(", ");
        return Err(TemplateError::UnknownVariable { name, known });
    }
    let marked = environment().render_str(template, variables).map_err(|error| explain(&error))?;
    for (index, part) in marked.split(MARK).enumerate() {
        if index % 2 == 0 {
            query.text(part);
        } else {
            query.value(part)?;
        }
    }
    Ok(())
}

fn short_enough(query: String) -> Result<String, TemplateError> {
    if query.len() > MAX_QUERY_BYTES { Err(TemplateError::TooLarge) } else { Ok(query) }
}

/// Whether a template depends on a variable, e.g. to know if a query looks at one revision only.
///
/// # Errors
/// The template is not one.
pub fn uses(template: &str, variable: &str) -> Result<bool, TemplateError> {
    Ok(used_variables(template)?.iter().any(|name| name == variable))
}

/// The variables a template asks for, sorted.
fn used_variables(template: &str) -> Result<Vec<String>, TemplateError> {
    if template.len() > MAX_TEMPLATE_BYTES {
        return Err(TemplateError::TooLarge);
    }
    if template.contains(MARK) {
        return Err(TemplateError::Nul);
    }
    let environment = environment();
    let parsed = environment.template_from_str(template).map_err(|error| explain(&error))?;
    let mut names: Vec<String> = parsed.undeclared_variables(false).into_iter().collect();
    names.sort_unstable();
    Ok(names)
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(|out, _, value| {
        if value.is_undefined() {
            return Err(Error::from(ErrorKind::UndefinedError));
        }
        let value = value.to_string();
        if value.contains(MARK) {
            return Err(Error::from(ErrorKind::BadEscape));
        }
        Ok(write!(out, "{MARK}{value}{MARK}")?)
    });
    environment
}

fn explain(error: &Error) -> TemplateError {
    match error.kind() {
        ErrorKind::OutOfFuel => TemplateError::TooLarge,
        ErrorKind::BadEscape => TemplateError::Nul,
        kind => TemplateError::Syntax {
            line: error.line().unwrap_or(1),
            problem: error.detail().map_or_else(|| kind.to_string(), str::to_owned),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables<'a>(revision: &str) -> BTreeMap<&'a str, String> {
        let values = [("deployment", "churn"), ("namespace", "crm"), ("window", "1m"), ("windowStart", "1763900000.5")];
        let mut variables: BTreeMap<_, _> = values.map(|(name, value)| (name, value.to_owned())).into();
        variables.insert("revision", revision.to_owned());
        variables
    }

    #[test]
    fn placeholders_in_strings_and_durations_are_filled_in() {
        let template = r#"sum(rate(errors_total{revision="{{ revision }}",namespace='{{namespace}}'}[{{ window }}] @ {{ windowStart }}))"#;
        assert_eq!(
            render(template, &variables("s1-abc")).unwrap(),
            r#"sum(rate(errors_total{revision="s1-abc",namespace='crm'}[1m] @ 1763900000.5))"#
        );
    }

    #[test]
    fn a_template_without_placeholders_stays_as_it_is() {
        let query = "sum by (le) (rate(x_bucket[5m])) # it's \"fine\"\n / 2";
        assert_eq!(render(query, &variables("r")).unwrap(), query);
    }

    #[test]
    fn an_unknown_variable_is_named_beside_the_known_ones() {
        let error = render(r#"x{r="{{ revison }}"}"#, &variables("r")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown variable `revison`; known: deployment, namespace, revision, window, windowStart"
        );
    }

    #[test]
    fn a_template_is_checked_without_values() {
        let check = |template: &str, variables: &[&str]| {
            render(template, &variables.iter().map(|name| (*name, "1".to_owned())).collect()).map(drop)
        };
        assert_eq!(check(r#"x{r="{{ revision }}"}[{{ window }}]"#, &["revision", "window"]), Ok(()));
        assert!(matches!(check("{{ revison }}", &["revision"]), Err(TemplateError::UnknownVariable { .. })));
        assert!(matches!(check("{{ revision", &["revision"]), Err(TemplateError::Syntax { .. })));
        assert_eq!(
            check(r#"x{r="\{{ revision }}"}"#, &["revision"]),
            Err(TemplateError::Bind(BindError::AfterBackslash))
        );
    }

    #[test]
    fn a_branch_not_taken_does_not_hide_an_unknown_variable() {
        let error = render("{% if window == '1m' %}1{% else %}{{ other }}{% endif %}", &variables("r")).unwrap_err();
        assert!(matches!(error, TemplateError::UnknownVariable { name, .. } if name == "other"));
    }

    #[test]
    fn mistakes_name_their_line() {
        for template in
            ["up\n{{ revision", "up\n{{ revision | upper }}", "up\n{{ revision.name }}", "up\n{{ range(3) }}"]
        {
            let error = render(template, &variables("r")).unwrap_err();
            assert!(
                matches!(&error, TemplateError::Syntax { line: 2, .. } | TemplateError::UnknownVariable { .. }),
                "{template}: {error:?}"
            );
        }
    }

    #[test]
    fn whether_a_variable_is_used_is_known_without_rendering() {
        assert_eq!(uses(r#"x{r="{{ revision }}"}"#, "revision"), Ok(true));
        assert_eq!(uses(r#"x{r="revision"}"#, "revision"), Ok(false));
    }

    #[test]
    fn loops_and_growth_end_soon() {
        let hundred = format!("[{}]", "1,".repeat(100));
        for template in [
            format!(
                "{{% for a in {hundred} %}}{{% for b in {hundred} %}}{{% for c in {hundred} %}}x{{% endfor %}}{{% endfor %}}{{% endfor %}}"
            ),
            r#"{{ "aaaaaaaaaa" * 100000000 }}"#.to_owned(),
            format!("{{% set x = 'aaaaaaaaaa' %}}{}{{{{ x }}}}", "{% set x = x ~ x %}".repeat(40)),
            "x".repeat(MAX_TEMPLATE_BYTES + 1),
        ] {
            assert!(render(&template, &variables("r")).is_err(), "{}", &template[..40]);
        }
    }

    #[test]
    fn deep_nesting_is_refused_not_a_stack_overflow() {
        let template = format!("{{{{ {}1{} }}}}", "(".repeat(7000), ")".repeat(7000));
        assert!(render(&template, &variables("r")).is_err());
    }

    #[test]
    fn a_value_matched_as_a_regex_matches_only_itself() {
        let query = render(r#"x{r=~"{{ revision }}|old",s !~ `{{ revision }}`,t="{{ revision }}"}"#, &variables("a.*"));
        assert_eq!(query.unwrap(), r#"x{r=~"a\\.\\*|old",s !~ `a\.\*`,t="a.*"}"#);
    }

    #[test]
    fn places_that_cannot_be_made_safe_are_refused() {
        for (template, revision, error) in [
            ("x[{{ revision }}]", "1m]) or vector(1", BindError::Bare),
            ("{{ revision }}", "", BindError::Bare),
            (r#"x{r="\{{ revision }}"}"#, "a", BindError::AfterBackslash),
            ("x{r=`{{ revision }}`}", "`} or up", BindError::Backquote),
            ("x # {{ revision }}", "a\n or up", BindError::Comment),
        ] {
            assert_eq!(render(template, &variables(revision)), Err(TemplateError::Bind(error)), "{template}");
        }
    }

    #[test]
    fn captured_output_cannot_smuggle_a_value_out_of_its_marks() {
        let error = render("{% set x %}{{ revision }}{% endset %}{{ x }}", &variables("a")).unwrap_err();
        assert_eq!(error, TemplateError::Nul);
    }

    /// Reads a PromQL string as Prometheus' `strutil.Unquote` does: its content and what follows it.
    fn unquote(text: &str) -> Option<(String, &str)> {
        let mut chars = text.char_indices();
        let (_, quote) = chars.next()?;
        let mut content = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => return Some((content, &text[at + c.len_utf8()..])),
                '\\' if quote != '`' => match chars.next()?.1 {
                    'n' => content.push('\n'),
                    'x' => {
                        let digits: String = [chars.next()?.1, chars.next()?.1].into_iter().collect();
                        content.push(char::from(u8::from_str_radix(&digits, 16).ok()?));
                    }
                    c if c == '\\' || c == quote => content.push(c),
                    _ => return None,
                },
                '\n' if quote != '`' => return None,
                c => content.push(c),
            }
        }
        None
    }

    proptest! {
        #[test]
        fn no_value_can_leave_its_string_literal(
            value in prop_oneof!["[\"'`\\\\\n{}#\\[\\]=~ax0-9]{0,12}", any::<String>()],
            quote in prop_oneof![Just('"'), Just('\''), Just('`')],
        ) {
            let template = format!("x{{r={quote}a{{{{ revision }}}}b{quote}}} or y");
            match render(&template, &variables(&value)) {
                Ok(query) => {
                    let read = unquote(query.strip_prefix("x{r=").unwrap());
                    prop_assert_eq!(read, Some((format!("a{value}b"), "} or y")));
                }
                Err(TemplateError::Nul) => prop_assert!(value.contains('\0')),
                Err(error) => {
                    prop_assert_eq!(error, TemplateError::Bind(BindError::Backquote));
                    prop_assert!(quote == '`' && value.contains('`'));
                }
            }
        }

        #[test]
        fn outside_of_strings_a_value_stays_one_token(value in "[a-z0-9\\]\\[(){}\"' +*/-]{0,6}") {
            if let Ok(query) = render("x[{{ revision }}]", &variables(&value)) {
                prop_assert!(query.strip_prefix("x[").unwrap().strip_suffix(']').unwrap().chars().all(char::is_alphanumeric));
            }
        }

        #[test]
        fn no_template_makes_it_panic(template in "([{}%\"'`#\\\\ \n~*()]|revision|for|in|set|if|end|\\PC){0,40}") {
            let _ = render(&template, &variables("a\"`"));
        }
    }
}
