use spillway_proto::{EventKind, OrderId, Partition, Subject};

use super::*;

const LIMIT: u32 = 200;

// By where they stand, whatever they are about.
const ACCEPTED: EventKind = EventKind::ALL[0];
const HELD: EventKind = EventKind::ALL[1];
const COMMITTED: EventKind = EventKind::ALL[3];
const CAPTURED: EventKind = EventKind::ALL[7];
const ENDED: EventKind = EventKind::ALL[12];

#[test]
fn kinds_stand_where_these_tests_have_them() {
    let places = [ACCEPTED, HELD, COMMITTED, CAPTURED, ENDED].map(EventKind::place);
    let between = InStory::Between;
    assert_eq!(places, [InStory::Begins, between, between, between, InStory::Ends]);
}

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_microsecond(1_700_000_000_000_000 + (seconds * 1e6) as i64).expect("in range")
}

fn order(n: u64) -> Subject {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Subject::Order(OrderId::new(at(0.0), Partition(0), random))
}

fn fact(kind: EventKind, n: u64) -> Fact {
    Fact::new(kind, &order(n), Partition(0), 0, 0, 0)
}

/// A role that says these kinds of every order, each so many seconds after it was placed.
struct Role {
    says: &'static [(EventKind, f64)],
    rate: LineRate,
    /// (second, order, kind) of each line that it wrote.
    wrote: Vec<(usize, u64, EventKind)>,
}

impl Role {
    fn new(says: &'static [(EventKind, f64)]) -> Role {
        Role { says, rate: LineRate::new("test", LIMIT), wrote: Vec::new() }
    }

    /// Orders come evenly for so many seconds; commits are 5 ms apart.
    fn hear(&mut self, orders_per_second: f64, from: f64, seconds: f64) {
        let mut all: Vec<(f64, u64, EventKind)> = Vec::new();
        for n in 0..(orders_per_second * seconds) as u64 {
            let placed = from + n as f64 / orders_per_second;
            all.extend(self.says.iter().map(|(kind, after)| (placed + after, n, *kind)));
        }
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        for commit in all.chunk_by(|a, b| (a.0 * 200.0).floor() == (b.0 * 200.0).floor()) {
            let time = commit[commit.len() - 1].0;
            let mut facts: Vec<Fact> = commit.iter().map(|(_, n, kind)| fact(*kind, *n)).collect();
            let offered = facts.clone();
            self.rate.choose(&mut facts, at(time));
            let mut kept = facts.iter().peekable();
            for ((_, n, kind), fact) in commit.iter().zip(offered) {
                if kept.next_if(|kept| kept.lot == fact.lot && kept.kind == fact.kind).is_some() {
                    self.wrote.push((time.floor() as usize, *n, *kind));
                }
            }
        }
    }

    fn of_second(&self, second: usize) -> usize {
        self.wrote.iter().filter(|(at, _, _)| *at == second).count()
    }

    fn told(&self, kind: EventKind, from: usize) -> std::collections::BTreeSet<u64> {
        self.wrote.iter().filter(|(at, _, said)| *at >= from && *said == kind).map(|(_, n, _)| *n).collect()
    }
}

const GATEWAY: &[(EventKind, f64)] = &[(ACCEPTED, 0.0)];
const INVENTORY: &[(EventKind, f64)] = &[(HELD, 0.1), (COMMITTED, 0.4)];
const PAYMENTS: &[(EventKind, f64)] = &[(CAPTURED, 0.2)];
const ORDERS: &[(EventKind, f64)] = &[(ENDED, 0.3)];

#[test]
fn at_rest_nothing_is_left_out() {
    let mut role = Role::new(INVENTORY);
    role.hear(95.0, 0.0, 30.0);
    assert_eq!(role.wrote.len(), 2 * 95 * 30);
    assert!(!role.rate.tell_now(), "there is nothing to tell");
}

#[test]
fn under_load_a_second_stays_within_its_limit_whatever_the_load() {
    for load in [150.0, 400.0, 1_000.0, 5_800.0, 20_000.0] {
        let mut role = Role::new(INVENTORY);
        role.hear(load, 0.0, 12.0);
        for second in 0..12 {
            let (wrote, most) = (role.of_second(second), if second < 2 { 2 * LIMIT } else { LIMIT + LIMIT / 8 });
            assert!(wrote <= most as usize, "{load} orders/s, second {second}: {wrote}");
            assert!(wrote >= LIMIT as usize / 4, "{load} orders/s, second {second}: no more than {wrote}");
        }
        assert!(role.rate.tell_now() && !role.rate.tell_now(), "it is told once");
    }
}

#[test]
fn an_order_that_the_busiest_role_tells_of_is_told_of_by_all_of_them_from_beginning_to_end() {
    let mut roles = [GATEWAY, INVENTORY, PAYMENTS, ORDERS].map(Role::new);
    roles.iter_mut().for_each(|role| role.hear(2_000.0, 0.0, 20.0));
    // Once the shares have settled, and until the last orders whose end would come after the load.
    let (from, to) = (2_000 * 8, 2_000 * 19);
    let steady = |told: std::collections::BTreeSet<u64>| {
        told.into_iter().filter(|n| (from..to).contains(n)).collect::<std::collections::BTreeSet<u64>>()
    };
    let held = steady(roles[1].told(HELD, 0));
    assert!(held.len() >= 11 * LIMIT as usize / 8, "{}", held.len());
    assert_eq!(held, steady(roles[1].told(COMMITTED, 0)), "its own two lines go together");
    for (role, kind) in [(0, ACCEPTED), (2, CAPTURED), (3, ENDED)] {
        let told = steady(roles[role].told(kind, 0));
        assert!(held.is_subset(&told), "{kind:?}: {} of {}", held.difference(&told).count(), held.len());
    }
}

#[test]
fn lines_between_go_first_and_those_that_begin_or_end_an_order_are_kept_longest() {
    const MIXED: &[(EventKind, f64)] = &[(ACCEPTED, 0.0), (HELD, 0.1), (ENDED, 0.2)];
    let mut role = Role::new(MIXED);
    role.hear(90.0, 0.0, 12.0);
    let count = |kind| role.told(kind, 3).len();
    assert_eq!(count(ACCEPTED), 90 * 9, "every order that was accepted is told");
    assert!(count(HELD) < 90 * 9 / 2, "{}", count(HELD));

    let mut role = Role::new(MIXED);
    role.hear(150.0, 0.0, 12.0);
    let count = |kind| role.told(kind, 3).len();
    let (placed, held) = (count(ACCEPTED), count(HELD));
    assert!(held > 0 && placed > held * 3 / 2, "{placed} {held}");
}

#[test]
fn after_the_load_everything_is_told_again() {
    let mut role = Role::new(GATEWAY);
    role.hear(5_000.0, 0.0, 5.0);
    role.hear(50.0, 5.0, 12.0);
    assert_eq!(role.of_second(15), 50);
    let mut role = Role::new(GATEWAY);
    role.hear(5_000.0, 0.0, 5.0);
    role.hear(50.0, 60.0, 1.0);
    assert_eq!(role.of_second(60), 50, "a long rest needs no further one");
}

#[test]
fn a_clock_that_is_set_back_begins_anew() {
    let rate = LineRate::new("test", LIMIT);
    rate.choose(&mut vec![fact(HELD, 1); 5_000], at(100.0));
    let mut facts: Vec<Fact> = (0..50).map(|n| fact(HELD, n)).collect();
    rate.choose(&mut facts, at(10.0));
    assert_eq!(facts.len(), 50);
}
