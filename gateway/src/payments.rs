//! PaymentService, for operators: checked here, answered by payments.

use std::time::Duration;

use futures::future::try_join_all;
use prost::Message;
use spillway_proto::pb::internal::{PaymentsPageRequest, PaymentsPageResponse};
use spillway_proto::pb::ops::payment_service_server::PaymentService;
use spillway_proto::pb::ops::{
    ListPaymentsRequest, ListPaymentsResponse, Payment, SettlePaymentRequest, SettlePaymentResponse,
};
use spillway_proto::{Ledger as Source, OrderId, Partition};
use spillway_shared::bus::Bus;
use spillway_shared::grpc::CallError;
use tonic::{Request, Response, Status};

use crate::refusal::{self, Asked};
use crate::token::Question;
use crate::{answer, caller, validate};

/// How long a settlement may take: the provider is asked for it.
const SETTLE_WITHIN: Duration = Duration::from_secs(25);

/// The service behind its door.
pub struct Payments {
    pub bus: Bus,
    pub partitions: u16,
    /// How long payments is waited for.
    pub call_timeout: Duration,
}

#[tonic::async_trait]
impl PaymentService for Payments {
    async fn list_payments(
        &self,
        request: Request<ListPaymentsRequest>,
    ) -> Result<Response<ListPaymentsResponse>, Status> {
        let (_, extensions, mut message) = request.into_parts();
        let token = std::mem::take(&mut message.page_token);
        let mut asked = validate::list_payments(&message)?;
        let caller = caller::of_call(&extensions, self.call_timeout);
        let question = question(&caller.shop, &asked);
        let after = question.position(&token, OrderId::from_bytes)?;
        asked.after_order_id = after.map(|order_id| order_id.to_string()).unwrap_or_default();
        let (asked, caller) = (&asked, &caller);
        let pages = (0..self.partitions).map(|partition| async move {
            let partition = Partition(partition);
            self.bus.call::<PaymentsPageResponse>(Source::Payments, partition, "payments_page", caller, asked).await
        });
        let pages = try_join_all(pages).await.map_err(|failed| refusal::of_call(failed, Asked::Question))?;
        let (payments, is_more) = merge(pages, usize::try_from(asked.limit).unwrap_or(0));
        let next_page_token = match payments.last() {
            Some(last) if is_more => question.token(position(last)?.as_bytes()),
            Some(_) | None => String::new(),
        };
        Ok(answer::of(ListPaymentsResponse { payments, next_page_token }))
    }

    async fn settle_payment(
        &self,
        request: Request<SettlePaymentRequest>,
    ) -> Result<Response<SettlePaymentResponse>, Status> {
        let (_, extensions, message) = request.into_parts();
        let (order_id, settlement) = validate::settle_payment(message)?;
        let caller = caller::of_call(&extensions, SETTLE_WITHIN);
        let (bus, partition) = (&self.bus, order_id.partition());
        if partition.0 >= self.partitions {
            let rule = "must be the id of an order: no order of this one's partition can exist";
            return Err(CallError::invalid("order_id", rule).into());
        }
        let settled = bus.call::<SettlePaymentResponse>(Source::Payments, partition, "settle", &caller, &settlement);
        settled.await.map(answer::of).map_err(|failed| refusal::of_call(failed, Asked::Command))
    }
}

/// What pages belong to: everything that chooses payments.
fn question(shop: &str, asked: &PaymentsPageRequest) -> Question {
    let chosen = PaymentsPageRequest { after_order_id: String::new(), limit: 0, ..asked.clone() };
    Question::new("ListPayments", shop, &[&chosen.encode_to_vec()])
}

fn position(payment: &Payment) -> Result<OrderId, CallError> {
    payment.order_id.parse().map_err(|_| CallError::internal(format!("{:?} is no order_id", payment.order_id)))
}

/// The oldest of all pages, by order, and whether there are later ones. Where a partition has more than its page shows,
/// nothing later than that page is given: what it has not shown would have to come first.
fn merge(pages: Vec<PaymentsPageResponse>, size: usize) -> (Vec<Payment>, bool) {
    let ceilings = pages.iter().filter(|page| page.more).filter_map(|page| page.payments.last());
    let ceiling = ceilings.map(|last| last.order_id.clone()).min();
    let is_more = pages.iter().any(|page| page.more);
    let mut payments: Vec<Payment> = pages.into_iter().flat_map(|page| page.payments).collect();
    payments.sort_unstable_by(|a, b| a.order_id.cmp(&b.order_id));
    let count = payments.len();
    payments.retain(|payment| ceiling.as_ref().is_none_or(|ceiling| payment.order_id <= *ceiling));
    payments.truncate(size);
    let is_cut = payments.len() < count;
    (payments, is_more || is_cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(ids: &[&str], more: bool) -> PaymentsPageResponse {
        let payment = |id: &&str| Payment { order_id: (*id).to_owned(), ..Payment::default() };
        PaymentsPageResponse { payments: ids.iter().map(payment).collect(), more }
    }

    fn ids(payments: &[Payment]) -> Vec<&str> {
        payments.iter().map(|payment| payment.order_id.as_str()).collect()
    }

    #[test]
    fn pages_of_all_partitions_are_one_and_nothing_is_passed_over() {
        let (all, is_more) = merge(vec![page(&["a", "d"], false), page(&["b", "c"], false)], 9);
        assert_eq!((ids(&all), is_more), (vec!["a", "b", "c", "d"], false));
        let (cut, is_more) = merge(vec![page(&["a", "d"], false), page(&["b", "c"], false)], 3);
        assert_eq!((ids(&cut), is_more), (vec!["a", "b", "c"], true));
        // The first has more after b: d would come before what it has not shown.
        let (held_back, is_more) = merge(vec![page(&["a", "b"], true), page(&["c", "d"], false)], 9);
        assert_eq!((ids(&held_back), is_more), (vec!["a", "b"], true));
        assert_eq!(merge(vec![page(&[], false)], 9), (vec![], false));
    }
}
