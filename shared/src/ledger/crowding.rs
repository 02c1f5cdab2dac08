//! How long a thread has waited for a processor while others had it. Linux tells; where nobody does, nothing is known.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Three numbers: nanoseconds on a processor, nanoseconds of waiting for one, and how often it got one.
const SCHEDSTAT: &str = "/proc/thread-self/schedstat";

/// Of the thread that made it.
#[derive(Debug)]
pub(super) struct Crowding(Option<File>);

impl Crowding {
    pub fn of_this_thread() -> Self {
        Crowding(File::open(SCHEDSTAT).ok())
    }

    /// The time waited since the thread began.
    pub fn waited(&self) -> Option<Duration> {
        let mut bytes = [0; 96];
        let read = self.0.as_ref()?.read_at(&mut bytes, 0).ok()?;
        let nanos = std::str::from_utf8(&bytes[..read]).ok()?.split_whitespace().nth(1)?;
        nanos.parse().ok().map(Duration::from_nanos)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_grows() {
        let crowding = Crowding::of_this_thread();
        let before = crowding.waited().expect("Linux tells");
        std::thread::sleep(Duration::from_millis(5));
        assert!(crowding.waited().expect("Linux tells") >= before);
    }
}
