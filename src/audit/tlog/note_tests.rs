use proptest::prelude::*;

use super::*;

/// The keys, text and signature of the example in the documentation of Go's `sumdb/note`.
const GO_PRIVATE: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const GO_PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_TEXT: &str =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const GO_LINE: &str = "\u{2014} PeterNeumann \
    x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn key(name: &str, seed: u8) -> Signer {
    Signer::of_seed(name, &[seed; 32]).unwrap()
}

#[test]
fn a_note_is_what_go_makes_of_the_same_text_and_key() {
    let signer = Signer::parse(GO_PRIVATE).unwrap();
    assert_eq!(signer.verifier().to_string(), GO_PUBLIC);
    assert_eq!(sign(GO_TEXT, &[signer]), format!("{GO_TEXT}\n{GO_LINE}"));
    let by = [Verifier::parse(GO_PUBLIC).unwrap()];
    assert_eq!(open(format!("{GO_TEXT}\n{GO_LINE}").as_bytes(), &by).unwrap().0, GO_TEXT);
}

#[test]
fn a_key_comes_back_from_its_text() {
    let signer = key("werkbank.dev/log/test", 7);
    let again = Signer::parse(&format!("{}\n", signer.text(&[7; 32]))).unwrap();
    assert_eq!(again.verifier(), signer.verifier());
    assert_eq!(Verifier::parse(&signer.verifier().to_string()), Ok(signer.verifier()));
}

#[test]
fn what_is_no_key_is_told_apart_and_never_repeated() {
    for (text, refused) in [
        (GO_PUBLIC, NoKey::Malformed("private", "PRIVATE+KEY+<name>+<id>+<key>")),
        ("PRIVATE+KEY+x", NoKey::Malformed("private", "PRIVATE+KEY+<name>+<id>+<key>")),
        ("PRIVATE+KEY+PeterNeumann+c74f20a3+AYEK", NoKey::Malformed("private", "PRIVATE+KEY+<name>+<id>+<key>")),
        (&GO_PRIVATE.replace("c74f20a3", "c74f20a4"), NoKey::OtherId),
        (&GO_PRIVATE.replace("+AYEK", "+AoEK"), NoKey::Algorithm(2)),
    ] {
        assert_eq!(Signer::parse(text).unwrap_err(), refused, "{text}");
    }
    assert_eq!(Verifier::parse(&GO_PUBLIC.replace("+ARpc", "+ARpd")), Err(NoKey::OtherId));
    assert!(Verifier::parse(GO_PRIVATE).is_err());
    assert!(Signer::of_seed("two words", &[1; 32]).is_none() && Signer::of_seed("one", &[1; 31]).is_none());
    assert!(!format!("{:?}", Signer::parse(GO_PRIVATE).unwrap()).contains("AYEK"));
}

#[test]
fn while_keys_change_both_sign_and_either_is_enough() {
    let (old, new) = (key("log", 1), key("log", 2));
    let (by_old, by_new) = ([old.verifier()], [new.verifier()]);
    let note = sign("text\n", &[old, new]);
    assert_eq!(open(note.as_bytes(), &by_old).unwrap(), ("text\n", vec![by_old[0].id()]));
    assert_eq!(open(note.as_bytes(), &by_new).unwrap(), ("text\n", vec![by_new[0].id()]));
}

#[test]
fn who_signed_instead_is_named() {
    let note = sign("text\n", &[key("theirs", 1)]);
    let theirs = key("theirs", 1).id().clone();
    assert_eq!(open(note.as_bytes(), &[key("ours", 1).verifier()]), Err(NoNote::Unsigned(vec![theirs])));
    let none = open(note.as_bytes(), &[]).unwrap_err();
    assert!(none.to_string().starts_with("none of the keys given has signed it; the keys that have: theirs+"));
}

#[test]
fn what_is_not_written_as_a_note_is_none() {
    let by = [key("log", 1).verifier()];
    let note = sign("text\n", &[key("log", 1)]);
    for broken in [
        "",
        "text\n",
        "text\n\n",
        note.trim_end(),
        &note.replace('\u{2014}', "-"),
        &note.replace("text", "te\u{1}xt"),
        &note.replace("text", "te\rxt"),
        &format!("{note}more\n"),
        &format!("{note}\u{2014} log !!!!\n"),
        &format!("{note}{}", "\u{2014} other AAAAAAA=\n".repeat(100)),
    ] {
        assert_eq!(open(broken.as_bytes(), &by), Err(NoNote::Malformed), "{broken:?}");
    }
    assert_eq!(open(b"te\xffxt\n\n", &by), Err(NoNote::Malformed));
}

proptest! {
    #[test]
    fn a_note_with_one_bit_flipped_is_refused(bit in 0_usize..2000, text in "[a-z]{1,20}(\n[a-z0-9+/=]{1,20}){0,3}\n") {
        let by = [key("log", 1).verifier()];
        let mut note = sign(&text, &[key("log", 1)]).into_bytes();
        prop_assert_eq!(open(&note, &by).map(|it| it.0.to_owned()), Ok(text));
        let at = bit / 8 % note.len();
        note[at] ^= 1 << (bit % 8);
        // The one bit that may be another way to write the same signature does not exist: base64 has one spelling.
        prop_assert!(open(&note, &by).is_err());
    }
}
