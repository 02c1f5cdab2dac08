//! A role that ends whenever it comes to one message or one piece of due work, and is started again each time.

use super::operator::{Letter, until_letters};
use crate::support::roles::Roles;

/// Starts at most until what kills is set aside.
const STARTS: usize = 8;

/// Starts it again and again, until one dead letter is there. Answers how often it ended, and the letter.
pub async fn until_set_aside(roles: &mut Roles, role: &'static str, fails: &str) -> (usize, Letter) {
    let mut crashes = 0;
    loop {
        let mut doomed = roles.release(role);
        let found = tokio::select! {
            went_well = doomed.until_ended() => {
                assert!(!went_well, "it ends by the abort alone");
                None
            }
            letters = until_letters(&roles.system, 1) => Some(letters),
        };
        if let Some(mut letters) = found {
            roles.take_back(role, doomed);
            assert_eq!(letters.len(), 1, "one dead letter, and no more: {letters:?}");
            return (crashes, letters.remove(0));
        }
        crashes += 1;
        assert!(crashes < STARTS, "still crashing after {crashes} starts");
        roles.begin_doomed(role, fails.to_owned()).await;
    }
}
