//! A reason for machines and a sentence for people, made from the same parts.

use std::fmt;

/// Bytes of one moving part in a message and in its metadata; what is longer is cut. Trailers as a whole must stay
/// under the 8 KiB that many clients take.
const MAX_PART_BYTES: usize = 200;

/// A reason as `google.rpc.ErrorInfo` wants it: UPPER_SNAKE, at most 63 characters, never changed once released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason(&'static str);

impl Reason {
    /// Make it a `const`, then a bad name does not compile.
    ///
    /// # Panics
    /// When the name is not UPPER_SNAKE or longer than 63 characters.
    #[must_use]
    pub const fn new(name: &'static str) -> Reason {
        assert!(is_upper_snake(name.as_bytes()), "a reason is UPPER_SNAKE and at most 63 characters");
        Reason(name)
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

const fn is_upper_snake(name: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() {
        if !matches!(name[at], b'A'..=b'Z' | b'0'..=b'9' | b'_') {
            return false;
        }
        at += 1;
    }
    !name.is_empty() && name.len() <= 63 && name[0].is_ascii_uppercase() && name[name.len() - 1] != b'_'
}

/// A reason and a sentence that says what is wrong and what to do. The sentence's `{parts}` are filled in by
/// [`Cause::with`], and the same parts go into the metadata of ErrorInfo: no message has a part that a program
/// would have to cut out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    reason: Reason,
    sentence: &'static str,
    parts: Vec<(&'static str, String)>,
}

impl Cause {
    #[must_use]
    pub const fn new(reason: Reason, sentence: &'static str) -> Cause {
        Cause { reason, sentence, parts: Vec::new() }
    }

    /// Fills in `{name}`. A name the sentence does not mention goes into the metadata alone.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Cause {
        self.parts.push((name, presentable(&value.to_string())));
        self
    }

    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The sentence with its parts in place. A value that looks like a `{part}` stays as it is.
    #[must_use]
    pub fn message(&self) -> String {
        let mut message = String::with_capacity(self.sentence.len() + 64);
        let mut rest = self.sentence;
        while let Some((before, after)) = rest.split_once('{') {
            message.push_str(before);
            let Some((name, behind)) = after.split_once('}') else {
                message.push('{');
                rest = after;
                continue;
            };
            match self.parts.iter().find(|(part, _)| *part == name) {
                Some((_, value)) => message.push_str(value),
                None => message.extend(["{", name, "}"]),
            }
            rest = behind;
        }
        message.push_str(rest);
        message
    }

    pub(super) fn into_parts(self) -> Vec<(&'static str, String)> {
        self.parts
    }
}

/// Cut to a length that fits into trailers, and without characters that would break a terminal or a log.
pub(super) fn presentable(value: &str) -> String {
    let mut shown = String::with_capacity(value.len().min(MAX_PART_BYTES));
    for character in value.chars() {
        if shown.len() + character.len_utf8() > MAX_PART_BYTES {
            shown.push('…');
            break;
        }
        shown.push(if character.is_control() { '\u{fffd}' } else { character });
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOO_SMALL: Reason = Reason::new("ROOM_TOO_SMALL");

    #[test]
    fn the_sentence_is_filled_from_its_parts_and_only_once() {
        let cause = Cause::new(TOO_SMALL, "room {room} takes {max}: choose a larger one than {room}")
            .with("room", "{max}")
            .with("max", 4);
        assert_eq!(cause.message(), "room {max} takes 4: choose a larger one than {max}");
        assert_eq!(cause.into_parts(), [("room", "{max}".to_owned()), ("max", "4".to_owned())]);
    }

    #[test]
    fn a_sentence_with_a_missing_part_or_a_lone_brace_is_still_told() {
        assert_eq!(Cause::new(TOO_SMALL, "room {room} and {").message(), "room {room} and {");
    }

    #[test]
    fn a_part_is_cut_and_freed_of_control_characters() {
        assert_eq!(presentable("a\x1b[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
        let long = presentable(&"ä".repeat(5000));
        assert!(long.len() <= MAX_PART_BYTES + '…'.len_utf8(), "{}", long.len());
    }

    #[test]
    fn a_reason_is_upper_snake() {
        for (name, is_good) in [("A_B2", true), ("", false), ("a", false), ("_A", false), ("A_", false), ("A B", false)]
        {
            assert_eq!(is_upper_snake(name.as_bytes()), is_good, "{name:?}");
        }
        assert!(!is_upper_snake(&[b'A'; 64]));
    }
}
