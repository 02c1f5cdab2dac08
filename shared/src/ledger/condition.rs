//! Whether a ledger can write, as its writer last saw it: what readiness tells, and the door goes by.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use super::error::StoreError;

/// It writes, or has not tried.
const WELL: u8 = 0;
/// A commit meets a lock, and is tried again right now.
const RETRYING: u8 = 1;
/// The last commit that had something to write was refused.
const REFUSED: u8 = 2;

/// Reading it costs one atomic load.
#[derive(Debug, Default)]
pub(super) struct Condition {
    state: AtomicU8,
    why: Mutex<Option<StoreError>>,
}

impl Condition {
    /// A commit is being tried again.
    pub fn retrying(&self, error: &StoreError) {
        self.set(RETRYING, error);
    }

    /// A commit was given up, and nothing of it was kept.
    pub fn refused(&self, error: &StoreError) {
        self.set(REFUSED, error);
    }

    fn set(&self, state: u8, error: &StoreError) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        self.state.store(state, Ordering::Release);
    }

    /// A commit came about. One that had nothing to write proves that there is no lock, not that there is space.
    /// Answers whether it is well now and was not before.
    pub fn committed(&self, has_written: bool) -> bool {
        let state = self.state.load(Ordering::Acquire);
        let is_over = state == RETRYING || (state == REFUSED && has_written);
        if is_over {
            self.state.store(WELL, Ordering::Release);
        }
        is_over
    }

    /// What waiting before the writer would lead to. An error only while the writer itself finds out when that is over:
    /// after a refusal the next input is what finds out.
    pub fn at_the_door(&self) -> Result<(), StoreError> {
        if self.state.load(Ordering::Acquire) == RETRYING { self.why() } else { Ok(()) }
    }

    /// # Errors
    /// What keeps it from writing.
    pub fn is_well(&self) -> Result<(), StoreError> {
        if self.state.load(Ordering::Acquire) == WELL { Ok(()) } else { self.why() }
    }

    fn why(&self) -> Result<(), StoreError> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_closes_the_door_a_full_disk_does_not_and_both_are_told() {
        let condition = Condition::default();
        assert_eq!((condition.at_the_door(), condition.is_well()), (Ok(()), Ok(())));
        let (busy, full) = (StoreError::Busy("locked".into()), StoreError::Full("full".into()));
        condition.retrying(&busy);
        assert_eq!((condition.at_the_door(), condition.is_well()), (Err(busy.clone()), Err(busy)));
        condition.refused(&full);
        assert_eq!((condition.at_the_door(), condition.is_well()), (Ok(()), Err(full)));
    }

    #[test]
    fn only_what_was_written_proves_that_there_is_space() {
        let condition = Condition::default();
        condition.refused(&StoreError::Full("full".into()));
        assert!(!condition.committed(false) && condition.is_well().is_err());
        assert!(condition.committed(true) && condition.is_well().is_ok());
        condition.retrying(&StoreError::Busy("locked".into()));
        assert!(condition.committed(false) && condition.is_well().is_ok());
        assert!(!condition.committed(true), "it was well");
    }
}
