//! The idempotency keys that are being worked on at this moment.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Default)]
pub(super) struct KeysInUse {
    keys: Mutex<HashSet<Arc<str>>>,
}

impl KeysInUse {
    /// Takes this key until the claim is dropped; none when another request has it.
    pub(super) fn claim(self: &Arc<Self>, key: &Arc<str>) -> Option<Claim> {
        let is_free = self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        is_free.then(|| Claim { keys: self.clone(), key: key.clone() })
    }
}

pub(super) struct Claim {
    keys: Arc<KeysInUse>,
    key: Arc<str>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.keys.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
