//! Digests as people see them: the beginning, in hexadecimal.

/// The first `count` bytes in lower-case hexadecimal.
#[must_use]
pub fn hex(digest: &[u8], count: usize) -> String {
    digest.iter().take(count).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_bytes_as_asked_for() {
        assert_eq!(hex(&[0, 10, 255], 2), "000a");
        assert_eq!(hex(&[0, 10, 255], 9), "000aff");
    }
}
