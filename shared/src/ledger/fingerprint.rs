//! What is wrong alike has one fingerprint: an error without its ids, its numbers and its quotations, hashed.

use sha2::{Digest, Sha256};

/// The first twelve hexadecimal digits of a hash over the cause, the source, the event's type and the error's general
/// part.
pub(super) fn of(cause: &str, source: &str, event_type: &str, error: &str) -> String {
    let digest = Sha256::digest(format!("{cause}/{source}/{event_type}/{}", general(error)));
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// An error without what differs from one case to the next: quotations, UUIDs, and words that hold a digit.
fn general(error: &str) -> String {
    let mut kept = String::with_capacity(error.len());
    let mut rest = error;
    while let Some(first) = rest.chars().next() {
        let len = if let Some(quoted) = quotation(rest) {
            kept.push_str("\"\"");
            quoted
        } else if rest.get(..UUID_LEN).is_some_and(is_uuid) {
            kept.push('#');
            UUID_LEN
        } else if first.is_ascii_alphanumeric() {
            let word = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            let differs = rest[..word].contains(|c: char| c.is_ascii_digit());
            kept.push_str(if differs { "#" } else { &rest[..word] });
            word
        } else {
            kept.push(first);
            first.len_utf8()
        };
        rest = &rest[len..];
    }
    kept
}

const UUID_LEN: usize = 36;

fn is_uuid(text: &str) -> bool {
    uuid::Uuid::try_parse(text).is_ok()
}

/// Bytes of the quotation at the start of a text.
fn quotation(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('"')?;
    inner.find('"').map(|end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_numbers_and_quotations_make_no_difference_and_words_do() {
        let alike = [
            "order 0198c7a2-beef-7abc-8def-0123456789ab holds 3 units of \"tea\"",
            "order aabbccdd-beef-7abc-8def-abcdefabcdef holds 12 units of \"green tea 7\"",
        ];
        assert_eq!(general(alike[0]), "order # holds # units of \"\"");
        assert_eq!(general(alike[0]), general(alike[1]));
        assert_ne!(general("no such order"), general("no such stock"));
        assert_eq!(general("an open \" quotation, 0x1f and übermut 5ü"), "an open \" quotation, # and übermut #ü");
        assert_eq!(of("PANIC", "orders", "a", alike[0]), of("PANIC", "orders", "a", alike[1]));
        assert_ne!(of("PANIC", "orders", "a", "x"), of("PANIC", "gateway", "a", "x"));
        assert_ne!(of("PANIC", "orders", "a", "x"), of("PANIC", "orders", "b", "x"));
    }
}
