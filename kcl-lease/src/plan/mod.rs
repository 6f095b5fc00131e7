//! Who should hold what: pure functions from what was observed to conditional writes.

mod assignment;
mod balance;
mod count;
mod digest;
mod leftovers;
mod loads;
mod observe;
mod standstill;
mod successors;
mod variance;

pub use self::balance::{BalanceLimits, Balancer, Balancing, Move};
pub use self::digest::counter_digest;
pub use self::leftovers::leftovers;
pub use self::observe::{
    Claim, FleetView, LeaseState, LeaseView, Observer, ObserverOptions, Relocation, Sighting, WorkerView,
};
pub use self::standstill::Standstills;
pub use self::successors::name_successors;
