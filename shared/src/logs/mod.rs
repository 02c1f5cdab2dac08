//! What is logged of what happens: one line for each event that a commit says, bounded a second; and who speaks.

mod causes;
mod facts;
mod rate;
mod speaker;

pub use causes::with_causes;
pub use facts::FACTS;
pub(crate) use facts::{Fact, write};
pub use rate::LineRate;
pub use speaker::{as_here, in_trace, now_in_trace, on_thread, speaker, speaking_as, trace};
