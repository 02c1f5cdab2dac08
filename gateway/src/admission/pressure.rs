//! How much of what comes is let in, regulated by how long an order placed now would wait behind others.
//!
//! Waiting is what overload is felt by, whatever causes it, and it needs no figure of what the machine can do. Queue
//! lengths and rates would: an order costs more when commits are small, and the same queue is short for one disk and
//! long for another. The share that is let in falls as long as the wait grows or is too long (in proportion to itself,
//! so that twice the load and ten times the load are regulated alike), holds while a queue that is too long shrinks,
//! and grows again, faster where nearly nothing waits. Slow growth would be the safe side only on paper: what is seen of a
//! busy core is never less than a tenth of a second, and at 0.2 e-folds a second twice the load left a third of the goodput. RFC 8033 (PIE) regulates queues of packets
//! by the same signal; its linear steps swing too far at ten times the load, where the share to be found is a tenth.

use std::time::Duration;

/// e-folds by which the share falls for each second that the wait has grown.
const ON_GROWTH: f64 = 2.0;
/// e-folds a second by which it falls for each second that the wait is too long.
const ON_EXCESS: f64 = 1.0;
/// e-folds a second by which it grows where something waits, and where nearly nothing does.
const RECOVERY: f64 = 1.0;
const FAST_RECOVERY: f64 = 2.0;
/// Nearly nothing, as a part of the target.
const NEARLY_NOTHING: f64 = 0.1;
/// Growth of the wait counts from this part of the target on: a queue that forms and is gone again is no overload.
const NOTICED: f64 = 0.5;
/// So much is always let in, so that the end of an overload is noticed.
const LEAST: f64 = 0.01;
/// Beyond this there is no pressure worth regulating.
const ALL: f64 = 0.995;

/// The regulator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pressure {
    target: f64,
    /// What is let in of what comes, 0 to 1.
    share: f64,
    before: f64,
}

impl Pressure {
    /// `target` is how long an order may wait behind others.
    pub fn new(target: Duration) -> Pressure {
        Pressure { target: target.as_secs_f64().max(0.001), share: 1.0, before: 0.0 }
    }

    /// The share to let in from now on, after `passed` since the last time; an order placed now would wait for `wait`.
    pub fn update(&mut self, wait: Duration, passed: Duration) -> f64 {
        let (wait, passed) = (wait.as_secs_f64(), passed.as_secs_f64().min(1.0));
        let grown = wait - self.before;
        let mut folds = 0.0;
        if grown > 0.0 && wait > NOTICED * self.target {
            folds -= ON_GROWTH * grown;
        }
        if grown >= 0.0 && wait > self.target {
            folds -= ON_EXCESS * (wait - self.target) * passed;
        }
        // A wait that grows slower than half of time itself is not one that nothing is done about.
        if wait < self.target && grown <= 0.5 * passed {
            let recovery = if wait < NEARLY_NOTHING * self.target { FAST_RECOVERY } else { RECOVERY };
            folds += recovery * (1.0 - wait / self.target) * passed;
        }
        self.before = wait;
        self.share = (self.share * folds.exp()).clamp(LEAST, 1.0);
        if self.share > ALL {
            self.share = 1.0;
        }
        self.share
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const TICK: f64 = 0.1;
    /// Orders a second that the simulated system does.
    const CAPACITY: f64 = 3000.0;

    struct Run {
        /// Done within 5 s, of what could have been done.
        goodput: f64,
        longest_wait: f64,
        /// From the end of the overload until everything is let in again.
        back_after: f64,
    }

    /// A queue that is served at a steady rate, under `times` its capacity for 40 s and then a quarter of it. The
    /// regulator sees the age of the head of the queue, 200 ms late; a refusal costs a hundredth of an order.
    fn simulate(times: f64) -> Run {
        const STEP: f64 = 0.01;
        let mut pressure = Pressure::new(Duration::from_secs(1));
        let (mut queue, mut seen) = (VecDeque::<(f64, f64)>::new(), VecDeque::from([0.0; 20]));
        let (mut share, mut done, mut longest, mut back) = (1.0, 0.0, 0.0_f64, 0.0);
        for step in 0..8000 {
            let now = f64::from(step) * STEP;
            let comes = if now < 40.0 { times * CAPACITY } else { CAPACITY / 4.0 };
            // Two and a half times the capacity is all that a gateway on the same core writes down.
            let let_in = (comes * share).min(2.5 * CAPACITY);
            queue.push_back((now, let_in * STEP));
            let mut room = (CAPACITY - (comes - comes * share) * 0.01).max(0.0) * STEP;
            while room > 0.0
                && let Some((came, waits)) = queue.front_mut()
            {
                let served = room.min(*waits);
                (room, *waits) = (room - served, *waits - served);
                if now < 40.0 && now - *came < 5.0 {
                    done += served;
                }
                if *waits <= 0.0 {
                    queue.pop_front();
                }
            }
            let wait = queue.front().map_or(0.0, |(came, _)| now - came);
            longest = longest.max(wait);
            seen.push_back(wait);
            let known = seen.pop_front().unwrap_or(0.0);
            if step % 10 == 0 {
                share = pressure.update(Duration::from_secs_f64(known), Duration::from_secs_f64(TICK));
            }
            if now > 40.0 && share < 1.0 {
                back = now - 40.0;
            }
        }
        Run { goodput: done / (CAPACITY * 40.0), longest_wait: longest, back_after: back }
    }

    #[test]
    fn at_any_load_the_wait_is_bounded_the_work_goes_on_and_the_end_is_noticed() {
        for times in [1.05, 1.5, 2.0, 3.0, 5.0, 8.0, 10.0, 12.0] {
            let Run { goodput, longest_wait, back_after } = simulate(times);
            println!(
                "{times} times: goodput {goodput:.2}, longest wait {longest_wait:.2} s, back after {back_after:.1}"
            );
            assert!(goodput > 0.78, "{times} times: {goodput}");
            assert!(longest_wait < 4.5, "{times} times: {longest_wait} s");
            assert!(back_after < 10.0, "{times} times: {back_after} s");
        }
    }

    #[test]
    fn below_the_capacity_nothing_is_refused() {
        let mut pressure = Pressure::new(Duration::from_secs(1));
        let tick = Duration::from_millis(100);
        for wait in [0, 50, 480, 120, 0, 400, 10] {
            assert_eq!(pressure.update(Duration::from_millis(wait), tick), 1.0);
        }
    }
}
