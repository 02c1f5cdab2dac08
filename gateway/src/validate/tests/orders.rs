//! PlaceOrder.

use spillway_proto::pb::orders::{Contact, OrderLine, PlaceOrderRequest};

use super::paths;
use crate::samples::{line, money, request};
use crate::validate::{MAX_AMOUNT_MINOR, place_order};

type Change = fn(&mut PlaceOrderRequest);

fn check(cases: &[(&str, Change, &[&str])]) {
    for (name, change, wanted) in cases {
        let mut changed = request();
        change(&mut changed);
        assert_eq!(paths(place_order(changed)), *wanted, "{name}");
    }
}

fn labels(count: usize) -> std::collections::BTreeMap<String, String> {
    (0..count).map(|n| (format!("k{n}"), String::new())).collect()
}

fn lines(count: usize) -> Vec<OrderLine> {
    (0..count).map(|n| line(&format!("sku-{n}"), 1, money(1, 0, "EUR"))).collect()
}

#[test]
fn what_is_right_is_accepted() {
    check(&[
        ("everything is set", |_| {}, &[]),
        ("nothing optional is set", |r| (r.total, r.contact, r.labels) = (None, None, [].into()), &[]),
        ("only checked", |r| r.validate_only = true, &[]),
        ("a request id in capitals", |r| r.request_id = r.request_id.to_uppercase(), &[]),
        ("a request id of version 1", |r| r.request_id = "c232ab00-9414-11ec-b3c8-9f6bdeced846".into(), &[]),
        ("a request id of version 7", |r| r.request_id = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f".into(), &[]),
        ("a request id of version 8", |r| r.request_id = "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0".into(), &[]),
        ("200 lines", |r| (r.lines, r.total) = (lines(200), None), &[]),
        ("a SKU of 64 characters", |r| r.lines[0].sku = "ä".repeat(64), &[]),
        ("a SKU with a space inside", |r| r.lines[0].sku = "green tea".into(), &[]),
        ("a million units", |r| (r.lines[0].quantity, r.total) = (1_000_000, None), &[]),
        ("for free", |r| (r.lines, r.total) = (vec![line("tea", 1, money(0, 0, "EUR"))], None), &[]),
        (
            "yen",
            |r| (r.lines, r.total) = (vec![line("tea", 2, money(500, 0, "JPY"))], Some(money(1000, 0, "JPY"))),
            &[],
        ),
        ("fils", |r| (r.lines, r.total) = (vec![line("tea", 1, money(0, 1_000_000, "KWD"))], None), &[]),
        (
            "the most there is",
            |r| (r.lines, r.total) = (vec![line("tea", 1, money(10_000_000_000, 0, "EUR"))], None),
            &[],
        ),
        ("a customer of 128 characters", |r| r.customer_id = "é".repeat(128), &[]),
        ("a token of 128 characters", |r| r.payment_method = "~".repeat(128), &[]),
        ("digits that are no card", |r| r.payment_method = "4242424242424241".into(), &[]),
        ("a short number", |r| r.payment_method = "42".into(), &[]),
        ("a mail address with a tag", |r| r.contact = Some(Contact { email: "a.b+c@mail.example.org".into() }), &[]),
        ("32 labels", |r| r.labels = labels(32), &[]),
        ("a label of every allowed character", |r| r.labels = [("a.z_0-9/b".into(), "ö ".repeat(128))].into(), &[]),
    ]);
}

#[test]
fn ids_and_names_that_are_none_are_named() {
    check(&[
        ("no request id", |r| r.request_id = String::new(), &["request_id"]),
        ("garbage", |r| r.request_id = "order-17".into(), &["request_id"]),
        ("without hyphens", |r| r.request_id = r.request_id.replace('-', ""), &["request_id"]),
        ("in braces", |r| r.request_id = format!("{{{}}}", r.request_id), &["request_id"]),
        ("as a URN", |r| r.request_id = format!("urn:uuid:{}", r.request_id), &["request_id"]),
        ("with a space", |r| r.request_id.push(' '), &["request_id"]),
        ("nil", |r| r.request_id = uuid::Uuid::nil().to_string(), &["request_id"]),
        ("max", |r| r.request_id = uuid::Uuid::max().to_string(), &["request_id"]),
        ("of version 0", |r| r.request_id.replace_range(14..15, "0"), &["request_id"]),
        ("of version 9", |r| r.request_id.replace_range(14..15, "9"), &["request_id"]),
        ("of another variant", |r| r.request_id.replace_range(19..20, "c"), &["request_id"]),
        ("no customer", |r| r.customer_id = String::new(), &["customer_id"]),
        ("a long customer", |r| r.customer_id = "x".repeat(129), &["customer_id"]),
        ("a customer with a NUL", |r| r.customer_id = "a\0b".into(), &["customer_id"]),
        ("a customer with a line end", |r| r.customer_id = "a\r\nb".into(), &["customer_id"]),
        ("a customer with a C1 control", |r| r.customer_id = "a\u{85}b".into(), &["customer_id"]),
        ("a customer turned around", |r| r.customer_id = "a\u{202e}b".into(), &["customer_id"]),
        ("a customer in an isolate", |r| r.customer_id = "a\u{2066}b".into(), &["customer_id"]),
        ("a customer with a line separator", |r| r.customer_id = "a\u{2028}b".into(), &["customer_id"]),
        ("a space before", |r| r.customer_id = " ada".into(), &["customer_id"]),
        ("a space behind", |r| r.customer_id = "ada ".into(), &["customer_id"]),
        ("a wide space behind", |r| r.customer_id = "ada\u{3000}".into(), &["customer_id"]),
        ("nothing but spaces", |r| r.customer_id = "   ".into(), &["customer_id"]),
        ("long and with a bell", |r| r.customer_id = "\u{7}".repeat(129), &["customer_id", "customer_id"]),
    ]);
}

#[test]
fn lines_that_are_wrong_are_named_by_their_place() {
    check(&[
        ("no lines", |r| r.lines.clear(), &["lines"]),
        ("201 lines, none of them looked at", |r| r.lines = vec![OrderLine::default(); 201], &["lines"]),
        ("no SKU", |r| r.lines[1].sku = String::new(), &["lines[1].sku"]),
        ("a long SKU", |r| r.lines[1].sku = "x".repeat(65), &["lines[1].sku"]),
        ("a SKU with a tab", |r| r.lines[1].sku = "a\tb".into(), &["lines[1].sku"]),
        ("a SKU with a space behind", |r| r.lines[1].sku = "tea ".into(), &["lines[1].sku"]),
        ("a SKU twice", |r| r.lines[1].sku = "tea".into(), &["lines[1].sku"]),
        ("no units", |r| r.lines[0].quantity = 0, &["lines[0].quantity"]),
        ("units to give back", |r| r.lines[0].quantity = -1, &["lines[0].quantity"]),
        ("absurdly many", |r| r.lines[0].quantity = 1_000_001, &["lines[0].quantity"]),
        ("the least of 64 bits", |r| r.lines[0].quantity = i64::MIN, &["lines[0].quantity"]),
        ("no price", |r| r.lines[1].unit_price = None, &["lines[1].unit_price"]),
        (
            "two empty lines",
            |r| r.lines = vec![OrderLine::default(); 2],
            &[
                "lines[0].sku",
                "lines[0].quantity",
                "lines[0].unit_price",
                "lines[1].sku",
                "lines[1].quantity",
                "lines[1].unit_price",
            ],
        ),
    ]);
}

#[test]
fn money_that_is_wrong_is_named_by_its_part() {
    fn price(request: &mut PlaceOrderRequest, units: i64, nanos: i32, currency: &str) {
        request.lines[1].unit_price = Some(money(units, nanos, currency));
    }
    check(&[
        ("no currency", |r| price(r, 7, 0, ""), &["lines[1].unit_price.currency_code"]),
        ("an unknown currency", |r| price(r, 7, 0, "EUX"), &["lines[1].unit_price.currency_code"]),
        ("a currency in small letters", |r| price(r, 7, 0, "eur"), &["lines[1].unit_price.currency_code"]),
        ("gold", |r| price(r, 7, 0, "XAU"), &["lines[1].unit_price.currency_code"]),
        ("two currencies", |r| price(r, 7, 0, "USD"), &["lines[1].unit_price.currency_code"]),
        ("a tenth of a cent", |r| price(r, 7, 1_000_000, "EUR"), &["lines[1].unit_price.nanos"]),
        ("a nano", |r| price(r, 7, 1, "EUR"), &["lines[1].unit_price.nanos"]),
        (
            "half a yen",
            |r| (r.lines.truncate(1), r.total = None, r.lines[0].unit_price = Some(money(1, 500_000_000, "JPY"))).0,
            &["lines[0].unit_price.nanos"],
        ),
        ("a billion nanos", |r| price(r, 7, 1_000_000_000, "EUR"), &["lines[1].unit_price.nanos"]),
        ("the least nanos", |r| price(r, 0, i32::MIN, "EUR"), &["lines[1].unit_price.nanos"]),
        ("mixed signs", |r| price(r, 7, -500_000_000, "EUR"), &["lines[1].unit_price.nanos"]),
        ("negative units", |r| price(r, -7, 0, "EUR"), &["lines[1].unit_price.units"]),
        ("negative nanos", |r| price(r, 0, -500_000_000, "EUR"), &["lines[1].unit_price.nanos"]),
        ("the least units", |r| price(r, i64::MIN, 0, "EUR"), &["lines[1].unit_price.units"]),
        ("the most units", |r| price(r, i64::MAX, 0, "EUR"), &["lines[1].unit_price.units"]),
        ("a price above the most", |r| price(r, 10_000_000_000, 10_000_000, "EUR"), &["lines[1].unit_price.units"]),
        (
            "currency and nanos",
            |r| price(r, 7, -1, "???"),
            &["lines[1].unit_price.currency_code", "lines[1].unit_price.nanos"],
        ),
        (
            "a line above the most",
            |r| r.lines[0] = line("tea", 1_000_000, money(10_000, 10_000_000, "EUR")),
            &["lines[0]"],
        ),
        (
            "lines above the most",
            |r| {
                r.lines =
                    vec![line("a", 1, money(9_000_000_000, 0, "EUR")), line("b", 1, money(9_000_000_000, 0, "EUR"))];
            },
            &["lines"],
        ),
        ("a wrong total", |r| r.total = Some(money(32, 10_000_000, "EUR")), &["total"]),
        ("a total in another currency", |r| r.total = Some(money(32, 0, "USD")), &["total.currency_code"]),
        ("a total that is no amount", |r| r.total = Some(money(-32, 1, "EU")), &["total.currency_code", "total.nanos"]),
        (
            "a total beside a wrong line",
            |r| {
                r.lines[0].quantity = 0;
                r.total = Some(money(1, 0, "EUR"));
            },
            &["lines[0].quantity"],
        ),
    ]);
}

#[test]
fn contact_payment_and_labels_that_are_wrong_are_named() {
    fn email(request: &mut PlaceOrderRequest, email: &str) {
        request.contact = Some(Contact { email: email.to_owned() });
    }
    fn label(request: &mut PlaceOrderRequest, key: &str, value: &str) {
        request.labels = [(key.to_owned(), value.to_owned())].into();
    }
    check(&[
        ("an empty address", |r| email(r, ""), &["contact.email"]),
        ("no address", |r| email(r, "ada"), &["contact.email"]),
        ("two addresses", |r| email(r, "a@example.com, b@example.com"), &["contact.email"]),
        ("a name and an address", |r| email(r, "Ada <a@example.com>"), &["contact.email"]),
        ("a header smuggled in", |r| email(r, "a@example.com\r\nBcc: b@example.com"), &["contact.email"]),
        ("a long address", |r| email(r, &format!("{}@example.com", "x".repeat(250))), &["contact.email"]),
        ("no token", |r| r.payment_method = String::new(), &["payment_method"]),
        ("a long token", |r| r.payment_method = "x".repeat(129), &["payment_method"]),
        ("a token with a space", |r| r.payment_method = "pm ok".into(), &["payment_method"]),
        ("a token beyond ASCII", |r| r.payment_method = "pm_ö".into(), &["payment_method"]),
        ("a card number", |r| r.payment_method = "4242424242424242".into(), &["payment_method"]),
        ("a card number with hyphens", |r| r.payment_method = "3782-822463-10005".into(), &["payment_method"]),
        (
            "a card number with spaces",
            |r| r.payment_method = "4242 4242 4242 4242".into(),
            &["payment_method", "payment_method"],
        ),
        ("33 labels", |r| r.labels = labels(33), &["labels"]),
        ("a label without a key", |r| label(r, "", "x"), &["labels[\"\"]"]),
        ("a key in capitals", |r| label(r, "Channel", "x"), &["labels[\"Channel\"]"]),
        ("a key with a space", |r| label(r, "a b", "x"), &["labels[\"a b\"]"]),
        ("a long value", |r| label(r, "note", &"x".repeat(257)), &["labels[\"note\"]"]),
        ("a value with an escape", |r| label(r, "note", "\u{1b}[2J"), &["labels[\"note\"]"]),
    ]);
}

#[test]
fn a_long_key_is_named_by_its_beginning() {
    let mut long = request();
    long.labels = [("k".repeat(9000), String::new())].into();
    let [path] = &paths(place_order(long))[..] else { panic!("one violation") };
    assert!(path.len() < 100, "{path}");
}

#[test]
fn everything_that_is_wrong_is_named_at_once() {
    let all = PlaceOrderRequest {
        lines: vec![OrderLine::default()],
        total: Some(money(0, 0, "")),
        contact: Some(Contact::default()),
        labels: [("!".to_owned(), String::new())].into(),
        ..PlaceOrderRequest::default()
    };
    let wanted = [
        "request_id",
        "customer_id",
        "lines[0].sku",
        "lines[0].quantity",
        "lines[0].unit_price",
        "payment_method",
        "total.currency_code",
        "contact.email",
        "labels[\"!\"]",
    ];
    assert_eq!(paths(place_order(all)), wanted.map(str::to_owned));
}

#[test]
fn the_sum_is_exact_up_to_the_most_there_is() {
    let mut most = request();
    most.total = None;
    most.lines = vec![line("a", 999_999, money(10_000, 0, "EUR")), line("b", 1, money(10_000, 0, "EUR"))];
    let placement = place_order(most.clone()).expect("the most");
    assert_eq!(placement.content.total, Some(money(MAX_AMOUNT_MINOR / 100, 0, "EUR")));
    most.lines.push(line("c", 1, money(0, 10_000_000, "EUR")));
    assert_eq!(paths(place_order(most)), ["lines"]);
}

#[test]
fn the_value_of_a_payment_method_is_never_told() {
    let mut card = request();
    card.payment_method = "4242424242424242".into();
    let told = tonic::Status::from(place_order(card).expect_err("a card number"));
    assert!(!format!("{told:?}").contains("4242"), "{told:?}");
}
