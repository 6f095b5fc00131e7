//! How busy the workers' machines are, and what they say of it: drawn from the seed, or made up by a script.

mod machines;
mod processed;
mod told;

pub use self::machines::{Machine, Machines, REPORT_INTERVAL, Voice};
pub use self::processed::Processed;
pub use self::told::Told;
