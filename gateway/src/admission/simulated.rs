//! The regulator against a simulated system: one core, shared by the door and by a line of ledgers that commit what waits
//! for them in one batch. What it sees of them is late, and a refusal costs time too.

use std::collections::VecDeque;
use std::time::Duration;

use super::pressure::{Pressure, Seen};

mod scenes;

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
/// What most customers ask for together, in capacities.
const STEADY: f64 = 0.6;
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
    /// What orders has ended, and what inventory has heard, each order once at its beginning and once at its end.
    ends: VecDeque<(f64, u64)>,
    heard_twice: VecDeque<(f64, u64)>,
    ran: Ran,
    done_in_time: u64,
}

/// What was told of a second.
fn note(told: &mut VecDeque<(f64, u64)>, (asked, count): (f64, u64)) {
    told.push_back((asked, count));
    while told.get(1).is_some_and(|next| asked - next.0 >= 1.0) {
        told.pop_front();
    }
}

fn rate(told: &VecDeque<(f64, u64)>) -> f64 {
    let (first, last) = (told[0], told[told.len() - 1]);
    if last.0 > first.0 { (last.1 - first.1) as f64 / (last.0 - first.0) } else { 0.0 }
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
            heard_twice: VecDeque::from([(0.0, 0)]),
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
            if service == 0 {
                note(&mut self.heard_twice, (answer.asked, answer.passed + self.ledgers[ORDERS].passed));
            }
            if service + 1 < 3 {
                self.tell(service + 1, answer.passed);
            } else {
                note(&mut self.ends, (answer.asked, answer.passed));
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
        let served = f64::midpoint(rate(&self.ends), rate(&self.heard_twice) / 2.0);
        Seen {
            wait: Duration::from_secs_f64(wait),
            served,
            came: std::mem::take(&mut self.came),
            passed: Duration::from_secs_f64(TICK),
        }
    }
}

/// A world and its regulator, step by step.
struct Run {
    world: World,
    pressure: Pressure,
    comes: f64,
    looked: f64,
}

impl Run {
    fn new(scene: Scene) -> Run {
        Run { world: World::new(scene), pressure: Pressure::new(Duration::from_secs(1)), comes: 0.0, looked: 0.0 }
    }

    /// So much comes, in capacities. Answers whether the regulator has looked.
    fn step(&mut self, of_capacity: f64) -> bool {
        let world = &mut self.world;
        self.comes += of_capacity * CAPACITY * STEP;
        while self.comes >= 1.0 {
            self.comes -= 1.0;
            world.door.push_back(world.now);
        }
        world.work();
        world.hear();
        let looks = world.now - self.looked >= TICK;
        if looks {
            self.looked += TICK;
            world.ask();
            let seen = world.look();
            world.share = self.pressure.update(&seen);
        }
        world.now += STEP;
        looks
    }
}

fn run(scene: Scene) -> Ran {
    let mut run = Run::new(scene);
    while run.world.now < LOAD + REST + 2.0 {
        let of_capacity = match run.world.now {
            now if now < LOAD => scene.times,
            now if now < LOAD + REST => 0.5,
            _ => 0.0,
        };
        let is_steady = (4.0..LOAD).contains(&run.world.now);
        if run.step(of_capacity) && is_steady {
            run.world.ran.let_in.push(run.world.share * scene.times);
        }
    }
    Ran { goodput: run.world.done_in_time as f64 / (LOAD * CAPACITY), ..run.world.ran }
}
