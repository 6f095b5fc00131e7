//! One leader among the workers, by a lock row in the lease table.

mod election;
mod lock;

pub(crate) use self::election::{Candidacy, Election, ElectionOptions};
pub(crate) use self::lock::{HEARTBEAT, LeaderNotes, Leadership};
