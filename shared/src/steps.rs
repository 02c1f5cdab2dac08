//! Named steps, at which tests make a process fail. Without the feature `failpoints`, which only tests switch on, a step
//! is nothing at all.
//!
//! A step is named `<role or part>.<what was just done or comes next>`, for example `payments.after_response`. What is to
//! happen there comes from the environment variable `FAILPOINTS` (`name=action;name=action`), with the actions of the
//! crate `fail`: `panic`, `sleep(ms)`, `N*action` and so on. `return(kill)` ends the process at once, as a power cut would,
//! and `return(abort)` as a failed assertion in C would. Where a step is given what it is about, `return(kill TEXT)`,
//! `return(abort TEXT)` and `return(panic TEXT)` only do so where that holds the text.

/// A step. Where a test says so, the process ends here, panics, or waits.
pub fn step(name: &str) {
    step_about(name, &[]);
}

/// A step that is about something: an event's bytes, an order's id.
#[cfg(feature = "failpoints")]
pub fn step_about(name: &str, about: &[u8]) {
    fail::fail_point!(name, |action| act(action.as_deref().unwrap_or("kill"), about));
}

/// A step that is about something: an event's bytes, an order's id.
#[cfg(not(feature = "failpoints"))]
pub fn step_about(_name: &str, _about: &[u8]) {}

#[cfg(feature = "failpoints")]
fn act(action: &str, about: &[u8]) {
    let (what, text) = action.split_once(' ').unwrap_or((action, ""));
    let is_meant = text.is_empty() || about.windows(text.len()).any(|part| part == text.as_bytes());
    match what {
        "kill" if is_meant => {
            let own = rustix::process::getpid();
            if let Err(error) = rustix::process::kill_process(own, rustix::process::Signal::KILL) {
                tracing::error!(%error, "cannot end the own process");
            }
        }
        "abort" if is_meant => std::process::abort(),
        "panic" if is_meant => panic!("a step was told to panic"),
        _ => {}
    }
}

/// What is to fail in this process, until it is dropped.
#[must_use]
pub struct Failing {
    #[cfg(feature = "failpoints")]
    _scenario: fail::FailScenario<'static>,
}

/// Reads what is to fail from the environment. Without the feature nothing is read and nothing fails.
pub fn from_environment() -> Failing {
    Failing {
        #[cfg(feature = "failpoints")]
        _scenario: fail::FailScenario::setup(),
    }
}
