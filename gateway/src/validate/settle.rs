//! ListPayments, SettlePayment.

use spillway_proto::OrderId;
use spillway_proto::pb::internal::PaymentsPageRequest;
use spillway_proto::pb::ops::{ListPaymentsRequest, SettleAs, SettlePaymentRequest};
use spillway_shared::grpc::CallError;

use super::text::{self, Rule};
use super::{Violations, id, page};

const MAX_REASON: usize = 256;
const MAX_PROVIDER_REFERENCE: usize = 255;

/// Checks a request for a page of payments: what the payments ledgers are asked for, from the first order on.
///
/// # Errors
/// INVALID_ARGUMENT where the size of the page is none.
pub fn list_payments(request: &ListPaymentsRequest) -> Result<PaymentsPageRequest, CallError> {
    let mut violations = Violations::default();
    let limit = page::page_size(&mut violations, request.page_size, 50, 500);
    violations.finish(Some(()))?;
    let ListPaymentsRequest { unknown, parked, open, .. } = *request;
    Ok(PaymentsPageRequest { unknown, parked, open, after_order_id: String::new(), limit })
}

/// Checks a settlement; its ids are answered in their canonical form.
///
/// # Errors
/// INVALID_ARGUMENT with every violation.
pub fn settle_payment(mut request: SettlePaymentRequest) -> Result<(OrderId, SettlePaymentRequest), CallError> {
    let mut violations = Violations::default();
    let request_id = id::uuid(&mut violations, "request_id", &request.request_id);
    let order_id = id::order(&mut violations, &request.order_id);
    match SettleAs::try_from(request.settle_as) {
        Ok(SettleAs::Captured | SettleAs::Refunded) => reference(&mut violations, &request.provider_reference),
        Ok(SettleAs::Absent) if request.provider_reference.is_empty() => {}
        Ok(SettleAs::Absent) => violations.add("provider_reference", "must be empty: what is absent has no name"),
        Ok(SettleAs::Unspecified) => {
            let names = "SETTLE_AS_CAPTURED, SETTLE_AS_ABSENT or SETTLE_AS_REFUNDED";
            violations.add("settle_as", format_args!("must be {names}"));
        }
        Err(_) => violations.add("settle_as", format_args!("{} is nothing to settle as", request.settle_as)),
    }
    text::check(&mut violations, "reason", &request.reason, Rule::name(MAX_REASON));
    let (request_id, order_id) = violations.finish(request_id.zip(order_id))?;
    request.request_id = request_id.to_string();
    request.order_id = order_id.to_string();
    Ok((order_id, request))
}

/// It becomes part of an address at the provider.
fn reference(violations: &mut Violations, text: &str) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() {
        violations.add("provider_reference", "must be set: the provider's name for the charge or refund");
    } else if text.len() > MAX_PROVIDER_REFERENCE || !text.bytes().all(is_plain) {
        let rule = "must have 1 to 255 characters of A-Z, a-z, 0-9, '-', '_' and '.'";
        violations.add("provider_reference", rule);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> SettlePaymentRequest {
        SettlePaymentRequest {
            request_id: "7d444840-9dc0-4f3a-9c55-1f3c4d2f7e10".to_owned(),
            order_id: "0190a000-0000-7000-8000-000000000000".to_owned(),
            settle_as: SettleAs::Captured.into(),
            provider_reference: "ch_1".to_owned(),
            reason: "seen at the provider".to_owned(),
        }
    }

    fn fields(request: SettlePaymentRequest) -> Vec<String> {
        match settle_payment(request) {
            Ok(_) => vec![],
            Err(CallError::InvalidArgument { violations }) => violations.into_iter().map(|v| v.field).collect(),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_settlement_names_what_it_settles_and_every_mistake_is_told_at_once() {
        assert_eq!(fields(request()), [""; 0]);
        let all = ["request_id", "order_id", "settle_as", "reason"];
        assert_eq!(fields(SettlePaymentRequest::default()), all);
        let absent = SettlePaymentRequest { settle_as: SettleAs::Absent.into(), ..request() };
        assert_eq!(fields(absent.clone()), ["provider_reference"]);
        assert_eq!(fields(SettlePaymentRequest { provider_reference: String::new(), ..absent }), [""; 0]);
        for wrong in ["", "../refunds/re_1", "ch 1", "ch_1?x=1"] {
            let wrong = SettlePaymentRequest { provider_reference: wrong.to_owned(), ..request() };
            assert_eq!(fields(wrong), ["provider_reference"]);
        }
    }

    #[test]
    fn a_page_of_payments_has_a_size_and_its_filters() {
        let asked = ListPaymentsRequest { parked: true, ..ListPaymentsRequest::default() };
        let page = list_payments(&asked).expect("valid");
        assert_eq!((page.limit, page.parked, page.unknown), (50, true, false));
        assert!(list_payments(&ListPaymentsRequest { page_size: -1, ..asked }).is_err());
    }
}
