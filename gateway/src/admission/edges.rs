//! How long what the services say waits to be heard, on every edge from the gateway to an order's confirmation.
//!
//! Ages are measured on the gateway's own clock: a batch is as old as the moment is long ago at which its number was
//! first told here. So no two clocks are compared, and a look costs what moved since the last one.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use spillway_proto::{Incarnation, Ledger as Source, Partition};

/// A ledger that does not answer, or a mark that does not move although something waits, for so long, is stopped and
/// not jammed: a stop refuses nobody.
pub const STOPPED_AFTER: Duration = Duration::from_secs(3);

/// A stopped listener that is back catches up, and refuses nobody meanwhile, as long as each round of it leaves less
/// than so much of what waited before.
const CATCHING_UP: f64 = 0.9;

/// Heads that are remembered of a line: far more than come within [`STOPPED_AFTER`].
const REMEMBERED: usize = 1024;

/// What a ledger says in a partition.
pub type Line = (Source, Partition);

/// One that listens: a ledger in a partition.
pub type Listener = (Source, Partition);

/// All edges of the pipeline.
#[derive(Debug, Default)]
pub struct Edges {
    lines: BTreeMap<Line, Heads>,
    edges: BTreeMap<(Listener, Line), Edge>,
    answered: BTreeMap<Listener, Instant>,
}

/// When the heads of a line were first told here.
#[derive(Debug, Default)]
struct Heads {
    incarnation: Option<Incarnation>,
    head: i64,
    told: VecDeque<(Instant, i64)>,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    mark: i64,
    /// When it was asked for.
    asked: Instant,
    /// When the mark moved.
    moved: Instant,
    /// Up to which number it catches up, and how much waited when that began.
    catching_up: Option<(i64, i64)>,
}

/// The wait behind the gateway, and on which edge it is longest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unheard {
    pub wait: Duration,
    /// What came since then, of that nothing is known yet; `None` where nobody is asked.
    pub asked: Option<Instant>,
    pub longest: Option<(Source, Source)>,
}

impl Edges {
    /// A line's head as it is now.
    pub fn head(&mut self, line: Line, incarnation: Incarnation, head: i64, now: Instant) {
        let heads = self.lines.entry(line).or_default();
        if heads.incarnation != Some(incarnation) {
            *heads = Heads { incarnation: Some(incarnation), head: 0, told: VecDeque::new() };
            self.edges.retain(|(_, of), _| *of != line);
        }
        if head <= heads.head {
            return;
        }
        heads.head = head;
        if heads.told.len() == REMEMBERED {
            // The oldest says how long it waits; of the newest only the last matters.
            heads.told.pop_back();
        }
        heads.told.push_back((now, head));
    }

    /// How far a listener has heard a line of this incarnation, as it answers now to what it was asked then.
    pub fn mark(
        &mut self,
        listener: Listener,
        partition: Partition,
        incarnation: Incarnation,
        mark: i64,
        (asked, now): (Instant, Instant),
    ) {
        let of = |((_, at), heads): &(&Line, &Heads)| *at == partition && heads.incarnation == Some(incarnation);
        let Some((line, heads)) = self.lines.iter().find(of) else { return };
        // One that is new here may have been stopped for long.
        let began = Edge { mark, asked, moved: now, catching_up: Some((heads.head, heads.head - mark)) };
        let edge = self.edges.entry((listener, *line)).or_insert(began);
        if mark > edge.mark {
            if edge.is_stopped(heads, now) && mark < heads.head {
                edge.catching_up = Some((heads.head, heads.head - mark));
            }
            (edge.mark, edge.moved) = (mark, now);
        }
        edge.asked = asked;
        edge.catch_up(heads.head);
    }

    /// A listener has answered.
    pub fn answered(&mut self, listener: Listener, now: Instant) {
        let before = self.answered.insert(listener, now);
        if before.is_some_and(|before| now.duration_since(before) >= STOPPED_AFTER) {
            // Its marks begin anew.
            self.edges.retain(|(who, _), _| *who != listener);
        }
    }

    /// A listener is not there: nobody answered in its name. Its marks begin anew when it is back.
    pub fn gone(&mut self, listener: Listener) {
        self.answered.remove(&listener);
        self.edges.retain(|(who, _), _| *who != listener);
    }

    /// The wait of an order placed now in this partition, behind the gateway.
    pub fn unheard(&mut self, partition: Partition, now: Instant) -> Unheard {
        self.forget_heard();
        let (inventory, payments) = ((Source::Inventory, Partition(0)), (Source::Payments, partition));
        let orders = (Source::Orders, partition);
        // A jam is only known where both are heard from.
        if !self.is_heard_from(inventory, now) || !self.is_heard_from(orders, now) {
            return Unheard::default();
        }
        let edges = [(inventory, Source::Gateway), (payments, Source::Inventory), (orders, Source::Payments)];
        let age =
            |(listener, of): (Listener, Source)| (self.age(listener, (of, partition), now), Some((listener.0, of)));
        let way = edges.map(age);
        // What orders hears of the others, it hears beside it.
        let beside = [(orders, Source::Gateway), (orders, Source::Inventory)].map(age);
        let longest = |ages: &[(Duration, _)]| ages.iter().copied().max().unwrap_or_default();
        let along = (way.iter().map(|(age, _)| *age).sum(), longest(&way).1);
        let (wait, edge) = longest(&[along, longest(&beside)]);
        let asked = edges.into_iter().filter_map(|(listener, of)| self.asked(listener, (of, partition), now)).min();
        Unheard { wait, asked, longest: edge.filter(|_| !wait.is_zero()) }
    }

    /// Whether orders has not heard yet what payments said: it is what the others wait for.
    pub fn waits_for_orders(&self, partition: Partition, now: Instant) -> bool {
        !self.age((Source::Orders, partition), (Source::Payments, partition), now).is_zero()
    }

    fn is_heard_from(&self, listener: Listener, now: Instant) -> bool {
        self.answered.get(&listener).is_some_and(|at| now.duration_since(*at) < STOPPED_AFTER)
    }

    /// When a listener was asked for what it has answered; not where it is stopped, or catches up.
    fn asked(&self, listener: Listener, line: Line, now: Instant) -> Option<Instant> {
        self.running(listener, line, now).filter(|_| self.is_heard_from(listener, now)).map(|(edge, _)| edge.asked)
    }

    fn running(&self, listener: Listener, line: Line, now: Instant) -> Option<(&Edge, &Heads)> {
        let (edge, heads) = self.edges.get(&(listener, line)).zip(self.lines.get(&line))?;
        (edge.catching_up.is_none() && !edge.is_stopped(heads, now)).then_some((edge, heads))
    }

    fn age(&self, listener: Listener, line: Line, now: Instant) -> Duration {
        let Some((edge, heads)) = self.running(listener, line, now) else { return Duration::ZERO };
        // What was told after the listener was asked, it may have heard meanwhile.
        let since = heads.waiting_since(edge.mark).filter(|told| *told <= edge.asked);
        since.map_or(Duration::ZERO, |told| now.duration_since(told))
    }

    /// What every listener of a line has heard is of no interest any more.
    fn forget_heard(&mut self) {
        for (line, heads) in &mut self.lines {
            let marks = self.edges.iter().filter(|((_, of), _)| of == line).map(|(_, edge)| edge.mark);
            let heard = marks.min().unwrap_or(0);
            while heads.told.front().is_some_and(|(_, head)| *head <= heard) {
                heads.told.pop_front();
            }
        }
    }
}

impl Heads {
    /// When the oldest head was told that a listener with this mark has not heard.
    fn waiting_since(&self, mark: i64) -> Option<Instant> {
        self.told.iter().find(|(_, head)| *head > mark).map(|(told, _)| *told)
    }
}

impl Edge {
    /// Something has waited for long, and nothing of it was heard.
    fn is_stopped(&self, heads: &Heads, now: Instant) -> bool {
        let since = heads.waiting_since(self.mark).map(|told| told.max(self.moved));
        since.is_some_and(|since| now.duration_since(since) >= STOPPED_AFTER)
    }

    fn catch_up(&mut self, head: i64) {
        let Some((until, waited)) = self.catching_up else { return };
        if self.mark < until {
            return;
        }
        let waits = head - self.mark;
        let goes_on = waits > 0 && (waits as f64) < CATCHING_UP * waited as f64;
        self.catching_up = goes_on.then_some((head, waits));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: Partition = Partition(0);
    const INVENTORY: Listener = (Source::Inventory, P);
    const ORDERS: Listener = (Source::Orders, P);

    struct World {
        edges: Edges,
        began: Instant,
        gateway: Incarnation,
    }

    impl World {
        fn new() -> World {
            let gateway = Incarnation::from_bytes(&[7; 16]).expect("16 bytes");
            let mut world = World { edges: Edges::default(), began: Instant::now(), gateway };
            world.at(0.0, 0, 0, 0);
            world
        }

        /// The gateway's head, and what inventory and orders have heard of it, so many seconds after the beginning.
        fn at(&mut self, seconds: f64, head: i64, inventory: i64, orders: i64) -> f64 {
            let now = self.began + Duration::from_secs_f64(seconds);
            self.edges.head((Source::Gateway, P), self.gateway, head, now);
            for (listener, mark) in [(INVENTORY, inventory), (ORDERS, orders)] {
                self.edges.answered(listener, now);
                self.edges.mark(listener, P, self.gateway, mark, (now, now));
            }
            self.edges.unheard(P, now).wait.as_secs_f64()
        }

        fn wait(&mut self, seconds: f64) -> f64 {
            self.edges.unheard(P, self.began + Duration::from_secs_f64(seconds)).wait.as_secs_f64()
        }
    }

    #[test]
    fn the_oldest_batch_that_waits_counts_and_on_the_way_from_edge_to_edge() {
        let mut world = World::new();
        assert_eq!(world.at(1.0, 10, 10, 10), 0.0);
        assert_eq!(world.at(2.0, 20, 10, 20), 0.0);
        assert!((world.at(3.0, 30, 15, 30) - 1.0).abs() < 0.01, "20 is waited for since 2.0");
        let now = world.began + Duration::from_secs(3);
        assert_eq!(world.edges.unheard(P, now).longest, Some((Source::Inventory, Source::Gateway)));
        assert!((world.at(3.5, 40, 25, 30) - 0.5).abs() < 0.01, "30 is waited for since 3.0");
        assert_eq!(world.at(4.0, 40, 40, 40), 0.0);
    }

    #[test]
    fn what_was_told_after_the_question_may_have_been_heard_since() {
        let mut world = World::new();
        world.at(1.0, 10, 10, 10);
        let began = world.began;
        let at = |seconds| began + Duration::from_secs_f64(seconds);
        let (asked, told, answered) = (at(1.1), at(1.2), at(1.5));
        world.edges.head((Source::Gateway, P), world.gateway, 20, told);
        world.edges.mark(INVENTORY, P, world.gateway, 10, (asked, answered));
        assert_eq!(world.wait(1.6), 0.0);
        world.edges.mark(INVENTORY, P, world.gateway, 10, (answered, at(1.7)));
        assert!((world.wait(1.7) - 0.5).abs() < 0.01, "asked after it was told, it has not heard it");
    }

    #[test]
    fn a_pause_before_a_burst_is_no_age() {
        let mut world = World::new();
        world.at(1.0, 10, 10, 10);
        world.at(600.0, 10, 10, 10);
        assert_eq!(world.at(600.1, 500, 10, 10), 0.0);
        assert!((world.at(600.3, 900, 11, 11) - 0.2).abs() < 0.01);
    }

    #[test]
    fn a_listener_that_stops_refuses_nobody_nor_while_it_catches_up() {
        let mut world = World::new();
        world.at(1.0, 10, 10, 10);
        for tick in 0..50 {
            let seconds = 2.0 + f64::from(tick) / 10.0;
            let wait = world.at(seconds, 20 + i64::from(tick), 10, 20 + i64::from(tick));
            assert!(wait < 3.01, "{wait}");
        }
        assert_eq!(world.at(7.5, 100, 10, 100), 0.0, "its mark has not moved for 3 s: it is stopped");
        // It moves again, and comes nearer with every round.
        for (seconds, head, mark) in [(8.0, 110, 20), (8.5, 120, 70), (9.0, 125, 110), (9.5, 130, 124)] {
            assert_eq!(world.at(seconds, head, mark, head), 0.0, "{seconds}");
        }
        assert_eq!(world.at(9.6, 130, 130, 130), 0.0);
        assert_eq!(world.at(9.7, 140, 130, 140), 0.0);
        assert!((world.at(10.2, 150, 135, 150) - 0.5).abs() < 0.01, "after it, ages count as ever");
    }

    #[test]
    fn one_that_does_not_come_nearer_is_a_jam() {
        let mut world = World::new();
        world.at(1.0, 1000, 10, 1000);
        world.at(8.0, 2000, 10, 2000);
        let mut wait = 0.0;
        for tick in 0..40_i64 {
            // As much comes as is heard.
            wait = world.at(8.1 + tick as f64 / 10.0, 2000 + 100 * tick, 10 + 100 * tick, 2000 + 100 * tick);
        }
        assert!(wait > 1.0, "{wait}");
    }

    #[test]
    fn nothing_counts_where_one_of_the_two_is_not_heard_from() {
        let mut world = World::new();
        world.at(1.0, 10, 10, 10);
        world.at(2.0, 20, 10, 10);
        assert!((world.wait(4.0) - 2.0).abs() < 0.01, "an answer may be late");
        assert_eq!(world.wait(5.1), 0.0, "but not for 3 s");
    }

    #[test]
    fn one_that_is_gone_refuses_nobody_from_that_moment_nor_while_it_catches_up() {
        let mut world = World::new();
        world.at(1.0, 10, 10, 10);
        assert!((world.at(2.5, 20, 10, 20) - 0.0).abs() < 0.01);
        assert!((world.wait(3.0) - 0.5).abs() < 0.01);
        world.edges.gone(INVENTORY);
        assert_eq!(world.wait(3.1), 0.0);
        assert_eq!(world.at(3.5, 40, 10, 40), 0.0, "it is back, and far behind");
        assert_eq!(world.at(3.6, 50, 40, 50), 0.0);
    }

    #[test]
    fn a_new_incarnation_begins_anew() {
        let mut world = World::new();
        world.at(1.0, 1000, 1000, 1000);
        world.gateway = Incarnation::from_bytes(&[8; 16]).expect("16 bytes");
        assert_eq!(world.at(2.0, 5, 0, 0), 0.0);
        assert_eq!(world.at(2.1, 5, 5, 5), 0.0);
        world.at(2.2, 9, 5, 5);
        assert!((world.at(2.7, 12, 6, 6) - 0.5).abs() < 0.01);
    }
}
