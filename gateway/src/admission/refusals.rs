//! What a refused client is answered, and when it is to come back. Made once: refusing is what there must always be
//! time for.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use spillway_shared::grpc::{CallError, Cause, Reason, Refusal};

use super::Signal;

const OVERLOADED: Reason = Reason::new("OVERLOADED");

/// Clients are told to come back after a whole number of these.
const STEP: Duration = Duration::from_millis(250);

/// The longest: 16 s.
const STEPS: usize = 64;

/// The shortest: 500 ms.
const FIRST: usize = 1;

/// How many different times to come back are told at a moment. HTTP/2 sends a header that it has sent before on a
/// connection in one byte, as long as there are few.
const DRAWN: u32 = 4;

/// How often they are drawn anew, in ticks of a tenth of a second.
const DRAWN_FOR: u32 = 10;

/// Answers for every signal and every time to come back.
#[derive(Debug)]
pub struct Refusals {
    ready: Vec<Vec<Refusal>>,
    /// A byte for each time that is told at this moment: how far between the shortest and the longest it lies.
    drawn: AtomicU32,
    ticks: AtomicU32,
}

impl Refusals {
    pub fn new() -> Refusals {
        let of = |signal| (0..STEPS).map(|step| Refusal::from(error(signal, step))).collect();
        let drawn = AtomicU32::new(rand::random());
        Refusals { ready: Signal::ALL.map(of).into(), drawn, ticks: AtomicU32::new(0) }
    }

    /// Lets time pass by a tick, a tenth of a second.
    pub fn draw(&self) {
        if self.ticks.fetch_add(1, Ordering::Relaxed).is_multiple_of(DRAWN_FOR) {
            self.drawn.store(rand::random(), Ordering::Relaxed);
        }
    }

    /// One with a random time to come back: those refused together come back apart, and the more apart the less is let
    /// in, so that their retries alone cannot keep the pressure up. Who was refused before waits for longer.
    pub fn pick(&self, signal: Signal, share: f64, tried: u32) -> Refusal {
        self.ready[signal as usize][self.step(share, tried)].clone()
    }

    /// The same for a call that was decoded before it was refused.
    pub fn error(&self, signal: Signal, share: f64) -> CallError {
        error(signal, self.step(share, 0))
    }

    fn step(&self, share: f64, tried: u32) -> usize {
        let spread = (4.0 / share.max(0.01)) * f64::from(1_u32 << tried.min(4));
        let last = (FIRST + spread as usize).min(STEPS - 1);
        let which = rand::random_range(0..DRAWN);
        let [drawn, ..] = (self.drawn.load(Ordering::Relaxed) >> (8 * which)).to_le_bytes();
        FIRST + (last - FIRST + 1) * usize::from(drawn) / 256
    }
}

fn error(signal: Signal, step: usize) -> CallError {
    let sentence = match signal {
        Signal::CommitWait => {
            "more orders are placed than the gateway can write down in time, and this call placed none: try again in \
             {retry_after_ms} ms with the same request_id"
        }
        Signal::Unheard => {
            "more orders are placed than the services behind the gateway can carry out in time, and this call placed \
             none: try again in {retry_after_ms} ms with the same request_id"
        }
    };
    let retry_after = STEP * u32::try_from(step + 1).unwrap_or(u32::MAX);
    CallError::Exhausted { cause: Cause::new(OVERLOADED, sentence).with("signal", signal.name()), retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_everything_and_those_of_one_moment_differ() {
        let refusals = Refusals::new();
        let pushbacks = |share, tried| -> Vec<u64> {
            let picked = (0..2_000).map(|_| {
                refusals.draw();
                refusals.pick(Signal::Unheard, share, tried)
            });
            picked.map(|r| r.headers()["grpc-retry-pushback-ms"].to_str().expect("text").parse().expect("ms")).collect()
        };
        let (mild, hard, again) = (pushbacks(0.9, 0), pushbacks(0.1, 0), pushbacks(0.9, 2));
        assert!(mild.iter().all(|ms| (500..=1_750).contains(ms)), "{mild:?}");
        assert!(hard.iter().any(|ms| *ms > 5_000) && hard.iter().any(|ms| *ms < 3_000), "{hard:?}");
        assert!(again.iter().any(|ms| *ms > 2_500), "{again:?}");
        let status = tonic::Status::from_header_map(refusals.pick(Signal::CommitWait, 0.5, 0).headers()).expect("one");
        let info = tonic_types::StatusExt::get_details_error_info(&status).expect("every error has it");
        assert_eq!((status.code(), info.reason.as_str()), (tonic::Code::ResourceExhausted, "OVERLOADED"));
        assert_eq!(info.metadata["signal"], "commit_wait");
        assert!(tonic_types::StatusExt::get_details_retry_info(&status).is_some());
    }
}
