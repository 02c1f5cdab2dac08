//! Texts: how long they are, and what may not be in them.

use std::fmt;

use super::Violations;

/// What a text must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// It may not be left out.
    pub required: bool,
    /// Characters at most.
    pub max: usize,
    /// It names something: white space around it is a mistake that would make another name.
    pub is_name: bool,
}

impl Rule {
    /// A name: 1 to `max` characters.
    pub const fn name(max: usize) -> Rule {
        Rule { required: true, max, is_name: true }
    }

    /// At most `max` characters, as the client likes.
    pub const fn free(max: usize) -> Rule {
        Rule { required: false, max, is_name: false }
    }
}

pub(super) fn check(violations: &mut Violations, path: impl fmt::Display, value: &str, rule: Rule) {
    if is_plain(value, rule) {
        return;
    }
    if value.is_empty() {
        violations.add(path, "must be set");
        return;
    }
    let (max, length) = (rule.max, value.chars().count());
    if length > max {
        violations.add(&path, format_args!("must have at most {max} characters, not {length}"));
    }
    if let Some(forbidden) = value.chars().find(|character| is_forbidden(*character)) {
        let code = u32::from(forbidden);
        violations.add(&path, format_args!("must not contain the control character U+{code:04X}"));
    }
    if rule.is_name && value.trim() != value {
        violations.add(&path, "must not begin or end with white space");
    }
}

/// What nearly every text is: right, and ASCII. Decided without decoding a character.
fn is_plain(value: &str, rule: Rule) -> bool {
    let bytes = value.as_bytes();
    let is_edged = |edge: Option<&u8>| rule.is_name && edge == Some(&b' ');
    (!bytes.is_empty() || !rule.required)
        && bytes.len() <= rule.max
        && bytes.iter().all(|byte| matches!(byte, b' '..=b'~'))
        && !is_edged(bytes.first())
        && !is_edged(bytes.last())
}

/// Control characters, and those that turn the direction or the lines of the text around them: in a log, a mail or a
/// page they make a text look like another.
pub(super) fn is_forbidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}
