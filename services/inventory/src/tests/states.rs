//! The whole state space of one order on one SKU, enumerated: every state of its hold, every event, every stock that
//! makes a difference.

use spillway_proto::Event;
use spillway_proto::pb;

use super::kit::at;
use crate::domain::{
    Decision, Hold, HoldState, Line, OrderPlaced, Shelf, Stock, order_confirmed, order_ended, order_placed,
};
use crate::hear::Fact;

const UNITS: i64 = 3;

fn lines() -> Vec<Line> {
    vec![Line { sku: "tea".into(), quantity: UNITS }, Line { sku: "cup".into(), quantity: 1 }]
}

fn facts() -> [Fact; 3] {
    let order = OrderPlaced { lines: lines(), total: pb::Money::default(), payment_method: "pm_ok".into() };
    [Fact::OrderPlaced(order), Fact::OrderConfirmed, Fact::OrderEnded]
}

/// Every state of a hold, with every stock beside it: none, just too little, just enough, plenty; with units of other
/// orders held and sold.
fn situations() -> Vec<(Option<Hold>, Shelf)> {
    let mut situations = Vec::new();
    let holds = HoldState::ALL.into_iter().map(|state| {
        let had = matches!(state, HoldState::Held | HoldState::Sold | HoldState::Released);
        Some(Hold { state, lines: if had { lines() } else { vec![] } })
    });
    for hold in holds.chain([None]) {
        for available in [0, UNITS - 1, UNITS, UNITS * 10] {
            for others in [0, 5] {
                let mut shelf = Shelf::default();
                for line in lines() {
                    let own = |state| if hold.as_ref().is_some_and(|h| h.state == state) { line.quantity } else { 0 };
                    let (held, sold) = (others + own(HoldState::Held), others + own(HoldState::Sold));
                    let stock = Stock { received: available + held + sold, available, held, sold };
                    shelf.loaded(line.sku, stock, at(0));
                }
                situations.push((hold.clone(), shelf));
            }
        }
    }
    situations
}

fn tell(fact: &Fact, hold: &mut Option<Hold>, shelf: &mut Shelf) -> Decision {
    let decision = match fact {
        Fact::OrderPlaced(order) => order_placed(hold.as_ref(), order, shelf, at(1)),
        Fact::OrderConfirmed => order_confirmed(hold.as_ref(), shelf, at(1)),
        Fact::OrderEnded => order_ended(hold.as_ref(), shelf, at(1)),
    };
    if let Decision::Becomes(state, _) = &decision {
        let lines = if *state == HoldState::Held { fact.lines().to_vec() } else { vec![] };
        match hold {
            Some(hold) => hold.state = *state,
            None => *hold = Some(Hold { state: *state, lines }),
        }
    }
    decision
}

fn stocks(shelf: &Shelf) -> Vec<(String, Stock)> {
    let mut all: Vec<_> = shelf.all().map(|(sku, stock)| (sku.to_owned(), stock)).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn told_twice_changes_nothing_and_says_nothing() {
    for fact in facts() {
        for (mut hold, mut shelf) in situations() {
            tell(&fact, &mut hold, &mut shelf);
            let after = (hold.clone(), stocks(&shelf));
            let again = tell(&fact, &mut hold, &mut shelf);
            assert!(matches!(again, Decision::Known | Decision::Impossible), "{fact:?} in {after:?}: {again:?}");
            assert_eq!((hold, stocks(&shelf)), after);
        }
    }
}

#[test]
fn stock_is_conserved_and_a_hold_moves_all_of_its_lines_or_none() {
    for fact in facts() {
        for (mut hold, mut shelf) in situations() {
            let (before, stood) = (stocks(&shelf), hold.clone());
            let decision = tell(&fact, &mut hold, &mut shelf);
            let after = stocks(&shelf);
            assert!(after.iter().all(|(_, stock)| stock.adds_up()), "{fact:?} in {stood:?}: {after:?}");
            assert_eq!(
                before.iter().map(|(_, s)| s.received).sum::<i64>(),
                after.iter().map(|(_, s)| s.received).sum::<i64>()
            );
            // What this order has held and sold follows from the state of its hold alone.
            let owns = |hold: &Option<Hold>, state| hold.as_ref().is_some_and(|h| h.state == state);
            for ((line, (_, was)), (_, is)) in [&lines()[1], &lines()[0]].into_iter().zip(&before).zip(&after) {
                let units = |hold, state| if owns(hold, state) { line.quantity } else { 0 };
                assert_eq!(is.held - was.held, units(&hold, HoldState::Held) - units(&stood, HoldState::Held));
                assert_eq!(is.sold - was.sold, units(&hold, HoldState::Sold) - units(&stood, HoldState::Sold));
            }
            if matches!(decision, Decision::Known | Decision::Impossible) {
                assert_eq!((hold, after), (stood, before));
            }
        }
    }
}

#[test]
fn a_finished_hold_absorbs_everything() {
    for fact in facts() {
        for (mut hold, mut shelf) in situations() {
            let Some(state) = hold.as_ref().map(|h| h.state) else { continue };
            let before = (hold.clone(), stocks(&shelf));
            let decision = tell(&fact, &mut hold, &mut shelf);
            match state {
                HoldState::Sold | HoldState::Released | HoldState::Refused => {
                    assert!(matches!(decision, Decision::Known | Decision::Impossible), "{decision:?}");
                    assert_eq!((hold, stocks(&shelf)), before);
                }
                HoldState::Held | HoldState::Tombstone => {}
            }
        }
    }
}

#[test]
fn an_order_without_a_hold_makes_up_no_stock_when_it_is_confirmed() {
    for (hold, mut shelf) in situations() {
        let before = stocks(&shelf);
        let mut now = hold.clone();
        let decision = tell(&Fact::OrderConfirmed, &mut now, &mut shelf);
        match hold.map(|h| h.state) {
            Some(HoldState::Held) => assert!(matches!(decision, Decision::Becomes(HoldState::Sold, Some(_)))),
            Some(HoldState::Sold) => assert_eq!(decision, Decision::Known),
            None | Some(HoldState::Released | HoldState::Refused | HoldState::Tombstone) => {
                assert_eq!((decision, stocks(&shelf)), (Decision::Impossible, before));
            }
        }
    }
}

#[test]
fn a_release_that_comes_before_its_order_ends_in_a_refusal_without_a_short_line() {
    for (_, mut shelf) in situations() {
        let (before, mut hold) = (stocks(&shelf), None);
        let [placed, _, ended] = facts();
        assert_eq!(tell(&ended, &mut hold, &mut shelf), Decision::Becomes(HoldState::Tombstone, None));
        let Decision::Becomes(HoldState::Refused, Some(Event::StockRefused(refused))) =
            tell(&placed, &mut hold, &mut shelf)
        else {
            panic!("a tombstone refuses");
        };
        assert_eq!((refused.short_lines, stocks(&shelf)), (vec![], before));
    }
}

#[test]
fn every_line_that_falls_short_is_named() {
    let lines = ["tea", "cup", "pot"].map(|sku| Line { sku: sku.into(), quantity: 2 });
    let order = OrderPlaced { lines: lines.into(), total: pb::Money::default(), payment_method: String::new() };
    let mut shelf = Shelf::default();
    shelf.loaded("tea".into(), Stock { received: 1, available: 1, ..Stock::default() }, at(0));
    shelf.loaded("cup".into(), Stock { received: 2, available: 2, ..Stock::default() }, at(0));
    let Decision::Becomes(HoldState::Refused, Some(Event::StockRefused(refused))) =
        order_placed(None, &order, &mut shelf, at(1))
    else {
        panic!("two lines fall short");
    };
    let short: Vec<_> = refused.short_lines.iter().map(|l| (l.sku.as_str(), l.wanted, l.available)).collect();
    assert_eq!(short, [("tea", 2, 1), ("pot", 2, 0)]);
    assert_eq!(shelf.stock("cup").available, 2, "nothing is held");
    assert_eq!(shelf.changed().count(), 0);
}
