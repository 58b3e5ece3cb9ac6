//! `werkbank crd`, whose output people pipe into other programs.

#![cfg(test)]

use std::process::{Command, Output, Stdio};

fn crd(out: impl Into<Stdio>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_werkbank")).arg("crd").stdout(out).stderr(Stdio::piped()).output().unwrap()
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = crd(writer);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_disk_that_is_full_is_a_failure_and_a_sentence() {
    let output = crd(std::fs::File::create("/dev/full").unwrap());
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("werkbank crd: cannot be printed: ") && said.lines().count() == 1, "{said}");
}

#[test]
fn every_crd_is_a_document_of_one_stream() {
    let output = crd(Stdio::piped());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.starts_with("---\n"), "{output:?}");
    let kinds: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("kind: ")).collect();
    assert_eq!(kinds, ["CustomResourceDefinition"; 3]);
}
