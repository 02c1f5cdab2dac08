//! `spillway order explain`.

use spillway_proto::pb::orders::{ExplainOrderRequest, ExplainOrderResponse, LedgerExplanation};

use super::shown::{at, state};
use crate::cli::Format;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::printable;

/// Columns of a line of text.
const WIDTH: usize = 100;

pub async fn run(order_id: String, ctx: &Context) -> Result<(), Failure> {
    let remote = ctx.gateway()?;
    let answer = remote
        .call(ExplainOrderRequest { order_id: order_id.clone() }, |request| {
            let mut client = remote.orders();
            async move { client.explain_order(request).await }
        })
        .await?;
    match ctx.output.format() {
        Format::Json => ctx.output.message("spillway.orders.v1.ExplainOrderResponse", &answer),
        Format::Table => ctx.output.text(&text(&order_id, &answer)),
    }
}

fn text(order_id: &str, told: &ExplainOrderResponse) -> String {
    let state = told.order.as_ref().map_or_else(|| "not known now".to_owned(), state);
    let mut text = format!("order {}: {state}\n\n{}\n", printable(order_id), paragraph("", &told.summary));
    for ledger in &told.ledgers {
        text += &of_ledger(ledger);
    }
    if !told.operator_actions.is_empty() {
        text += "\nwhat can be done:\n";
        told.operator_actions.iter().for_each(|action| text += &format!("  {}\n", printable(action)));
    }
    text
}

fn of_ledger(told: &LedgerExplanation) -> String {
    let state = match (told.answered, told.knows_order) {
        (false, _) => "does not answer",
        (true, false) => "-",
        (true, true) => told.state.as_str(),
    };
    let mut text = format!("\n{:<14}{}\n", printable(&told.ledger), printable(state));
    let mut say = |name: &str, value: &str| {
        if !value.is_empty() {
            text += &paragraph(&format!("  {name}"), value);
        }
    };
    say("", &told.summary);
    say("held up: ", &told.paused);
    say("breaker: ", &told.breaker);
    say("last problem: ", &told.last_problem);
    if told.attempt > 0 {
        say("attempt: ", &told.attempt.to_string());
    }
    say("next: ", &told.next_step);
    say("at: ", &at(told.next_time.as_ref()));
    say("dead letters: ", &told.dead_letters.join(", "));
    text
}

/// Words in lines, each line as far in as the first.
fn paragraph(before: &str, text: &str) -> String {
    let indent = before.len() - before.trim_start().len();
    let mut lines = vec![before.to_owned()];
    for word in printable(text).split_whitespace() {
        let line = lines.last_mut().expect("there is always one");
        let is_fresh = line.trim().is_empty() || line.ends_with(' ');
        if !is_fresh && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(format!("{}{word}", " ".repeat(indent)));
        } else {
            let space = if is_fresh { "" } else { " " };
            *line += &format!("{space}{word}");
        }
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use spillway_proto::pb::orders::Order;
    use spillway_proto::pb::orders::order::State;

    #[test]
    fn an_explanation_reads_from_the_summary_to_what_can_be_done() {
        let ledger = LedgerExplanation {
            ledger: "payments".into(),
            answered: true,
            knows_order: true,
            state: "CHARGING".into(),
            summary: "The charge is not made yet.".into(),
            next_step: "the provider is tried again".into(),
            ..Default::default()
        };
        let silent =
            LedgerExplanation { ledger: "orders".into(), summary: "It does not answer.".into(), ..Default::default() };
        let told = ExplainOrderResponse {
            order: Some(Order { state: State::Pending.into(), ..Order::default() }),
            summary: "It waits.".into(),
            ledgers: vec![ledger, silent],
            operator_actions: vec!["spillway doctor".into()],
        };
        assert_eq!(
            text("o1", &told),
            "order o1: PENDING\n\nIt waits.\n\n\
             \npayments      CHARGING\n  The charge is not made yet.\n  next: the provider is tried again\n\
             \norders        does not answer\n  It does not answer.\n\
             \nwhat can be done:\n  spillway doctor\n"
        );
    }

    #[test]
    fn long_words_are_wrapped_and_stay_where_they_belong() {
        let lines = paragraph("  next: ", &"word ".repeat(40));
        assert!(lines.lines().all(|line| line.len() <= WIDTH && line.starts_with("  ")), "{lines}");
        assert_eq!(lines.split_whitespace().count(), 41);
    }
}
