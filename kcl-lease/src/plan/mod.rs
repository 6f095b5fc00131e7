//! Who should hold what: pure functions from what was observed to conditional writes.

mod agreement;
mod assignment;
mod balance;
mod by_load;
mod by_number;
mod digest;
mod heirs;
mod lease_history;
mod leftovers;
mod loads;
mod moves;
mod observe;
mod rescue;
mod standstill;
mod successors;
mod view;

pub(crate) use self::agreement::disagreement;
pub(crate) use self::agreement::disagreement_with_leader;
pub(crate) use self::assignment::BalanceLimits;
pub(crate) use self::balance::Balancer;
pub use self::balance::Balancing;
pub(crate) use self::digest::counter_digest;
pub(crate) use self::heirs::{HEIRS, name_heirs};
pub(crate) use self::leftovers::leftovers;
pub(crate) use self::moves::Move;
pub(crate) use self::observe::{Observer, ObserverOptions, Sighting};
pub(crate) use self::standstill::Standstills;
pub(crate) use self::successors::name_successors;
pub(crate) use self::view::{Claim, FleetView, LeaseState};
#[cfg(test)]
pub(crate) use self::view::{Relocation, WorkerView};
