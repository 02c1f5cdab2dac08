//! Whatever comes is accepted or refused: nothing panics, and what is accepted is what was asked for.

use proptest::prelude::*;
use spillway_proto::pb;
use spillway_proto::pb::orders::{Contact, OrderLine, PlaceOrderRequest};

use crate::samples::{REQUEST_ID, request};
use crate::validate::place_order;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z]{1,8}", "\\PC{0,70}", any::<String>(), Just(REQUEST_ID.to_owned())]
}

fn money() -> impl Strategy<Value = pb::Money> {
    let code = prop_oneof![Just("EUR".to_owned()), Just("JPY".to_owned()), Just("XXX".to_owned()), text()];
    let units = prop_oneof![0i64..1000, any::<i64>(), Just(i64::MAX), Just(i64::MIN)];
    let nanos = prop_oneof![Just(0i32), Just(500_000_000), any::<i32>()];
    (code, units, nanos).prop_map(|(currency_code, units, nanos)| pb::Money { currency_code, units, nanos })
}

fn line() -> impl Strategy<Value = OrderLine> {
    let quantity = prop_oneof![1i64..100, any::<i64>()];
    (text(), quantity, prop::option::of(money())).prop_map(|(sku, quantity, unit_price)| OrderLine {
        sku,
        quantity,
        unit_price,
    })
}

fn garbage() -> impl Strategy<Value = PlaceOrderRequest> {
    let contact = prop::option::of(text().prop_map(|email| Contact { email }));
    let labels = prop::collection::btree_map(text(), text(), 0..40);
    let lines = prop_oneof![prop::collection::vec(line(), 0..6), prop::collection::vec(line(), 190..230)];
    (text(), text(), lines, text(), prop::option::of(money()), contact, labels, any::<bool>()).prop_map(
        |(request_id, customer_id, lines, payment_method, total, contact, labels, validate_only)| PlaceOrderRequest {
            request_id,
            customer_id,
            lines,
            payment_method,
            total,
            contact,
            labels,
            validate_only,
        },
    )
}

proptest! {
    #[test]
    fn garbage_never_panics_and_its_refusal_fits_into_trailers(request in garbage()) {
        if let Err(refused) = place_order(request) {
            let status = tonic::Status::from(refused);
            prop_assert_eq!(status.code(), tonic::Code::InvalidArgument);
            prop_assert!(status.details().len() < 6 * 1024, "{} bytes", status.details().len());
        }
    }

    #[test]
    fn what_is_accepted_is_what_was_asked_for(
        prices in prop::collection::vec((0i64..10_000_000, 1i64..1000), 1..20), with_total: bool
    ) {
        let mut asked = request();
        let wire = |cents: i64| pb::Money {
            currency_code: "EUR".to_owned(),
            units: cents / 100,
            nanos: i32::try_from(cents % 100).expect("small") * 10_000_000,
        };
        asked.lines = prices
            .iter()
            .enumerate()
            .map(|(n, (cents, quantity))| OrderLine {
                sku: format!("sku-{n}"),
                quantity: *quantity,
                unit_price: Some(wire(*cents)),
            })
            .collect();
        let sum: i64 = prices.iter().map(|(cents, quantity)| cents * quantity).sum();
        asked.total = with_total.then(|| wire(sum));
        let placement = place_order(asked.clone()).expect("right");
        prop_assert_eq!(placement.content.total, Some(wire(sum)));
        prop_assert_eq!(placement.content.lines, asked.lines.clone());
        // One cent beside it is wrong.
        asked.total = Some(wire(sum + 1));
        prop_assert!(place_order(asked).is_err());
    }
}
