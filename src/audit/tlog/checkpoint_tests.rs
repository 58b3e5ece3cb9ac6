use super::super::merkle::empty;
use super::*;

const ORIGIN: &str = "werkbank.dev/log/test/1";

fn key() -> Signer {
    Signer::of_seed(ORIGIN, &[1; 32]).unwrap()
}

fn opened(text: &str) -> Result<Checkpoint, NoCheckpoint> {
    let note = note::sign(text, &[key()]);
    Checkpoint::open(note.as_bytes(), ORIGIN, &[key().verifier()]).map(|it| it.0)
}

#[test]
fn a_checkpoint_comes_back_from_its_note() {
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: 42, root: empty() };
    let signed = checkpoint.signed(&[key()]);
    assert!(
        signed.starts_with("werkbank.dev/log/test/1\n42\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\u{2014} ")
    );
    let by = [key().verifier()];
    assert_eq!(Checkpoint::open(signed.as_bytes(), ORIGIN, &by), Ok((checkpoint, vec![by[0].id()])));
}

#[test]
fn a_log_that_is_another_s_is_named() {
    let foreign = opened("werkbank.dev/log/other/1\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n").unwrap_err();
    assert_eq!(
        foreign.to_string(),
        "it is of the log werkbank.dev/log/other/1, not of werkbank.dev/log/test/1; each cluster needs a place and an \
         origin of its own"
    );
}

#[test]
fn lines_of_others_behind_the_third_are_not_minded_and_anything_else_is_no_checkpoint() {
    let root = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    assert_eq!(opened(&format!("{ORIGIN}\n7\n{root}\nof others\n")).unwrap().size, 7);
    for text in [
        format!("{ORIGIN}\n07\n{root}\n"),
        format!("{ORIGIN}\n-7\n{root}\n"),
        format!("{ORIGIN}\n+7\n{root}\n"),
        format!("{ORIGIN}\n7\nAAAA\n"),
        format!("{ORIGIN}\n7\n"),
        format!("{ORIGIN}\n"),
    ] {
        assert_eq!(opened(&text), Err(NoCheckpoint::Malformed), "{text:?}");
    }
}
