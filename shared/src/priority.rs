//! How much of a busy core a thread asks for.

/// Whom a thread stands behind on a core that all have to share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// Those who answer calls. Refusing what is too much would otherwise wait behind what was let in; what cannot be
    /// refused in time waits at the client, and in the end all of it is late.
    Calls,
    /// Everybody: it can wait, an order cannot.
    All,
}

impl Behind {
    /// What it adds to the nice value of a thread.
    const fn nice(self) -> i32 {
        match self {
            Behind::Calls => 5,
            Behind::All => 19,
        }
    }

    /// The thread that calls stands there from now on. Where the system forbids it, it goes on as before.
    pub fn stand(self) {
        if let Err(error) = rustix::process::nice(self.nice()) {
            tracing::debug!(%error, behind = ?self, "the thread is as important as all others");
        }
    }
}
