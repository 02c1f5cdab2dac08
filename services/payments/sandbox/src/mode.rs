//! The mode that steers the whole provider, in memory, and the dice for what happens at a rate.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// How the whole provider behaves. Everything off is a provider that works.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mode {
    /// Every request to `/v1/*` has its connection cut at once: nothing is read further, executed or recorded.
    pub down: bool,
    /// Every request waits so long before it is worked on, in milliseconds. A charge or refund is executed then
    /// also when its caller has hung up.
    pub delay_ms: u64,
    /// Share of requests (0 to 1) answered 500 without executing. Not stored for the key.
    pub error_rate: f64,
    /// Share of new charges and refunds (0 to 1) that are executed and answered 500, which is stored for the key.
    pub error_after_rate: f64,
    /// Share of new charges and refunds (0 to 1) that are executed, then have their connection cut.
    pub lost_answer_rate: f64,
    /// No request is ever answered, none is executed.
    pub black_hole: bool,
    /// Charges and refunds are executed and never answered; lookups are answered.
    pub black_hole_after: bool,
    /// Every request is answered 429.
    pub throttle: bool,
    /// The `Retry-After` of `throttle`, in seconds; 0 is told as 1.
    pub retry_after_s: u32,
    /// Every request is answered 401.
    pub unauthorized: bool,
    /// New charges capture one minor unit more than they were asked for, and say so.
    pub wrong_amount: bool,
    /// No idempotency key is remembered: every request with one is a new charge or refund.
    pub forget_keys: bool,
    /// For how long a charge or refund cannot be found by a lookup after it was made, in milliseconds.
    pub lookup_lag_ms: u64,
    /// What the rates throw their dice with: the same seed gives the same (key, attempt) the same fate.
    pub seed: u64,
}

impl Mode {
    /// This mode with the named fields changed; `null` sets a field to its default. On error nothing changes.
    ///
    /// # Errors
    /// Says which field is unknown, of a wrong type or out of range.
    pub fn merged(&self, changes: Map<String, Value>) -> Result<Mode, String> {
        let Ok(Value::Object(mut fields)) = serde_json::to_value(self) else {
            return Err("the current mode cannot be shown as JSON".to_owned());
        };
        let known = fields.keys().cloned().collect::<Vec<_>>();
        for (name, value) in changes {
            if !known.contains(&name) {
                return Err(format!("unknown field `{name}`; known are {}", known.join(", ")));
            }
            if value.is_null() {
                fields.remove(&name);
            } else {
                // One field at a time, so that the error can name it.
                let alone = Map::from_iter([(name.clone(), value.clone())]);
                serde_json::from_value::<Mode>(Value::Object(alone)).map_err(|error| format!("`{name}`: {error}"))?;
                fields.insert(name, value);
            }
        }
        let mode: Mode = serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())?;
        mode.check_rates()?;
        Ok(mode)
    }

    fn check_rates(&self) -> Result<(), String> {
        let rates = [
            ("error_rate", self.error_rate),
            ("error_after_rate", self.error_after_rate),
            ("lost_answer_rate", self.lost_answer_rate),
        ];
        for (name, rate) in rates {
            if !(0.0..=1.0).contains(&rate) {
                return Err(format!("`{name}` is a share from 0 to 1, not {rate}"));
            }
        }
        Ok(())
    }

    pub(crate) fn retry_after_s(&self) -> u32 {
        self.retry_after_s.max(1)
    }

    /// Whether what happens at this rate happens to this attempt. It depends on nothing but the seed, the rate's
    /// name, the key and the attempt, so that a run can be repeated whatever order its requests arrive in.
    pub(crate) fn strikes(&self, rate: Rate, key: &str, attempt: i64) -> bool {
        let (name, share) = match rate {
            Rate::Error => ("error", self.error_rate),
            Rate::ErrorAfter => ("error_after", self.error_after_rate),
            Rate::LostAnswer => ("lost_answer", self.lost_answer_rate),
        };
        if share <= 0.0 {
            return false;
        }
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update(attempt.to_le_bytes());
        hash.update(name);
        hash.update([0]);
        hash.update(key);
        let digest = hash.finalize();
        let (mantissa, _) = digest.split_first_chunk::<8>().expect("SHA-256 has 32 bytes");
        // The 53 bits that a double holds exactly: a number from 0 to just below 1.
        let thrown = (u64::from_le_bytes(*mantissa) >> 11) as f64 / (1_u64 << 53) as f64;
        thrown < share
    }
}

/// The things that happen at a rate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rate {
    Error,
    ErrorAfter,
    LostAnswer,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).expect("the test's own JSON")
    }

    #[test]
    fn changes_are_merged_over_what_is_there_and_null_resets() {
        let slow = Mode::default().merged(changes(r#"{"delay_ms": 7, "down": true}"#)).expect("valid");
        let up = slow.merged(changes(r#"{"down": false}"#)).expect("valid");
        assert_eq!(up, Mode { delay_ms: 7, ..Mode::default() });
        assert_eq!(up.merged(changes(r#"{"delay_ms": null}"#)).expect("valid"), Mode::default());
    }

    #[test]
    fn unknown_fields_wrong_types_and_rates_beyond_one_are_errors_that_name_the_field() {
        for (wrong, named) in [
            (r#"{"dwon": true}"#, "dwon"),
            (r#"{"down": 1}"#, "down"),
            (r#"{"error_rate": 1.5}"#, "error_rate"),
            (r#"{"lost_answer_rate": -0.1}"#, "lost_answer_rate"),
        ] {
            let message = Mode::default().merged(changes(wrong)).expect_err(wrong);
            assert!(message.contains(named), "{message}");
        }
    }

    #[test]
    fn a_rate_strikes_about_its_share_and_the_same_attempts_again() {
        let mode = Mode { error_rate: 0.2, seed: 7, ..Mode::default() };
        let struck = |mode: &Mode| -> Vec<bool> {
            (0..2_000).map(|n| mode.strikes(Rate::Error, &format!("key-{n}"), 1)).collect()
        };
        let first = struck(&mode);
        let share = first.iter().filter(|hit| **hit).count();
        assert!((300..500).contains(&share), "{share} of 2,000 at a rate of 0.2");
        assert_eq!(struck(&mode), first);
        assert_ne!(struck(&Mode { seed: 8, ..mode }), first);
    }
}
