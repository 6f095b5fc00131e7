//! Whether this worker can do its work; if not, others get its leases.

mod judge;
mod watch;

pub(crate) use self::watch::watch_over;
