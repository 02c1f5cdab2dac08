//! Page tokens: opaque to clients, bound to the question that they continue.
//!
//! A token is no secret and gives no right: it says where a page ended, and the next page is asked for like any other.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use spillway_shared::grpc::CallError;

/// The first byte of a token: how the rest is to be read.
const VERSION: u8 = 1;

/// Bytes of the hash over the question. It keeps mistakes apart, not attackers.
const BINDING: usize = 8;

/// Longer than any token made here: the longest position is a SKU of 64 characters.
const MAX_TEXT: usize = 512;

/// The question that pages belong to: the method, the shop, and every field that chooses what is on the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question([u8; BINDING]);

impl Question {
    pub fn new(method: &str, shop: &str, filter: &[&[u8]]) -> Question {
        let mut hash = Sha256::new();
        for part in [method.as_bytes(), shop.as_bytes()].iter().chain(filter) {
            // With its length before it, a part cannot run into the next.
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        let mut binding = [0; BINDING];
        binding.copy_from_slice(&hash.finalize()[..BINDING]);
        Question(binding)
    }

    /// The token of the page that follows this position.
    pub fn token(&self, position: &[u8]) -> String {
        let mut bytes = Vec::with_capacity(1 + BINDING + position.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.0);
        bytes.extend_from_slice(position);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position that a client's token stands for, as `read` makes it out; `None` for the first page.
    ///
    /// # Errors
    /// INVALID_ARGUMENT where the token is none, or belongs to another question.
    pub fn position<T>(&self, token: &str, read: impl FnOnce(&[u8]) -> Option<T>) -> Result<Option<T>, CallError> {
        if token.is_empty() {
            return Ok(None);
        }
        let bytes = Some(token).filter(|token| token.len() <= MAX_TEXT).and_then(|t| URL_SAFE_NO_PAD.decode(t).ok());
        let Some([VERSION, rest @ ..]) = bytes.as_deref() else {
            return Err(refuse("must be empty, or the next_page_token of an answer"));
        };
        let Some((binding, position)) = rest.split_at_checked(BINDING) else {
            return Err(refuse("must be empty, or the next_page_token of an answer"));
        };
        if binding != self.0 {
            return Err(refuse("belongs to a request with other fields: only page_size may change between pages"));
        }
        let position = read(position);
        position.map(Some).ok_or_else(|| refuse("must be empty, or the next_page_token of an answer"))
    }
}

fn refuse(why: &str) -> CallError {
    CallError::invalid("page_token", why)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(position: &[u8]) -> Option<Vec<u8>> {
        Some(position.to_vec())
    }

    proptest! {
        #[test]
        fn a_token_leads_back_to_its_position_and_only_for_its_question(
            position: Vec<u8>, one in ".{0,8}", other in ".{0,8}"
        ) {
            prop_assume!(position.len() <= 300);
            let question = Question::new("ListOrders", "default", &[one.as_bytes(), other.as_bytes()]);
            let token = question.token(&position);
            prop_assert_eq!(question.position(&token, whole).expect("its own"), Some(position));
            for changed in [
                Question::new("ListStock", "default", &[one.as_bytes(), other.as_bytes()]),
                Question::new("ListOrders", "another", &[one.as_bytes(), other.as_bytes()]),
                Question::new("ListOrders", "default", &[format!("{one}{other}").as_bytes(), b"x"]),
            ] {
                prop_assert!(changed.position(&token, whole).is_err());
            }
        }

        #[test]
        fn garbage_is_refused_and_never_panics(token in "\\PC{1,80}") {
            let question = Question::new("ListOrders", "default", &[]);
            prop_assert!(question.position(&token, whole).is_err());
        }
    }

    #[test]
    fn no_token_is_the_first_page_and_an_unreadable_position_is_refused() {
        let question = Question::new("ListOrders", "default", &[]);
        assert_eq!(question.position("", whole).expect("the first page"), None);
        let token = question.token(b"short");
        assert!(question.position(&token, |_| None::<()>).is_err());
        assert!(question.position(&token[..token.len() - 8], whole).is_err());
        assert!(question.position(&"A".repeat(600), whole).is_err());
    }
}
