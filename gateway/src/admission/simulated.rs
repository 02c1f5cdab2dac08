//! The regulator against a simulated system: one core, shared by the door and by a line of ledgers that commit what waits
//! for them in one batch. What it sees of them is late, and a refusal costs time too.

use std::collections::VecDeque;
use std::time::Duration;

use super::pressure::{Pressure, Seen};

/// Seconds of one step.
const STEP: f64 = 0.0005;
/// Seconds between two looks of the regulator.
const TICK: f64 = 0.1;
/// Seconds of the core for an order: to let it in, and in each ledger: gateway, inventory, payments, orders, audit.
const LET_IN: f64 = 60e-6;
const LEDGERS: [f64; 5] = [60e-6, 60e-6, 100e-6, 55e-6, 45e-6];
/// All of it.
const ORDER: f64 = 380e-6;
/// Seconds of the core for a commit, of however many.
const COMMIT: f64 = 1.5e-3;
/// Where much comes, which is after a commit of so many, a ledger gathers for so long from the first on: on a full core
/// nothing is acknowledged sooner.
const GATHER: f64 = 0.025;
const MUCH: usize = 16;
const LARGEST: usize = 2_000;
const GATEWAY: usize = 0;
const ORDERS: usize = 3;
const AUDIT: usize = 4;
/// The door's weight in the race for the core; a ledger's is 1.
const DOOR: f64 = 3.0;
/// Orders a second that the simulated core does with 1,500 in flight, as a run of it without the regulator showed.
const CAPACITY: f64 = 2_356.0;
/// What most customers ask for together, in capacities, and which part of it they keep at least.
const STEADY: f64 = 0.6;
const KEPT: f64 = 0.9;
/// Seconds of the load and of what follows it.
const LOAD: f64 = 15.0;
const REST: f64 = 8.0;

/// A load, and a machine.
#[derive(Clone, Copy, Debug)]
struct Scene {
    /// What comes, in capacities; half of one after it.
    times: f64,
    /// What a refusal costs, in orders.
    refusal: f64,
    /// Seconds by which answers of the services are late, on average.
    late: f64,
    /// Every six seconds the machine stands still for so many.
    stall: f64,
    /// The machine is faster and slower by this part, in waves of nine seconds.
    wave: f64,
}

const PLAIN: Scene = Scene { times: 1.0, refusal: 0.02, late: 0.1, stall: 0.0, wave: 0.0 };

#[derive(Debug, Default)]
struct Ran {
    /// Done within 5 s, of what could have been done during the load.
    goodput: f64,
    refused: u64,
    /// Seconds from the end of the load to the last order that was refused, or took more than a second.
    back_after: f64,
    longest_wait: f64,
    /// What was let in at each look, in capacities, where the first seconds are over.
    let_in: Vec<f64>,
}

impl Ran {
    /// What those keep who ask for six tenths of the capacity, day in, day out, beside the few who ask for all the rest: a
    /// limit that swings below it takes from them, and is not made good by one that is too high.
    fn kept(&self) -> f64 {
        let kept = self.let_in.iter().map(|let_in| (let_in / STEADY).min(1.0));
        kept.sum::<f64>() / self.let_in.len() as f64
    }
}

/// An order: when it came, and when it came to where it is.
type Order = (f64, f64);

#[derive(Debug, Default)]
struct Ledger {
    waits: VecDeque<Order>,
    hand: Vec<Order>,
    left: f64,
    gathers_until: Option<f64>,
    last: usize,
    passed: u64,
}

/// What a service answers: when it was asked, when the answer comes, and how many orders it had passed on.
#[derive(Clone, Copy, Debug)]
struct Answer {
    asked: f64,
    comes: f64,
    passed: u64,
}

struct World {
    scene: Scene,
    now: f64,
    door: VecDeque<f64>,
    at_the_door: Option<(f64, bool, f64)>,
    ledgers: [Ledger; 5],
    chance: u64,
    share: f64,
    came: u64,
    /// When the heads were told that the services have not heard; of gateway, inventory, payments.
    told: [VecDeque<(f64, u64)>; 3],
    asked: [Option<Answer>; 3],
    heard: [Answer; 3],
    ends: VecDeque<(f64, u64)>,
    ran: Ran,
    done_in_time: u64,
}

impl World {
    fn new(scene: Scene) -> World {
        World {
            scene,
            now: 0.0,
            door: VecDeque::new(),
            at_the_door: None,
            ledgers: Default::default(),
            chance: 0x9E37_79B9_7F4A_7C15,
            share: 1.0,
            came: 0,
            told: Default::default(),
            asked: [None; 3],
            heard: [Answer { asked: 0.0, comes: 0.0, passed: 0 }; 3],
            ends: VecDeque::from([(0.0, 0)]),
            ran: Ran::default(),
            done_in_time: 0,
        }
    }

    /// Between 0 and 1, the same in every run.
    fn random(&mut self) -> f64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        (self.chance >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn speed(&self) -> f64 {
        let is_stalled = self.scene.stall > 0.0 && self.now > 5.0 && (self.now - 5.0) % 6.0 < self.scene.stall;
        if is_stalled { 0.0 } else { 1.0 + self.scene.wave * (0.7 * self.now).sin() }
    }

    /// One step: whoever has work shares the core.
    fn work(&mut self) {
        for ledger in &mut self.ledgers {
            if !ledger.hand.is_empty() || ledger.waits.is_empty() {
                continue;
            }
            let gathers = if ledger.last >= MUCH { GATHER } else { 0.0 };
            if self.now >= *ledger.gathers_until.get_or_insert(self.now + gathers) {
                let batch = ledger.waits.len().min(LARGEST);
                ledger.hand = ledger.waits.drain(..batch).collect();
                (ledger.left, ledger.last, ledger.gathers_until) = (1.0, batch, None);
            }
        }
        let mut left = STEP * self.speed();
        while left > 1e-12 {
            self.open_the_door();
            let busy = self.ledgers.iter().filter(|ledger| !ledger.hand.is_empty()).count() as f64;
            let weight = busy + if self.at_the_door.is_some() { DOOR } else { 0.0 };
            if weight == 0.0 {
                return;
            }
            let mut each = left / weight;
            if let Some((.., needs)) = self.at_the_door {
                each = each.min(needs / DOOR);
            }
            for (ledger, cost) in self.ledgers.iter().zip(LEDGERS).filter(|(ledger, _)| !ledger.hand.is_empty()) {
                each = each.min(ledger.left * (COMMIT + cost * ledger.hand.len() as f64));
            }
            let each = each.max(1e-9);
            left -= each * weight;
            self.pass_the_door(each * DOOR);
            self.commit(each);
        }
    }

    fn open_the_door(&mut self) {
        if self.at_the_door.is_none()
            && let Some(came) = self.door.pop_front()
        {
            self.came += 1;
            let is_refused = self.random() >= self.share;
            self.at_the_door = Some((came, is_refused, if is_refused { self.scene.refusal * ORDER } else { LET_IN }));
        }
    }

    fn pass_the_door(&mut self, time: f64) {
        let Some((came, is_refused, needs)) = &mut self.at_the_door else { return };
        *needs -= time;
        if *needs > 1e-9 {
            return;
        }
        if *is_refused {
            self.ran.refused += 1;
            self.ran.back_after = self.ran.back_after.max(*came - LOAD);
        } else {
            self.ledgers[GATEWAY].waits.push_back((*came, self.now));
        }
        self.at_the_door = None;
    }

    fn commit(&mut self, time: f64) {
        for (which, cost) in LEDGERS.into_iter().enumerate() {
            let ledger = &mut self.ledgers[which];
            if ledger.hand.is_empty() {
                continue;
            }
            ledger.left -= time / (COMMIT + cost * ledger.hand.len() as f64);
            if ledger.left > 1e-6 {
                continue;
            }
            let batch = std::mem::take(&mut ledger.hand);
            ledger.passed += batch.len() as u64;
            let on = batch.iter().map(|(came, _)| (*came, self.now));
            if which == GATEWAY {
                self.ledgers[AUDIT].waits.extend(on.clone());
            }
            if which < ORDERS {
                self.ledgers[which + 1].waits.extend(on);
            } else if which == ORDERS {
                self.end(&batch);
            }
        }
    }

    fn end(&mut self, batch: &[Order]) {
        for (came, _) in batch {
            let took = self.now - came;
            if *came < LOAD {
                self.done_in_time += u64::from(took <= 5.0);
            } else if took > 1.0 {
                self.ran.back_after = self.ran.back_after.max(came - LOAD);
            }
        }
    }

    /// As the gateway does: heads are told with answers and looks, and count only if they were told before the question.
    fn hear(&mut self) {
        for service in 0..3 {
            let Some(answer) = self.asked[service].filter(|answer| answer.comes <= self.now) else { continue };
            self.asked[service] = None;
            self.heard[service] = answer;
            self.tell(0, self.ledgers[GATEWAY].passed);
            if service + 1 < 3 {
                self.tell(service + 1, answer.passed);
            } else {
                self.ends.push_back((answer.asked, answer.passed));
                while self.ends.get(1).is_some_and(|next| answer.asked - next.0 >= 1.0) {
                    self.ends.pop_front();
                }
            }
        }
    }

    fn ask(&mut self) {
        for service in 0..3 {
            if self.asked[service].is_none() {
                let late = self.scene.late * (0.3 + 1.4 * self.random());
                let passed = self.ledgers[service + 1].passed;
                self.asked[service] = Some(Answer { asked: self.now, comes: self.now + late, passed });
            }
        }
    }

    fn tell(&mut self, line: usize, head: u64) {
        if self.told[line].back().is_none_or(|(_, known)| head > *known) && head > self.heard[line].passed {
            self.told[line].push_back((self.now, head));
        }
    }

    fn look(&mut self) -> Seen {
        self.tell(0, self.ledgers[GATEWAY].passed);
        let gateway = &self.ledgers[GATEWAY];
        let mut wait = gateway.hand.first().or(gateway.waits.front()).map_or(0.0, |(_, since)| self.now - since);
        for (told, heard) in self.told.iter_mut().zip(self.heard) {
            while told.front().is_some_and(|(_, head)| *head <= heard.passed) {
                told.pop_front();
            }
            wait += told.front().filter(|(at, _)| *at < heard.asked).map_or(0.0, |(at, _)| self.now - at);
        }
        self.ran.longest_wait = self.ran.longest_wait.max(wait);
        let (first, last) = (self.ends[0], self.ends[self.ends.len() - 1]);
        let served = if last.0 > first.0 { (last.1 - first.1) as f64 / (last.0 - first.0) } else { 0.0 };
        Seen {
            wait: Duration::from_secs_f64(wait),
            served,
            came: std::mem::take(&mut self.came),
            passed: Duration::from_secs_f64(TICK),
        }
    }
}

fn run(scene: Scene) -> Ran {
    let mut world = World::new(scene);
    let mut pressure = Pressure::new(Duration::from_secs(1));
    let (mut comes, mut looked) = (0.0, 0.0);
    while world.now < LOAD + REST + 2.0 {
        let of_capacity = if world.now < LOAD {
            scene.times
        } else if world.now < LOAD + REST {
            0.5
        } else {
            0.0
        };
        comes += of_capacity * CAPACITY * STEP;
        while comes >= 1.0 {
            comes -= 1.0;
            world.door.push_back(world.now);
        }
        world.work();
        world.hear();
        if world.now - looked >= TICK {
            looked += TICK;
            world.ask();
            let seen = world.look();
            world.share = pressure.update(&seen);
            if (4.0..LOAD).contains(&world.now) {
                world.ran.let_in.push(world.share * scene.times);
            }
        }
        world.now += STEP;
    }
    Ran { goodput: world.done_in_time as f64 / (LOAD * CAPACITY), ..world.ran }
}

/// Of the capacity, what refusing all the rest leaves.
fn left(scene: &Scene) -> f64 {
    1.0 - (scene.times - 1.0).max(0.0) * scene.refusal
}

fn check(scene: Scene) {
    let ran = run(scene);
    let kept = ran.kept();
    let Ran { goodput, refused, back_after, longest_wait, .. } = ran;
    println!(
        "{:5} times, refusals of {}, answers late by {} s, stalls of {} s, waves of {}: goodput {goodput:.2} of {:.2}, \
         {refused} refused, back after {back_after:.1} s, longest wait {longest_wait:.2} s, those who ask for {STEADY} keep {kept:.3}",
        scene.times,
        scene.refusal,
        scene.late,
        scene.stall,
        scene.wave,
        left(&scene)
    );
    assert!(goodput >= 0.85 * left(&scene).min(scene.times), "{scene:?}: goodput {goodput}");
    assert!(back_after < 3.0, "{scene:?}: back after {back_after}");
    assert!(kept > KEPT, "{scene:?}: kept {kept}");
}

const TIMES: [f64; 8] = [1.05, 1.5, 2.0, 3.0, 5.0, 8.0, 10.0, 12.0];

#[test]
fn at_any_load_the_work_goes_on_and_the_end_of_the_load_is_seen() {
    for times in TIMES {
        for refusal in [0.01, 0.02] {
            check(Scene { times, refusal, ..PLAIN });
        }
    }
    // Beyond it, so dear a refusal leaves the core no time.
    for times in TIMES.into_iter().filter(|times| *times <= 5.0) {
        check(Scene { times, refusal: 0.05, ..PLAIN });
    }
}

#[test]
fn on_a_machine_that_is_now_faster_and_now_slower_too() {
    TIMES.into_iter().for_each(|times| check(Scene { times, wave: 0.25, ..PLAIN }));
}

#[test]
fn below_the_capacity_nothing_is_refused() {
    for times in [0.2, 0.5, 0.9] {
        let ran = run(Scene { times, ..PLAIN });
        assert_eq!((ran.refused, ran.back_after), (0, 0.0), "{times} times");
    }
}

#[test]
fn answers_that_come_late_and_a_machine_that_stands_still_now_and_then_cost_little() {
    for times in [1.5, 3.0, 5.0] {
        for (late, stall) in [(0.3, 0.0), (0.1, 0.4)] {
            let ran = run(Scene { times, late, stall, ..PLAIN });
            println!("{times} times, answers late by {late} s, stalls of {stall} s: {ran:?}");
            assert!(ran.goodput > 0.7, "{times} times: {ran:?}");
        }
    }
}
