//! An error as people read it.

use std::error::Error;

/// An error with all that is behind it.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut told = error.to_string();
    let mut behind = error.source();
    while let Some(cause) = behind {
        told.push_str(": ");
        told.push_str(&cause.to_string());
        behind = cause.source();
    }
    told
}
