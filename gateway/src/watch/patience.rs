//! How long a watch bears with orders that does not answer, and when it asks again.

use std::time::Duration;

use tokio::time::Instant;

/// Where orders does not answer it is asked again after this long at first, and after twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Begins anew with every answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    limit: Duration,
    silence: Option<Silence>,
}

#[derive(Clone, Copy, Debug)]
struct Silence {
    since: Instant,
    pause: Duration,
}

impl Patience {
    pub fn new(limit: Duration) -> Patience {
        Patience { limit, silence: None }
    }

    pub fn answered(&mut self) {
        self.silence = None;
    }

    /// There was no answer. False where patience has ended.
    pub fn bears(&mut self, now: Instant) -> bool {
        let silence = match self.silence {
            None => Silence { since: now, pause: FIRST_PAUSE },
            Some(Silence { since, pause }) => Silence { since, pause: (pause * 2).min(LONGEST_PAUSE) },
        };
        self.silence = Some(silence);
        now.duration_since(silence.since) < self.limit
    }

    /// How long to wait before orders is asked again; `None` where it answered the last time.
    pub fn pause(&self) -> Option<Duration> {
        self.silence.map(|silence| silence.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_less_and_less_often_until_its_limit_and_an_answer_begins_it_anew() {
        let mut patience = Patience::new(Duration::from_secs(30));
        assert_eq!(patience.pause(), None);
        for _ in 0..2 {
            let mut now = Instant::now();
            let began = now;
            let mut pauses = Vec::new();
            while patience.bears(now) {
                let pause = patience.pause().expect("there was no answer");
                pauses.push(pause.as_millis());
                now += pause;
            }
            assert_eq!(pauses[..7], [100, 200, 400, 800, 1600, 2000, 2000]);
            assert!((30..32).contains(&now.duration_since(began).as_secs()));
            patience.answered();
            assert_eq!(patience.pause(), None);
        }
    }
}
