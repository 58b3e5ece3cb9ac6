//! What keeps something from being rolled out, in the words of a condition.

/// What is missing, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// CamelCase, from the documented list.
    pub reason: &'static str,
    /// What is missing and what to do.
    pub message: String,
    /// Whether it stays so until a person changes something that has been said, or registers something else. What is only
    /// waited for is not.
    pub is_final: bool,
}

impl Missing {
    /// Everything that is missing, in one: the reason is that of the first, and the message names each.
    #[must_use]
    pub fn together(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().reduce(|first, next| Self {
            reason: first.reason,
            message: format!("{}; {}", first.message, next.message),
            is_final: first.is_final || next.is_final,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_missing_is_named_and_one_that_is_final_makes_it_so() {
        let of = |reason, is_final| Missing { reason, message: format!("about {reason}"), is_final };
        assert_eq!(Missing::together([]), None);
        let all = Missing::together([of("First", false), of("Second", true)]).unwrap();
        assert_eq!(all, Missing { reason: "First", message: "about First; about Second".into(), is_final: true });
    }
}
