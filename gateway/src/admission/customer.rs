//! Who places an order, found in the encoded message without decoding it.

use spillway_proto::pb::orders::PlaceOrderRequest;

/// `customer_id` in PlaceOrderRequest.
const CUSTOMER_ID: u64 = 2;

/// The bytes of the customer's id; empty where there is none, or where the message is none. As in decoding, the last one
/// counts, and a test keeps it so.
pub fn of(message: &[u8]) -> &[u8] {
    let (mut rest, mut customer) = (message, &message[..0]);
    while let Some((field, value, after)) = field(rest) {
        if field == CUSTOMER_ID {
            customer = value;
        }
        rest = after;
    }
    customer
}

/// The next field's number, what it holds where it has a length, and what comes after it.
fn field(bytes: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (key, rest) = varint(bytes)?;
    let (value, after) = match key & 7 {
        0 => (&rest[..0], varint(rest)?.1),
        1 => (&rest[..0], rest.get(8..)?),
        2 => {
            let (length, rest) = varint(rest)?;
            rest.split_at_checked(usize::try_from(length).ok()?)?
        }
        5 => (&rest[..0], rest.get(4..)?),
        // Groups are not in proto3.
        _ => return None,
    };
    Some((key >> 3, value, after))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

/// The path of the calls whose customer this is.
pub const PLACE_ORDER: &str = "/spillway.orders.v1.OrderService/PlaceOrder";

/// The field is where this file says: does not compile where the message has no such field.
const _: fn(PlaceOrderRequest) -> String = |request| request.customer_id;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    proptest! {
        #[test]
        fn it_is_what_decoding_finds(
            request_id in ".{0,40}", customer_id in ".{0,200}", payment_method in ".{0,40}", validate_only: bool,
        ) {
            let request =
                PlaceOrderRequest { request_id, customer_id, payment_method, validate_only, ..Default::default() };
            let mut encoded = request.encode_to_vec();
            prop_assert_eq!(of(&encoded), request.customer_id.as_bytes());
            // Said twice, the last one counts.
            encoded.extend(PlaceOrderRequest { customer_id: "last".to_owned(), ..Default::default() }.encode_to_vec());
            prop_assert_eq!(of(&encoded), b"last");
        }

        #[test]
        fn garbage_is_nobody_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let found = of(&bytes).len();
            prop_assert!(found <= bytes.len());
        }
    }
}
