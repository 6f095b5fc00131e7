//! Whether this worker can do its work; if not, others get its leases.

mod judge;
mod vitals;
mod watch;

pub(crate) use self::vitals::{Failure, Vitals, Work, is_of_the_worker};
pub(crate) use self::watch::watch_over;
