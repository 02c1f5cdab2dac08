//! UUIDs, as clients write them.

use std::fmt;

use spillway_proto::OrderId;
use spillway_shared::grpc::CallError;
use uuid::{Uuid, Variant};

use super::Violations;

/// Characters of a UUID with its hyphens (RFC 9562, section 4). The other spellings that parsers take are refused:
/// one id has one text.
const TEXT_LENGTH: usize = 36;

/// A UUID that a client has chosen, of any version that RFC 9562 defines; neither all zeros nor all ones.
pub fn uuid(violations: &mut Violations, path: impl fmt::Display, text: &str) -> Option<Uuid> {
    if text.is_empty() {
        violations.add(path, "must be set to a UUID: choose a new one, and keep it for every retry");
        return None;
    }
    let Some(uuid) = hyphenated(text) else {
        violations.add(path, "must be a UUID, such as 7d444840-9dc0-4f3a-9c55-1f3c4d2f7e10");
        return None;
    };
    if uuid.is_nil() || uuid.is_max() {
        violations.add(path, "must be a UUID of its own, not the nil or the max UUID");
        return None;
    }
    if !(1..=8).contains(&uuid.get_version_num()) || uuid.get_variant() != Variant::RFC4122 {
        violations.add(path, "must be a UUID of one of the versions 1 to 8 of RFC 9562");
        return None;
    }
    Some(uuid)
}

/// The id of an order, where nothing else is asked.
///
/// # Errors
/// INVALID_ARGUMENT where it is no UUID.
pub fn order_id(text: &str) -> Result<OrderId, CallError> {
    let mut violations = Violations::default();
    let found = order(&mut violations, text);
    violations.finish(found)
}

/// The id of an order. Any UUID is one: that no gateway made it, is for NOT_FOUND to say.
pub(super) fn order(violations: &mut Violations, text: &str) -> Option<OrderId> {
    let found = hyphenated(text).and_then(|uuid| OrderId::from_bytes(uuid.as_bytes()));
    match (found, text) {
        (Some(_), _) => {}
        (None, "") => violations.add("order_id", "must be set"),
        (None, _) => violations.add("order_id", "must be a UUID, as PlaceOrder answered it"),
    }
    found
}

fn hyphenated(text: &str) -> Option<Uuid> {
    if text.len() == TEXT_LENGTH { Uuid::try_parse(text).ok() } else { None }
}
