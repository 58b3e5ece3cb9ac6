//! The paths in a Rust source, as far as a reader of tokens can tell.

/// Words, `::` and single punctuation marks; no comments, strings or characters.
pub(super) fn tokens(source: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = literal(rest) {
            length
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(rest[..end].to_owned());
            end
        } else if rest.starts_with("::") {
            tokens.push("::".into());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a string or character at the start of `text`; a lifetime is neither.
fn literal(text: &str) -> Option<usize> {
    let body = text.strip_prefix('b').unwrap_or(text);
    let prefix = text.len() - body.len();
    if let Some(raw) = body.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let inside = raw[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(prefix + 1 + hashes + 1 + inside.find(&end)? + end.len());
    }
    let quote = body.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut escaped = false;
    for (at, c) in body.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(prefix + at + 1),
            _ if quote == '\'' && !body[1..].starts_with('\\') && at > 1 => return None,
            _ => {}
        }
    }
    None
}

/// Without items under `#[cfg(test)]`.
pub(super) fn outside_of_tests(tokens: &[String]) -> Vec<String> {
    let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].iter().map(String::as_str).take(attribute.len()).eq(attribute) {
            at = end_of_item(tokens, at + attribute.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Behind the `;` or the closing brace of the item at `at`.
fn end_of_item(tokens: &[String], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => break,
            "}" => depth = depth.saturating_sub(1),
            ";" if depth == 0 => break,
            _ => {}
        }
    }
    at
}

/// Every path, those in `use` trees with their beginnings.
pub(super) fn paths(tokens: &[String]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at] == "use" {
            let end = at + tokens[at..].iter().position(|it| it == ";").unwrap_or(tokens.len() - at);
            expand(&tokens[at + 1..end], &[], &mut paths);
            at = end;
        } else if is_word(&tokens[at]) {
            let mut path = vec![tokens[at].clone()];
            while tokens.get(at + 1).is_some_and(|it| it == "::") && tokens.get(at + 2).is_some_and(|it| is_word(it)) {
                path.push(tokens[at + 2].clone());
                at += 2;
            }
            paths.push(path);
        }
        at += 1;
    }
    paths
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Takes a `use` tree apart: `a::{b, c::{self, d as e}}` is a::b, a::c, a::c::d. A crate that
/// is renamed, or taken whole, gives `a::as` or `a::*`: nobody can follow it from there.
fn expand(tree: &[String], before: &[String], paths: &mut Vec<Vec<String>>) {
    let mut path = before.to_vec();
    let mut at = 0;
    while let Some(token) = tree.get(at) {
        match token.as_str() {
            "::" => {}
            "{" => {
                let close = end_of_item(tree, at) - 1;
                let inner = &tree[at + 1..close];
                let (mut depth, mut start) = (0_i32, 0);
                for (index, token) in inner.iter().enumerate() {
                    depth += i32::from(token == "{") - i32::from(token == "}");
                    if depth == 0 && token == "," {
                        expand(&inner[start..index], &path, paths);
                        start = index + 1;
                    }
                }
                return expand(&inner[start..], &path, paths);
            }
            "self" if !path.is_empty() => {}
            "as" => {
                paths.push(path.iter().cloned().chain(["as".to_owned()]).collect());
                break;
            }
            _ => path.push(token.clone()),
        }
        at += 1;
    }
    if path.len() > before.len() || !tree.is_empty() {
        paths.push(path);
    }
}
