//! What keeps a value data, whatever it is put into.

/// Text under construction, in some language: what the author wrote, and values bound for the place they stand at.
pub trait Bind {
    /// Appends what the author wrote.
    fn text(&mut self, text: &str);

    /// Appends a value.
    ///
    /// # Errors
    /// It cannot stand there without meaning something.
    fn value(&mut self, value: &str) -> Result<(), BindError>;

    /// What came of it.
    fn finish(self) -> String;
}

/// Why a value cannot stand where the template puts it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// Outside of a string.
    #[error(
        "a value outside of quotes may hold only letters, digits, `_`, `:` and `.`; put the placeholder into a quoted string"
    )]
    Bare,
    /// Right after a backslash the escape would swallow the value's first character.
    #[error("a placeholder may not follow a backslash; remove the backslash")]
    AfterBackslash,
    /// A backquote in a backquoted string.
    #[error("a value in a backquoted string may not hold a backquote; use double quotes")]
    Backquote,
    /// In a comment.
    #[error("a placeholder may not stand in a comment; remove the comment")]
    Comment,
    /// In JSON, outside of a string.
    #[error("a value outside of quotes may only be a number; put the placeholder into a quoted string")]
    NoNumber,
    /// In a URL, before its path.
    #[error("a value in a URL's host may hold only lower-case letters, digits and `-`, and none may stand before it")]
    Host,
    /// In a URL's path, where it would lead upwards.
    #[error("a value in a URL may not be empty or consist of dots")]
    Dots,
    /// In SQL, in quotes or in a word.
    #[error("in SQL a value is a parameter, which stands alone: take the quotes away from around the placeholder")]
    NoParameter,
}

/// A value in the middle of what the author wrote.
#[cfg(test)]
pub(super) fn around(mut binder: impl Bind, before: &str, value: &str, after: &str) -> Result<String, BindError> {
    binder.text(before);
    binder.value(value)?;
    binder.text(after);
    Ok(binder.finish())
}
