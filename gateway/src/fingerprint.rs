//! What tells a retry from another order under the same request id.

use prost::Message;
use sha2::{Digest, Sha256};
use spillway_proto::pb::orders::PlaceOrderRequest;

use crate::validate;

/// The version of what is hashed. It changes when the canonical content of the same request encodes to other bytes; a
/// field that the contract gains does not, as long as an absent field encodes to nothing.
const VERSION: u8 = 1;

/// SHA-256 over the version and the canonical content of a request: an `OrderPlaced` without the request's id, fields
/// in order of their numbers, labels in order of their keys, the sum in `total` whether the client sent it or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    pub version: u8,
    pub digest: [u8; 32],
}

impl Fingerprint {
    /// Of a content as it is kept.
    pub fn of(content: &[u8]) -> Fingerprint {
        let mut hash = Sha256::new();
        hash.update([VERSION]);
        hash.update(content);
        Fingerprint { version: VERSION, digest: hash.finalize().into() }
    }
}

/// The digest under which the intake keeps a request; `None` where it would be refused.
pub fn fingerprint_of(request: PlaceOrderRequest) -> Option<[u8; 32]> {
    let content = validate::place_order(request).ok()?.content;
    Some(Fingerprint::of(&content.encode_to_vec()).digest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;
    use prost::encoding::{WireType, encode_key, encode_varint};
    use spillway_proto::pb::orders::{Contact, PlaceOrderRequest};

    use super::*;
    use crate::samples::{self, line, money};
    use crate::validate;

    type Change = fn(&mut PlaceOrderRequest);

    fn of(request: PlaceOrderRequest) -> Fingerprint {
        Fingerprint::of(&validate::place_order(request).expect("right").content.encode_to_vec())
    }

    #[test]
    fn the_fingerprint_of_a_request_never_changes() {
        let fingerprint = of(samples::request());
        let hex: String = fingerprint.digest.iter().map(|byte| format!("{byte:02x}")).collect();
        // Stored ones are compared with new ones: what hashes otherwise needs another version.
        let known = "535d5ff817a966dc2eb2f8e8651d9f43a4cf14da313bb8c89edf4429300159cf";
        assert_eq!((fingerprint.version, hex.as_str()), (1, known));
    }

    #[test]
    fn what_asks_for_the_same_is_the_same() {
        let same: &[(&str, Change)] = &[
            ("without its total", |r| r.total = None),
            ("only checked", |r| r.validate_only = true),
            ("its id in capitals", |r| r.request_id = r.request_id.to_uppercase()),
        ];
        for (name, change) in same {
            let mut changed = samples::request();
            change(&mut changed);
            assert_eq!(of(changed), of(samples::request()), "{name}");
        }
    }

    #[test]
    fn what_asks_for_something_else_is_another() {
        let other: &[Change] = &[
            |r| r.customer_id.push('x'),
            |r| r.lines[0].sku.push('x'),
            |r| (r.lines[0].quantity, r.total) = (3, None),
            |r| (r.lines[0].unit_price, r.total) = (Some(money(12, 510_000_000, "EUR")), None),
            |r| r.lines.swap(0, 1),
            |r| (r.lines.truncate(1), r.total = None).1,
            |r| r.lines.push(line("pot", 1, money(0, 0, "EUR"))),
            |r| r.payment_method.push('x'),
            |r| r.contact = None,
            |r| r.contact = Some(Contact { email: "Ada@example.com".to_owned() }),
            |r| r.labels.clear(),
            |r| drop(r.labels.insert("channel".to_owned(), "shop".to_owned())),
            |r| drop(r.labels.insert("more".to_owned(), String::new())),
        ];
        let mut seen = vec![of(samples::request())];
        for (number, change) in other.iter().enumerate() {
            let mut changed = samples::request();
            change(&mut changed);
            let fingerprint = of(changed);
            assert!(!seen.contains(&fingerprint), "change {number}");
            seen.push(fingerprint);
        }
    }

    /// The request with its labels appended in this order, as a client in any language may send them.
    fn sent(labels: &[(String, String)]) -> PlaceOrderRequest {
        const LABELS: u32 = 7;
        let bare = PlaceOrderRequest { labels: [].into(), ..samples::request() };
        let mut bytes = bare.encode_to_vec();
        for (key, value) in labels {
            let mut entry = Vec::new();
            prost::encoding::string::encode(1, key, &mut entry);
            prost::encoding::string::encode(2, value, &mut entry);
            encode_key(LABELS, WireType::LengthDelimited, &mut bytes);
            encode_varint(u64::try_from(entry.len()).expect("small"), &mut bytes);
            bytes.extend(entry);
        }
        PlaceOrderRequest::decode(bytes.as_slice()).expect("well-formed")
    }

    proptest! {
        #[test]
        fn the_order_of_labels_does_not_matter(
            labels in prop::collection::btree_map("[a-z]{1,6}", "[a-z ]{0,6}", 0..20),
            seed in prop::collection::vec(any::<u32>(), 20),
        ) {
            let sorted: Vec<(String, String)> = labels.into_iter().collect();
            let mut shuffled: Vec<_> = sorted.iter().cloned().zip(seed).collect();
            shuffled.sort_by_key(|(_, place)| *place);
            let shuffled: Vec<_> = shuffled.into_iter().map(|(label, _)| label).collect();
            prop_assert_eq!(of(sent(&shuffled)), of(sent(&sorted)));
        }

        #[test]
        fn two_requests_have_one_fingerprint_only_if_they_ask_for_the_same(
            one in ("[ab]{1,2}", "[ab]{1,2}", 1i64..3), other in ("[ab]{1,2}", "[ab]{1,2}", 1i64..3)
        ) {
            let asked = |(customer, sku, quantity): &(String, String, i64)| PlaceOrderRequest {
                customer_id: customer.clone(),
                lines: vec![line(sku, *quantity, money(1, 0, "EUR"))],
                total: None,
                ..samples::request()
            };
            prop_assert_eq!(of(asked(&one)) == of(asked(&other)), one == other);
        }
    }
}
