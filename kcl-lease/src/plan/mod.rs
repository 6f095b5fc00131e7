//! Who should hold what: pure functions from what was observed to conditional writes.

mod balance;
mod leftovers;
mod observe;
mod successors;

pub use self::balance::{BalanceLimits, Move, plan_moves};
pub use self::leftovers::leftovers;
pub use self::observe::{
    Claim, FleetView, LeaseState, LeaseView, Observer, ObserverOptions, Sighting, WorkerView, counter_digest,
};
pub use self::successors::name_successors;
