//! What is pure stays pure: no clock, randomness or I/O in the folders that decide.
//!
//! Reads the sources as a compiler would read their paths: comments and strings are passed over,
//! `use` trees are taken apart, and code under `#[cfg(test)]` does not count.

use std::io;
use std::path::{Path, PathBuf};

/// The pure folders of `src/`; those that do not exist yet are held to it when they do.
const PURE: [&str; 6] = ["api", "decide", "stats", "text", "cost", "build"];

/// Whether a path reaches for the clock, chance, or the world outside.
fn is_forbidden(path: &[String]) -> bool {
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["tokio" | "rand", ..] => true,
        ["std", "fs" | "net" | "env" | "process" | "thread" | "*" | "as", ..] => true,
        ["kube", "Client" | "Api" | "client" | "runtime" | "*" | "as", ..] | ["kube", "api", "Api" | "*", ..] => true,
        // Whatever it is called here: chrono's Utc, Local, Instant.
        [_, .., "now"] => true,
        all => all.contains(&"SystemTime"),
    }
}

/// Every violation below `src`, as `file: path`.
fn violations(src: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in PURE.iter().map(|name| src.join(name)).filter(|folder| folder.exists()) {
        for file in sources(&folder)? {
            let tokens = outside_of_tests(&tokens(&std::fs::read_to_string(&file)?));
            let bad = paths(&tokens).into_iter().filter(|path| is_forbidden(path));
            found.extend(bad.map(|path| format!("{}: {}", file.display(), path.join("::"))));
        }
    }
    Ok(found)
}

/// Rust files that are no test modules.
fn sources(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if stem == "tests" || stem.ends_with("_tests") {
            continue;
        }
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

/// Words, `::` and single punctuation marks; no comments, strings or characters.
fn tokens(source: &str) -> Vec<String> {
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
            _ if quote == '\'' && body[1..].chars().next() != Some('\\') && at > 1 => return None,
            _ => {}
        }
    }
    None
}

/// Without items under `#[cfg(test)]`.
fn outside_of_tests(tokens: &[String]) -> Vec<String> {
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
fn paths(tokens: &[String]) -> Vec<Vec<String>> {
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

#[test]
fn what_decides_reads_no_clock_draws_no_number_and_talks_to_nothing() {
    let found = violations(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    assert!(found.is_empty(), "give these to the pure functions as arguments:\n{}", found.join("\n"));
}

fn found_in(source: &str) -> Vec<String> {
    let src = tempfile::tempdir().unwrap();
    let folder = src.path().join("decide/deep");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("planted.rs"), source).unwrap();
    violations(src.path()).unwrap()
}

#[test]
fn every_way_out_is_noticed() {
    for planted in [
        "use tokio::sync::Mutex;",
        "async fn f() { tokio::time::sleep(x).await }",
        "use kube::{Resource, Client};",
        "use kube::{\n    api::{Patch, Api}, ResourceExt};",
        "fn f(c: kube::Api<X>) {}",
        "fn f() { let now = chrono::Utc::now(); }",
        "use chrono::Utc as Clock; fn f() { Clock::now() }",
        "use std::time::{Duration, SystemTime};",
        "use std::{collections::BTreeMap, fs};",
        "use std::{collections::{BTreeMap, BTreeSet}, net::{IpAddr, TcpStream}};",
        "use std::{fs::{self, File}};",
        "use std::env as e;",
        "use std as s; fn f() { s::fs::read(x) }",
        "use std::*;",
        "use ::std::fs;",
        "fn f<'a>(x: &'a str) { std::fs::read(x); }",
        "fn f(c: char) -> bool { c == '\\'' || std::env::var(\"A\").is_ok() }",
        "fn f() { rand::random::<u8>(); }",
        "#[cfg(test)] mod tests { fn f() {} } use std::fs;",
        "#[cfg(test)] mod tests; use std::fs;",
        "/* a /* comment */ */ use std::fs;",
        "const S: &str = r#\"a \" string\"#; use std::fs;",
    ] {
        assert!(!found_in(planted).is_empty(), "{planted}");
    }
}

#[test]
fn what_only_looks_like_one_is_not() {
    let innocent = [
        "// std::fs is for others\n/// tokio::spawn\nuse std::fmt;",
        "const S: &str = \"use std::fs; // \\\" tokio::main\"; const C: char = '\"';",
        "const R: &str = r#\"std::env::var(\"A\")\"#;",
        "#[cfg(test)]\nmod tests {\n    use std::fs;\n    fn f() { if true { chrono::Utc::now(); } }\n}",
        "#[cfg(test)]\nuse std::fs;\nfn f(now: u8) -> u8 { now }",
        "struct Pass { now: u8 } impl Pass { fn f(&self) -> u8 { self.now } }",
        "use kube::{CustomResource, KubeSchema}; use std::time::Duration;",
    ];
    for source in innocent {
        assert_eq!(found_in(source), Vec::<String>::new(), "{source}");
    }
}
