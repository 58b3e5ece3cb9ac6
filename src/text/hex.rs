//! Digests as people see them: the beginning, in hexadecimal.

/// The first `count` bytes in lower-case hexadecimal.
#[must_use]
pub fn hex(digest: &[u8], count: usize) -> String {
    // Not by `format!`, which allocates for each byte: who verifies an audit log does this for each entry.
    let digit = |nibble: u8| char::from(if nibble < 10 { b'0' + nibble } else { b'a' + (nibble - 10) });
    digest.iter().take(count).flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_bytes_as_asked_for() {
        assert_eq!(hex(&[0, 10, 255], 2), "000a");
        assert_eq!(hex(&[0, 10, 255], 9), "000aff");
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(hex(&all, 256), all.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }
}
