//! What is pure stays pure: no clock, randomness or I/O in the folders that decide.
//!
//! Reads the sources as a compiler would read their paths: comments and strings are passed over,
//! `use` trees are taken apart, and code under `#[cfg(test)]` does not count.

#[cfg(test)]
mod paths;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use paths::{outside_of_tests, paths, tokens};

/// What is pure in `src/`.
/// The entry of the trail is what decisions are made of, so it is held to it, too.
const PURE: [&str; 6] = ["api", "decide", "stats", "text", "build", "audit/entry.rs"];

/// The dependencies that only compute. Any other reaches for the world, or might.
const COMPUTES: [&str; 13] = [
    "chrono",
    "http",
    "k8s_openapi",
    "kube",
    "minijinja",
    "schemars",
    "serde",
    "serde_json",
    "serde_json_canonicalizer",
    "serde_yaml",
    "sha2",
    "thiserror",
    "url",
];

/// What an entry is made of, and what it calls things.
const OF_AN_ENTRY: [&str; 8] =
    ["Consent", "Entry", "EntryKind", "Said", "REJECT", "RETRACT", "UNKNOWN_ACTOR", "is_of_words"];

/// What this package depends on, as code names it.
fn dependencies() -> BTreeSet<String> {
    let (_, listed) = include_str!("../../Cargo.toml").split_once("\n[dependencies]\n").unwrap_or_default();
    let (listed, _) = listed.split_once("\n[").unwrap_or_default();
    let name = |line: &str| line.split(['.', ' ', '=']).next().unwrap_or_default().replace('-', "_");
    listed.lines().filter(|it| !it.starts_with('#')).map(name).filter(|it| !it.is_empty()).collect()
}

/// The modules that lead to a file below `src`, which may be a file of `audit/`.
fn module_of(src: &Path, file: &Path) -> Vec<String> {
    let place = file.strip_prefix(src).unwrap_or(file).with_extension("");
    let names = place.iter().map(|it| it.to_string_lossy().into_owned()).filter(|it| it != "mod");
    std::iter::once("crate".to_owned()).chain(names).collect()
}

/// A path as it reads from the crate's root.
fn from_the_root(path: Vec<String>, module: &[String]) -> Vec<String> {
    let selves = path.iter().take_while(|it| *it == "self").count();
    let ups = path.iter().skip(selves).take_while(|it| *it == "super").count();
    if ups == 0 {
        return path;
    }
    // In a module of its own within a file there is one more to go up than is known here.
    let above = module.iter().take(module.len().saturating_sub(ups).max(1)).cloned();
    above.chain(path.into_iter().skip(selves + ups)).collect()
}

/// Whether a path reaches for the clock, chance, or the world outside.
fn is_forbidden(path: &[String], dependencies: &BTreeSet<String>) -> bool {
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["rand", ..] => true,
        [name, _, ..] if dependencies.contains(*name) && !COMPUTES.contains(name) => true,
        ["crate", "act" | "observe" | "connect" | "runtime" | "worker" | "cli" | "start" | "*" | "as", ..] => true,
        // Of the trail, only what an entry is.
        ["crate", "audit", name, ..] => !OF_AN_ENTRY.contains(name),
        ["std", "fs" | "net" | "env" | "process" | "thread" | "*" | "as", ..] => true,
        ["kube", "Client" | "Api" | "client" | "runtime" | "*" | "as", ..] | ["kube", "api", "Api" | "*", ..] => true,
        // Whatever it is called here: chrono's Utc, Local, Instant.
        [_, .., "now"] => true,
        all => all.contains(&"SystemTime"),
    }
}

/// Every violation below `src`, as `file: path`.
fn violations(src: &Path) -> io::Result<Vec<String>> {
    let (mut found, dependencies) = (Vec::new(), dependencies());
    for folder in PURE.iter().map(|name| src.join(name)).filter(|folder| folder.exists()) {
        let files = if folder.is_file() { vec![folder] } else { sources(&folder)? };
        for file in files {
            let tokens = outside_of_tests(&tokens(&std::fs::read_to_string(&file)?));
            let module = module_of(src, &file);
            let paths = paths(&tokens).into_iter().map(|it| from_the_root(it, &module));
            let bad = paths.filter(|path| is_forbidden(path, &dependencies));
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
        if stem == "tests" {
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

#[test]
fn what_decides_reads_no_clock_draws_no_number_and_talks_to_nothing() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for place in PURE {
        assert!(src.join(place).exists(), "src/{place} is nowhere: is it called otherwise now?");
    }
    assert!(COMPUTES.iter().all(|it| dependencies().contains(*it)), "{:?}", dependencies());
    let found = violations(&src).unwrap();
    assert!(found.is_empty(), "give these to the pure functions as arguments:\n{}", found.join("\n"));
}

fn found_in(source: &str) -> io::Result<Vec<String>> {
    let src = tempfile::tempdir()?;
    let folder = src.path().join("decide/deep");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("planted.rs"), source)?;
    violations(src.path())
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
        "use crate::act::Actor;",
        "use super::super::super::act::Actor;",
        "use super::super::super::{api::Weight, runtime};",
        "fn f() { super::super::super::observe::look() }",
        "use super::super::super::*;",
        "use self::super::super::super::act::Actor;",
        "mod inner { use super::super::super::super::act::Actor; }",
        "use tokio_postgres::Client;",
        "use futures::executor::block_on;",
        "fn f() { tracing::info!(\"told\") }",
        "use crate::{api::Weight, connect::prometheus::Prometheus};",
        "fn f() { crate::observe::look() }",
        "use crate::runtime;",
        "use crate::worker::fetch;",
        "use crate::cli::tree;",
        "use crate::start;",
        "use crate::*;",
        "use crate as house;",
        "use crate::audit::ObjectStoreTrail;",
        "use crate::audit::{Entry, Trail};",
        "fn f(c: reqwest::Client) {}",
        "use object_store::ObjectStore;",
        "use kube::runtime::watcher;",
        "use tower::Service;",
        "use hyper::Request;",
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
        assert!(!found_in(planted).unwrap().is_empty(), "{planted}");
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
        "use crate::api::Weight; use crate::audit::{Entry, EntryKind};",
        "use super::act::of_a_neighbour; use super::super::super::api::Weight;",
        "fn f(url: &str, bytes: u8) -> u8 { bytes }",
    ];
    for source in innocent {
        assert_eq!(found_in(source).unwrap(), Vec::<String>::new(), "{source}");
    }
}

#[test]
fn a_file_is_no_test_by_its_name_alone_and_the_entry_of_the_trail_is_pure() {
    for place in ["decide/some_tests.rs", "audit/entry.rs"] {
        let src = tempfile::tempdir().unwrap();
        let file = src.path().join(place);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "use std::fs;").unwrap();
        assert_eq!(violations(src.path()).unwrap().len(), 1, "{place}");
    }
}
