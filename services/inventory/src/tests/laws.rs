//! The laws over generated histories of many orders on few SKUs, decided in memory.

use std::collections::BTreeMap;

use proptest::prelude::*;
use spillway_proto::pb::events as v1;
use spillway_proto::{DEFAULT_SHOP, Event, Ledger as Source};
use spillway_shared::ledger::{Says, Service};

use super::kit::{TRACE, adjust, at, order_id, placed};
use crate::domain::{HoldState, Stock};
use crate::hear::{Fact, Heard, hear};
use crate::{Answer, Book, Input, Inventory};

pub const SKUS: [&str; 3] = ["tea", "cup", "pot"];

/// What becomes of an order, and in which order inventory hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Undecided,
    Confirmed,
    Rejected,
    Cancelled,
    /// The cancel overtakes the order.
    CancelledUnheard,
}

/// One order: units of each SKU, and its fate.
#[derive(Clone, Debug)]
pub struct Story {
    pub units: [i64; 3],
    pub fate: Fate,
}

impl Story {
    fn lines(&self) -> Vec<(&'static str, i64)> {
        SKUS.into_iter().zip(self.units).filter(|(_, units)| *units > 0).collect()
    }

    /// What is heard of it, in the order in which causes allow it to be heard.
    pub fn events(&self) -> Vec<(Source, Event)> {
        let placed = (Source::Gateway, placed(&self.lines()));
        let said = |event: Event| (Source::Orders, event);
        match self.fate {
            Fate::Undecided => vec![placed],
            Fate::Confirmed => vec![placed, said(v1::OrderConfirmed::default().into())],
            Fate::Rejected => vec![placed, said(v1::OrderRejected::default().into())],
            Fate::Cancelled => vec![placed, said(v1::OrderCancelled::default().into())],
            Fate::CancelledUnheard => vec![said(v1::OrderCancelled::default().into()), placed],
        }
    }

    /// The end of its hold where all of it was held.
    fn end(&self) -> HoldState {
        match self.fate {
            Fate::Undecided => HoldState::Held,
            Fate::Confirmed => HoldState::Sold,
            Fate::Rejected | Fate::Cancelled => HoldState::Released,
            Fate::CancelledUnheard => HoldState::Refused,
        }
    }
}

pub fn stories(most: usize) -> impl Strategy<Value = Vec<Story>> {
    let fate = prop::sample::select(vec![
        Fate::Undecided,
        Fate::Confirmed,
        Fate::Rejected,
        Fate::Cancelled,
        Fate::CancelledUnheard,
    ]);
    let units = [0i64..4, 0i64..4, 1i64..4];
    prop::collection::vec((units, fate).prop_map(|(units, fate)| Story { units, fate }), 1..most)
}

/// Who is told next, and whether something new or something again.
pub type Schedule = Vec<(prop::sample::Index, u8)>;

pub fn schedule() -> impl Strategy<Value = Schedule> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..60)
}

/// Interleaves the stories by the schedule, with repeats; whatever is left comes at the end.
pub fn tell(stories: &[Story], schedule: &Schedule) -> Vec<(u32, Source, Event)> {
    let histories: Vec<_> = stories.iter().map(Story::events).collect();
    let mut told = vec![0; stories.len()];
    let mut stream = Vec::new();
    let mut push = |n: usize, k: usize| {
        let (source, event) = histories[n][k].clone();
        stream.push((u32::try_from(n).expect("few orders"), source, event));
    };
    for (who, choice) in schedule {
        let n = who.index(stories.len());
        let k = usize::from(*choice) % (told[n] + 1);
        if k < told[n] {
            push(n, k);
        } else if told[n] < histories[n].len() {
            push(n, told[n]);
            told[n] += 1;
        }
    }
    for (n, from) in told.into_iter().enumerate() {
        (from..histories[n].len()).for_each(|k| push(n, k));
    }
    stream
}

/// Inventory without a store: everything is in the book.
struct Memory {
    book: Book,
    said: i64,
}

impl Memory {
    fn stocked(units: i64) -> Self {
        let mut memory = Memory { book: Book::default(), said: 0 };
        for (n, sku) in (1u128..).zip(SKUS) {
            memory.decide(&adjust(n, sku, units));
        }
        memory
    }

    fn decide(&mut self, input: &Input) -> (Answer, i64) {
        let mut says = Says::new(Source::Inventory, at(9));
        let answer = Inventory.decide(&mut self.book, input, at(9), &mut says);
        self.said += says.events();
        (answer, says.events())
    }

    fn hear(&mut self, order: u32, event: &Event) -> i64 {
        self.decide(&Input::Heard(read(order, event))).1
    }

    fn hold(&mut self, order: u32) -> Option<HoldState> {
        self.book.order(DEFAULT_SHOP, order_id(order)).0.map(|hold| hold.state)
    }

    fn stock(&mut self) -> BTreeMap<String, Stock> {
        let (_, shelf) = self.book.order(DEFAULT_SHOP, order_id(0));
        shelf.all().map(|(sku, stock)| (sku.to_owned(), stock)).collect()
    }
}

/// As it is read from an envelope.
fn read(order: u32, event: &Event) -> Heard {
    let mut bytes = Vec::new();
    let said = super::kit::said(order, event.clone());
    spillway_proto::envelope::write(&said, Source::Gateway, at(0), &mut bytes);
    let envelope = spillway_proto::envelope::read(bytes.into()).expect("an event");
    assert_eq!(envelope.traceparent, TRACE);
    hear(event.kind(), &envelope).expect("readable").expect("of concern")
}

/// Every unit is where the holds say it is.
fn check_books(memory: &mut Memory, stories: &[Story], received: i64) -> Result<(), TestCaseError> {
    let mut wanted: BTreeMap<&str, (i64, i64)> = SKUS.into_iter().map(|sku| (sku, (0, 0))).collect();
    for (n, story) in (0..).zip(stories) {
        for (sku, units) in story.lines() {
            let sums = wanted.get_mut(sku).expect("a known SKU");
            match memory.hold(n) {
                Some(HoldState::Held) => sums.0 += units,
                Some(HoldState::Sold) => sums.1 += units,
                None | Some(HoldState::Released | HoldState::Refused | HoldState::Tombstone) => {}
            }
        }
    }
    for (sku, stock) in memory.stock() {
        prop_assert!(stock.adds_up(), "{sku}: {stock:?}");
        prop_assert_eq!(stock.received, received);
        prop_assert_eq!((stock.held, stock.sold), wanted[sku.as_str()], "{}", sku);
    }
    Ok(())
}

proptest! {
    #[test]
    fn interleavings_and_repeats_end_the_same_where_stock_suffices(
        stories in stories(10), one in schedule(), other in schedule()
    ) {
        let ends = [one, other].map(|schedule| {
            let mut memory = Memory::stocked(1000);
            for (order, _, event) in tell(&stories, &schedule) {
                memory.hear(order, &event);
            }
            let holds: Vec<_> = (0..).zip(&stories).map(|(n, _)| memory.hold(n)).collect();
            (holds, memory.stock(), memory.said)
        });
        prop_assert_eq!(&ends[0], &ends[1]);
        let named: Vec<_> = stories.iter().map(|story| Some(story.end())).collect();
        prop_assert_eq!(&ends[0].0, &named);
    }

    #[test]
    fn stock_is_conserved_at_every_step_and_never_sold_twice(
        stories in stories(12), schedule in schedule(), units in 0i64..12
    ) {
        let mut memory = Memory::stocked(units);
        for (order, _, event) in tell(&stories, &schedule) {
            memory.hear(order, &event);
            check_books(&mut memory, &stories, units)?;
        }
        for (n, story) in (0..).zip(&stories) {
            let end = memory.hold(n);
            prop_assert!(end == Some(story.end()) || end == Some(HoldState::Refused), "{story:?}: {end:?}");
        }
    }

    #[test]
    fn told_twice_in_any_history_says_nothing(stories in stories(8), schedule in schedule(), units in 0i64..12) {
        let mut memory = Memory::stocked(units);
        for (order, _, event) in tell(&stories, &schedule) {
            memory.hear(order, &event);
            let before = (memory.hold(order), memory.stock());
            prop_assert_eq!(memory.hear(order, &event), 0);
            prop_assert_eq!((memory.hold(order), memory.stock()), before);
        }
    }

    /// Ends: "the order first", where the units are held and cannot be taken away; "the adjustment first", where they
    /// are gone and the order is refused.
    #[test]
    fn an_adjustment_against_an_order_has_one_of_two_ends(stock in 1i64..9, wanted in 1i64..9, taken in 1i64..9, first: bool) {
        prop_assume!(wanted <= stock && taken <= stock && wanted + taken > stock);
        let mut memory = Memory::stocked(stock);
        let order = placed(&[("tea", wanted)]);
        let command = adjust(99, "tea", -taken);
        if first {
            memory.hear(0, &order);
        }
        let (answer, said) = memory.decide(&command);
        memory.hear(0, &order);
        let tea = memory.stock()["tea"];
        if first {
            prop_assert!(matches!(answer, Answer::Adjusted(Err(_))) && said == 0, "{answer:?}");
            prop_assert_eq!((memory.hold(0), tea.held, tea.received), (Some(HoldState::Held), wanted, stock));
        } else {
            prop_assert!(matches!(answer, Answer::Adjusted(Ok(_))) && said == 1, "{answer:?}");
            prop_assert_eq!((memory.hold(0), tea.held, tea.received), (Some(HoldState::Refused), 0, stock - taken));
        }
        prop_assert!(tea.adds_up());
    }

    #[test]
    fn adjustments_of_any_size_keep_the_books_and_count_once(deltas in prop::collection::vec((0u128..6, any::<i64>()), 1..20)) {
        let mut memory = Memory::stocked(50);
        for (request, delta) in deltas {
            let before = memory.stock()["tea"];
            let (answer, said) = memory.decide(&adjust(1000 + request, "tea", delta));
            let after = memory.stock()["tea"];
            prop_assert!(after.adds_up(), "{after:?}");
            match answer {
                Answer::Adjusted(Ok((stock, _))) => {
                    prop_assert_eq!(stock, after);
                    let moved = if said == 1 { delta } else { 0 };
                    prop_assert_eq!(after.received - before.received, moved);
                    let (again, said) = memory.decide(&adjust(1000 + request, "tea", delta));
                    prop_assert_eq!((again, said), (Answer::Adjusted(Ok((after, at(9)))), 0));
                }
                Answer::Adjusted(Err(_)) | Answer::Heard => prop_assert_eq!((after, said), (before, 0)),
            }
        }
    }
}

#[test]
fn an_order_that_no_gateway_would_accept_is_unreadable() {
    let events = [
        placed(&[]),
        placed(&[("tea", 0)]),
        placed(&[("tea", i64::MIN)]),
        placed(&[("tea", 1), ("tea", 2)]),
        v1::OrderPlaced { total: None, ..Default::default() }.into(),
    ];
    for event in events {
        let mut bytes = Vec::new();
        spillway_proto::envelope::write(&super::kit::said(0, event.clone()), Source::Gateway, at(0), &mut bytes);
        let envelope = spillway_proto::envelope::read(bytes.into()).expect("an event");
        assert!(hear(event.kind(), &envelope).is_err(), "{event:?}");
    }
}

#[test]
fn an_order_for_more_than_can_be_counted_is_refused() {
    let mut memory = Memory::stocked(5);
    memory.hear(0, &placed(&[("tea", i64::MAX), ("cup", 1)]));
    assert_eq!(memory.hold(0), Some(HoldState::Refused));
    assert_eq!(memory.stock()["cup"].held, 0);
    assert!(matches!(read(0, &placed(&[("tea", 1)])).fact, Fact::OrderPlaced(_)));
}
