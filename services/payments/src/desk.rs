//! What operators ask of payments, and the word they have where no rule can settle one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use spillway_proto::pb::internal::{
    BreakersResponse, Call, ExplainRequest, ExplainResponse, PaymentsPageRequest, PaymentsPageResponse, Refusal,
};
use spillway_proto::pb::ops::{Breaker, SettleAs as ApiSettleAs, SettlePaymentRequest, SettlePaymentResponse, breaker};
use spillway_proto::pb::orders::LedgerExplanation;
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Ledger as Role, OrderId};
use spillway_shared::bus::Routes;
use spillway_shared::bus::refusal::{self, Code};
use spillway_shared::ledger::Ledger;
use uuid::Uuid;

use crate::breaker::BreakerState;
use crate::counters;
use crate::domain::{Key, Outcome, Payment, Proof, Purpose, Refused, Settle, SettleAs, Settled, Sight, State};
use crate::gate::{Gate, Phase};
use crate::provider::{Provider, ProviderCall};
use crate::service::{Answer, Input, Payments};
use crate::store::{self, Filter, Settlement};
use crate::{trace, view};

/// Payments in one answer, at most.
const PAGE: i64 = 500;

/// Where the operators of one ledger are answered.
pub struct Desk<P> {
    ledger: Ledger<Payments>,
    provider: Arc<P>,
    gate: Gate,
    call_timeout: Duration,
}

impl<P: Provider> Desk<P> {
    pub fn new(ledger: Ledger<Payments>, provider: Arc<P>, gate: Gate, call_timeout: Duration) -> Arc<Self> {
        Arc::new(Desk { ledger, provider, gate, call_timeout })
    }

    /// What it answers to.
    pub fn routes(self: Arc<Self>) -> Routes {
        let (page, settle, explain, traced) = (self.clone(), self.clone(), self.clone(), self.clone());
        Routes::new()
            .on("payments_page", move |call| page.clone().page(call))
            .on("settle", move |call| settle.clone().settle(call))
            .on("explain", move |call| explain.clone().explain(call))
            .on("trace", move |call| trace::trace(traced.ledger.clone(), call))
            .on("breakers", move |_| self.clone().breakers())
    }

    async fn page(self: Arc<Self>, call: Call) -> Result<Bytes, Refusal> {
        let request: PaymentsPageRequest = refusal::read(&call)?;
        let after = match request.after_order_id.as_str() {
            "" => vec![],
            text => read_order(text)?.as_bytes().to_vec(),
        };
        let limit = i64::from(request.limit).clamp(1, PAGE);
        let filter = Filter { unknown: request.unknown, parked: request.parked, open: request.open };
        let found = self.ledger.query(move |tx| store::page(tx, &call.shop, filter, &after, limit + 1)).await;
        let mut found = found.map_err(|why| refusal::not_read(Role::Payments, &why))?;
        let more = i64::try_from(found.len()).unwrap_or(i64::MAX) > limit;
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let payments = found.iter().map(|(payment, due)| view::payment(payment, due.as_ref())).collect();
        Ok(PaymentsPageResponse { payments, more }.encode_to_vec().into())
    }

    async fn settle(self: Arc<Self>, call: Call) -> Result<Bytes, Refusal> {
        let request: SettlePaymentRequest = refusal::read(&call)?;
        let order = read_order(&request.order_id)?;
        let request_id = Uuid::try_parse(&request.request_id).map_err(|_| unreadable("request_id"))?;
        let settle_as = match request.settle_as() {
            ApiSettleAs::Captured => SettleAs::Captured,
            ApiSettleAs::Absent => SettleAs::Absent,
            ApiSettleAs::Refunded => SettleAs::Refunded,
            ApiSettleAs::Unspecified => return Err(unreadable("settle_as")),
        };
        let known = self.ledger.query(move |tx| Ok((store::find(tx, order)?, store::settlement(tx, request_id)?)));
        let (payment, known) = known.await.map_err(|why| refusal::not_read(Role::Payments, &why))?;
        let payment = payment.filter(|payment| payment.shop == call.shop);
        let payment = payment.ok_or_else(|| refused(order, &Refused::Unknown))?;
        let called = time::whole_micros(self.ledger.now());
        let mut settle = Settle {
            order,
            request_id,
            settle_as,
            provider_reference: request.provider_reference,
            reason: request.reason,
            traceparent: call.traceparent,
            // Whatever it is, a request that was taken before is not decided again.
            proof: Proof::ByReference(Outcome::Unknown),
            called,
        };
        if known.is_none() {
            settle.proof = self.prove(&payment, &settle).await?;
        } else if known.is_some_and(|known| !known.is_like(&Settlement::of(&settle, called))) {
            return Err(refused(order, &Refused::RequestIdReused));
        }
        let answer = self.ledger.command(Input::Settle(settle)).await;
        let answer = answer.map_err(|why| refusal::not_taken(Role::Payments, &why))?;
        let Answer::Settled(settled) = answer else { return Err(unreadable("answer")) };
        let after = settled.map_err(|why| refused(order, &why))?;
        if after != payment {
            counters::settled(Settled::Human);
        }
        let due = self.due(after.clone()).await?;
        let payment = Some(view::payment(&after, due.as_ref()));
        Ok(SettlePaymentResponse { payment }.encode_to_vec().into())
    }

    /// Asks the provider, past the breaker: a person waits for the answer, and one call harms nobody.
    async fn prove(&self, payment: &Payment, settle: &Settle) -> Result<Proof, Refusal> {
        let call = ProviderCall::within(settle.traceparent.clone());
        let asked = async {
            let name = settle.provider_reference.as_str();
            match settle.settle_as {
                SettleAs::Captured => self.provider.find_charge(name).await.map(Proof::Charge),
                SettleAs::Absent => {
                    let found = if payment.is_parked_refund() {
                        self.provider.look_up_refund(&Key::compensate(payment.order, payment.attempt).text, &call).await
                    } else {
                        self.provider.look_up_charge(&payment.order.to_string(), &call).await
                    };
                    (!found.is_failure()).then_some(Proof::ByReference(found))
                }
                SettleAs::Refunded => {
                    let refund = self.provider.find_refund(name).await?;
                    let charge = match &refund {
                        Sight::Shown { charge, .. } if !charge.is_empty() => self.provider.find_charge(charge).await?,
                        Sight::Shown { .. } | Sight::Nothing => Sight::Nothing,
                    };
                    Some(Proof::Refund { refund, charge })
                }
            }
        };
        let proof = tokio::time::timeout(self.call_timeout, asked).await.ok().flatten();
        proof.ok_or_else(|| {
            let message = "the provider does not answer, and nothing is settled without its word; try again with the \
                           same request_id";
            refusal::new(Code::Unavailable, "PROVIDER_UNAVAILABLE", message)
        })
    }

    async fn explain(self: Arc<Self>, call: Call) -> Result<Bytes, Refusal> {
        let request: ExplainRequest = refusal::read(&call)?;
        let order = read_order(&request.order_id)?;
        let found = self.ledger.query(move |tx| {
            let payment = store::find(tx, order)?;
            let due = payment.as_ref().map(|payment| store::due(tx, payment)).transpose()?.flatten();
            let ahead = due.as_ref().map(|due| store::ahead(tx, due.at)).transpose()?.unwrap_or(0);
            Ok((payment, due, ahead))
        });
        let (payment, due, ahead) = found.await.map_err(|why| refusal::not_read(Role::Payments, &why))?;
        let explanation = match payment.filter(|payment| payment.shop == call.shop) {
            None => LedgerExplanation {
                ledger: Role::Payments.name().to_owned(),
                summary: "Nothing was heard of it here: it is charged once its stock is held.".to_owned(),
                ..LedgerExplanation::default()
            },
            Some(payment) => self.explained(&payment, due.as_ref(), ahead),
        };
        Ok(ExplainResponse { explanation: Some(explanation) }.encode_to_vec().into())
    }

    fn explained(&self, payment: &Payment, due: Option<&store::Due>, ahead: u64) -> LedgerExplanation {
        // What is only looked at once more waits for nothing.
        let waits = due.is_some_and(|due| due.task.recheck == 0);
        let phase = if waits { self.gate.phase() } else { Phase::Well };
        let next = due.map(|due| match phase {
            Phase::Well => due.at,
            Phase::Out { .. } | Phase::Draining { .. } => due.at.max(self.gate.expected(ahead)),
        });
        LedgerExplanation {
            ledger: Role::Payments.name().to_owned(),
            knows_order: true,
            state: payment.state.name().to_owned(),
            summary: view::summary(payment),
            waiting_since: (waits || payment.state == State::Parked).then(|| time::to_wire(payment.created)),
            attempt: due.map_or(0, |due| due.tries),
            last_problem: view::problem(payment),
            next_step: due.map(view::next_step).unwrap_or_default().to_owned(),
            next_time: next.map(time::to_wire),
            operator_actions: view::operator_actions(payment),
            breaker: self.breaker_words(phase, ahead),
            paused: self.paused(payment, due),
            ..LedgerExplanation::default()
        }
    }

    /// An operator's reason for holding its work up; empty where nothing does.
    fn paused(&self, payment: &Payment, due: Option<&store::Due>) -> String {
        let way_back = due.is_some_and(|due| due.task.purpose == Purpose::Compensate) || payment.is_parked_refund();
        let flow = if way_back { "refunds" } else { "payments" };
        let pauses = self.ledger.pauses();
        let paused = pauses.borrow().get(flow).map(|pause| pause.reason.clone());
        paused.filter(|_| due.is_some()).unwrap_or_default()
    }

    /// The breaker in words; empty where it does not stand in the way.
    fn breaker_words(&self, phase: Phase, ahead: u64) -> String {
        let look = self.gate.look();
        match phase {
            Phase::Well => String::new(),
            Phase::Out { since } => {
                let problem = if look.last_failure.is_empty() { "no answer" } else { look.last_failure };
                let next = match look.opens_in {
                    Some(wait) if !wait.is_zero() => format!("it is tried again in {} s", wait.as_secs() + 1),
                    Some(_) | None => "it is being tried, one call at a time".to_owned(),
                };
                format!(
                    "The payment provider cannot be used since {since:.0} ({problem}); {next}. Waiting spends no try, \
                     and {ahead} go before this one."
                )
            }
            Phase::Draining { since } => {
                let rate = self.gate.held_to().unwrap_or_default().round();
                format!(
                    "The payment provider answers again. What has waited since {since:.0} is charged oldest first, \
                     {rate} a second now; {ahead} go before this one."
                )
            }
        }
    }

    async fn breakers(self: Arc<Self>) -> Result<Bytes, Refusal> {
        let (look, now) = (self.gate.look(), self.ledger.now());
        let state = match look.state {
            BreakerState::Closed => breaker::State::Closed,
            BreakerState::Open { .. } => breaker::State::Open,
            BreakerState::HalfOpen => breaker::State::Probing,
        };
        let breaker = Breaker {
            name: "provider".to_owned(),
            partition: u32::from(self.ledger.identity().id.partition.0),
            state: state.into(),
            since: Some(time::to_wire(now.checked_sub(look.lasts).unwrap_or(now))),
            until: look.opens_in.map(|wait| time::to_wire(now.checked_add(wait).unwrap_or(now))),
            failures: i32::try_from(look.failures).unwrap_or(i32::MAX),
            last_failure: look.last_failure.to_owned(),
        };
        Ok(BreakersResponse { breakers: vec![breaker] }.encode_to_vec().into())
    }

    async fn due(&self, payment: Payment) -> Result<Option<store::Due>, Refusal> {
        let due = self.ledger.query(move |tx| store::due(tx, &payment)).await;
        due.map_err(|why| refusal::not_read(Role::Payments, &why))
    }
}

pub(crate) fn read_order(text: &str) -> Result<OrderId, Refusal> {
    text.parse().map_err(|_| unreadable("order_id"))
}

fn unreadable(field: &str) -> Refusal {
    let message = format!("{field} is not what it should be");
    refusal::with(Code::InvalidArgument, "UNREADABLE_REQUEST", message, [("field", field.to_owned())])
}

fn refused(order: OrderId, why: &Refused) -> Refusal {
    let order_id = || ("order_id", order.to_string());
    match why {
        Refused::Unknown => {
            let message = format!("no payment of order {order} is known");
            refusal::with(Code::NotFound, "PAYMENT_NOT_FOUND", message, [order_id()])
        }
        Refused::NotOpen(state) => {
            let (state, message) = (state.name(), "there is nothing to settle as that");
            let message = format!("the payment of order {order} is {state}: {message}");
            let metadata = [order_id(), ("state", state.to_owned())];
            refusal::with(Code::FailedPrecondition, "PAYMENT_NOT_OPEN", message, metadata)
        }
        Refused::Contradicted(says) => {
            let metadata = [order_id(), ("provider_says", says.clone())];
            refusal::with(Code::FailedPrecondition, "PROVIDER_SAYS_OTHERWISE", says.clone(), metadata)
        }
        Refused::TooEarly(until) => too_early(order, *until),
        Refused::RequestIdReused => refusal::with(
            Code::AlreadyExists,
            "REQUEST_ID_REUSED",
            "this request_id settled something else before: choose a new one".to_owned(),
            [order_id()],
        ),
    }
}

fn too_early(order: OrderId, until: Timestamp) -> Refusal {
    let message =
        format!("a call for order {order} may still be under way: it can be called absent from {until:.0} on");
    let metadata = [("order_id", order.to_string()), ("until", until.to_string())];
    refusal::with(Code::FailedPrecondition, "CALL_MAY_BE_UNDER_WAY", message, metadata)
}
