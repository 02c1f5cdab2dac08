//! A payment as operators see it, in words that a support person understands.

use spillway_proto::Money;
use spillway_proto::pb::ops::{self as api, payment::State as ApiState};
use spillway_proto::time;

use crate::domain::{Payment, Purpose, Reason, State, Step};
use crate::store::Due;

/// As it is listed.
pub fn payment(payment: &Payment, due: Option<&Due>) -> api::Payment {
    let money = |minor| payment.amount.map(|amount| Money::new(minor, amount.currency).to_wire());
    api::Payment {
        order_id: payment.order.to_string(),
        state: state(payment.state).into(),
        reason: payment.reason.map(Reason::name).unwrap_or_default().to_owned(),
        problem: problem(payment),
        amount: payment.amount.map(|amount| amount.to_wire()),
        captured: money(payment.captured_minor),
        refunded: money(payment.refunded_minor),
        charge_id: payment.charge_id().map(|id| id.to_string()).unwrap_or_default(),
        provider_reference: payment.provider_reference.clone(),
        attempt: payment.attempt,
        order_ended: payment.ended.is_some(),
        unanswered_time: payment.sent.map(time::to_wire),
        next_step: due.map(next_step).unwrap_or_default().to_owned(),
        next_time: due.map(|due| time::to_wire(due.at)),
        create_time: Some(time::to_wire(payment.created)),
        update_time: Some(time::to_wire(payment.updated)),
    }
}

fn state(state: State) -> ApiState {
    match state {
        State::Charging => ApiState::Charging,
        State::Unknown => ApiState::Unknown,
        State::Pending => ApiState::Pending,
        State::Captured => ApiState::Captured,
        State::Declined => ApiState::Declined,
        State::Parked => ApiState::Parked,
        State::Cancelled => ApiState::Cancelled,
        State::Compensating => ApiState::Compensating,
        State::Refunded => ApiState::Refunded,
    }
}

/// What is wrong with it; empty where nothing is.
pub fn problem(payment: &Payment) -> String {
    match (payment.state, payment.reason, payment.sent) {
        (State::Parked, Some(reason), _) => reason.words().to_owned(),
        (State::Unknown, _, Some(sent)) => {
            format!("the provider did not answer the call of {sent:.0}: whether it charged is not known")
        }
        (State::Compensating, _, Some(sent)) => {
            format!("the provider did not answer the call of {sent:.0}: whether it gave the money back is not known")
        }
        (
            State::Charging
            | State::Unknown
            | State::Pending
            | State::Captured
            | State::Declined
            | State::Parked
            | State::Cancelled
            | State::Compensating
            | State::Refunded,
            _,
            _,
        ) => String::new(),
    }
}

/// What happens next by itself.
pub fn next_step(due: &Due) -> &'static str {
    match (due.task.purpose, due.task.step, due.task.recheck) {
        (Purpose::Charge, Step::LookUp, 1..) | (Purpose::Compensate, Step::LookUp, 1..) => {
            "the provider is asked once more whether it was carried out after all"
        }
        (Purpose::Charge, Step::Send, _) if due.tries > 1 => {
            "the charge is sent again, under the same key: it cannot charge twice"
        }
        (Purpose::Charge, Step::Send, _) => "the customer is charged",
        (Purpose::Charge, Step::LookUp, 0) => "the provider is asked whether it charged",
        (Purpose::Compensate, Step::Send, _) => "the money is given back",
        (Purpose::Compensate, Step::LookUp, 0) => "the provider is asked whether it gave the money back",
    }
}

/// One or two sentences: what it waits for, and why.
pub fn summary(payment: &Payment) -> String {
    let gone = if payment.ended.is_some() { " The order is over, so it is not charged any more." } else { "" };
    match payment.state {
        State::Charging if payment.ended.is_some() => {
            format!("It is being found out whether the charge was carried out.{gone}")
        }
        State::Charging => "The charge has not come to an end yet.".to_owned(),
        State::Unknown => {
            format!("A call to the provider went unanswered: whether it charged is being found out.{gone}")
        }
        State::Pending => format!("The provider has taken the charge and has not decided yet.{gone}"),
        State::Captured => "The customer was charged.".to_owned(),
        State::Declined => "The provider refused the charge for good; nothing was charged.".to_owned(),
        State::Parked => "No rule can settle the payment: a person must look at it.".to_owned(),
        State::Cancelled => "The order was over before anything was charged.".to_owned(),
        State::Compensating => "The order was over when the charge was made: it is being given back.".to_owned(),
        State::Refunded => "The charge was given back.".to_owned(),
    }
}

/// What an operator can do about it, as commands.
pub fn operator_actions(payment: &Payment) -> Vec<String> {
    let settle = |how: &str| format!("spillway payment settle {} --as {how} --reason TEXT", payment.order);
    match payment.state {
        State::Parked if payment.is_parked_refund() => {
            vec![settle("refunded --reference REFUND"), settle("absent")]
        }
        State::Parked => match payment.reason {
            Some(Reason::WrongAmount) => vec![settle("refunded --reference REFUND")],
            Some(Reason::Several) => {
                vec![settle("captured --reference CHARGE"), settle("refunded --reference REFUND")]
            }
            Some(_of_the_charge) => vec![settle("captured --reference CHARGE"), settle("absent")],
            None => vec![],
        },
        State::Charging
        | State::Unknown
        | State::Pending
        | State::Captured
        | State::Declined
        | State::Cancelled
        | State::Compensating
        | State::Refunded => vec![],
    }
}
