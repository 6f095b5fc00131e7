//! Who should hold what: pure functions from what was observed to conditional writes.

mod agreement;
mod assignment;
mod balance;
mod count;
mod digest;
mod heirs;
mod lease_history;
mod leftovers;
mod loads;
mod observe;
mod standstill;
mod successors;
mod variance;
mod view;

pub use self::agreement::disagreement;
pub(crate) use self::agreement::disagreement_with_leader;
pub use self::balance::{BalanceLimits, Balancer, Balancing, Move};
pub use self::digest::counter_digest;
pub use self::heirs::name_heirs;
pub use self::leftovers::leftovers;
pub use self::observe::{Observer, ObserverOptions, Sighting};
pub use self::standstill::Standstills;
pub use self::successors::name_successors;
pub use self::view::{Claim, FleetView, LeaseState, LeaseView, Relocation, WorkerView};
