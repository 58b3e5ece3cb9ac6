//! Numbers as people read them.

use std::time::Duration;

/// `1,234`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `4.8%`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// `1.25 s`, `38.8 s`, `3 s`.
pub(super) fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match duration.subsec_millis() {
        0 => format!("{seconds:.0} s"),
        _ if seconds < 10.0 => format!("{seconds:.2} s"),
        _ => format!("{seconds:.1} s"),
    }
}

/// `5%, 25%, 50%`.
pub(super) fn joined(all: &[impl ToString]) -> String {
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart_and_times_are_as_exact_as_they_are_of_use() {
        assert_eq!([0, 999, 1_000, 56_046, 1_234_567].map(count), ["0", "999", "1,000", "56,046", "1,234,567"]);
        assert_eq!([3_000, 1_130, 38_800].map(|it| seconds(Duration::from_millis(it))), ["3 s", "1.13 s", "38.8 s"]);
        assert_eq!(percent(0.0482), "4.8%");
        assert_eq!((joined(&[1, 2]), joined(&[0; 0])), ("1, 2".to_owned(), "nothing".to_owned()));
    }
}
